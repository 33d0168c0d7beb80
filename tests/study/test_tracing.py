"""A broker that is traced: every request and answer, nothing while nobody looks, nobody held up by who looks."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from pykbroker.log.files import FilePool, FileSlice, LogFile
from pykbroker.server.dispatch import Dispatcher, take_out
from pykbroker.study.frames import FRAME_COST, FrameKind, Frames, Subscription
from pykbroker.study.tracing import Tracing, TracingDispatcher, joined
from tests.support.client import Client
from tests.support.running import BACKENDS, running
from wire.frame import RequestHeader, encode_request
from wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.raft import EnvelopeRequest
from wire.records import Record, build_batch
from wire.study.exchanges import Direction, TracedFrame
from wire.study.trace import Source

pytestmark = pytest.mark.anyio

FETCHED = FrameKind(Direction.RESPONSE, 1, 11)


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


async def test_all_who_trace_a_broker_share_a_dispatcher(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        before = broker.dispatcher
        with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
            one = first.enter_context(Tracing(broker).frames.subscription())
            other = second.enter_context(Tracing(broker).frames.subscription())
            assert isinstance(broker.dispatcher, TracingDispatcher)
            assert broker.dispatcher.inner is before
            await client.ask(MetadataRequest(), 9)
            assert [frame.data for frame in one.take()] == [frame.data for frame in other.take()]
            first.close()
            await client.ask(MetadataRequest(), 9)
            assert (len(one.take()), len(other.take())) == (0, 2)
        assert broker.dispatcher is before


async def test_dispatchers_leave_in_any_order(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        before = broker.dispatcher
        with Tracing(broker).frames.subscription():
            later = broker.dispatcher = TracingDispatcher(broker.dispatcher, Frames())
        assert broker.dispatcher is later
        assert later.inner is before
        await client.ask(MetadataRequest(), 9)
        take_out(broker, later)
        assert broker.dispatcher is before


async def test_nested_envelopes_are_not_the_brokers_bug(tmp_path: Path) -> None:
    data = b""
    for _ in range(400):
        data = encode_request(RequestHeader(58, 0, 1, "me"), EnvelopeRequest(request_data=data))[4:]
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        with Tracing(broker).frames.subscription() as seen:
            await client.send(EnvelopeRequest(request_data=data), version=0)
            with pytest.raises(EOFError):
                await client.receive()
            (frame,) = seen.take()
        assert frame.api_key == 58
        assert data[:8] not in frame.data[8:]
        assert broker.metrics.bugs_total == 0


def traced_frame(size: int = 10, number: int = 0) -> TracedFrame:
    return TracedFrame(number, "c", "p", Direction.REQUEST, 3, 9, bytes(size))


@contextlib.contextmanager
def subscribed(subscription: Subscription) -> Iterator[Frames]:
    frames = Frames()
    frames.add(subscription)
    yield frames


def test_subscriber_that_does_not_read_loses_frames_and_is_told() -> None:
    for subscription in (Subscription(3 * (10 + FRAME_COST)), Subscription(1 << 20, max_frames=3)):
        with subscribed(subscription) as frames:
            for _ in range(5):
                frames.publish(traced_frame())
            assert (len(subscription.take()), subscription.lost) == (3, 2)
            frames.publish(traced_frame())
            assert (len(subscription.take()), subscription.lost) == (1, 2)


def test_subscriber_keeps_the_start_of_a_large_frame_and_says_so(tmp_path: Path) -> None:
    subscription = Subscription(100, max_frame_bytes=2000)  # an only frame is taken in any case
    piece = slice_of(tmp_path, b"abc" * 10_000, 3000, 20_000)
    source = Source("c", "p")
    with subscribed(subscription) as frames:
        frames.offer(source, 1, FETCHED, b"start", [b"more", piece])
        frames.offer(source, 2, FETCHED, b"start", [b"more", piece])
    (frame,) = subscription.take()
    assert frame.data == (b"startmore" + b"abc" * 1000)[:2000]
    assert frame.missing_bytes == 5 + 4 + 20_000 - 2000
    assert [node.error for node in frame.tree().errors()] == ["18,009 bytes more, which were not kept"]
    assert subscription.lost == 1


def slice_of(tmp_path: Path, content: bytes, position: int, length: int) -> FileSlice:
    file = LogFile(str(tmp_path / "segment"), FilePool(1))
    file.write_at(0, content)
    return FileSlice(file.open(), position, length)


def test_slices_that_are_not_there_at_once_stay_slices(tmp_path: Path) -> None:
    there, beyond = slice_of(tmp_path, b"abcdef", 1, 3), slice_of(tmp_path, b"abcdef", 4, 3)
    assert joined([b"1", there, b"2"]) == b"1bcd2"
    assert joined([b"1", beyond, beyond, b"2", b"3"]) == [b"1", beyond, beyond, b"23"]
