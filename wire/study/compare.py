"""Compare what two brokers answered to the same request, field by field.

Rules
- Names that a broker makes up (ids, member names) need not be equal, but the same one of the first broker must
  correspond to the same one of the second throughout: `Pairing`.
- Addresses, times and epochs of the whole cluster are not compared (NOT_COMPARED). Lists whose order Kafka takes from a
  hash table are sorted (UNORDERED).

Not here: which calls belong together (replay; scripts/golden/compare for recorded stories).
"""

import re
from collections.abc import Iterator
from typing import Any

from attrs import define, field, frozen

from wire.errors import ProtocolError
from wire.records import BATCH_HEADER_SIZE, iter_batches
from wire.schema import Kind, spec_of
from wire.study.secrets import CONFIG_CLASSES, is_sensitive_config

NOT_COMPARED = {
    "auth_bytes": "a secret",
    "hmac": "a secret",
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
# Not compared, but what one broker calls so has to be asked of the other by its own name.
LEARNED = {"session_id": "session"}
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

HIDDEN = "(a sensitive config, hidden)"

Path = str
_ABSENT = object()
_INDEX = re.compile(r"\[\d+\]")


@frozen
class Difference:
    """A field that two answers have otherwise, or that only one of them has."""

    path: Path
    expected: object
    actual: object

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.expected)} was answered as {_shown(self.actual)}"


@define
class Pairing:
    """Which made-up name of the first broker is which one of the second; they correspond one to one."""

    _forth: dict[tuple[str, object], object] = field(factory=dict)
    _back: dict[tuple[str, object], object] = field(factory=dict)

    def learn(self, kind: str, expected: object, actual: object) -> None:
        """Take two names for the same thing, whatever was said before."""
        if not _is_nothing(expected) and not _is_nothing(actual):
            self._forth[kind, expected] = actual
            self._back[kind, actual] = expected

    def translated(self, kind: str, expected: object) -> object:
        """Return what the second broker calls that, the name itself where it is not known."""
        return self._forth.get((kind, expected), expected)

    def corresponds(self, kind: str, expected: object, actual: object) -> bool:
        if _is_nothing(expected) or _is_nothing(actual) or expected == actual == 0:
            return expected == actual  # 0 is an id, too, and what stands where there is none
        return (
            self._forth.setdefault((kind, expected), actual) == actual
            and self._back.setdefault((kind, actual), expected) == expected
        )


def compare_answers(
    name: str, version: int, expected: object, actual: object, pairing: Pairing
) -> Iterator[Difference]:
    """Yield the differences of two answers of an API; an answer of None: the connection was closed."""
    one_side, other_side = _leaves(name, version, expected, ""), _leaves(name, version, actual, "")
    for path in {**one_side, **other_side}:
        one, another = one_side.get(path, _ABSENT), other_side.get(path, _ABSENT)
        if another is _ABSENT and path.startswith(tuple(f"{keyed}{{" for api, keyed in KEYED if api == name)):
            continue
        if not _is_equal(name, path, one, another, pairing):
            yield Difference(path, one, another)


def _is_equal(name: str, path: Path, expected: object, actual: object, pairing: Pairing) -> bool:
    field_name = path.rsplit(".", 1)[-1].split("[")[0]
    are_there = expected is not _ABSENT and actual is not _ABSENT
    if are_there and (field_name in NOT_COMPARED or f"{name}.{field_name}" in NOT_COMPARED):
        if field_name in LEARNED:
            pairing.learn(LEARNED[field_name], expected, actual)
        return True
    if field_name in PAIRED:
        return pairing.corresponds(PAIRED[field_name], expected, actual)
    if field_name in MOMENTS and isinstance(expected, int) and isinstance(actual, int) and expected != actual:
        return min(expected, actual) > 1.7e12
    if field_name in WORDS and isinstance(expected, str) and isinstance(actual, str):
        return bool(expected) == bool(actual)
    return expected == actual


def _leaves(name: str, version: int, value: Any, path: Path) -> dict[Path, object]:
    """Return the plain values inside a message with the paths to them; an array has its length as `path.count`."""
    found: dict[Path, object] = {}
    if value is None:
        return {path or "answer": None}
    for spec in spec_of(type(value)).fields:
        if version not in spec.versions:
            continue
        held = getattr(value, spec.name)
        at = f"{path}.{spec.name}" if path else spec.name
        if spec.name == "value" and held is not None and _is_sensitive(value):
            held = HIDDEN
        if (name, at) in KEYED:
            for item in held:
                found |= _leaves(name, version, item, f"{at}{{{getattr(item, KEYED[name, at])}}}")
        elif spec.kind is Kind.ARRAY and held is not None:
            found[f"{at}.count"] = len(held)
            key = UNORDERED.get((name, _INDEX.sub("[]", at)))
            if key is not None:
                held = sorted(held, key=lambda item: [(value is None, repr(value)) for value in _named(item, key)])
            elif (name, _INDEX.sub("[]", at)) in UNORDERED_VALUES:
                held = sorted(held)
            for index, item in enumerate(held):
                if isinstance(spec.element, type):
                    found |= _leaves(name, version, item, f"{at}[{index}]")
                else:
                    found[f"{at}[{index}]"] = item
        elif spec.kind is Kind.STRUCT and held is not None:
            found |= _leaves(name, version, held, at)
        elif spec.kind is Kind.RECORDS and held is not None:
            found |= _batches(bytes(held), at)
        else:
            found[at] = held
    return found


def _batches(records: bytes, path: Path) -> dict[Path, object]:
    """Return what is in record batches; the bytes as they are where they cannot be read.

    The records themselves are compared as bytes. A checksum covers the producer's id, which brokers make up.
    """
    found: dict[Path, object] = {}
    try:
        batches = list(iter_batches(records))
    except ProtocolError:
        return {path: records}
    for index, (header, batch) in enumerate(batches):
        at = f"{path}[{index}]"
        found |= {f"{at}.{name}": value for name, value in header._asdict().items() if name != "crc"}
        if header.producer_id < 0:
            found[f"{at}.crc"] = header.crc
        found[f"{at}.records"] = bytes(batch[BATCH_HEADER_SIZE:])
    found[f"{path}.count"] = len(batches)
    found[f"{path}.cut"] = len(records) - sum(header.size for header, _ in batches)
    return found


def _is_sensitive(config: object) -> bool:
    if type(config).__name__ not in CONFIG_CLASSES:
        return False
    return getattr(config, "is_sensitive", False) or is_sensitive_config(str(getattr(config, "name", "")))


def _named(item: object, names: str) -> list[Any]:
    return [getattr(item, name) for name in names.split()]


def _is_nothing(value: object) -> bool:
    return value is _ABSENT or value in (None, "", -1, bytes(16))


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
