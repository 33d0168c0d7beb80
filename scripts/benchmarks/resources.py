"""Start, and memory: on a broker of its own that carries no load.

Rules: the start is timed by support.brokers, the same way for both. Memory is resident memory; the proportional set
size stands beside it, as pages shared with other processes are no cost of a broker. Before each reading a broker has
SETTLE_S in peace.
"""

from __future__ import annotations

import time
from functools import partial

from support.brokers import ApacheKafka, Broker, OurBroker, pss_bytes, remove, rss_bytes
from support.connection import Address, Connection, until_allowed
from support.frames import api_versions_request

CONNECTIONS = 1_000
TOPICS, PARTITIONS_EACH = 10, 1_000
SETTLE_S = 5.0
MB = 1e6


def measure(broker: OurBroker | ApacheKafka, wanted: frozenset[str]) -> dict[str, float]:
    """Start a new broker, read what `wanted` cases ask for, and leave nothing behind."""
    try:
        created = time.monotonic()
        found = {"start": broker.start()}
        found["start-empty"] = time.monotonic() - created
        if wanted & {"start"}:
            broker.stop()
            found["start-again"] = broker.start()
        if wanted - {"start"}:
            found.update(_memory(broker, wanted))
        broker.stop()
        return found
    finally:
        remove(broker)


def _memory(broker: Broker, wanted: frozenset[str]) -> dict[str, float]:
    time.sleep(SETTLE_S)
    found = {"memory-idle": rss_bytes(broker.pids) / MB, "memory-idle-pss": pss_bytes(broker.pids) / MB}
    if "memory-connections" in wanted:
        found["memory-connections"] = _connections(broker)
    if "memory-partitions" in wanted:
        found["memory-partitions"] = _partitions(broker)
    return found


def _connections(broker: Broker) -> float:
    """Return the memory that CONNECTIONS add, each of which has asked for ApiVersions once and is silent now."""
    before = rss_bytes(broker.pids)
    connections = []
    try:
        for _ in range(CONNECTIONS):
            connections.append(Connection(Address.parse(broker.bootstrap)))
            connections[-1].ask(api_versions_request())
        time.sleep(SETTLE_S)
        return (rss_bytes(broker.pids) - before) / MB
    finally:
        for connection in connections:
            connection.close()


def _partitions(broker: Broker) -> float:
    """Return the memory that empty partitions add, created by CreateTopics and served."""
    before = rss_bytes(broker.pids)
    with Connection(Address.parse(broker.bootstrap), timeout_s=300) as connection:
        for number in range(TOPICS):
            topic = f"many-partitions-{number}"
            connection.create_topics({topic: PARTITIONS_EACH})
            until_allowed(partial(connection.end_offset, topic, PARTITIONS_EACH - 1))
    time.sleep(SETTLE_S)
    return (rss_bytes(broker.pids) - before) / MB
