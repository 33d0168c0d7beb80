"""Configurations of a single group, of the newer kinds: they override what the broker's configuration gives all groups.

`LIMITS` names the broker's configurations between which a value has to lie; `BROKER_SYNONYMS` the one that gives the
default. Sources: KIP-848, KIP-932, KIP-1071; Kafka's GroupConfig and GroupConfigManager.
"""

import re
from collections.abc import Callable, Mapping

from pykbroker.config_tables.definition import (
    ConfigDef,
    at_least,
    boolean,
    definitions_of,
    distinct,
    integer,
    long,
    one_of,
    string,
    strings,
)

_DURATION = re.compile(
    r"by_duration:\+?[Pp](?=.)(?:\d+[Dd])?(?:[Tt](?=.)(?:\d+[Hh])?(?:\d+[Mm])?(?:\d+(?:\.\d+)?[Ss])?)?"
)


def _offset_reset(value: str) -> str | None:
    if value in ("latest", "earliest") or _DURATION.fullmatch(value):
        return None
    return "not earliest, latest or by_duration: and an ISO duration such as PT1H"


def _dead_letter_queue(value: str) -> str | None:
    return "it starts with __, as internal topics do" if value.startswith("__") else None


class _Table:
    consumer_session_timeout_ms = integer(45_000, at_least(1))
    consumer_heartbeat_interval_ms = integer(5000, at_least(1))
    consumer_assignment_interval_ms = integer(1000, at_least(0))
    consumer_assignor_offload_enable = boolean(True, internal=True)
    share_session_timeout_ms = integer(45_000, at_least(1))
    share_heartbeat_interval_ms = integer(5000, at_least(1))
    share_record_lock_duration_ms = integer(30_000, at_least(1000))
    share_delivery_count_limit = integer(5, at_least(2))
    share_partition_max_record_locks = integer(2000, at_least(100))
    share_auto_offset_reset = string("latest", _offset_reset)
    share_isolation_level = string("read_uncommitted", one_of("read_committed", "read_uncommitted"))
    share_renew_acknowledge_enable = boolean(True)
    share_assignment_interval_ms = integer(1000, at_least(0))
    share_assignor_offload_enable = boolean(True, internal=True)
    streams_session_timeout_ms = integer(45_000, at_least(1))
    streams_heartbeat_interval_ms = integer(5000, at_least(1))
    streams_num_standby_replicas = integer(0, at_least(0))
    streams_initial_rebalance_delay_ms = integer(3000, at_least(0))
    streams_assignment_interval_ms = integer(1000, at_least(0))
    streams_assignor_offload_enable = boolean(True, internal=True)
    streams_task_offset_interval_ms = integer(60_000, at_least(1), internal=True)
    streams_num_warmup_replicas = integer(2, at_least(0), internal=True)
    streams_rack_aware_assignment_tags = strings([], distinct)
    streams_acceptable_recovery_lag = long(10_000, at_least(0), internal=True)
    streams_assignor_name = string(None)
    errors_deadletterqueue_topic_name = string("", _dead_letter_queue)
    errors_deadletterqueue_copy_record_enable = boolean(False)


DEFINITIONS: Mapping[str, ConfigDef] = definitions_of(_Table)

# Only these are known under their own names alone.
_WITHOUT_BROKER_CONFIG = frozenset(
    {
        "share.auto.offset.reset",
        "share.isolation.level",
        "share.renew.acknowledge.enable",
        "errors.deadletterqueue.topic.name",
        "errors.deadletterqueue.copy.record.enable",
    }
)
BROKER_SYNONYMS: Mapping[str, str] = {
    name: "group.streams.assignors" if name == "streams.assignor.name" else f"group.{name}"
    for name in DEFINITIONS
    if name not in _WITHOUT_BROKER_CONFIG
}


def _limits(name: str) -> tuple[str | None, str | None]:
    kind, _, rest = name.partition(".")
    if kind == "streams" and rest == "num.standby.replicas":
        return None, "group.streams.max.standby.replicas"
    if kind == "streams" and rest == "num.warmup.replicas":
        return None, "group.streams.max.warmup.replicas"
    if kind == "streams" and rest == "task.offset.interval.ms":
        return "group.streams.min.task.offset.interval.ms", None
    if kind == "share" and rest == "partition.max.record.locks":
        return "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"
    return f"group.{kind}.min.{rest}", f"group.{kind}.max.{rest}"


_LIMITED = (
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "assignment.interval.ms",
    "record.lock.duration.ms",
    "delivery.count.limit",
    "partition.max.record.locks",
    "num.standby.replicas",
    "num.warmup.replicas",
    "task.offset.interval.ms",
)
LIMITS: Mapping[str, tuple[str | None, str | None]] = {
    name: _limits(name) for name in DEFINITIONS if name.partition(".")[2] in _LIMITED
}


def problem_of_limits(name: str, value: object, value_of: Callable[[str], object]) -> str | None:
    """Return what is wrong with a group's value, by the limits among the broker's configurations, which `value_of` has.

    `name` stands in the text for who has the value: `group.<name>` where it is what all groups get.
    """
    low, high = (None if limit is None else value_of(limit) for limit in LIMITS[name.removeprefix("group.")])
    assert isinstance(value, int)
    if (low is None or low <= value) and (high is None or value <= high):  # type: ignore[operator]
        return None
    limits = f"at most {high}" if low is None else f"at least {low}" if high is None else f"from {low} to {high}"
    return f"{name} is to be {limits}"


def problem_of_defaults(value_of: Callable[[str], object]) -> str | None:
    """Return what is wrong with what the broker gives all groups."""
    problems = (problem_of_limits(f"group.{name}", value_of(BROKER_SYNONYMS[name]), value_of) for name in LIMITS)
    return next(filter(None, problems), None)
