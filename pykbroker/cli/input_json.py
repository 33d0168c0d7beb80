"""Records as lines of JSON, as `consume --json` prints them: what `produce --json-lines` reads.

    {"topic": "t", "partition": 0, "timestamp": 1700000000000, "key": "k", "value": "v", "headers": [{"name": …}]}

Rules: all of it may be left out. Bytes that are no text are base64, under key_base64 and the like; a key or a value
that is neither text nor null is its own JSON.
"""

import base64
import json
from typing import Any

from pykbroker.cli.input_fields import InputError, InputRecord, checked_partition, checked_timestamp


def parse_json(data: bytes) -> InputRecord:
    """Raises: InputError."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is not JSON: {error}") from None
    if not isinstance(told, dict):
        raise InputError("it is not a JSON object")
    headers = _typed(told, "headers", list) or []
    partition, timestamp = _typed(told, "partition", int), _typed(told, "timestamp", int)
    topic = _typed(told, "topic", str)
    if topic is not None:
        _encoded(topic)
    return InputRecord(
        _bytes_of(told, "value"),
        _bytes_of(told, "key"),
        topic,
        None if partition is None else checked_partition(partition),
        None if timestamp is None else checked_timestamp(timestamp),
        tuple(_header(header) for header in headers),
    )


def _header(told: object) -> tuple[str, bytes | None]:
    name = _typed(told, "name", str) if isinstance(told, dict) else None
    if name is None:
        raise InputError(f"a header without a name: {json.dumps(told)}")
    _encoded(name)
    return name, _bytes_of(told, "value")


def _typed(told: Any, name: str, kind: type[Any]) -> Any:
    value = told.get(name)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise InputError(f"{name} is {json.dumps(value)}")
    return value


def _bytes_of(told: Any, name: str) -> bytes | None:
    encoded = _typed(told, f"{name}_base64", str)
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise InputError(f"{name}_base64: {error}") from None
    text = told.get(name)
    return None if text is None else _encoded(text) if isinstance(text, str) else json.dumps(text).encode()


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{json.dumps(text)} is no text") from None
