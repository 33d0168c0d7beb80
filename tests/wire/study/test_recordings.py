"""Traces and captures: what was written is read back, and files that are wrong break off with a word about it."""

import io
import struct
from collections.abc import Iterator
from random import Random

import pytest

from tests.wire.study.golden import golden_frames
from wire.errors import ProtocolError
from wire.study.exchanges import Direction, TracedFrame, public
from wire.study.inputs import Input
from wire.study.pcap import is_capture, read_capture
from wire.study.pcapng import PcapngWriter
from wire.study.streams import Missing
from wire.study.trace import MAGIC, Lost, TraceDecoder, encode, is_trace

dpkt = pytest.importorskip("dpkt")

FRAME = golden_frames()[0]


def capture_of(frames: Iterator[TracedFrame] | tuple[TracedFrame, ...]) -> bytes:
    writer = PcapngWriter()
    return writer.header() + b"".join(map(writer.frame, frames))


def read_back(data: bytes) -> list[TracedFrame | Missing]:
    return list(read_capture(Input(io.BytesIO(data))))


def test_trace_is_read_back_in_pieces_of_any_size() -> None:
    events: list[TracedFrame | Lost] = [*golden_frames()[:50], Lost(5, 17), golden_frames()[50]]
    data = MAGIC + b"".join(encode(e) for e in events)
    assert is_trace(data)
    for size in (1, 7, 1000, len(data)):
        decoder = TraceDecoder()
        found = [event for at in range(0, len(data), size) for event in decoder.feed(data[at : at + size])]
        assert found == events


def test_last_record_of_a_trace_that_is_cut_short_is_left_out() -> None:
    data = MAGIC + encode(FRAME) + encode(FRAME)
    for size in range(len(MAGIC) + len(encode(FRAME)), len(data)):
        assert TraceDecoder().feed(data[:size]) == [FRAME]


@pytest.mark.parametrize(
    "data",
    [b"no trace at all", MAGIC + b"\xff\xff\xff\xff", MAGIC + b"\0\0\0\x01\0", MAGIC + b"\0\0\0\x12\x09" + bytes(17)],
)
def test_file_that_is_no_trace_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        TraceDecoder().feed(data)


def test_changed_bytes_of_a_trace_are_read_or_a_protocol_error() -> None:
    data = MAGIC + encode(FRAME) * 3
    random = Random(1)
    for _ in range(300):
        changed = bytearray(data)
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
        try:
            events = TraceDecoder().feed(bytes(changed))
        except ProtocolError:
            continue
        assert len(events) <= 3


def test_capture_holds_every_recorded_frame() -> None:
    found = read_back(capture_of(golden_frames()))
    expected = [
        frame._replace(
            connection="127.0.0.1:9092-127.0.0.1:50000-1",
            data=public(frame.direction, frame.api_key, frame.api_version, frame.data),
        )
        for frame in golden_frames()
    ]
    assert found == expected


@pytest.mark.parametrize("address", ["127.0.0.1", "[2001:db8::1]", "not-an-address"])
def test_capture_has_right_checksums_and_large_frames_in_several_packets(address: str) -> None:
    large = FRAME.data + bytes(100_001)
    frame = FRAME._replace(data=large, connection=f"{address}:9092-{address}:50000-0")
    data = capture_of((frame,))
    packets = 0
    for _, packet in dpkt.pcapng.Reader(io.BytesIO(data)):
        ip = dpkt.ip.IP(packet) if packet[0] >> 4 == 4 else dpkt.ip6.IP6(packet)
        again = bytes(ip)
        ip.data.sum = 0
        if isinstance(ip, dpkt.ip.IP):
            ip.sum = 0
        assert bytes(ip) == packet == again  # dpkt has computed the checksums anew
        packets += 1
    assert packets == 3 + 4
    (found,) = read_back(data)
    assert isinstance(found, TracedFrame)
    assert found.data == large


def links() -> Iterator[tuple[int, bytes, bytes]]:
    """Link types with the bytes before a packet of IPv4 and of IPv6."""
    yield 101, b"", b""
    yield 1, bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd"
    yield 0, b"\x02\0\0\0", b"\x1e\0\0\0"
    yield 113, bytes(14) + b"\x08\x00", bytes(14) + b"\x86\xdd"
    yield 276, b"\x08\x00" + bytes(18), b"\x86\xdd" + bytes(18)


@pytest.mark.parametrize(("link", "v4", "v6"), list(links()))
def test_classic_captures_of_every_link_are_read(link: int, v4: bytes, v6: bytes) -> None:
    for address, head in (("127.0.0.1", v4), ("[::1]", v6)):
        frame = FRAME._replace(connection=f"{address}:9092-{address}:50000-0")
        data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
        for moment, packet in dpkt.pcapng.Reader(io.BytesIO(capture_of((frame,)))):
            size = len(head) + len(packet)
            data += struct.pack("<IIII", int(moment), 0, size, size) + head + packet
        assert is_capture(data)
        (found,) = read_back(data)
        assert isinstance(found, TracedFrame)
        assert found.data == FRAME.data


def test_capture_that_breaks_off_gives_what_came_before() -> None:
    data = capture_of(golden_frames()[:10])
    events = read_capture(Input(io.BytesIO(data[:-20])))
    found = [next(events) for _ in range(9)]
    with pytest.raises(ProtocolError, match="breaks off"):
        next(events)
    assert [event.data for event in found if isinstance(event, TracedFrame)] == [
        frame.data for frame in golden_frames()[:9]
    ]


def test_changed_bytes_of_a_capture_are_read_or_a_protocol_error() -> None:
    data = capture_of(golden_frames()[:6])
    random = Random(2)
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(random.choice((1, 4))):
            changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
        try:
            read_back(bytes(changed[: random.choice((len(data), random.randrange(len(data))))]))
        except ProtocolError:
            continue


def test_recorded_frames_keep_their_order_and_direction() -> None:
    found = [event for event in read_back(capture_of(golden_frames()[:4])) if isinstance(event, TracedFrame)]
    assert [frame.direction for frame in found] == [Direction.REQUEST, Direction.RESPONSE] * 2


def test_frames_that_a_trace_has_lost_are_missing_in_the_capture_made_from_it() -> None:
    writer = PcapngWriter()
    frames = golden_frames()[:6]
    data = writer.header() + b"".join(map(writer.frame, frames[:4]))
    writer.lost()
    events = read_back(data + b"".join(map(writer.frame, frames[4:])))
    assert [event.data for event in events if isinstance(event, TracedFrame)] == [frame.data for frame in frames]
    missing = [event for event in events if isinstance(event, Missing)]
    assert {event.direction for event in missing} == set(Direction)


def test_records_before_one_that_is_wrong_are_given() -> None:
    decoder = TraceDecoder()
    assert len(decoder.feed(MAGIC + encode(FRAME) * 2 + b"\xff" * 8)) == 2
    for _ in range(2):
        with pytest.raises(ProtocolError, match="a record of 4294967295 bytes"):
            decoder.feed(b"")
