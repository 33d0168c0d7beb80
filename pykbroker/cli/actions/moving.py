"""Letting partitions move, and following them to the end: what several commands do.

Rules
- The moves are the cluster's: a command that ends leaves them, and may be repeated.
- A throttle is set before the moves begin, and goes with the last of them.
- Brokers hear of a change some time after the controller that answers: a partition is where it should be when a broker
  says so, too. One that is not, though it does not move, was cancelled or sent elsewhere by somebody else.
- Bytes are asked for only where somebody looks: a broker that has many replicas reads many directories for them.
"""

from collections.abc import Collection, Mapping, Sequence

import anyio

from pykbroker.cli.output import complain, has_bars, progress
from pykbroker.client import Client, NotServedError
from pykbroker.client.brokers import sizes_of, told_by_each
from pykbroker.client.metadata import ClusterMetadata
from pykbroker.client.reassignments import Outcomes, Reassignment, alter_reassignments, list_reassignments
from pykbroker.client.throttles import throttle, unthrottle
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition, by_topic
from wire.errors import ErrorCode

FIRST_PAUSE_MS, MAX_PAUSE_MS = 50, 2_000
GO_ON = "the moves go on without this command: repeat it to follow them, or end them with `topics move --cancel`"

Replicas = Mapping[TopicPartition, Sequence[int]]


def replicas_of(metadata: ClusterMetadata) -> dict[TopicPartition, tuple[int, ...]]:
    return {
        TopicPartition(topic.name, each.index): each.replicas
        for topic in metadata.topics.values()
        for each in topic.partitions
    }


async def begin(
    client: Client,
    planned: Replicas,
    before: Replicas,
    under_way: Mapping[TopicPartition, Reassignment],
    *,
    throttle_rate: int | None,
    may_change_factor: bool,
) -> Outcomes:
    """Let partitions move from where they were `before`, throttled together with what is `under_way` already."""
    try:
        if throttle_rate is not None:
            moves = {tp: Reassignment.between(before[tp], new) for tp, new in planned.items()}
            await throttle(client, {**under_way, **moves}, throttle_rate)
        return await alter_reassignments(client, planned, may_change_factor=may_change_factor)
    except (KafkaError, NotServedError):
        if throttle_rate is not None:
            await unthrottle(client, (), certain={tp.topic for tp in planned})
        raise
    except anyio.get_cancelled_exc_class():
        complain(GO_ON)
        raise


async def follow(client: Client, wanted: Replicas) -> Outcomes:
    """Wait until these partitions do not move any more; return what is wrong with those that are elsewhere."""
    try:
        await _until_still(client, wanted)
        return await _elsewhere(client, wanted)
    except (anyio.get_cancelled_exc_class(), KafkaError, OSError):
        complain(GO_ON)
        raise


async def _until_still(client: Client, partitions: Collection[TopicPartition]) -> None:
    under_way = await list_reassignments(client, partitions)
    left = await _work_left(client, under_way)
    pause_ms = FIRST_PAUSE_MS
    with progress("moving", left) as advance:
        while under_way:
            await client.clock.sleep(pause_ms)
            pause_ms = min(2 * pause_ms, MAX_PAUSE_MS)
            under_way = await list_reassignments(client, partitions)
            now_left = min(left, await _work_left(client, under_way))
            advance(left - now_left)
            left = now_left


async def _work_left(client: Client, under_way: Mapping[TopicPartition, Reassignment]) -> int:
    """In bytes, and one for each partition: some have no bytes."""
    sizes = await bytes_left(client, under_way) if has_bars() else {}
    return sum(sizes.values()) + len(under_way)


async def bytes_left(client: Client, moves: Mapping[TopicPartition, Reassignment]) -> dict[TopicPartition, int]:
    """Return how much is still to be copied of each partition, where the brokers that have it tell."""
    by_broker: dict[int, list[TopicPartition]] = {}
    for tp, move in moves.items():
        for broker in move.replicas if move.adding else ():
            by_broker.setdefault(broker, []).append(tp)
    sizes = await told_by_each(by_broker, lambda broker: sizes_of(client, broker, by_topic(by_broker[broker])))
    left = dict.fromkeys((tp for tp, move in moves.items() if not move.adding), 0)
    for tp, move in moves.items():
        whole = max((sizes[each][tp] for each in move.sources if tp in sizes.get(each, {})), default=None)
        if move.adding and whole is not None:
            left[tp] = sum(max(whole - sizes.get(each, {}).get(tp, 0), 0) for each in move.adding)
    return left


async def _elsewhere(client: Client, wanted: Replicas) -> Outcomes:
    until_ms = client.clock.monotonic_ms() + client.settings.default_api_timeout_ms
    pause_ms = FIRST_PAUSE_MS
    while True:
        now = replicas_of(await client.metadata({tp.topic for tp in wanted}))
        elsewhere = {tp: now[tp] for tp, replicas in wanted.items() if now.get(tp, replicas) != tuple(replicas)}
        if not elsewhere or client.clock.monotonic_ms() > until_ms:
            break
        await client.clock.sleep(pause_ms)
        pause_ms = min(2 * pause_ms, MAX_PAUSE_MS)
    why = "the move was cancelled, or another one came after it"
    return {tp: KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, why) for tp in elsewhere}
