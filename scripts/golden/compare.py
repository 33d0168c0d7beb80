"""Compare what two brokers answered to the same calls, field by field.

Rules
- Calls are paired by story, API, version and their order in that. What only one of them was asked does not count.
- Names that a broker makes up (ids, member names) need not be equal, but the same one of the first broker must
  correspond to the same one of the second throughout: `Pairing`.
- Addresses, times and epochs of the whole cluster are not compared (NOT_COMPARED). Lists whose order Kafka takes from a
  hash table are sorted (UNORDERED). What else may differ stands in JUSTIFIED with its reason.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, field, frozen

from golden.caller import Call
from golden.justified import JUSTIFIED
from wire.schema import Kind, spec_of

NOT_COMPARED = {
    "host": "the address under which a broker is reached",
    "port": "the address under which a broker is reached",
    "client_host": "where the client's connection came from",
    "finalized_features_epoch": "counts the changes of metadata, whose number is each broker's affair",
    "session_id": "a random number",
    "throttle_time_ms": "whether a quota was met is a matter of speed",
    "total_bytes": "the size of a disk",
    "usable_bytes": "the room on a disk",
    "log_dir": "where a broker keeps its data",
    "DescribeQuorum.high_watermark": "how long the log of the metadata is",
    "DescribeQuorum.log_end_offset": "how long the log of the metadata is",
    "DescribeQuorum.leader_epoch": "how often the quorum has elected, which a store does not",
    "DescribeQuorum.name": "Kafka's controllers have a listener of their own, ours those of the brokers",
}
# Not compared where both have one; -1 and a moment are different.
MOMENTS = {
    "log_append_time_ms",
    "last_timestamp",
    "last_fetch_timestamp",
    "last_caught_up_timestamp",
    "transaction_start_time_ms",
}
# Words for people: that there are some is compared, not which.
WORDS = {"error_message", "batch_index_error_message", "documentation"}
# The same kind of made-up name has one set of correspondences.
PAIRED = {
    "cluster_id": "cluster",
    "topic_id": "topic id",
    "member_id": "member",
    "leader": "member",
    "producer_id": "producer",
    "replica_directory_id": "directory",
    "client_instance_id": "client instance",
    "subscription_id": "subscription",
}  # fmt: skip
# APIs and features that a broker does not have are not held against it here; those that it has are.
KEYED = {
    ("ApiVersions", "api_keys"): "api_key",
    ("ApiVersions", "supported_features"): "name",
    ("ApiVersions", "finalized_features"): "name",
}
# Where a list's order is that of a hash table in Kafka: (API, list) -> the fields to sort its elements by.
UNORDERED = {
    ("Metadata", "topics"): "name",
    ("ListOffsets", "topics"): "name",
    ("CreateTopics", "topics"): "name",
    ("CreatePartitions", "results"): "name",
    ("DeleteTopics", "responses"): "name",
    ("DeleteRecords", "topics"): "name",
    ("DeleteRecords", "topics[].partitions"): "partition_index",
    ("DescribeGroups", "groups"): "group_id",
    ("Produce", "responses"): "name",
    ("Produce", "responses[].partition_responses"): "index",
    ("DescribeConfigs", "results[].configs"): "name",
    ("ListConfigResources", "config_resources"): "resource_type resource_name",
    ("ListGroups", "groups"): "group_id",
    ("DeleteGroups", "results"): "group_id",
    ("AddPartitionsToTxn", "results_by_transaction[].topic_results[].results_by_partition"): "partition_index",
    ("AddPartitionsToTxn", "results_by_topic_v3_and_below[].results_by_partition"): "partition_index",
    ("WriteTxnMarkers", "markers[].topics[].partitions"): "partition_index",
    ("DescribeProducers", "topics[].partitions[].active_producers"): "producer_id",
    ("DescribeTransactions", "transaction_states[].topics"): "topic",
    ("ListTransactions", "transaction_states"): "transactional_id",
    ("DescribeClientQuotas", "entries"): "entity",
    ("DescribeClientQuotas", "entries[].values"): "key",
    ("AlterClientQuotas", "entries"): "entity",
    ("DescribeUserScramCredentials", "results"): "user",
}

# The same where the elements are plain values.
UNORDERED_VALUES = {("DescribeTransactions", "transaction_states[].topics[].partitions")}

Path = str
_ABSENT = object()
_INDEX = re.compile(r"\[\d+\]")


@frozen
class Difference:
    """One field of one call. `index` is the call's place among those of its story, API and version."""

    call: Call
    index: int
    path: Path
    expected: object
    actual: object

    @property
    def reason(self) -> str | None:
        """Why this difference is right, if it is."""
        for api, part, reason in JUSTIFIED:
            if api == self.call.name and part in self.path:
                return reason
        return None

    @property
    def what(self) -> str:
        """The difference without the version of its API: the same is often different in all of them."""
        place = f"story {self.call.story} {self.call.name} #{self.index}"
        return f"{place}: {self.path}: {_shown(self.expected)} was answered as {_shown(self.actual)}"

    def __str__(self) -> str:
        return f"v{self.call.version} {self.what}"


@define
class Pairing:
    """Which made-up name of the first broker is which one of the second; they correspond one to one."""

    _forth: dict[tuple[str, object], object] = field(factory=dict)
    _back: dict[tuple[str, object], object] = field(factory=dict)

    def corresponds(self, kind: str, expected: object, actual: object) -> bool:
        if _is_nothing(expected) or _is_nothing(actual):
            return expected == actual
        return (
            self._forth.setdefault((kind, expected), actual) == actual
            and self._back.setdefault((kind, actual), expected) == expected
        )


def differences(expected: Sequence[Call], actual: Sequence[Call]) -> list[Difference]:
    """Return every difference between the answers that both brokers gave, justified ones too."""
    found: list[Difference] = []
    pairing = Pairing()
    ours = _by_place(actual)
    for place, call in _by_place(expected).items():
        if place in ours:
            found += _compare(call, place[-1], ours[place], pairing)
    return found


def compared(expected: Sequence[Call], actual: Sequence[Call]) -> int:
    """Return how many calls both brokers answered."""
    return len(_by_place(expected).keys() & _by_place(actual).keys())


def _by_place(calls: Sequence[Call]) -> dict[tuple[int, str, int, int], Call]:
    counts: dict[tuple[int, str, int], int] = defaultdict(int)
    places = {}
    for call in calls:
        key = (call.story, call.name, call.version)
        places[*key, counts[key]] = call
        counts[key] += 1
    return places


def _compare(call: Call, index: int, other: Call, pairing: Pairing) -> Iterator[Difference]:
    expected = _leaves(call, call.answer(), "")
    actual = _leaves(call, other.answer(), "")
    for path in {**expected, **actual}:
        one, another = expected.get(path, _ABSENT), actual.get(path, _ABSENT)
        if another is _ABSENT and path.startswith(tuple(f"{field}{{" for api, field in KEYED if api == call.name)):
            continue
        name = path.rsplit(".", 1)[-1].split("[")[0]
        not_compared = name in NOT_COMPARED or f"{call.name}.{name}" in NOT_COMPARED
        if not_compared and one is not _ABSENT and another is not _ABSENT:
            continue
        if name in MOMENTS and isinstance(one, int) and isinstance(another, int) and min(one, another) > 1.7e12:
            continue
        if name in WORDS and isinstance(one, str) and isinstance(another, str) and bool(one) == bool(another):
            continue
        if name in PAIRED:
            equal = pairing.corresponds(PAIRED[name], one, another)
        else:
            equal = one == another
        if not equal:
            yield Difference(call, index, path, one, another)


def _leaves(call: Call, value: Any, path: Path) -> dict[Path, object]:
    """Return the plain values inside a message with the paths to them; an array has its length as `path.count`."""
    found: dict[Path, object] = {}
    if value is None:
        return {path or "answer": None}
    for spec in spec_of(type(value)).fields:
        if call.version not in spec.versions:
            continue
        held = getattr(value, spec.name)
        at = f"{path}.{spec.name}" if path else spec.name
        if (call.name, at) in KEYED:
            for item in held:
                found |= _leaves(call, item, f"{at}{{{getattr(item, KEYED[call.name, at])}}}")
        elif spec.kind is Kind.ARRAY and held is not None:
            found[f"{at}.count"] = len(held)
            key = UNORDERED.get((call.name, _INDEX.sub("[]", at)))
            if key is not None:
                held = sorted(held, key=lambda item: [(value is None, repr(value)) for value in _named(item, key)])
            elif (call.name, _INDEX.sub("[]", at)) in UNORDERED_VALUES:
                held = sorted(held)
            for index, item in enumerate(held):
                if isinstance(spec.element, type):
                    found |= _leaves(call, item, f"{at}[{index}]")
                else:
                    found[f"{at}[{index}]"] = item
        elif spec.kind is Kind.STRUCT and held is not None:
            found |= _leaves(call, held, at)
        else:
            if isinstance(held, memoryview):
                held = bytes(held)
            found[at] = held
    return found


def _named(item: object, names: str) -> list[Any]:
    return [getattr(item, name) for name in names.split()]


def _is_nothing(value: object) -> bool:
    return value is _ABSENT or value in (None, "", -1, bytes(16))


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
