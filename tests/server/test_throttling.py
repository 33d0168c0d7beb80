"""Clients beyond their quotas: answered at once, then not read for as long as the answer says."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pykbroker.broker import Broker
from pykbroker.clock import SimulatedClock
from tests.support.client import Client, create_topic, fetch_of, produce_of, stays_silent
from tests.support.running import running, until
from wire.errors import ErrorCode
from wire.messages.brokers import ApiVersionsRequest
from wire.messages.fetch import FetchRequest, ReplicaState
from wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from wire.messages.quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntityData,
    AlterClientQuotasRequestEntryData,
    OpData,
)
from wire.messages.topics import CreatableTopic, CreateTopicsRequest, DeleteTopicsRequest, DeleteTopicState

pytestmark = pytest.mark.anyio

VERSIONS = ApiVersionsRequest("test", "1.0")
TOPIC = "lines"
PRODUCE_VERSION, FETCH_VERSION = 9, 12
CLIENT_ID = "test"  # of the plain client


async def set_quota(client: Client, key: str, value: float | None, *, client_id: str | None = CLIENT_ID) -> None:
    op = OpData(key, value or 0.0, remove=value is None)
    entity = AlterClientQuotasRequestEntityData("client-id", client_id)
    answer = await client.ask(AlterClientQuotasRequest([AlterClientQuotasRequestEntryData([entity], [op])]), 1)
    assert answer.entries[0].error_code == 0


@contextlib.asynccontextmanager
async def two_clients(tmp_path: Path) -> AsyncIterator[tuple[Broker, Client, Client, SimulatedClock]]:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock) as broker,
        Client.connect(broker) as client,
        Client.connect(broker) as other,
    ):
        yield broker, client, other, clock


class SlowClock(SimulatedClock):
    """Time passes whenever somebody looks at it, so that a handler takes some."""

    step_ms = 0.0

    def monotonic_ms(self) -> float:
        self._elapsed_ms += self.step_ms
        return super().monotonic_ms()


async def test_producer_beyond_its_quota_is_answered_and_muted_for_the_time_it_is_told(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (_, client, other, clock):
        await create_topic(client, TOPIC)
        await set_quota(client, "producer_byte_rate", 100.0)
        request = produce_of(TOPIC, b"x" * 2000)
        size = len(client.encode(request, PRODUCE_VERSION, answered=False)) - 4
        answer = await client.ask(request, PRODUCE_VERSION)
        assert answer.responses[0].partition_responses[0].error_code == 0
        throttle_ms = answer.throttle_time_ms
        assert throttle_ms == round((size / 10 - 100) / 100 * 10_000)
        await client.send(VERSIONS, version=3)
        assert await stays_silent(client, other)
        clock.advance(throttle_ms - 1)
        assert await stays_silent(client, other)
        clock.advance(1)
        assert (await client.receive()).error_code == 0


async def test_requests_behind_a_throttled_one_are_not_started(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (broker, client, other, clock):
        await create_topic(client, TOPIC)
        await set_quota(client, "producer_byte_rate", 100.0)
        first = client.encode(produce_of(TOPIC, b"x" * 2000), PRODUCE_VERSION)
        await client.send_bytes(first + b"".join(client.encode(VERSIONS, 3) for _ in range(3)))
        throttle_ms = (await client.receive()).throttle_time_ms
        started = broker.metrics.requests_total
        await stays_silent(client, other)
        assert broker.metrics.requests_total == started + 20
        clock.advance(throttle_ms)
        for _ in range(3):
            assert (await client.receive()).error_code == 0


async def test_longest_of_several_waits_counts(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (broker, client, other, clock):
        await create_topic(client, TOPIC, partitions=1)
        await set_quota(client, "consumer_byte_rate", 10.0)
        fetches = [fetch_of(TOPIC, 0, max_wait_ms=60_000) for _ in range(2)]
        await client.send(*fetches, version=FETCH_VERSION)  # both are started and wait
        await until(lambda: broker.metrics.requests_total >= 4)
        await other.ask(produce_of(TOPIC, b"x" * 3000), PRODUCE_VERSION)
        waits = [(await client.receive()).throttle_time_ms for _ in range(2)]
        assert min(waits) > 0
        await client.send(VERSIONS, version=3)
        clock.advance(max(waits) - 1)
        assert await stays_silent(client, other)
        clock.advance(1)
        assert (await client.receive()).error_code == 0


async def test_producer_without_acks_is_muted_without_an_answer(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (_, client, other, clock):
        await create_topic(client, TOPIC)
        await set_quota(client, "producer_byte_rate", 100.0)
        unanswered = client.encode(produce_of(TOPIC, b"x" * 2000, acks=0), PRODUCE_VERSION, answered=False)
        await client.send_bytes(unanswered + client.encode(VERSIONS, 3))
        assert await stays_silent(client, other)
        clock.advance(60_000)
        assert (await client.receive()).error_code == 0


async def test_consumer_beyond_its_quota_gets_nothing_and_keeps_its_session(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        await client.ask(produce_of(TOPIC, b"x" * 2000), PRODUCE_VERSION)

        async def fetch(session_id: int, epoch: int, *, named: bool = True) -> Any:
            request = fetch_of(TOPIC, 0, max_wait_ms=0)
            request.session_id, request.session_epoch = session_id, epoch
            request.topics = request.topics if named else []
            return await client.ask(request, FETCH_VERSION)

        opened = await fetch(0, 0)
        await set_quota(client, "consumer_byte_rate", 10.0)
        throttled = await fetch(opened.session_id, 1, named=False)
        assert throttled.throttle_time_ms > 0
        assert (throttled.session_id, throttled.error_code, throttled.responses) == (opened.session_id, 0, [])
        clock.advance(throttled.throttle_time_ms)
        await set_quota(client, "consumer_byte_rate", 1e6)
        answer = await fetch(opened.session_id, 2, named=False)
        assert answer.throttle_time_ms == 0
        assert len(answer.responses[0].partitions[0].records) > 2000


async def test_throttled_consumer_that_wants_a_session_gets_none(tmp_path: Path) -> None:
    async with running(tmp_path, clock=SimulatedClock()) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        await client.ask(produce_of(TOPIC, b"x" * 2000), PRODUCE_VERSION)
        await set_quota(client, "consumer_byte_rate", 10.0)
        request = fetch_of(TOPIC, 0, max_wait_ms=0)
        request.session_epoch = 0
        answer = await client.ask(request, FETCH_VERSION)
        assert answer.throttle_time_ms > 0
        assert (answer.session_id, answer.responses) == (0, [])
        assert len(broker.services.fetch_sessions) == 0


async def test_answer_that_was_not_sent_does_not_count(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        await client.ask(produce_of(TOPIC, b"x" * 2000), PRODUCE_VERSION)
        await set_quota(client, "consumer_byte_rate", 10.0)
        waits = []
        for _ in range(3):
            waits.append((await client.ask(fetch_of(TOPIC, 0, max_wait_ms=0), FETCH_VERSION)).throttle_time_ms)
            clock.advance(waits[-1])
        assert waits[0] > 0
        assert waits == waits[:1] * 3


async def test_consumer_that_asks_for_more_than_its_quota_is_given_what_it_may_have(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        for _ in range(10):
            await client.ask(produce_of(TOPIC, b"x" * 1000), PRODUCE_VERSION)
        await set_quota(client, "consumer_byte_rate", 500.0)
        # The answer has a little more than the records; as with Kafka, it has to wait for that little.
        answer = await client.ask(fetch_of(TOPIC, 0, max_wait_ms=0), FETCH_VERSION)
        assert 0 < answer.throttle_time_ms < 1000
        clock.advance(answer.throttle_time_ms)
        answer = await client.ask(fetch_of(TOPIC, 0, max_wait_ms=0), FETCH_VERSION)
        assert answer.throttle_time_ms == 0
        assert 3000 < len(answer.responses[0].partitions[0].records) <= 5000


async def test_fetch_of_a_follower_is_not_throttled(tmp_path: Path) -> None:
    async with running(tmp_path, clock=SimulatedClock()) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        await client.ask(produce_of(TOPIC, b"x" * 2000), PRODUCE_VERSION)
        await set_quota(client, "consumer_byte_rate", 10.0)
        request = FetchRequest(replica_state=ReplicaState(7, -1), max_wait_ms=0, topics=fetch_of(TOPIC, 0).topics)
        request.topics[0].topic_id = broker.services.cluster.image.topics[TOPIC].id
        answer = await client.ask(request, 17)
        assert answer.throttle_time_ms == 0
        assert answer.responses[0].partitions[0].error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_handlers_time_is_what_a_share_of_requests_is_about(tmp_path: Path) -> None:
    clock = SlowClock()
    async with running(tmp_path, clock=clock) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        await set_quota(client, "request_percentage", 1.0)
        assert (await client.ask(VERSIONS, 3)).throttle_time_ms == 0
        clock.step_ms = 30.0
        waits = [(await client.ask(VERSIONS, 3)).throttle_time_ms]
        clock.step_ms = 0.0
        while not waits[-1]:
            clock.step_ms = 30.0
            await client.send(VERSIONS, version=3)
            waits.append((await client.receive()).throttle_time_ms)
            clock.step_ms = 0.0
        assert 3 <= len(waits) <= 5  # some 30 ms each, of 100 in ten seconds
        clock.advance(2000)  # not more than a window at a time
        assert waits[-1] <= 1000


async def test_requests_that_await_the_store_and_those_that_fail_are_throttled_too(tmp_path: Path) -> None:
    clock = SlowClock()
    async with running(tmp_path, clock=clock) as broker, Client.connect(broker) as client:
        await set_quota(client, "request_percentage", 1e-6)
        for request, version in (
            (CreateTopicsRequest([CreatableTopic("t", 1, 1)]), 7),
            (FetchRequest(session_id=5, session_epoch=3), 12),
        ):
            clock.step_ms = 1.0
            await client.send(request, version=version)
            answer = await client.receive()
            clock.step_ms = 0.0
            assert answer.throttle_time_ms == 1000
            clock.advance(1001)


async def test_topics_beyond_the_mutation_quota_are_refused_in_versions_that_know_it(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (broker, client, other, clock):
        await set_quota(client, "controller_mutation_rate", 1.0)
        topics = [CreatableTopic("a", 14, 1), CreatableTopic("b", 1, 1)]
        answer = await client.ask(CreateTopicsRequest(topics), 7)
        exceeded = ErrorCode.THROTTLING_QUOTA_EXCEEDED
        assert ([topic.error_code for topic in answer.topics], answer.throttle_time_ms) == ([0, exceeded], 3000)
        await client.send(DeleteTopicsRequest(topics=[DeleteTopicState("a")]), version=6)
        assert await stays_silent(client, other)
        clock.advance(3001)
        assert (await client.receive()).responses[0].error_code == 0  # its 14 partitions overdraw the quota again
        assert list(broker.services.cluster.image.topics) == []
        answer = await other.ask(CreateTopicsRequest(topics, validate_only=True), 5)
        assert [topic.error_code for topic in answer.topics] == [0, 0]  # in a version that does not know the error
        assert answer.throttle_time_ms > 13_000


async def test_topics_that_come_by_themselves_count_for_the_mutation_quota(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock, num_partitions="6") as broker, Client.connect(broker) as client:
        await set_quota(client, "controller_mutation_rate", 1.0)
        for name in "abc":  # the second overdraws the quota
            request = MetadataRequest([MetadataRequestTopic(name=name)], allow_auto_topic_creation=True)
            assert (await client.ask(request, 9)).topics[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert list(broker.services.cluster.image.topics) == ["a", "b"]


async def test_quotas_that_are_gone_cost_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, clock=SimulatedClock()) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        await set_quota(client, "producer_byte_rate", 100.0)
        assert broker.services.client_quotas is not None
        await set_quota(client, "producer_byte_rate", None)
        assert broker.services.client_quotas is None
        for _ in range(3):
            assert (await client.ask(produce_of(TOPIC, b"x" * 2000), PRODUCE_VERSION)).throttle_time_ms == 0


async def test_quotas_are_in_force_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, clock=SimulatedClock()) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        await set_quota(client, "producer_byte_rate", 100.0, client_id=None)
    async with running(tmp_path, clock=SimulatedClock()) as broker, Client.connect(broker) as client:
        assert (await client.ask(produce_of(TOPIC, b"x" * 2000), PRODUCE_VERSION)).throttle_time_ms > 0


async def test_muted_client_that_is_closed_leaves_nothing_behind(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock, connections_max_idle_ms="10000") as broker:
        async with Client.connect(broker) as client:
            await create_topic(client, TOPIC)
            await set_quota(client, "producer_byte_rate", 1.0)
            throttle_ms = (await client.ask(produce_of(TOPIC, b"x" * 2000), PRODUCE_VERSION)).throttle_time_ms
            assert throttle_ms > 100_000
        clock.advance(12_000)  # as of an idle one, its end is noticed then
        await until(lambda: broker.metrics.connections == 0)
        clock.advance(throttle_ms)
