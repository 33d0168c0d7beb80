"""Answers as a connection sends them: in order although some wait, and bounded for a client that does not read."""

import errno
import logging
import socket
from pathlib import Path
from struct import pack

import attrs
import pytest

from pykbroker.broker import Broker
from pykbroker.clock import SimulatedClock
from pykbroker.cluster.image import PartitionImage
from pykbroker.replication.partition import Partition
from pykbroker.server.connection import MAX_OUTSTANDING, MAX_UNSENT_BYTES
from tests.support.client import (
    Client,
    base_offset_of,
    create_topic,
    fetch_of,
    partition_of,
    produce_of,
    values_of,
)
from tests.support.running import have_started, running, until
from wire.errors import ErrorCode
from wire.messages.brokers import ApiVersionsRequest
from wire.messages.classic_groups import JoinGroupRequest, JoinGroupRequestProtocol
from wire.messages.configs import DescribeConfigsRequest, DescribeConfigsResource
from wire.messages.metadata import FindCoordinatorRequest, MetadataRequest

pytestmark = pytest.mark.anyio

VERSIONS = ApiVersionsRequest("test", "1.0")
TOPIC = "lines"
JOIN = JoinGroupRequest(
    group_id="readers",
    session_timeout_ms=10_000,
    rebalance_timeout_ms=60_000,
    protocol_type="consumer",
    protocols=[JoinGroupRequestProtocol("range", b"metadata")],
)
ALL_CONFIGS = DescribeConfigsRequest(
    [DescribeConfigsResource(4, "1")], include_synonyms=True, include_documentation=True
)


# Order


async def test_answers_wait_behind_a_fetch_that_waits(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock) as broker,
        Client.connect(broker) as client,
        Client.connect(broker) as producer,
    ):
        await create_topic(producer, TOPIC)
        started = have_started(broker, 4)
        await client.send_bytes(
            client.encode(fetch_of(TOPIC, max_wait_ms=10_000), 12)
            + client.encode(VERSIONS, 3)
            + client.encode(MetadataRequest([]), 9)
            + client.encode(fetch_of(TOPIC), 12)
        )
        await until(started)
        clock.advance(9_999)
        assert not client.has_received()
        await producer.ask(produce_of(TOPIC, b"woken"), 9)
        assert values_of(await client.receive()) == [b"woken"]
        assert (await client.receive()).error_code == 0
        assert (await client.receive()).brokers
        assert values_of(await client.receive()) == []  # it was read before the record was there


async def test_answers_wait_behind_a_join(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock) as broker, Client.connect(broker) as client:
        await open_group(client)
        started = have_started(broker, 3)
        await client.send(JOIN, version=3)
        await client.send(VERSIONS, VERSIONS, version=3)
        await until(started)
        clock.advance(2_999)  # group.initial.rebalance.delay.ms
        assert not client.has_received()
        clock.advance(1)
        joined = await client.receive()
        assert (joined.error_code, joined.generation_id) == (0, 1)
        assert (await client.receive()).error_code == 0
        assert (await client.receive()).error_code == 0


async def test_answers_wait_behind_a_produce_that_waits_for_replicas(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        partition = partition_of(broker, TOPIC)
        # With a replica that fetches nothing.
        partition.apply(PartitionImage(1, partition.leader_epoch, partition.partition_epoch + 1, (1, 2), (1, 2)))
        started = have_started(broker, 3)
        await client.send(
            produce_of(TOPIC, b"all", acks=-1), produce_of(TOPIC, b"one"), produce_of(TOPIC, b"all", acks=-1), version=9
        )
        await until(started)
        clock.advance(1_499)
        assert not client.has_received()
        clock.advance(1)
        (answer,) = (await client.receive()).responses[0].partition_responses
        assert answer.error_code == ErrorCode.REQUEST_TIMED_OUT
        assert base_offset_of(await client.receive()) == 1
        (answer,) = (await client.receive()).responses[0].partition_responses
        assert answer.error_code == ErrorCode.REQUEST_TIMED_OUT


async def test_answers_that_become_ready_out_of_order_leave_in_order(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        started = have_started(broker, 3)
        await client.send(*(fetch_of(TOPIC, max_wait_ms=wait) for wait in (300, 100, 200)), version=12)
        await until(started)
        clock.advance(299)
        assert not client.has_received()
        clock.advance(1)
        for _ in range(3):
            assert values_of(await client.receive()) == []


async def test_requests_beyond_the_bound_go_on_when_a_produce_among_them_wakes_the_rest(tmp_path: Path) -> None:
    # All in one buffer: the bound holds when the produce is started, and no more when its signal has been told.
    async with running(tmp_path, clock=SimulatedClock()) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        frames = [client.encode(fetch_of(TOPIC, max_wait_ms=60_000), 12) for _ in range(MAX_OUTSTANDING - 1)]
        frames.append(client.encode(produce_of(TOPIC, b"woken"), 9))
        frames += [client.encode(VERSIONS, 3) for _ in range(50)]
        await client.send_bytes(b"".join(frames))
        for _ in range(MAX_OUTSTANDING - 1):
            assert values_of(await client.receive()) == [b"woken"]
        assert base_offset_of(await client.receive()) == 0
        for _ in range(50):
            assert (await client.receive()).error_code == 0


async def test_requests_behind_many_that_wait_are_not_started_before_their_turn(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        started = have_started(broker, MAX_OUTSTANDING)
        finished = have_started(broker, 2 * MAX_OUTSTANDING + 10)
        waiting = [client.encode(fetch_of(TOPIC, max_wait_ms=1000), 12) for _ in range(2 * MAX_OUTSTANDING)]
        await client.send_bytes(b"".join(waiting))
        await client.send(*[VERSIONS] * 10, version=3)
        await until(started)
        clock.advance(999)
        assert started()
        clock.advance(1)
        for _ in range(MAX_OUTSTANDING):
            assert values_of(await client.receive()) == []
        await until(lambda: broker.metrics.requests_total == MAX_OUTSTANDING * 2 + 1)
        clock.advance(1000)
        for _ in range(MAX_OUTSTANDING):
            assert values_of(await client.receive()) == []
        for _ in range(10):
            assert (await client.receive()).error_code == 0
        assert finished()


# Waiting fetches


async def test_waiting_fetch_is_woken_by_a_produce_on_another_connection(tmp_path: Path) -> None:
    async with (
        running(tmp_path, clock=SimulatedClock()) as broker,
        Client.connect(broker) as reader,
        Client.connect(broker) as producer,
    ):
        await create_topic(producer, TOPIC)
        for number in range(5):
            started = have_started(broker, 1)
            await reader.send(fetch_of(TOPIC, number, max_wait_ms=60_000), version=12)
            await until(started)
            assert partition_of(broker, TOPIC).high_watermark_moved.subscribers == 1
            await producer.ask(produce_of(TOPIC, b"%d" % number), 9)
            assert values_of(await reader.receive()) == [b"%d" % number]
            assert partition_of(broker, TOPIC).high_watermark_moved.subscribers == 0


async def test_waiting_fetch_is_answered_with_all_that_one_packet_brought(tmp_path: Path) -> None:
    async with (
        running(tmp_path, clock=SimulatedClock()) as broker,
        Client.connect(broker) as reader,
        Client.connect(broker) as producer,
    ):
        await create_topic(producer, TOPIC)
        started = have_started(broker, 1)
        await reader.send(fetch_of(TOPIC, max_wait_ms=60_000), version=12)
        await until(started)
        values = [b"%d" % number for number in range(60)]
        await producer.send(*(produce_of(TOPIC, value) for value in values), version=9)
        assert values_of(await reader.receive()) == values


async def test_waiting_fetch_waits_for_min_bytes(tmp_path: Path) -> None:
    async with (
        running(tmp_path, clock=SimulatedClock()) as broker,
        Client.connect(broker) as reader,
        Client.connect(broker) as producer,
    ):
        await create_topic(producer, TOPIC)
        started = have_started(broker, 1)
        await reader.send(fetch_of(TOPIC, max_wait_ms=60_000, min_bytes=2500), version=12)
        await until(started)
        for _ in range(2):
            await producer.ask(produce_of(TOPIC, bytes(1000)), 9)
            assert not reader.has_received()
        await producer.ask(produce_of(TOPIC, bytes(1000)), 9)
        assert values_of(await reader.receive()) == [bytes(1000)] * 3


async def test_waiting_fetch_is_answered_with_less_than_min_bytes_after_max_wait(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock) as broker,
        Client.connect(broker) as reader,
        Client.connect(broker) as producer,
    ):
        await create_topic(producer, TOPIC)
        started = have_started(broker, 1)
        await reader.send(fetch_of(TOPIC, max_wait_ms=500, min_bytes=2500), version=12)
        await until(started)
        await producer.ask(produce_of(TOPIC, b"little"), 9)
        clock.advance(499)
        assert not reader.has_received()
        clock.advance(1)
        assert values_of(await reader.receive()) == [b"little"]
        assert partition_of(broker, TOPIC).high_watermark_moved.subscribers == 0


async def test_fetch_on_the_system_clock_is_answered_after_max_wait(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        before = broker.clock.monotonic_ms()
        assert values_of(await client.ask(fetch_of(TOPIC, max_wait_ms=30), 12)) == []
        assert broker.clock.monotonic_ms() - before >= 30


# Clients that leave


async def test_fetch_of_a_client_that_left_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path, clock=SimulatedClock()) as broker, Client.connect(broker) as other:
        await create_topic(other, TOPIC)
        signal = partition_of(broker, TOPIC).high_watermark_moved
        async with Client.connect(broker) as client:
            await client.send(*[fetch_of(TOPIC, max_wait_ms=60_000)] * 3, version=12)
            await until(lambda: signal.subscribers == 3)
        await until(lambda: broker.metrics.connections == 1)
        assert signal.subscribers == 0
        assert base_offset_of(await other.ask(produce_of(TOPIC, b"nobody waits"), 9)) == 0


async def test_join_of_a_client_that_left_is_forgotten(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock) as broker, Client.connect(broker) as other:
        await open_group(other)
        async with Client.connect(broker) as client:
            started = have_started(broker, 1)
            await client.send(JOIN, version=3)
            await until(started)
        await until(lambda: broker.metrics.connections == 1)
        clock.advance(3_000)  # the rebalance ends: there is nobody to tell
        assert (await other.ask(VERSIONS, 3)).error_code == 0


async def test_reset_while_answers_wait_is_no_bug(tmp_path: Path) -> None:
    async with running(tmp_path, clock=SimulatedClock()) as broker, Client.connect(broker) as other:
        await create_topic(other, TOPIC)
        signal = partition_of(broker, TOPIC).high_watermark_moved
        async with Client.connect(broker) as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
            await client.send(fetch_of(TOPIC, max_wait_ms=60_000), version=12)
            await until(lambda: signal.subscribers == 1)
        await until(lambda: broker.metrics.connections == 1)
        assert signal.subscribers == 0


async def test_client_that_leaves_a_large_answer_unread_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as other:
        await create_topic(other, TOPIC)
        await other.ask(produce_of(TOPIC, bytes(8 * 1024 * 1024)), 9)
        async with Client.connect(broker, receive_buffer=4096) as client:
            sent = broker.metrics.bytes_out_total
            await client.send_bytes(client.encode(fetch_of(TOPIC), 12) + client.encode(VERSIONS, 3))
            await until(lambda: broker.metrics.bytes_out_total > sent)
        await until(lambda: broker.metrics.connections == 1)
        assert (await other.ask(VERSIONS, 3)).error_code == 0


# acks=0


async def test_produce_without_acks_is_not_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        await client.send_bytes(client.encode(produce_of(TOPIC, b"unanswered", acks=0), 9, answered=False))
        assert (await client.ask(VERSIONS, 3)).error_code == 0
        assert values_of(await client.ask(fetch_of(TOPIC), 12)) == [b"unanswered"]


async def test_failed_produce_without_acks_closes_the_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="pykbroker.server"):
        async with running(tmp_path) as broker, Client.connect(broker) as client:
            await create_topic(client, TOPIC)
            frame = client.encode(produce_of(TOPIC, b"nowhere", acks=0, partition=7), 9, answered=False)
            await client.send_bytes(client.encode(VERSIONS, 3) + frame + client.encode(VERSIONS, 3))
            assert (await client.receive()).error_code == 0
            assert await client.is_closed()
            assert broker.metrics.protocol_errors_total == 0
    assert ["UNKNOWN_TOPIC_OR_PARTITION" in record.getMessage() for record in caplog.records] == [True]


# Sending


@pytest.mark.parametrize(
    ("request_", "pipelined"), [(VERSIONS, 4_000), (ALL_CONFIGS, 300)], ids=["small-answers", "large-answers"]
)
async def test_client_that_never_reads_costs_bounded_memory(
    tmp_path: Path, request_: ApiVersionsRequest | DescribeConfigsRequest, pipelined: int
) -> None:
    async with running(tmp_path, socket_send_buffer_bytes="65536") as broker, Client.connect(broker) as other:
        metrics = broker.metrics
        answer_bytes = await bytes_of_answer(broker, other, request_)
        others_bytes = await bytes_of_answer(broker, other, VERSIONS)
        async with Client.connect(broker, receive_buffer=4096) as client:
            stream = b"".join(client.encode(request_, 3) for _ in range(pipelined))
            started, out = metrics.requests_total, metrics.bytes_out_total
            sent = asked = handled = 0
            while True:  # until neither side takes any more
                taken = client.send_some(stream[sent:]) if sent < len(stream) else 0
                for _ in range(3):
                    assert (await other.ask(VERSIONS, 3)).error_code == 0
                asked += 3
                handled, before = metrics.requests_total - started - asked, handled
                sent += taken
                if not taken and handled == before > 0:
                    break
            assert handled < pipelined * 0.75
            held = handled * answer_bytes - (metrics.bytes_out_total - out - asked * others_bytes)
            assert 0 < held <= MAX_UNSENT_BYTES + answer_bytes
            # Whoever reads at last misses nothing.
            for number in range(min(handled + 100, sent * pipelined // len(stream))):
                frame = await client.receive_frame()
                assert int.from_bytes(frame[:4], "big") == number + 1


async def bytes_of_answer(broker: Broker, client: Client, request: object) -> int:
    before = broker.metrics.bytes_out_total
    await client.ask(request, 3)
    return broker.metrics.bytes_out_total - before


async def test_slow_reader_gets_a_large_fetch_byte_for_byte(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as producer:
        await create_topic(producer, TOPIC)
        values = [bytes([number]) * (1024 * 1024 + number) for number in range(8)]
        for value in values:
            await producer.ask(produce_of(TOPIC, value), 9)
        async with Client.connect(broker, receive_buffer=64 * 1024) as reader:
            await reader.send(fetch_of(TOPIC), version=12)
            await reader.send(VERSIONS, version=3)
            await reader.send(fetch_of(TOPIC, 7), version=12)
            assert values_of(await reader.receive()) == values
            assert (await reader.receive()).error_code == 0
            assert values_of(await reader.receive()) == values[7:]
        assert (await producer.ask(VERSIONS, 3)).error_code == 0


async def test_fetch_of_several_partitions_mixes_memory_and_files(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC, partitions=6)
        values = {partition: b"%d" % partition * (10 ** (partition + 1)) for partition in range(6)}
        for partition, value in values.items():
            await client.ask(produce_of(TOPIC, value, partition=partition), 9)
        fetches = [fetch_of(TOPIC, partition=partition) for partition in values]
        request = fetches[0]
        request.topics[0].partitions = [fetch.topics[0].partitions[0] for fetch in fetches]
        answer = await client.ask(request, 12)
        (topic,) = answer.responses
        for data in topic.partitions:
            one = attrs.evolve(answer, responses=[attrs.evolve(topic, partitions=[data])])
            assert values_of(one) == [values[data.partition_index]]


# Bugs


async def test_bug_in_a_waiting_answer_is_answered_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock, bugs=1) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        started = have_started(broker, 2)
        await client.send(fetch_of(TOPIC, max_wait_ms=100), version=12)
        await client.send(VERSIONS, version=3)
        await until(started)

        def fail(*args: object, **options: object) -> None:
            raise ValueError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr(Partition, "read", fail)
            clock.advance(100)
        assert (await client.receive()).error_code == ErrorCode.UNKNOWN_SERVER_ERROR
        assert (await client.receive()).error_code == 0
        assert values_of(await client.ask(fetch_of(TOPIC), 12)) == []


async def test_bug_in_one_waiter_harms_neither_the_producer_nor_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running(tmp_path, clock=SimulatedClock(), bugs=1) as broker,
        Client.connect(broker) as reader,
        Client.connect(broker) as producer,
    ):
        await create_topic(producer, TOPIC)
        partition = partition_of(broker, TOPIC)

        def fail() -> None:
            raise ValueError("a bug")

        partition.high_watermark_moved.subscribe(fail)
        started = have_started(broker, 1)
        await reader.send(fetch_of(TOPIC, max_wait_ms=60_000), version=12)
        await until(started)
        assert base_offset_of(await producer.ask(produce_of(TOPIC, b"woken"), 9)) == 0
        assert values_of(await reader.receive()) == [b"woken"]


async def test_bug_in_a_timer_ends_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, bugs=1) as broker, Client.connect(broker) as client:

        def fail() -> None:
            raise ValueError("a bug")

        broker.clock.call_later(0, fail)
        await until(lambda: broker.metrics.bugs_total == 1)
        assert (await client.ask(VERSIONS, 3)).error_code == 0


async def test_disk_error_while_sending_closes_that_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client, Client.connect(broker) as other:
        await create_topic(other, TOPIC)
        await other.ask(produce_of(TOPIC, bytes(100_000)), 9)

        def fail(*args: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr("os.sendfile", fail)
            sent = broker.metrics.bytes_out_total
            await client.send_bytes(client.encode(fetch_of(TOPIC), 12) + client.encode(VERSIONS, 3))
            with pytest.raises(EOFError):
                await client.receive()
            assert broker.metrics.bytes_out_total - sent < 200  # the head of the answer, and nothing after it
        assert values_of(await other.ask(fetch_of(TOPIC), 12)) == [bytes(100_000)]
    assert ["Input/output error" in record.getMessage() for record in caplog.records] == [True]


async def open_group(client: Client) -> None:
    """Have the groups' topic made, and its partition loaded."""
    answer = await client.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=["readers"]), 6)
    assert answer.coordinators[0].error_code in (0, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    while (
        (await client.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=["readers"]), 6))
        .coordinators[0]
        .error_code
    ):
        pass
