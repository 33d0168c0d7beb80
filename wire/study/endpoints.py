"""The addresses of brokers in answers: where they are, and how to write others in their place.

Rules
- Every struct of an answer with a host and a port is a broker's or a controller's address, except where members of
  Streams groups tell where their applications are reached (NOT_BROKERS).
- No host, or no port, means that there is nobody.

Not here: which addresses they are replaced by (pykbroker.study.proxy).
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, cast

from wire import codec
from wire.catalog import API_BY_KEY, response_class
from wire.errors import ErrorCode
from wire.frame import API_VERSIONS, decode_response_header, encode_response
from wire.schema import Kind, spec_of

NOT_BROKERS = frozenset({88, 89})  # StreamsGroupHeartbeat, StreamsGroupDescribe: endpoints of applications


def _look_for_endpoints(cls: type[Any]) -> bool:
    names = {field.name for field in spec_of(cls).fields}
    if {"host", "port"} <= names:
        return True
    return any(isinstance(field.element, type) and holds_endpoints(field.element) for field in spec_of(cls).fields)


# To mypy a class is not hashable (it looks at the __hash__ of its instances).
holds_endpoints = cast(Callable[[type[Any]], bool], functools.cache(_look_for_endpoints))


@functools.cache
def tells_endpoints(key: int) -> bool:
    """Tell whether answers of an API hold addresses of brokers."""
    return key in API_BY_KEY and key not in NOT_BROKERS and holds_endpoints(response_class(key))


def read_response(key: int, version: int, frame: bytes) -> tuple[int, Any]:
    """Return the correlation id and the message of an answer, to its last byte. Raises: ProtocolError."""
    correlation_id, pos = decode_response_header(key, version, frame)
    if key == API_VERSIONS and frame[pos : pos + 2] == ErrorCode.UNSUPPORTED_VERSION.to_bytes(2, "big"):
        version = 0
    return correlation_id, codec.decode(response_class(key), version, frame, pos)[0]


def write_response(key: int, version: int, correlation_id: int, message: object) -> bytes:
    """Return the frame of an answer, without its size."""
    if key == API_VERSIONS and getattr(message, "error_code", 0) == ErrorCode.UNSUPPORTED_VERSION:
        version = 0
    return b"".join(encode_response(key, version, correlation_id, message))[4:]  # type: ignore[arg-type]


def endpoints(message: Any) -> Iterator[Any]:
    """Yield every struct in a message that has an address, whose `host` and `port` may be set."""
    fields = spec_of(type(message)).fields
    if {"host", "port"} <= {field.name for field in fields} and message.host and message.port > 0:
        yield message
    for field in fields:
        if not isinstance(field.element, type) or not holds_endpoints(field.element):
            continue
        held = getattr(message, field.name)
        if field.kind is Kind.ARRAY:
            for item in held or ():
                yield from endpoints(item)
        elif held is not None:
            yield from endpoints(held)


def limit_versions(message: Any) -> bool:
    """Let an answer to ApiVersions promise no version that we cannot read; return whether it did."""
    changed = False
    for served in message.api_keys:
        api = API_BY_KEY.get(served.api_key)
        if api is not None and served.max_version > spec_of(response_class(api.key)).versions.high:
            served.max_version = spec_of(response_class(api.key)).versions.high
            changed = True
    return changed
