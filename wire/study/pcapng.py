"""Write frames as a capture that Wireshark and tshark open: pcapng, with headers of IP and TCP made for the purpose.

Format: a section header, an interface of raw IP with times in microseconds, then a packet per segment. Every connection
begins with a handshake; frames longer than a packet are cut into several.

Rules
- Addresses and ports are those that the connection's name tells ("broker:port-client:port-number"); where it tells
  none, they are made up, different for each connection, with the broker on port 9092.
- Checksums are right.
- Where a trace has lost frames, sequence numbers leave a gap, which readers take for packets that were not captured.

Sources: the pcapng draft of the IETF's opsawg; RFC 791, 8200, 9293.
"""

import ipaddress
import re
from collections.abc import Iterator
from struct import Struct

from wire.study.exchanges import Direction, TracedFrame
from wire.study.streams import SYN

MAX_SEGMENT_BYTES = 32_000
MADE_UP_PORT = 9092
GAP_BYTES = 1  # how many are missing, nobody knows
_ACK, _PUSH = 16, 8
_RAW_IP = 101
_CONNECTION = re.compile(r"(.+):(\d+)-(.+):(\d+)-\d+")

_SECTION = Struct("<IIIHHqI")
_INTERFACE = Struct("<IIHHII")
_PACKET = Struct("<IIIIIII")
_SIZE = Struct("<I")
_TCP = Struct(">HHIIBBHHH")
_IPV4 = Struct(">BBHHHBBH4s4s")
_IPV6 = Struct(">IHBB16s16s")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class PcapngWriter:
    """Gives the bytes of a capture, piece by piece."""

    def __init__(self) -> None:
        self._connections: dict[str, _Connection] = {}

    def header(self) -> bytes:
        section = _SECTION.pack(0x0A0D0D0A, _SECTION.size, 0x1A2B3C4D, 1, 0, -1, _SECTION.size)
        interface = _INTERFACE.pack(1, _INTERFACE.size, _RAW_IP, 0, 0, _INTERFACE.size)
        return section + interface

    def frame(self, frame: TracedFrame) -> bytes:
        """Return the packets of a frame."""
        connection = self._connections.get(frame.connection)
        packets: list[bytes] = []
        if connection is None:
            connection = _Connection(frame.connection, len(self._connections))
            self._connections[frame.connection] = connection
            packets += connection.handshake()
        data = len(frame.data).to_bytes(4, "big") + frame.data
        packets += connection.segments(frame.direction, data)
        return b"".join(_packet(frame.time_us, packet) for packet in packets)

    def lost(self) -> None:
        """Leave a gap, where frames are missing of connections that nobody knows: it may be any that is there."""
        for connection in self._connections.values():
            connection.skip()


class _Connection:
    def __init__(self, name: str, number: int) -> None:
        match = _CONNECTION.fullmatch(name)
        broker, client = _address(match[1] if match else ""), _address(match[3] if match else "")
        if match is None or broker is None or client is None or broker.version != client.version:
            broker, client = ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv4Address(0x7F010000 + (number & 0xFFFF))
            ports = (MADE_UP_PORT, 50_000)
        else:
            ports = (int(match[2]) & 0xFFFF, int(match[4]) & 0xFFFF)
        self._ends = {Direction.REQUEST: (client, ports[1]), Direction.RESPONSE: (broker, ports[0])}
        self._sent = {Direction.REQUEST: 0, Direction.RESPONSE: 0}  # the next sequence numbers

    def handshake(self) -> Iterator[bytes]:
        yield self._segment(Direction.REQUEST, SYN, b"")
        self._sent[Direction.REQUEST] = 1
        yield self._segment(Direction.RESPONSE, SYN | _ACK, b"")
        self._sent[Direction.RESPONSE] = 1
        yield self._segment(Direction.REQUEST, _ACK, b"")

    def skip(self) -> None:
        for direction in Direction:
            self._sent[direction] = (self._sent[direction] + GAP_BYTES) & 0xFFFFFFFF

    def segments(self, direction: Direction, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), MAX_SEGMENT_BYTES):
            piece = data[start : start + MAX_SEGMENT_BYTES]
            yield self._segment(direction, _ACK | _PUSH, piece)
            self._sent[direction] = (self._sent[direction] + len(piece)) & 0xFFFFFFFF

    def _segment(self, direction: Direction, flags: int, data: bytes) -> bytes:
        other = Direction(1 - direction)
        (source, source_port), (target, target_port) = self._ends[direction], self._ends[other]
        acknowledged = self._sent[other] if flags & _ACK else 0
        fields = (source_port, target_port, self._sent[direction], acknowledged, 5 << 4, flags, 65535)
        size = _TCP.size + len(data)
        pseudo = source.packed + target.packed + size.to_bytes(4, "big") + (6).to_bytes(4, "big")
        tcp = _TCP.pack(*fields, _checksum(pseudo + _TCP.pack(*fields, 0, 0) + data), 0)
        if source.version == 4:
            head = (0x45, 0, _IPV4.size + size, 0, 0, 64, 6)
            checksum = _checksum(_IPV4.pack(*head, 0, source.packed, target.packed))
            return _IPV4.pack(*head, checksum, source.packed, target.packed) + tcp + data
        return _IPV6.pack(6 << 28, size, 6, 64, source.packed, target.packed) + tcp + data


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _packet(time_us: int, data: bytes) -> bytes:
    padding = -len(data) % 4
    total = _PACKET.size + len(data) + padding + _SIZE.size
    time_us = max(time_us, 0)
    head = _PACKET.pack(6, total, 0, time_us >> 32 & 0xFFFFFFFF, time_us & 0xFFFFFFFF, len(data), len(data))
    return head + data + bytes(padding) + _SIZE.pack(total)


def _checksum(data: bytes) -> int:
    """The ones' complement of the sum of 16-bit words, of RFC 1071: the sum is the number modulo 65535."""
    number = int.from_bytes(data + b"\0" * (len(data) % 2), "big")
    total = number % 0xFFFF
    if not total and number:
        total = 0xFFFF
    return ~total & 0xFFFF
