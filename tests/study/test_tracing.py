"""A broker that is traced: every request and answer, nothing while nobody looks, nobody held up by who looks."""

import io
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from pykbroker.broker import Broker
from pykbroker.log.files import FilePool, FileSlice, LogFile
from pykbroker.server.dispatch import Dispatcher
from pykbroker.study.frames import FRAME_COST, Frames, LongFrame, Subscription
from pykbroker.study.recorder import Recorder, Sink, TraceLines, record
from pykbroker.study.trace_file import TraceFile
from pykbroker.study.tracing import Tracing, TracingDispatcher
from tests.support.client import Client
from tests.support.running import BACKENDS, running
from wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.records import Record, build_batch
from wire.study.exchanges import Direction, TracedFrame
from wire.study.trace import Lost, TraceDecoder

pytestmark = pytest.mark.anyio


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def produce(value: bytes) -> ProduceRequest:
    batch = bytes(build_batch([Record(timestamp=1, value=value)]))
    return ProduceRequest(
        acks=-1,
        timeout_ms=1000,
        topic_data=[TopicProduceData(name="t", partition_data=[PartitionProduceData(records=batch)])],
    )


def fetch(*, offset: int = 0, wait_ms: int = 0, min_bytes: int = 0, max_bytes: int = 1 << 20) -> FetchRequest:
    partition = FetchPartition(fetch_offset=offset, partition_max_bytes=max_bytes)
    return FetchRequest(
        max_bytes=max_bytes,
        max_wait_ms=wait_ms,
        min_bytes=min_bytes,
        topics=[FetchTopic(topic="t", partitions=[partition])],
    )


async def make_topic(client: Client) -> None:
    request = MetadataRequest(topics=[MetadataRequestTopic(name="t")], allow_auto_topic_creation=True)
    while (await client.ask(request, 9)).topics[0].error_code:
        pass


async def test_every_request_and_answer_is_seen(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await make_topic(client)
        with Tracing(broker).frames.subscription() as seen:
            await client.ask(produce(b"value"), 9)
            answer = await client.ask(fetch(), 11)
            frames = seen.take()
        assert [(frame.api_key, frame.api_version, frame.direction.name) for frame in frames] == [
            (0, 9, "REQUEST"), (0, 9, "RESPONSE"), (1, 11, "REQUEST"), (1, 11, "RESPONSE"),
        ]  # fmt: skip
        assert not [error for frame in frames for error in frame.tree().errors()]
        assert bytes(answer.responses[0].partitions[0].records) in frames[3].data
        assert len({frame.connection for frame in frames}) == 1
        assert frames[0].peer.startswith("127.0.0.1:")
        assert seen.lost == 0


async def test_answer_sent_from_the_file_is_seen_whole(tmp_path: Path) -> None:
    value = bytes(range(256)) * 1024
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await make_topic(client)
        await client.ask(produce(value), 9)
        with Tracing(broker).frames.subscription() as seen:
            answer = await client.ask(fetch(), 11)
            _, traced = seen.take()
        assert value in bytes(answer.responses[0].partitions[0].records)
        assert value in traced.data
        assert not list(traced.tree().errors())


async def test_request_is_seen_as_the_client_sent_it(tmp_path: Path) -> None:
    """The broker stamps the offset into the batch in place."""
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await make_topic(client)
        with Tracing(broker).frames.subscription() as seen:
            for _ in range(2):
                await client.ask(produce(b"value"), 9)
            offsets = [
                node.value for frame in seen.take() for node in frame.tree().walk_all()
                if node.name == "base_offset" and frame.direction is Direction.REQUEST
            ]  # fmt: skip
        assert offsets == [0, 0]


async def test_answer_that_had_to_wait_is_seen(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client, Client.connect(broker) as other:
        await make_topic(client)
        with Tracing(broker).frames.subscription() as seen:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.ask, fetch(wait_ms=20_000, min_bytes=1), 11)
                frames: list[TracedFrame] = []
                while not frames:
                    await seen.wait()
                    frames += seen.take()
                await other.ask(produce(b"value"), 9)
            frames += seen.take()
        assert (frames[0].api_key, frames[0].direction.name) == (1, "REQUEST")
        assert (1, "RESPONSE") in [(frame.api_key, frame.direction.name) for frame in frames]


async def test_nothing_is_in_the_way_while_nobody_looks(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        before = broker.dispatcher
        assert type(before) is Dispatcher
        tracing = Tracing(broker)
        assert broker.dispatcher is before
        with tracing.frames.subscription(), tracing.frames.subscription():
            assert type(broker.dispatcher) is TracingDispatcher
        assert broker.dispatcher is before
        with tracing.frames.subscription() as seen:
            await client.ask(MetadataRequest(), 9)
            assert len(seen.take()) == 2


async def test_answers_of_requests_from_before_are_delivered_but_not_seen(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client, Client.connect(broker) as other:
        await make_topic(client)
        started = broker.metrics.requests_total
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.ask, fetch(wait_ms=20_000, min_bytes=1), 11)
            while broker.metrics.requests_total == started:
                await anyio.lowlevel.checkpoint()
            with Tracing(broker).frames.subscription() as seen:
                await other.ask(produce(b"value"), 9)
                assert {frame.api_key for frame in seen.take()} == {0}


def frame(size: int = 10) -> TracedFrame:
    return TracedFrame(0, "c", "p", Direction.REQUEST, 3, 9, bytes(size))


def test_subscriber_that_does_not_read_loses_frames_and_is_told() -> None:
    subscription = Subscription(3 * (10 + FRAME_COST))
    for _ in range(5):
        subscription.offer(frame())
    assert (len(subscription.take()), subscription.lost) == (3, 2)
    subscription.offer(frame())
    assert (len(subscription.take()), subscription.lost) == (1, 2)


class Slow(Sink):
    """Writes when it is allowed to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.started = threading.Event()
        self.events: list[TracedFrame | Lost] = []

    def write(self, events: Sequence[TracedFrame | Lost]) -> None:
        self.started.set()
        self.go.wait()
        self.events += events

    def close(self) -> None: ...


def test_recorder_that_is_too_slow_says_how_many_it_lost() -> None:
    sink = Slow()
    recorder = Recorder(sink, max_bytes=2 * (10 + FRAME_COST))
    recorder.offer(frame())
    sink.started.wait()  # from here on the thread is busy
    for _ in range(5):
        recorder.offer(frame())
    sink.go.set()
    recorder.close()
    assert [event.count if isinstance(event, Lost) else 1 for event in sink.events] == [1, 1, 4]
    assert isinstance(sink.events[-1], Lost)


class Full(Sink):
    def write(self, events: Sequence[TracedFrame | Lost]) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None: ...


def test_recorder_whose_disk_is_full_gives_up_with_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    frames = Frames()
    with caplog.at_level(logging.ERROR, "pykbroker.study"), record(frames, Full()):
        for _ in range(3):
            frames.publish(frame())
    assert [line.message for line in caplog.records] == ["the trace ends here: [Errno 28] No space left on device"]


async def traced_session(broker: Broker, sink: Sink) -> None:
    async with Client.connect(broker) as client:
        with record(Tracing(broker).frames, sink):
            await client.ask(MetadataRequest(), 9)
            await client.ask(MetadataRequest(), 5)


async def test_trace_file_holds_what_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "broker.trace"
    async with running(tmp_path / "data") as broker:
        await traced_session(broker, TraceFile(path))
    events = TraceDecoder().feed(path.read_bytes())
    versions = [(event.api_version, event.direction.name) for event in events if isinstance(event, TracedFrame)]
    assert versions == [(9, "REQUEST"), (9, "RESPONSE"), (5, "REQUEST"), (5, "RESPONSE")]


async def test_lines_are_one_for_a_frame_and_trees_where_they_are_wanted(tmp_path: Path) -> None:
    plain, expanded = io.StringIO(), io.StringIO()
    async with running(tmp_path / "data") as broker:
        await traced_session(broker, TraceLines(plain))
        await traced_session(broker, TraceLines(expanded, expanded=(3,)))
    assert [line.split()[3:6] for line in plain.getvalue().splitlines()] == [
        [">", "Metadata", "v9"], ["<", "Metadata", "v9"], [">", "Metadata", "v5"], ["<", "Metadata", "v5"],
    ]  # fmt: skip
    assert "api_key: int16 = 3  Metadata" in expanded.getvalue()


async def test_large_requests_are_recorded_as_the_client_sent_them(tmp_path: Path) -> None:
    """Their memory is used again, by the connection and by the recorder."""
    path = tmp_path / "broker.trace"
    values = [bytes([number]) * (200_000 + number) for number in range(1, 101)]
    async with running(tmp_path / "data") as broker, Client.connect(broker) as client:
        await make_topic(client)
        with record(Tracing(broker).frames, TraceFile(path)):
            for value in values:
                assert not (await client.ask(produce(value), 9)).responses[0].partition_responses[0].error_code
    events = TraceDecoder().feed(path.read_bytes())
    asked = [event for event in events if isinstance(event, TracedFrame) and event.direction is Direction.REQUEST]
    assert len(asked) == len(values)
    assert all(value in frame.data for value, frame in zip(values, asked, strict=True))
    assert {node.value for frame in asked for node in frame.tree().walk_all() if node.name == "base_offset"} == {
        0
    }  # stamped only after the copy


async def test_answer_larger_than_the_window_is_recorded_whole(tmp_path: Path) -> None:
    path = tmp_path / "broker.trace"
    value = bytes(range(256)) * 12_000
    async with running(tmp_path / "data") as broker, Client.connect(broker) as client:
        await make_topic(client)
        for _ in range(2):
            await client.ask(produce(value), 9)
        with record(Tracing(broker).frames, TraceFile(path)):
            answer = await client.ask(fetch(max_bytes=16 << 20), 11)
            await client.ask(MetadataRequest(), 9)
    records = bytes(answer.responses[0].partitions[0].records)
    assert records.count(value) == 2
    events = [event for event in TraceDecoder().feed(path.read_bytes()) if isinstance(event, TracedFrame)]
    assert [event.api_key for event in events] == [1, 1, 3, 3]
    assert records in events[1].data
    assert not list(events[1].tree().errors())


def test_slice_whose_file_became_shorter_is_filled_up(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "segment"), FilePool(1))
    file.write_at(0, b"abcdef")
    long = LongFrame(frame(4), [FileSlice(file.open(), 0, 6), b"end"])
    file.truncate(2)
    path = tmp_path / "broker.trace"
    with record(frames := Frames(), TraceFile(path)):
        frames.publish(long)
        frames.publish(frame())
    first, second = TraceDecoder().feed(path.read_bytes())
    assert isinstance(first, TracedFrame)
    assert first.data == long.whole().data == bytes(4) + b"ab\0\0\0\0end"
    assert second == frame()
