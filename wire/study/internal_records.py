"""Records of the internal topics, and control records, as plain values, for JSON.

    explain = record_explainer("__consumer_offsets")
    explain(key, value)         ({"type": "OffsetCommitKey", "group": …}, {"version": 3, "offset": …}), or None
    control_record(key, value)  {"control": "commit", "coordinator_epoch": 3}

Rules
- Bytes inside are hex, unless a consumer said them; ids are in Kafka's form. What a newer broker wrote, and cannot be
  read here, is None.
- `version` is that of the value; where a record has a field of that name (ConsumerGroupRegularExpressionValue), it is
  the field.
- Secrets are HIDDEN; so is of `__cluster_metadata`, which holds some, all that cannot be read.

Not here: the same as a tree with the place of each byte (contents), what is secret (secrets).
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from wire import codec
from wire.errors import ProtocolError
from wire.primitives import read_uvarint, uuid_text
from wire.records import CODEC_MASK, iter_records, read_batch_header
from wire.schema import Kind, spec_of
from wire.study.contents import (
    CLUSTER_METADATA,
    CONSUMER,
    CONSUMERS,
    COORDINATOR_TOPICS,
    HAS_OWN_VERSION,
    consumer_message,
    control_record_type,
    internal_records,
    metadata_records,
)
from wire.study.secrets import CONFIG_CLASSES, SECRET_FIELDS, is_sensitive_config

HIDDEN = "(hidden)"
Explained = tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]
_VERSION = struct.Struct(">h")
_CONTROL_KEY = struct.Struct(">hh")


def record_explainer(topic: str) -> Callable[[bytes, bytes | None], Explained | None] | None:
    """Return what reads the records of this topic; None where they are their producers' own."""
    if topic == CLUSTER_METADATA:
        return _metadata_record
    if topic not in COORDINATOR_TOPICS:
        return None
    types = internal_records(topic)

    def explain(key: bytes, value: bytes | None) -> Explained | None:
        try:
            (key_type,) = _VERSION.unpack_from(key)
            key_class, value_class = types[key_type]
            named = {"type": key_class.__name__, **as_plain(codec.decode(key_class, 0, key, _VERSION.size)[0])}
            if value is None:
                return named, None
            return named, _versioned(value_class, value)
        except (ProtocolError, struct.error, KeyError):
            return None

    return explain


def _metadata_record(key: bytes, value: bytes | None) -> Explained:
    if value is None:
        return None, None
    return None, _metadata(value) or {"unknown": f"({len(value)} bytes, hidden)"}


def _metadata(value: bytes) -> dict[str, Any] | None:
    try:
        _, pos = read_uvarint(value, 0)
        number, pos = read_uvarint(value, pos)
        version, pos = read_uvarint(value, pos)
        cls = metadata_records()[number]
        message, end = codec.decode(cls, version, value, pos)
    except (ProtocolError, IndexError, KeyError):
        return None
    return {"type": cls.__name__, "version": version, **as_plain(message)} if end == len(value) else None


def is_metadata(batch: bytes) -> bool:
    """Tell by its first record whether a batch is one of `__cluster_metadata`, wherever it was found."""
    try:
        header = read_batch_header(batch)
        if header.attributes & CODEC_MASK:  # which controllers do not write
            return False
        record = next(iter_records(batch), None)
    except ProtocolError:
        return False
    if record is None or record.value is None:
        return False
    if header.is_control:
        return int.from_bytes((record.key or b"")[2:4], "big") in HAS_OWN_VERSION
    return record.key is None and _metadata(record.value) is not None


def control_record(key: bytes | None, value: bytes | None) -> dict[str, Any]:
    """Return what a control record says; one of a type that is not known is "other". Raises: ProtocolError."""
    try:
        _, number = _CONTROL_KEY.unpack_from(key or b"")
        name, cls = control_record_type(number)
        if cls is None:
            return {"control": "other"}
        (version,) = _VERSION.unpack_from(value or b"")
    except struct.error:
        raise ProtocolError("malformed control record") from None
    pos = 0 if number in HAS_OWN_VERSION else _VERSION.size
    version = min(version, spec_of(cls).versions.high)
    return {"control": name, **as_plain(codec.decode(cls, version, value or b"", pos)[0])}


def as_plain(message: object, protocol_type: str | None = None) -> dict[str, Any]:
    """Return the fields of a message; `protocol_type`: of the group that it is in, where something above tells."""
    cls = type(message)
    protocol_type = getattr(message, "protocol_type", protocol_type)
    named: dict[str, Any] = {}
    for field in spec_of(cls).fields:
        value, place = getattr(message, field.name), (cls.__name__, field.name)
        is_config_value = field.name == "value" and cls.__name__ in CONFIG_CLASSES
        if value is not None and (place in SECRET_FIELDS or (is_config_value and is_sensitive_config(named["name"]))):
            named[field.name] = HIDDEN
        elif place in CONSUMERS and protocol_type in (None, CONSUMER):
            named[field.name] = _of_consumer(CONSUMERS[place], value)
        else:
            named[field.name] = _plain(value, field.kind, field.element, protocol_type)
    return named


def _of_consumer(name: str, data: bytes) -> object:
    """Return what a consumer said, or the bytes where they are nothing of the kind."""
    try:
        return _versioned(consumer_message(name), data)
    except (ProtocolError, struct.error):
        return data.hex()


def _versioned(cls: type[Any], data: bytes) -> dict[str, Any]:
    """Return a message that its version precedes. Raises: ProtocolError, struct.error."""
    (version,) = _VERSION.unpack_from(data)
    return {"version": version, **as_plain(codec.decode(cls, version, data, _VERSION.size)[0])}


def _plain(value: Any, kind: Kind, element: object, protocol_type: str | None) -> object:
    if value is None:
        return None
    match kind:
        case Kind.ARRAY:
            inner = element if isinstance(element, Kind) else Kind.STRUCT
            return [_plain(each, inner, None, protocol_type) for each in value]
        case Kind.STRUCT:
            return as_plain(value, protocol_type)
        case Kind.UUID:
            return uuid_text(value)
        case Kind.BYTES | Kind.RECORDS:
            return bytes(value).hex()
    return value
