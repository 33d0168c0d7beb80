"""Records of the internal topics as plain values, for JSON.

    explain = record_explainer("__consumer_offsets")
    explain(key, value)         ({"type": "OffsetCommitKey", "group": …}, {"version": 3, "offset": …}), or None

Rules: bytes inside are hex, ids of topics in Kafka's form; what a newer broker wrote, and cannot be read here, is None.
Not here: the same as a tree with the place of each byte (contents).
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from wire import codec
from wire.errors import ProtocolError
from wire.primitives import uuid_text
from wire.schema import Kind, spec_of
from wire.study.contents import CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE, internal_records

Explained = tuple[Mapping[str, Any], Mapping[str, Any] | None]
_VERSION = struct.Struct(">h")


def record_explainer(topic: str) -> Callable[[bytes, bytes | None], Explained | None] | None:
    """Return what reads the records of this topic; None where they are their producers' own."""
    if topic not in (CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE):
        return None
    types = internal_records(topic)
    if topic == CONSUMER_OFFSETS:
        types = {**types, 0: types[1]}  # the first form of a committed offset's key; its values are those of the second

    def explain(key: bytes, value: bytes | None) -> Explained | None:
        try:
            (key_type,) = _VERSION.unpack_from(key)
            key_class, value_class = types[key_type]
            named = {"type": key_class.__name__, **as_plain(codec.decode(key_class, 0, key, 2)[0])}
            if value is None:
                return named, None
            (version,) = _VERSION.unpack_from(value)
            return named, {"version": version, **as_plain(codec.decode(value_class, version, value, 2)[0])}
        except (ProtocolError, struct.error, KeyError):
            return None

    return explain


def as_plain(message: object) -> dict[str, Any]:
    return {
        field.name: _plain(getattr(message, field.name), field.kind, field.element)
        for field in spec_of(type(message)).fields
    }


def _plain(value: Any, kind: Kind, element: object) -> object:
    if value is None:
        return None
    match kind:
        case Kind.ARRAY:
            inner = element if isinstance(element, Kind) else Kind.STRUCT
            return [_plain(each, inner, None) for each in value]
        case Kind.STRUCT:
            return as_plain(value)
        case Kind.UUID:
            return uuid_text(value)
        case Kind.BYTES | Kind.RECORDS:
            return bytes(value).hex()
    return value
