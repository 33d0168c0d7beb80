"""Requests of a plain client that meet faults: what comes back, and what was done."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import attrs
import pytest

from pykbroker.broker import Broker
from pykbroker.clock import SimulatedClock
from pykbroker.faults.dispatcher import FaultyDispatcher
from pykbroker.faults.rules import ActiveFault, Fault, FaultRules
from pykbroker.server.dispatch import HANDLERS, Dispatcher
from tests.support.client import Client, create_topic, fetch_of
from tests.support.filled import error_codes, filled
from tests.support.running import have_started, running, until
from wire.catalog import API_BY_KEY, request_class
from wire.errors import ErrorCode
from wire.messages.brokers import ApiVersionsRequest
from wire.messages.classic_groups import HeartbeatRequest
from wire.messages.fetch import FetchRequest
from wire.messages.group_offsets import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from wire.messages.metadata import FindCoordinatorRequest, MetadataRequest, MetadataRequestTopic
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.records import Record, build_batch
from wire.schema import spec_of

pytestmark = pytest.mark.anyio
NOT_LEADER = ErrorCode.NOT_LEADER_OR_FOLLOWER
PRODUCE = 0
PRODUCE_V, FETCH_V, METADATA_V = 9, 11, 9


@attrs.define
class Scene:
    broker: Broker
    client: Client
    clock: SimulatedClock
    rules: FaultRules

    def add(self, **fields: object) -> ActiveFault:
        return self.rules.add(Fault.of(fields))

    def log_end(self, topic: str, index: int = 0) -> int:
        return self.broker.services.replicas.partition(topic, index).log.log_end_offset

    @property
    def is_in_place(self) -> bool:
        return isinstance(self.broker.dispatcher, FaultyDispatcher)


@contextlib.asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """A broker with the topic "t" of three partitions, on a clock that stands still, and a client."""
    clock = SimulatedClock()
    enabled = {"pykbroker_http_faults_enable": "true"}
    async with running(folder, clock=clock, **enabled) as broker, Client.connect(broker) as client:
        assert broker.faults is not None
        await create_topic(client, "t", partitions=3)
        yield Scene(broker, client, clock, broker.faults.rules)


def produce_to(*indexes: int, topic: str = "t", acks: int = 1) -> ProduceRequest:
    batches = [PartitionProduceData(index, build_batch([Record(value=b"v")])) for index in indexes]
    return ProduceRequest(acks=acks, timeout_ms=1500, topic_data=[TopicProduceData(topic, partition_data=batches)])


def commit_of(group: str, topic: str, *indexes: int) -> OffsetCommitRequest:
    partitions = [OffsetCommitRequestPartition(index, 1) for index in indexes]
    return OffsetCommitRequest(group_id=group, topics=[OffsetCommitRequestTopic(topic, partitions=partitions)])


def outcomes(response: object) -> dict[int, int]:
    return {each.index: each.error_code for topic in response.responses for each in topic.partition_responses}  # type: ignore[attr-defined]


async def test_error_of_one_partition_leaves_the_others_to_be_done_really(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        fault = on.add(api="Produce", topic="t", partition=1, error=NOT_LEADER, times=1)
        answer = await on.client.ask(produce_to(0, 1, 2), PRODUCE_V)
        assert outcomes(answer) == {0: 0, 1: NOT_LEADER, 2: 0}
        assert [on.log_end("t", index) for index in range(3)] == [1, 0, 1]
        assert outcomes(await on.client.ask(produce_to(0, 1, 2), PRODUCE_V)) == {0: 0, 1: 0, 2: 0}
        assert fault.hits == 1


async def test_error_after_applying_hides_what_was_done(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        on.add(api="Produce", error="REQUEST_TIMED_OUT", when="after", times=1)
        assert outcomes(await on.client.ask(produce_to(0), PRODUCE_V)) == {0: ErrorCode.REQUEST_TIMED_OUT}
        assert on.log_end("t") == 1


async def test_two_faults_share_the_partitions_of_a_request(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        on.add(api="Produce", topic="t", partition=0, error=NOT_LEADER)
        on.add(api="Produce", topic="t", partition=2, error="KAFKA_STORAGE_ERROR")
        on.add(api="Produce", topic="t", partition=2, error="CORRUPT_MESSAGE")
        assert outcomes(await on.client.ask(produce_to(0, 1, 2), PRODUCE_V)) == {
            0: NOT_LEADER,
            1: 0,
            2: ErrorCode.KAFKA_STORAGE_ERROR,
        }


async def test_dispatcher_is_in_place_only_while_there_is_a_fault(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        assert type(on.broker.dispatcher) is Dispatcher
        fault = on.add(drop=True, api="Heartbeat")
        assert on.is_in_place
        fault.remove()
        assert type(on.broker.dispatcher) is Dispatcher


async def test_dispatcher_behind_another_one_stays_and_lets_pass(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        fault = on.add(error=NOT_LEADER, api="Produce")
        faulty = on.broker.dispatcher
        assert isinstance(faulty, FaultyDispatcher)
        outer = FaultyDispatcher(faulty, FaultRules(), on.broker.services, faulty._seams)
        on.broker.dispatcher = outer
        fault.remove()
        assert on.broker.dispatcher is outer
        assert outcomes(await on.client.ask(produce_to(0), PRODUCE_V)) == {0: 0}
        on.broker.dispatcher = faulty
        on.add(error=NOT_LEADER, api="Produce", times=1)
        assert outcomes(await on.client.ask(produce_to(0), PRODUCE_V)) == {0: NOT_LEADER}


async def test_acks_0_that_fails_closes_the_connection(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        on.add(api="Produce", error=NOT_LEADER)
        await on.client.send_bytes(on.client.encode(produce_to(0, acks=0), PRODUCE_V, answered=False))
        assert await on.client.is_closed()
        assert on.log_end("t") == 0


@pytest.mark.parametrize(("when", "end"), [("before", 0), ("after", 1)])
async def test_dropped_connection_has_no_answer(tmp_path: Path, when: str, end: int) -> None:
    async with scene(tmp_path) as on:
        on.add(api="Produce", drop=True, when=when, times=1)
        await on.client.send(produce_to(0), version=PRODUCE_V)
        assert await on.client.is_closed()
        assert on.log_end("t") == end


@pytest.mark.parametrize("cut_bytes", [0, 3, 11])
async def test_cut_answer_ends_after_its_first_bytes_and_the_connection_closes(tmp_path: Path, cut_bytes: int) -> None:
    async with scene(tmp_path) as on:
        on.add(api="Produce", cut_bytes=cut_bytes)
        await on.client.send(ApiVersionsRequest(), version=0)
        await on.client.send(produce_to(0), version=PRODUCE_V)
        assert (await on.client.receive()).error_code == 0, "the answer before it is whole"
        assert len(await on.client.receive_bytes(cut_bytes)) == cut_bytes
        assert await on.client.is_closed()
        assert on.log_end("t") == 1


async def test_delay_passes_before_the_request_is_applied(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        fault = on.add(api="Produce", delay_ms=500)
        await on.client.send(produce_to(0), version=PRODUCE_V)
        await fault.wait()
        assert (on.log_end("t"), on.client.has_received()) == (0, False)
        on.clock.advance(499)
        await anyio.lowlevel.checkpoint()
        assert on.log_end("t") == 0
        on.clock.advance(1)
        assert outcomes(await on.client.receive()) == {0: 0}


async def test_delay_after_holds_back_the_answer_of_what_is_done(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        on.add(api="Produce", delay_ms=500, when="after")
        await on.client.send(produce_to(0), version=PRODUCE_V)
        await until(lambda: on.log_end("t") == 1)
        assert not on.client.has_received()
        on.clock.advance(500)
        assert outcomes(await on.client.receive()) == {0: 0}


async def test_frozen_request_goes_on_when_the_fault_is_removed(tmp_path: Path) -> None:
    async with scene(tmp_path) as on, Client.connect(on.broker) as other:
        fault = on.add(api="Produce", freeze=True)
        await on.client.send(produce_to(0), version=PRODUCE_V)
        await fault.wait()
        assert (await other.ask(ApiVersionsRequest(), 0)).error_code == 0
        assert not on.client.has_received()
        fault.remove()
        assert outcomes(await on.client.receive()) == {0: 0}


async def test_client_that_leaves_frozen_leaves_nothing_behind(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        async with Client.connect(on.broker) as other:
            fault = on.add(api="Heartbeat", freeze=True)
            await other.send(HeartbeatRequest(group_id="g"), version=4)
            await fault.wait()
        fault.remove()
        await until(lambda: on.broker.metrics.connections == 1)


async def test_throttled_answer_says_so_and_the_connection_is_muted(tmp_path: Path) -> None:
    async with scene(tmp_path) as on, Client.connect(on.broker) as other:
        fault = on.add(api="Produce", throttle_ms=300, times=1)
        answer = await on.client.ask(produce_to(0), PRODUCE_V)
        assert (answer.throttle_time_ms, outcomes(answer)) == (300, {0: 0})
        fault.remove()
        assert not on.is_in_place, "a muted connection stays so without"
        await on.client.send(produce_to(0), version=PRODUCE_V)
        assert outcomes(await other.ask(produce_to(1), PRODUCE_V)) == {1: 0}
        assert (on.log_end("t"), on.client.has_received()) == (1, False)
        on.clock.advance(300)
        assert outcomes(await on.client.receive()) == {0: 0}


async def test_request_of_all_topics_is_answered_with_the_error_of_one(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        await create_topic(on.client, "other")
        fault = on.add(api="Metadata", topic="t", error="LEADER_NOT_AVAILABLE", times=1)
        answer = await on.client.ask(MetadataRequest(topics=None), METADATA_V)
        assert {topic.name: (topic.error_code, len(topic.partitions)) for topic in answer.topics} == {
            "t": (ErrorCode.LEADER_NOT_AVAILABLE, 0),
            "other": (0, 1),
        }
        assert fault.hits == 1
        named = await on.client.ask(MetadataRequest(topics=[MetadataRequestTopic(name="t")]), METADATA_V)
        assert [topic.error_code for topic in named.topics] == [0]


async def test_broker_that_is_cut_off_is_not_answered_while_clients_are(tmp_path: Path) -> None:
    """Its faults alone see to both directions: the other broker may be a process that knows nothing of it."""
    async with scene(tmp_path) as on, Client.connect(on.broker) as follower:
        assert on.broker.faults is not None
        assert on.broker.faulty is not None
        follower.client_id = "broker-2-fetcher-0"
        on.broker.faults.lasting(1).cut_brokers.add(2)
        on.broker.faulty.seams.change()
        fault = on.add(client_id="broker-*", throttle_ms=1)
        await follower.send(fetch_of("t", max_wait_ms=0), version=FETCH_V)
        await fault.wait()
        fault.remove()
        assert outcomes(await on.client.ask(produce_to(0), PRODUCE_V)) == {0: 0}
        assert on.is_in_place
        assert not follower.has_received()
        await on.broker.faults.heal()
        assert not on.is_in_place
        assert (await follower.receive()).responses[0].partitions[0].records


# Fetch


async def test_fetch_of_a_partition_that_fails_is_answered_at_once_without_its_records(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        await on.client.ask(produce_to(0, 1), PRODUCE_V)
        fault = on.add(api="Fetch", topic="t", partition=0, error="OFFSET_OUT_OF_RANGE", times=1)
        request = fetch_of("t", min_bytes=10**6, max_wait_ms=10_000)
        request.topics[0].partitions.append(attrs.evolve(request.topics[0].partitions[0], partition=1))  # type: ignore[misc]
        answer = await on.client.ask(request, FETCH_V)
        found = {each.partition_index: each for topic in answer.responses for each in topic.partitions}
        assert found[0].error_code == ErrorCode.OFFSET_OUT_OF_RANGE
        assert not found[0].records
        assert found[1].error_code == 0
        assert found[1].records
        assert fault.hits == 1


async def test_partition_that_only_the_session_knows_fails_and_is_told_anew_after_that(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        first = fetch_of("t", max_wait_ms=0)
        first.session_epoch = 0
        session_id = (await on.client.ask(first, FETCH_V)).session_id
        assert session_id
        fault = on.add(api="Fetch", topic="t", error=NOT_LEADER, times=1)
        again = FetchRequest(max_wait_ms=0, min_bytes=1, session_id=session_id, session_epoch=1)
        (topic,) = (await on.client.ask(again, FETCH_V)).responses
        assert [(each.partition_index, each.error_code) for each in topic.partitions] == [(0, NOT_LEADER)]
        assert fault.hits == 1
        again.session_epoch = 2
        (topic,) = (await on.client.ask(again, FETCH_V)).responses
        assert [(each.partition_index, each.error_code) for each in topic.partitions] == [(0, 0)]
        again.session_epoch = 3
        assert (await on.client.ask(again, FETCH_V)).responses == []


@pytest.mark.parametrize(("topic", "hits"), [("t", 1), ("other", 0)])
async def test_fault_about_a_topic_is_met_by_a_fetch_that_only_the_session_knows_to_be_of_it(
    tmp_path: Path, topic: str, hits: int
) -> None:
    async with scene(tmp_path) as on:
        first = fetch_of("t")
        first.session_epoch = 0
        session_id = (await on.client.ask(first, FETCH_V)).session_id
        fault = on.add(api="Fetch", topic=topic, throttle_ms=5)
        again = FetchRequest(max_wait_ms=0, min_bytes=1, session_id=session_id, session_epoch=1)
        assert (await on.client.ask(again, FETCH_V)).throttle_time_ms == 5 * hits
        assert fault.hits == hits


async def test_error_of_a_fetch_session_is_one_of_the_whole_answer(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        on.add(api="Fetch", error="FETCH_SESSION_ID_NOT_FOUND", times=1)
        answer = await on.client.ask(fetch_of("t", max_wait_ms=0), FETCH_V)
        assert answer.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


async def test_throttled_fetch_waits_for_data_and_has_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as on, Client.connect(on.broker) as other:
        on.add(api="Fetch", throttle_ms=1)
        ready = have_started(on.broker, 1)
        await on.client.send(fetch_of("t", max_wait_ms=10_000), version=FETCH_V)
        await until(ready)
        await other.ask(produce_to(0), PRODUCE_V)
        answer = await on.client.receive()
        assert answer.throttle_time_ms == 1
        assert answer.responses[0].partitions[0].records


async def test_client_that_leaves_while_its_fetch_waits_is_found_out_when_that_is_over(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        partition = on.broker.services.replicas.partition("t", 0)
        async with Client.connect(on.broker) as other:
            on.add(api="Fetch", throttle_ms=1)
            await other.send(fetch_of("t", max_wait_ms=10_000), version=FETCH_V)
            await until(lambda: partition.high_watermark_moved.subscribers == 1)
        on.clock.advance(10_000)
        while on.broker.metrics.connections > 1:  # it is muted for a moment, too
            on.clock.advance(1)
            await anyio.lowlevel.checkpoint()
        assert partition.high_watermark_moved.subscribers == 0


async def test_broker_that_stops_gives_up_what_is_frozen(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        fault = on.add(freeze=True)
        await on.client.send(produce_to(0), version=PRODUCE_V)
        await fault.wait()


# Errors where they belong


@pytest.mark.parametrize("version", [7, 8])
@pytest.mark.parametrize("names_topics", [True, False])
async def test_offset_of_one_partition_fails_alone(tmp_path: Path, version: int, names_topics: bool) -> None:
    async with scene(tmp_path) as on:
        await on.client.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=["g"]), 4)  # creates what it takes
        await until(lambda: "__consumer_offsets" in on.broker.services.cluster.image.topics)
        committed = await on.client.ask(commit_of("g", "t", 0, 1), 8)
        assert [each.error_code for each in committed.topics[0].partitions] == [0, 0]
        topics = [OffsetFetchRequestTopic("t", [0])] if names_topics else None
        of_group = [OffsetFetchRequestTopics("t", partition_indexes=[0])] if names_topics else None
        request = (
            OffsetFetchRequest(group_id="g", topics=topics)
            if version < 8
            else OffsetFetchRequest(groups=[OffsetFetchRequestGroup("g", topics=of_group)])
        )
        fault = on.add(api="OffsetFetch", topic="t", partition=0, error="UNSTABLE_OFFSET_COMMIT", times=1)
        answer = await on.client.ask(request, version)
        group = answer if version < 8 else answer.groups[0]
        assert group.error_code == 0
        found = {each.partition_index: each.error_code for topic in group.topics for each in topic.partitions}
        others = {} if names_topics else {1: 0}
        assert found == {0: ErrorCode.UNSTABLE_OFFSET_COMMIT} | others
        assert fault.hits == 1


# All of them


@pytest.mark.parametrize("key", sorted(HANDLERS), ids=lambda key: API_BY_KEY[key].name)
async def test_every_version_of_an_api_can_be_answered_with_an_error_and_be_throttled(tmp_path: Path, key: int) -> None:
    api = API_BY_KEY[key]
    async with scene(tmp_path) as on:
        for version in range(api.min_version, api.max_version + 1):
            request, full = request_class(key)(), filled(request_class(key), version)
            if key == PRODUCE:
                request.acks = full.acks = 1
            async with Client.connect(on.broker) as client:
                fault = on.add(api=api.name, error="UNKNOWN_SERVER_ERROR", throttle_ms=7)
                answer = await client.ask(full, version)
                fault.remove()
            assert fault.hits == 1
            assert ErrorCode.UNKNOWN_SERVER_ERROR in error_codes(answer)
            fields = {field.name: field for field in spec_of(type(answer)).fields if version in field.versions}
            has_none = "throttle_time_ms" not in fields
            assert getattr(answer, "throttle_time_ms", 0) == (0 if has_none else 7)
            async with Client.connect(on.broker) as client:
                fault = on.add(api=api.name, throttle_ms=7)
                answer = await client.ask(request, version)
                fault.remove()
            assert getattr(answer, "throttle_time_ms", 0) == (0 if has_none else 7)
