"""Features: what the brokers of a cluster have agreed to use, as ApiVersions tells it.

`SUPPORTED` are the ranges this broker knows; the finalized levels lie in the image (`features`).

Rules of an update
- A level of 0 takes the feature out of the finalized ones. Lower levels need an upgrade type that says so.
- The metadata version and that of KRaft are never lowered: what they stand for lies in the store at any level.

Sources: KIP-584, KIP-778; the levels are those of a new Apache Kafka 4.4 cluster; Kafka's FeatureControlManager.
"""

import enum
from collections.abc import Iterable, Mapping

import attrs

from pykbroker.errors import KafkaError
from wire.errors import ErrorCode

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

_NEVER_LOWERED = frozenset({"metadata.version", "kraft.version"})


class UpgradeType(enum.IntEnum):
    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


@attrs.frozen
class FeatureUpdate:
    feature: str
    level: int
    upgrade_type: int


def updated(features: Mapping[str, int], updates: Iterable[FeatureUpdate]) -> Mapping[str, int]:
    """Return the finalized levels after these updates. Raises: INVALID_UPDATE_VERSION."""
    levels = dict(features)
    for update in updates:
        wrong = _wrong(levels.get(update.feature, 0), update)
        if wrong:
            raise KafkaError(
                ErrorCode.INVALID_UPDATE_VERSION,
                f"no feature was updated, since {update.feature} cannot have the level {update.level}: {wrong}",
            )
        levels[update.feature] = update.level
    return {feature: level for feature, level in levels.items() if level}


def _wrong(current: int, update: FeatureUpdate) -> str:
    if update.upgrade_type not in list(UpgradeType):
        return f"{update.upgrade_type} is no type of an upgrade"
    if update.level < 0:
        return "it is less than 0"
    if update.feature not in SUPPORTED:
        return "the feature is not supported"
    low, high = SUPPORTED[update.feature]
    if not low <= update.level <= high:
        return f"{low} to {high} are supported"
    if update.level < current and update.upgrade_type == UpgradeType.UPGRADE:
        return f"it is lower than {current}, which needs a type of upgrade that says so"
    if update.level < current and update.feature in _NEVER_LOWERED:
        return f"it is never lowered, and {current} now"
    if update.level > current and update.upgrade_type != UpgradeType.UPGRADE:
        return f"it is higher than {current}, but the type of upgrade says lower"
    return ""
