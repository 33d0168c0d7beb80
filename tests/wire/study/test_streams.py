"""TCP streams put together from segments: as they were sent, whatever the capture did to them."""

from collections.abc import Iterable, Sequence
from random import Random

import pytest

from wire.frame import RequestHeader, encode_request, encode_response
from wire.messages.classic_groups import HeartbeatRequest, HeartbeatResponse
from wire.study import streams as streams_module
from wire.study.exchanges import Direction, TracedFrame
from wire.study.streams import SYN, Missing, Segment, Streams

CLIENT, BROKER = ("10.0.0.1", 50000), ("10.0.0.2", 9092)


def request(number: int, size: int = 10) -> bytes:
    return encode_request(RequestHeader(12, 4, number, "me"), HeartbeatRequest(group_id="g" * size))


def answer(number: int) -> bytes:
    return b"".join(encode_response(12, 4, number, HeartbeatResponse()))  # type: ignore[arg-type]


def sent(data: bytes, sequence: int, *, acknowledged: int = 0, by_client: bool = True) -> Segment:
    source, target = (CLIENT, BROKER) if by_client else (BROKER, CLIENT)
    return Segment(0, source, target, sequence & 0xFFFFFFFF, acknowledged, 16, data)


def syn(sequence: int = 0) -> Segment:
    return Segment(0, CLIENT, BROKER, sequence, None, SYN, b"")


def read(segments: Iterable[Segment], ports: Sequence[int] = (9092,)) -> tuple[list[TracedFrame], list[Missing]]:
    streams = Streams(ports)
    events = [event for segment in segments for event in streams.feed(segment)]
    events += streams.close(0)
    frames = [event for event in events if isinstance(event, TracedFrame)]
    return frames, [event for event in events if isinstance(event, Missing)]


def ids(frames: list[TracedFrame]) -> list[int | None]:
    return [frame.correlation_id for frame in frames]


def cut(data: bytes, sequence: int, size: int) -> list[Segment]:
    return [sent(data[at : at + size], sequence + at) for at in range(0, len(data), size)]


def test_frames_are_cut_out_of_segments_of_any_size() -> None:
    data = b"".join(map(request, range(10)))
    for size in (1, 3, 50, 1000):
        frames, missing = read([syn(), *cut(data, 1, size)])
        assert ids(frames) == list(range(10))
        assert not missing
        assert b"".join(len(frame.data).to_bytes(4, "big") + frame.data for frame in frames) == data


def test_sequence_numbers_wrap() -> None:
    start = 0xFFFFFFFF - 20
    data = b"".join(map(request, range(5)))
    frames, missing = read([syn(start), *cut(data, start + 1, 7)])
    assert ids(frames) == list(range(5))
    assert not missing


@pytest.mark.parametrize("seed", range(20))
def test_disorder_and_repetition_change_nothing(seed: int) -> None:
    random = Random(seed)
    data = b"".join(map(request, range(20)))
    segments = cut(data, 1, 40)
    for _ in range(8):  # repeated as they were, and at other boundaries
        at = random.randrange(len(data) - 60)
        segments.insert(random.randrange(len(segments)), sent(data[at : at + random.randrange(1, 60)], 1 + at))
    for _ in range(10):
        at = random.randrange(len(segments) - 1)
        segments[at], segments[at + 1] = segments[at + 1], segments[at]
    frames, missing = read([syn(), *segments])
    assert ids(frames) == list(range(20))
    assert not missing


def test_answers_are_known_by_what_they_answer() -> None:
    frames, _ = read([syn(), sent(request(7), 1), sent(answer(7), 500, by_client=False)])
    assert [(frame.direction, frame.api_key, frame.api_version) for frame in frames] == [
        (Direction.REQUEST, 12, 4),
        (Direction.RESPONSE, 12, 4),
    ]
    assert frames[0].connection == "10.0.0.2:9092-10.0.0.1:50000-1"


def test_gap_is_told_and_frames_are_found_again_behind_it() -> None:
    requests = [request(number) for number in range(6)]
    positions = [1 + sum(map(len, requests[:number])) for number in range(6)]
    segments = [sent(data, at) for data, at in zip(requests, positions, strict=True)]
    del segments[2]
    frames, missing = read([syn(), *segments])
    assert ids(frames) == [0, 1, 3, 4, 5]
    assert [gap.count for gap in missing] == [len(requests[2])]


def test_gap_that_the_receiver_has_acknowledged_holds_nothing_up() -> None:
    first, lost, third = request(1), request(2), request(3)
    streams = Streams()
    events: list[TracedFrame | Missing] = []
    position = 1 + len(first) + len(lost)
    acknowledgement = sent(b"", 500, acknowledged=position + len(third), by_client=False)
    for segment in (syn(), sent(first, 1), sent(third, position), acknowledgement):
        events += streams.feed(segment)
    assert [event.correlation_id for event in events if isinstance(event, TracedFrame)] == [1, 3]


def test_frame_with_a_hole_is_not_made_up() -> None:
    data = request(1, 200) + request(2)
    frames, missing = read(
        [syn(), sent(data[:50], 1), sent(data[100:150], 101), sent(data[150:], 151), sent(request(3), 1 + len(data))]
    )
    assert 1 not in ids(frames)
    assert ids(frames)[-1] == 3
    assert missing


def test_capture_that_begins_in_the_middle_finds_the_next_frames() -> None:
    requests = [request(number) for number in range(4)]
    data = b"".join(requests)
    frames, missing = read(
        [
            sent(data[10:20], 11),
            sent(data[20 : len(requests[0])], 21),
            *(sent(one, 1 + sum(map(len, requests[:number]))) for number, one in enumerate(requests) if number),
            sent(answer(1)[5:], 900, by_client=False),
            sent(answer(3), 900 + len(answer(1)) - 5, by_client=False),
        ]
    )
    assert [(frame.direction.name, frame.correlation_id) for frame in frames] == [
        ("REQUEST", 1), ("REQUEST", 2), ("REQUEST", 3), ("RESPONSE", 3),
    ]  # fmt: skip
    assert sum(gap.count for gap in missing) == len(requests[0]) - 10 + len(answer(1)) - 5


def test_client_is_recognized_without_syn_and_without_its_ports() -> None:
    for ports, first in (((9092,), sent(answer(1), 1, by_client=False)), ((), sent(request(1), 1))):
        frames, _ = read([first, sent(request(2), 900)], ports)
        assert frames[-1].direction is Direction.REQUEST
        assert frames[-1].correlation_id == 2


def test_ports_used_again_are_another_connection() -> None:
    frames, missing = read([syn(), sent(request(1), 1), syn(7000), sent(request(2), 7001)])
    assert ids(frames) == [1, 2]
    assert len({frame.connection for frame in frames}) == 2
    assert not missing


def test_what_is_kept_of_a_stream_with_a_gap_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "MAX_PENDING_BYTES", 2000)
    streams = Streams()
    list(streams.feed(syn()))
    events: list[TracedFrame | Missing] = []
    position = 5000  # everything before is missing
    for number in range(100):
        events += streams.feed(sent(request(number), position))
        position += len(request(number))
    assert isinstance(events[0], Missing)
    assert len([event for event in events if isinstance(event, TracedFrame)]) > 90


def test_size_that_cannot_be_is_left_out() -> None:
    frames, missing = read([syn(), sent(b"\xff\xff\xff\xff" + bytes(20), 1), sent(request(1), 25)])
    assert ids(frames) == [1]
    assert [gap.count for gap in missing] == [24]
