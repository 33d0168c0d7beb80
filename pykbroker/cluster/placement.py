"""Where the replicas of new partitions go: pure, so that a seeded random source makes it repeatable.

Rules
- Partitions follow one another around the brokers from a random start, so that leaders are spread evenly.
- The replicas of one partition lie in as many racks as there are; brokers without a rack share one.
- A fenced broker is taken only when there are not enough others, and never as the leader.

Sources: Kafka's StripedReplicaPlacer (the aims; the order of choices is our own).
"""

import random
from collections.abc import Iterable

from pykbroker.cluster.image import BrokerImage
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode


def assign_replicas(
    brokers: Iterable[BrokerImage],
    partitions: int,
    replication_factor: int,
    source: random.Random,
) -> list[tuple[int, ...]]:
    """Return the replicas of each partition, the preferred leader first.

    Raises: INVALID_REPLICATION_FACTOR if there are too few brokers, or none alive.
    """
    alive, fenced = _striped(brokers, False, source), _striped(brokers, True, source)
    if not alive:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "no broker is alive to have a replica",
        )
    if replication_factor > len(alive) + len(fenced):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"{replication_factor} replicas need as many brokers, but the cluster has {len(alive) + len(fenced)}",
        )
    assigned: dict[tuple[int, int], tuple[int, ...]] = {}
    result = []
    for partition in range(partitions):
        # Each round around the brokers skips one more, so that the followers of one leader vary.
        place, round_ = partition % len(alive), partition // len(alive) % len(alive)
        if (place, round_) not in assigned:
            assigned[place, round_] = _replicas(alive, fenced, place, round_, replication_factor)
        result.append(assigned[place, round_])
    return result


def _replicas(
    alive: list[BrokerImage], fenced: list[BrokerImage], place: int, skip: int, replication_factor: int
) -> tuple[int, ...]:
    leader, others = alive[place], alive[place + 1 :] + alive[:place]
    if others:
        skip %= len(others)
    chosen = [leader]
    for candidates in (others[skip:] + others[:skip], fenced):
        waiting = list(candidates)
        while waiting and len(chosen) < replication_factor:
            racks = [broker.rack for broker in chosen]
            # The rack that has the fewest replicas of this partition; among equals, the first in the order.
            pick = min(waiting, key=lambda broker: racks.count(broker.rack))
            waiting.remove(pick)
            chosen.append(pick)
    return tuple(broker.id for broker in chosen)


def _striped(brokers: Iterable[BrokerImage], fenced: bool, source: random.Random) -> list[BrokerImage]:
    """Order brokers so that neighbours are in different racks, from a random start."""
    by_rack: dict[str | None, list[BrokerImage]] = {}
    for broker in sorted(brokers, key=lambda broker: broker.id):
        if broker.fenced is fenced:
            by_rack.setdefault(broker.rack, []).append(broker)
    racks = list(by_rack.values())
    source.shuffle(racks)
    for rack in racks:
        source.shuffle(rack)
    striped = []
    while racks:
        striped += [rack.pop() for rack in racks]
        racks = [rack for rack in racks if rack]
    return striped
