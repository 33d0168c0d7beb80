"""Where the replicas of a broker go that is taken out of service. Pure.

Rules
- Each partition keeps its number of replicas, and all of them but this one stay where they are.
- The new one is where the fewest other replicas of the partition share its rack, if all brokers have racks; among those
  where the fewest replicas are, then the fewest of the topic.
- Where the broker was the preferred leader, the one of the partition's that is so least often becomes it.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from pykbroker.topic_partition import TopicPartition

MAX_NAMED = 3  # of those that have nowhere to go


class TooFewBrokersError(Exception):
    """The message says how many there are, and how many there would have to be."""


def plan(
    broker_id: int,
    leaving: Collection[TopicPartition],
    replicas_of: Mapping[TopicPartition, Sequence[int]],
    racks: Mapping[int, str | None],
) -> dict[TopicPartition, list[int]]:
    """Return the new replicas of those that are `leaving`.

    `replicas_of` are those of all partitions, `racks` has all brokers that are there. Raises: TooFewBrokersError.
    """
    others = {each: rack for each, rack in racks.items() if each != broker_id}
    held = Counter(each for replicas in replicas_of.values() for each in replicas)
    of_topic = Counter((tp.topic, each) for tp, replicas in replicas_of.items() for each in replicas)
    led = Counter(replicas[0] for replicas in replicas_of.values())
    planned: dict[TopicPartition, list[int]] = {}
    homeless: list[TopicPartition] = []
    for tp in sorted(leaving):
        replicas = replicas_of[tp]
        candidates = others.keys() - set(replicas)
        if not candidates:
            homeless.append(tp)
            continue
        sharing = Counter(racks.get(each) for each in replicas if each != broker_id) if all(others.values()) else {}

        def cost(each: int, tp: TopicPartition = tp, sharing: Mapping[str | None, int] = sharing) -> tuple[int, ...]:
            return sharing.get(racks[each], 0), held[each], of_topic[tp.topic, each], each

        heir = min(candidates, key=cost)
        held[heir] += 1
        of_topic[tp.topic, heir] += 1
        new = [heir if each == broker_id else each for each in replicas]
        if replicas[0] == broker_id:
            first = min(new, key=lambda each: (each not in others, led[each]))
            led[first] += 1
            new = [first, *(each for each in new if each != first)]
        planned[tp] = new
    if homeless:
        raise TooFewBrokersError(_why(homeless, replicas_of, len(others)))
    return planned


def _why(homeless: Sequence[TopicPartition], replicas_of: Mapping[TopicPartition, Sequence[int]], others: int) -> str:
    named = ", ".join(map(str, homeless[:MAX_NAMED])) + (", ..." if len(homeless) > MAX_NAMED else "")
    needed = max(len(replicas_of[tp]) for tp in homeless)
    return f"{needed} replicas need as many other brokers, and there are {others} (partitions: {named})"
