"""Whether a frame has something to hide: read by the compiled codec, which takes a fraction of the time of a tree.

Rules: what cannot be read counts as a secret, as in trees. What is hidden, and where, trees tell (frames, secrets).
"""

import functools
from collections.abc import Callable
from typing import Any, cast

from wire.catalog import request_class, response_class
from wire.codec import decode
from wire.errors import ProtocolError
from wire.frame import decode_response_header, read_request_header
from wire.primitives import Buffer
from wire.schema import spec_of
from wire.study.frames import ENVELOPE, known_request
from wire.study.secrets import CONFIG_CLASSES, SECRET_FIELDS, SECRET_KEYS, has_secrets, is_sensitive_config


def has_secret(frame: Buffer, answers: tuple[int, int] | None = None) -> bool:
    """Tell whether a frame, without its size, has a secret: a request, or what answers one of that key and version."""
    known = answers or known_request(frame)
    if known is None:
        return True
    key, version = known
    if key not in SECRET_KEYS:
        return False
    try:
        if answers is None:
            message = _read(request_class(key), version, frame, read_request_header(frame)[-1])
        else:
            message = _read(response_class(key), version, frame, decode_response_header(key, version, frame)[1])
    except ProtocolError:
        return True
    if key != ENVELOPE:
        return _holds_secret(message)
    if answers is not None:
        return message.response_data is not None
    inside = known_request(message.request_data)
    return inside is None or inside[0] == ENVELOPE or has_secret(message.request_data)


def _read(cls: type[Any], version: int, frame: Buffer, pos: int) -> Any:
    message, end = decode(cls, version, frame, pos)
    if end != len(frame):
        raise ProtocolError(f"{len(frame) - end} bytes follow the message")
    return message


def _holds_secret(message: Any) -> bool:
    cls = type(message)
    if cls.__name__ in CONFIG_CLASSES and _is_secret_config(message):
        return True
    secrets, structs = _places(cls)
    if any(getattr(message, name) for name in secrets):
        return True
    for name in structs:
        value = getattr(message, name)
        if isinstance(value, list):
            if any(map(_holds_secret, value)):
                return True
        elif value is not None and _holds_secret(value):
            return True
    return False


def _is_secret_config(config: Any) -> bool:
    synonyms = getattr(config, "synonyms", ())
    if config.value is None and all(synonym.value is None for synonym in synonyms):
        return False
    return config.name is None or bool(getattr(config, "is_sensitive", False)) or is_sensitive_config(config.name)


def _find_places(cls: type[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the fields that are secrets, and of those that may hold some further down."""
    fields = spec_of(cls).fields
    return (
        tuple(field.name for field in fields if (cls.__name__, field.name) in SECRET_FIELDS),
        tuple(field.name for field in fields if isinstance(field.element, type) and has_secrets(field.element)),
    )


# To mypy a class is not hashable (it looks at the __hash__ of its instances).
_places = cast(Callable[[type[Any]], tuple[tuple[str, ...], tuple[str, ...]]], functools.cache(_find_places))
