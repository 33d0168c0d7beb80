"""What one hostile input is, and helpers to build headers as right or as wrong as wanted.

Rules: a complete input consists of whole frames, so that the connection can be asked afterwards whether it still
works; an incomplete one is followed by the end of the stream.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

from attrs import frozen
from support.frames import uvarint

from wire.catalog import API_BY_KEY, APIS, Api

TARGETS = ("torture-plain", "torture-compact", "torture-append-time", "torture-gzip")
SERVED = tuple(api for api in APIS if api.min_version <= api.max_version)


@frozen
class Hostile:
    """Bytes to send. `key` and `version` say how an answer is to be read, where one can come."""

    payload: bytes
    key: int = -1
    version: int = -1
    is_complete: bool = True


@frozen
class Kind:
    """A way to misbehave.

    It is used in proportion to `weight`, but not more often than `at_most` (for large inputs).
    """

    name: str
    make: Callable[[Random], Hostile]
    weight: int = 1
    at_most: int | None = None


def header(key: int, version: int, rng: Random, *, client_id: bytes = b"torture", tags: bytes = b"\0") -> bytes:
    """Return a request header; `tags` is left out where the version has none."""
    api = API_BY_KEY.get(key)
    flexible = api is not None and api.is_flexible(version)
    fixed = struct.pack(">hhih", key, version, rng.randrange(1 << 30), len(client_id)) + client_id
    return fixed + (tags if flexible else b"")


def framed(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def request(key: int, version: int, body: bytes, rng: Random) -> Hostile:
    """Return a whole frame with a right header."""
    return Hostile(framed(header(key, version, rng) + body), key, version)


def any_served(rng: Random) -> tuple[Api, int]:
    api = rng.choice(SERVED)
    return api, rng.randint(api.min_version, api.max_version)


def size_prefix(size: int, is_flexible: bool, width: int) -> bytes:
    """Return a length of -2 and more as `is_flexible` or a fixed width wants it; -1 is null."""
    if is_flexible:
        return uvarint((size + 1) & 0xFFFFFFFF)
    if width == 2:
        return struct.pack(">h", max(-(1 << 15), min(size, (1 << 15) - 1)))
    return struct.pack(">i", size)
