"""Features: what the brokers of a cluster have agreed to use, as ApiVersions tells it.

`SUPPORTED` are the ranges this broker knows; the finalized levels lie in the image (`features`).
Sources: KIP-584; the levels are those of a new Apache Kafka 4.4 cluster.
"""

from collections.abc import Mapping

SUPPORTED: Mapping[str, tuple[int, int]] = {
    "group.version": (0, 1),
    "kraft.version": (0, 1),
    "metadata.version": (7, 33),
    "share.version": (0, 2),
    "streams.version": (0, 1),
    "transaction.version": (0, 2),
    "eligible.leader.replicas.version": (0, 1),
}

FINALIZED_AT_FOUNDING: Mapping[str, int] = {name: high for name, (_, high) in SUPPORTED.items()}
