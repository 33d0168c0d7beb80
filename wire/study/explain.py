"""What a value stands for: the names of errors and APIs, times, ids as people see them."""

import datetime
import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

from wire.catalog import API_BY_KEY
from wire.errors import ErrorCode
from wire.primitives import uuid_text
from wire.schema import ZERO_UUID
from wire.study.tree import Node

_FIRST_MS, _LAST_MS = 10**11, 10**13  # 1973 to 2286: what else is called a time is none


def explain(node: Node) -> str:
    """Return what there is to say of a value besides the value, from what the field is called."""
    if node.kind == "uuid":
        return "none" if node.value == ZERO_UUID else uuid_text(node.value)
    if node.owner is None or not isinstance(node.value, int) or isinstance(node.value, bool):
        return ""
    say = _meaning(node.owner, node.name)
    return "" if say is None else say(node.value)


def _look_for_meaning(owner: type[Any], name: str) -> Callable[[Any], str] | None:
    is_of_acls = "Acl" in owner.__name__ or "AccessControl" in owner.__name__
    for part, say in (*(_OF_ACLS if is_of_acls else ()), *_BY_NAME):
        if name == part or name.endswith(f"_{part}"):
            return say
    return None


# To mypy a class is not hashable (it looks at the __hash__ of its instances).
_meaning = cast(
    Callable[[type[Any], str], Callable[[Any], str] | None], functools.lru_cache(maxsize=4096)(_look_for_meaning)
)


def error_name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"no error of Apache Kafka 4.4 has number {code}"


def time_text(ms: int) -> str:
    if not _FIRST_MS < ms < _LAST_MS:
        return ""
    moment = datetime.datetime.fromtimestamp(ms // 1000, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ms % 1000:03} UTC"


def _api_name(key: int) -> str:
    return API_BY_KEY[key].name if key in API_BY_KEY else "no API of Apache Kafka 4.4"


def _isolation(level: int) -> str:
    return {0: "read uncommitted", 1: "read committed"}.get(level, "")


def _acks(acks: int) -> str:
    return {-1: "all replicas in sync", 0: "no answer", 1: "the leader"}.get(acks, "")


def _operations(bits: int) -> str:
    if bits == _NOT_ASKED_FOR:
        return "not asked for"
    return ", ".join(name for number, name in enumerate(_OPERATIONS) if bits >> number & 1)


def _one_of(names: Sequence[str]) -> Callable[[int], str]:
    return lambda number: names[number] if 0 <= number < len(names) else ""


_NOT_ASKED_FOR = -(1 << 31)
_OPERATIONS = (
    "unknown", "any", "all", "read", "write", "create", "delete", "alter", "describe", "cluster action",
    "describe configs", "alter configs", "idempotent write", "create tokens", "describe tokens", "two-phase commit",
)  # fmt: skip
_PATTERNS = ("unknown", "any", "match", "literal", "prefixed")
_RESOURCES = ("unknown", "any", "topic", "group", "cluster", "transactional id", "delegation token", "user")
_CONFIG_RESOURCES = {2: "topic", 4: "broker", 8: "broker logger", 16: "client metrics", 32: "group"}

# In fields of that name, or whose name ends so.
_OF_ACLS: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("resource_type", _one_of(_RESOURCES)),
    ("resource_type_filter", _one_of(_RESOURCES)),
    ("pattern_type", _one_of(_PATTERNS)),
    ("pattern_type_filter", _one_of(_PATTERNS)),
    ("operation", _one_of(_OPERATIONS)),
    ("permission_type", _one_of(("unknown", "any", "deny", "allow"))),
)
_BY_NAME: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("error_code", error_name),
    ("api_key", _api_name),
    ("isolation_level", _isolation),
    ("acks", _acks),
    ("authorized_operations", _operations),
    ("resource_type", lambda number: _CONFIG_RESOURCES.get(number, "")),
    ("timestamp", time_text),
    ("timestamp_ms", time_text),
    ("time_ms", time_text),
)
