"""How fast replicas are copied while partitions move: the configs that kafka-reassign-partitions sets, and takes away.

Rules
- Of a topic: which replicas are held back, as `partition:broker`: those that there were (at their leader), and those
  that come. Of each broker that has one of them: how many bytes a second it sends and receives of such replicas.
- Topics come first, and go last: whoever was interrupted finds by the lists that there is something to take away.
- The rates go when nothing moves any more: what others move may be held back by the same rates.
Sources: KIP-73, KIP-455; Kafka's ReassignPartitionsCommand.
"""

from collections.abc import Iterable, Mapping

from pykbroker.client import configs
from pykbroker.client.client import Client
from pykbroker.client.configs import ConfigChange, Operation, Resource, ResourceType
from pykbroker.client.reassignments import Reassignment, list_reassignments
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode

RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
LEADER_REPLICAS, FOLLOWER_REPLICAS = "leader.replication.throttled.replicas", "follower.replication.throttled.replicas"


async def throttle(client: Client, moves: Mapping[TopicPartition, Reassignment], bytes_per_second: int) -> None:
    """Hold these moves back, which begin or are under way. Raises: KafkaError, OSError."""
    moves = {tp: move for tp, move in moves.items() if move.adding}
    for topic in dict.fromkeys(tp.topic for tp in moves):
        of_topic = [(tp.partition, move) for tp, move in moves.items() if tp.topic == topic]
        lists = {
            LEADER_REPLICAS: [f"{index}:{broker}" for index, move in of_topic for broker in move.sources],
            FOLLOWER_REPLICAS: [f"{index}:{broker}" for index, move in of_topic for broker in move.adding],
        }
        changes = [ConfigChange(name, Operation.SET, ",".join(replicas)) for name, replicas in lists.items()]
        await configs.alter_configs(client, Resource(ResourceType.TOPIC, topic), changes)
    rates = [ConfigChange(name, Operation.SET, str(bytes_per_second)) for name in RATES]
    await _alter_brokers(client, {broker for move in moves.values() for broker in move.replicas}, rates)


async def throttled_replicas(client: Client, topics: Iterable[str]) -> dict[str, str]:
    """Return which replicas of these topics are held back at their leader, of topics where there is a list of them."""
    told = await configs.topic_configs(client, topics, LEADER_REPLICAS)
    return {topic: value for topic, value in told.items() if value and value != "*"}  # * is set by hand


async def unthrottle(client: Client, topics: Iterable[str], *, certain: Iterable[str] = ()) -> None:
    """Take away what holds back these topics, as far as they do not move any more.

    `certain` are those that the caller has throttled: not every broker may have heard of it.
    Raises: KafkaError, OSError.
    """
    throttled = {*await throttled_replicas(client, topics), *certain}
    if not throttled:
        return
    under_way = await list_reassignments(client)
    if not under_way:
        await _alter_brokers(client, None, [ConfigChange(name, Operation.DELETE) for name in RATES])
    changes = [ConfigChange(name, Operation.DELETE) for name in (LEADER_REPLICAS, FOLLOWER_REPLICAS)]
    for topic in throttled - {tp.topic for tp in under_way}:
        try:
            await configs.alter_configs(client, Resource(ResourceType.TOPIC, topic), changes)
        except KafkaError as error:
            if error.code is not ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:  # it may be gone
                raise


async def _alter_brokers(client: Client, brokers: Iterable[int] | None, changes: list[ConfigChange]) -> None:
    """Alter the configs of these brokers, or of all; those that are not there cannot take theirs."""
    present = (await client.metadata([])).brokers
    for broker in sorted(present if brokers is None else present.keys() & set(brokers)):
        await configs.alter_configs(client, Resource(ResourceType.BROKER, str(broker)), changes)
