"""What a value stands for: the names of errors and APIs, times, ids as people see them."""

import datetime
from collections.abc import Callable
from typing import Any

from wire.catalog import API_BY_KEY
from wire.errors import ErrorCode
from wire.primitives import uuid_text
from wire.schema import ZERO_UUID
from wire.study.tree import Node

_FIRST_MS, _LAST_MS = 10**11, 10**13  # 1973 to 2286: what else is called a time is none


def explain(node: Node, struct_node: Node) -> str:
    """Return what there is to say of a value besides the value; the struct has the fields before it."""
    if node.kind == "uuid":
        return "none" if node.value == ZERO_UUID else uuid_text(node.value)
    if not isinstance(node.value, int) or isinstance(node.value, bool):
        return ""
    for part, say in _BY_NAME:
        if node.name == part or node.name.endswith(f"_{part}"):
            return say(node.value)
    return ""


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


_BY_NAME: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("error_code", error_name),
    ("api_key", _api_name),
    ("isolation_level", _isolation),
    ("acks", _acks),
    ("timestamp", time_text),
    ("timestamp_ms", time_text),
    ("time_ms", time_text),
)
