from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.cluster.changes import Change, create_topic, delete_topic, set_configs
from pykbroker.cluster.image import ConfigResourceType, ImageDelta, MetadataImage
from pykbroker.cluster.membership import Cluster
from pykbroker.cluster.producer_ids import ProducerIds
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.config import BrokerConfig, Endpoint
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode
from wire.primitives import random_uuid

pytestmark = pytest.mark.anyio

LISTENER = Endpoint("PLAINTEXT", "PLAINTEXT", "127.0.0.1", 9092)


class Node:
    """A broker's membership, alone on its file or sharing it with others."""

    def __init__(self, folder: Path, broker_id: int = 1, *, shared: bool = False, clock: SimulatedClock) -> None:
        self.config = BrokerConfig.from_properties({"node.id": str(broker_id), "broker.rack": "r"})
        self.store = SqliteStore(folder / "metadata.sqlite", clock, shared=shared, ephemeral=True)
        self.cluster = Cluster(self.store, self.config, clock)
        self.seen: list[ImageDelta] = []
        self.cluster.on_image.append(lambda image, delta: self.seen.append(delta))

    async def start(self, **options: bool) -> Cluster:
        await self.cluster.start([LISTENER], **options)  # type: ignore[arg-type]
        return self.cluster


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
async def node(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Node]:
    node = Node(tmp_path, clock=clock)
    await node.start()
    yield node
    await node.cluster.stop()


def topic(name: str) -> Callable[[MetadataImage], Change]:
    return lambda image: create_topic(image, name, random_uuid(), [(1,)], {})


async def settle(clock: SimulatedClock, node: Node, condition: Callable[[], bool]) -> None:
    """Let time pass until `condition` holds, but not while the store of `node`, which follows it, is at work."""
    for _ in range(5000):
        if condition():
            return
        clock.advance(20)
        await anyio.lowlevel.checkpoint()
        await node.store.range("/nothing")
    raise AssertionError("did not settle")


async def test_first_start_founds_registers_and_controls_in_one_transaction(node: Node) -> None:
    image = node.cluster.image
    assert image.revision == 1
    assert len(image.cluster_id) == 22
    assert not image.cluster_id.startswith("-")
    assert image.controller_id == 1
    assert node.cluster.is_controller
    assert image.brokers[1].listeners == {"PLAINTEXT": LISTENER}
    assert (image.brokers[1].rack, image.brokers[1].fenced) == ("r", False)
    assert image.features["metadata.version"] == 33


async def test_restart_keeps_the_cluster_and_raises_the_broker_epoch(tmp_path: Path, clock: SimulatedClock) -> None:
    first = await Node(tmp_path, clock=clock).start()
    await first.propose(topic("t"))
    await first.stop()
    second = await Node(tmp_path, clock=clock).start()
    assert second.image.cluster_id == first.image.cluster_id
    assert set(second.image.topics) == {"t"}
    assert second.broker_epoch > first.broker_epoch
    assert second.image.topics["t"].partitions[0].leader_epoch == 0
    await second.stop()


async def test_unclean_stop_raises_the_leader_epochs(tmp_path: Path, clock: SimulatedClock) -> None:
    first = await Node(tmp_path, clock=clock).start()
    await first.propose(topic("t"))
    await first.stop()
    second = await Node(tmp_path, clock=clock).start(after_unclean_stop=True)
    assert second.image.topics["t"].partitions[0].leader_epoch == 1
    await second.stop()


async def test_given_cluster_id_is_used(tmp_path: Path, clock: SimulatedClock) -> None:
    node = Node(tmp_path, clock=clock)
    await node.cluster.start([LISTENER], cluster_id="0123456789abcdefghijkl")
    assert node.cluster.image.cluster_id == "0123456789abcdefghijkl"
    await node.cluster.stop()


async def test_proposal_is_in_the_image_when_it_returns_and_was_told(node: Node) -> None:
    image = await node.cluster.propose(topic("t"))
    assert image is node.cluster.image
    assert "t" in image.topics
    assert [created.name for created in node.seen[-1].created_topics] == ["t"]


async def test_refused_proposal_writes_nothing(node: Node) -> None:
    await node.cluster.propose(topic("t"))
    revision = node.cluster.image.revision
    with pytest.raises(KafkaError) as caught:
        await node.cluster.propose(topic("t"))
    assert caught.value.code is ErrorCode.TOPIC_ALREADY_EXISTS
    assert node.cluster.image.revision == revision


async def test_empty_change_needs_no_transaction(node: Node) -> None:
    revision = node.cluster.image.revision
    assert (await node.cluster.propose(lambda image: Change())).revision == revision


async def test_concurrent_proposals_of_one_topic_create_it_once(node: Node) -> None:
    outcomes = []

    async def attempt() -> None:
        try:
            await node.cluster.propose(topic("t"))
            outcomes.append("created")
        except KafkaError as error:
            outcomes.append(error.code.name)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(attempt)
    assert sorted(outcomes) == ["TOPIC_ALREADY_EXISTS"] * 3 + ["created"]


async def test_names_that_collide_are_refused_also_when_two_create_them_at_once(node: Node) -> None:
    codes = []

    async def attempt(name: str) -> None:
        try:
            await node.cluster.propose(topic(name))
        except KafkaError as error:
            codes.append(error.code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, "a.b")
        tasks.start_soon(attempt, "a_b")
    assert codes == [ErrorCode.INVALID_TOPIC_EXCEPTION]
    assert len(node.cluster.image.topics) == 1


async def test_dynamic_broker_config_is_in_force_when_the_callbacks_run(node: Node) -> None:
    seen = []
    node.cluster.on_image.append(lambda image, delta: seen.append(node.config.message_max_bytes))
    everyone, me = (ConfigResourceType.BROKER, ""), (ConfigResourceType.BROKER, "1")
    await node.cluster.propose(lambda image: set_configs(image, everyone, {"message.max.bytes": "5"}))
    assert node.cluster.topic_config("any").max_message_bytes == 5
    await node.cluster.propose(lambda image: set_configs(image, me, {"message.max.bytes": "6"}))
    await node.cluster.propose(lambda image: set_configs(image, (ConfigResourceType.BROKER, "2"), {"a": "7"}))
    assert seen == [5, 6, 6]
    assert node.cluster.topic_config("any").max_message_bytes == 6


async def test_topics_without_overrides_share_one_config(node: Node) -> None:
    await node.cluster.propose(topic("plain"))
    resource = (ConfigResourceType.TOPIC, "plain")
    assert node.cluster.topic_config("plain") is node.cluster.topic_config("other")
    await node.cluster.propose(lambda image: set_configs(image, resource, {"retention.ms": "9"}))
    assert node.cluster.topic_config("plain").retention_ms == 9


async def test_producer_ids_are_unique_over_restarts(tmp_path: Path, clock: SimulatedClock) -> None:
    first = await Node(tmp_path, clock=clock).start()
    ids = ProducerIds(first)
    given = [await ids.next() for _ in range(1001)]
    assert given == list(range(1001))
    await first.stop()
    second = await Node(tmp_path, clock=clock).start()
    assert await ProducerIds(second).next() == 2000
    await second.stop()


async def test_producer_ids_of_two_brokers_never_overlap(tmp_path: Path, clock: SimulatedClock) -> None:
    nodes = [Node(tmp_path, broker_id, shared=True, clock=clock) for broker_id in (1, 2)]
    given: list[int] = []

    async def take(node: Node) -> None:
        ids = ProducerIds(node.cluster)
        given.extend([await ids.next() for _ in range(1500)])

    for node in nodes:
        await node.start()
    async with anyio.create_task_group() as tasks:
        for node in nodes:
            tasks.start_soon(take, node)
    assert len(set(given)) == 3000
    for node in nodes:
        await node.cluster.stop()


async def test_second_broker_sees_the_first_and_takes_over_the_controller(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    first, second = (Node(tmp_path, broker_id, shared=True, clock=clock) for broker_id in (1, 2))
    await first.start()
    await second.start()
    assert second.cluster.image.controller_id == 1
    assert [broker.id for broker in second.cluster.image.alive_brokers()] == [1, 2]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second.cluster.run)
        await first.cluster.stop()
        await settle(clock, second, lambda: second.cluster.is_controller)
        tasks.cancel_scope.cancel()
    assert second.cluster.image.brokers[1].fenced
    await second.cluster.stop()


async def test_decision_for_a_client_knows_what_other_brokers_wrote_before(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    first, second = (Node(tmp_path, broker_id, shared=True, clock=clock) for broker_id in (1, 2))
    await first.start()
    await second.start()
    await first.cluster.decide(topic("t"))
    with pytest.raises(KafkaError) as refused:
        await second.cluster.decide(topic("t"), validate_only=True)
    assert refused.value.code is ErrorCode.TOPIC_ALREADY_EXISTS
    await first.cluster.decide(lambda image: delete_topic(image, image.topics["t"]))
    await second.cluster.decide(topic("t"), validate_only=True)
    assert "t" not in second.cluster.image.topics
    await second.cluster.decide(topic("t"))
    for node in (first, second):
        await node.cluster.stop()


async def test_broker_that_dies_is_fenced_when_its_lease_ends(tmp_path: Path, clock: SimulatedClock) -> None:
    dead, alive = (Node(tmp_path, broker_id, shared=True, clock=clock) for broker_id in (1, 2))
    await dead.start()
    await alive.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(alive.cluster.run)
        await settle(clock, alive, lambda: alive.cluster.image.brokers[1].fenced)
        tasks.cancel_scope.cancel()
    # The dead one must have stopped acting before the others take over.
    assert dead.cluster.lease_ends_ms < clock.monotonic_ms() < alive.cluster.lease_ends_ms
    await alive.cluster.stop()


async def test_killed_broker_starts_again_when_its_old_lease_has_ended(tmp_path: Path, clock: SimulatedClock) -> None:
    killed, again = (Node(tmp_path, 1, shared=True, clock=clock) for _ in range(2))
    await killed.start()
    await killed.cluster.propose(topic("t"))
    started = []

    async def start() -> None:
        await again.start()
        started.append(clock.monotonic_ms())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start)
        await settle(clock, again, lambda: bool(started))
    assert started[0] > 9000
    assert again.cluster.broker_epoch > killed.cluster.broker_epoch
    assert again.cluster.image.topics["t"].partitions[0].leader_epoch == 1
    await again.cluster.stop()


async def test_broker_whose_place_is_taken_by_a_living_one_is_refused(tmp_path: Path, clock: SimulatedClock) -> None:
    first, second = (Node(tmp_path, 1, shared=True, clock=clock) for _ in range(2))
    await first.start()
    refused: list[KafkaError] = []

    async def start() -> None:
        try:
            await second.start()
        except KafkaError as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.cluster.run)
        tasks.start_soon(start)
        await settle(clock, second, lambda: bool(refused))
        tasks.cancel_scope.cancel()
    assert [error.code for error in refused] == [ErrorCode.DUPLICATE_BROKER_REGISTRATION]
    await first.cluster.stop()
