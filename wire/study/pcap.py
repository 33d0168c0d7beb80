"""Frames out of captures, pcap and pcapng, as tcpdump and Wireshark write them.

Needs dpkt (extra `study`). Understood are Ethernet, raw IP, Linux cooked captures and loopback, IPv4 and IPv6;
fragments of IP are left out.

Not here: the streams of TCP (streams), writing captures (pcapng).
"""

import socket
import struct
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

from wire.errors import ProtocolError
from wire.study.exchanges import TracedFrame
from wire.study.streams import Missing, Segment, Streams

PCAP_MAGICS = (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1")
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"


class MissingLibrary(Exception):
    """A library of an extra is not installed; the message is fit for a person."""


def is_capture(start: bytes) -> bool:
    return start[:4] in (*PCAP_MAGICS, PCAPNG_MAGIC)


class Source(Protocol):
    """What a capture is read from; a pipe will do."""

    def peek(self, size: int, /) -> bytes: ...

    def read(self, size: int, /) -> bytes: ...


def read_capture(file: Source, broker_ports: Collection[int] = (9092,)) -> Iterator[TracedFrame | Missing]:
    """Yield the frames of all connections in the order in which they were complete.

    Raises: ProtocolError where the file is no capture, or where it breaks off; what came before has been yielded.
    """
    try:
        import dpkt
    except ImportError:
        raise MissingLibrary("captures are read with dpkt: pip install 'pykbroker[study]'") from None
    streams = Streams(broker_ports)
    time_us = 0
    broken: str | None = None
    wrong = (dpkt.Error, struct.error, ValueError, IndexError, OverflowError)
    try:
        is_pcapng = file.peek(4)[:4] == PCAPNG_MAGIC
        reader = (dpkt.pcapng.Reader if is_pcapng else dpkt.pcap.Reader)(file)
        unwrap = _LINKS.get(reader.datalink())
    except wrong as error:
        raise ProtocolError(f"this is no capture: {error}") from None
    if unwrap is None:
        raise ProtocolError(f"captures of link type {reader.datalink()} are not understood")
    packets = iter(reader)
    while True:
        try:
            moment, packet = next(packets)
        except StopIteration:
            break
        except wrong as error:
            broken = f"the capture breaks off: {error}"
            break
        time_us = int(moment * 1_000_000)
        segment = _segment(time_us, bytes(packet), unwrap)
        if segment is not None:
            yield from streams.feed(segment)
    yield from streams.close(time_us)
    if broken is not None:
        raise ProtocolError(broken)


def _segment(time_us: int, packet: bytes, unwrap: Callable[[Any, bytes], Any]) -> Segment | None:
    """Return the TCP segment in a packet, None where there is none."""
    import dpkt

    try:
        ip = unwrap(dpkt, packet)
        tcp = getattr(ip, "data", None)
        if not isinstance(ip, dpkt.ip.IP | dpkt.ip6.IP6) or not isinstance(tcp, dpkt.tcp.TCP):
            return None
        family = socket.AF_INET if isinstance(ip, dpkt.ip.IP) else socket.AF_INET6
        return Segment(
            time_us,
            (socket.inet_ntop(family, ip.src), tcp.sport),
            (socket.inet_ntop(family, ip.dst), tcp.dport),
            tcp.seq,
            tcp.ack if tcp.flags & dpkt.tcp.TH_ACK else None,
            tcp.flags,
            bytes(tcp.data),
        )
    except (dpkt.Error, struct.error, ValueError, IndexError, AttributeError):
        return None


def _raw(dpkt: Any, packet: bytes) -> Any:
    return dpkt.ip.IP(packet) if packet[0] >> 4 == 4 else dpkt.ip6.IP6(packet)


_LINKS: dict[int, Callable[[Any, bytes], Any]] = {
    0: lambda dpkt, packet: _raw(dpkt, packet[4:]),  # BSD loopback
    1: lambda dpkt, packet: dpkt.ethernet.Ethernet(packet).data,
    12: _raw,
    101: _raw,
    108: lambda dpkt, packet: _raw(dpkt, packet[4:]),
    113: lambda dpkt, packet: dpkt.sll.SLL(packet).data,
    228: _raw,
    229: _raw,
    276: lambda dpkt, packet: dpkt.sll2.SLL2(packet).data,
}
