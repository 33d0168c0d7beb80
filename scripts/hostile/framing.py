"""Hostile framing and headers."""

from __future__ import annotations

import struct
from random import Random

from support.frames import api_versions_request, uvarint

from hostile.kinds import Hostile, Kind, any_served, framed, header, request
from hostile.values import body
from wire.catalog import APIS

API_VERSIONS, METADATA = 18, 3
METADATA_BODY = b"\1\0\0\0"  # Metadata 12 of no topics
REQUEST_LIMIT = 104_857_600  # socket.request.max.bytes, as it is by default
TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(508)


def framing_kinds() -> tuple[Kind, ...]:
    """Return what is wrong before a header is read. All of these are incomplete: the stream ends behind them."""
    return (
        Kind("framing: size 0", lambda rng: _sized(0, rng.randbytes(rng.randint(0, 20)))),
        Kind("framing: size negative", lambda rng: _sized(rng.choice((-1, -2, -100, -(1 << 31))), rng.randbytes(20))),
        Kind("framing: size 2^31-1", lambda rng: _sized((1 << 31) - 1, rng.randbytes(100))),
        Kind(
            "framing: size over the limit", lambda rng: _sized(REQUEST_LIMIT + rng.randint(1, 100), rng.randbytes(100))
        ),
        Kind("framing: size at the limit, no body", lambda rng: _sized(REQUEST_LIMIT, rng.randbytes(100))),
        Kind("framing: body cut", _cut, 4),
        Kind("framing: size cut", lambda rng: Hostile(rng.randbytes(rng.randint(1, 3)), is_complete=False)),
        Kind(
            "framing: half a header",
            lambda rng: Hostile(framed(header(3, 12, rng)[: rng.randint(1, 8)]), is_complete=False),
        ),
        Kind("framing: random bytes", lambda rng: Hostile(rng.randbytes(rng.randint(1, 2000)), is_complete=False), 6),
        Kind("framing: TLS hello", lambda rng: Hostile(TLS_HELLO, is_complete=False)),
        Kind("framing: HTTP", _http),
        Kind("framing: good frame, then garbage", _then_garbage),
    )


def header_kinds() -> tuple[Kind, ...]:
    """Return headers that are wrong in a frame that is right."""
    return (
        Kind("header: unknown key", _unknown_key, 3),
        Kind("header: removed key", _removed_key),
        Kind("header: version negative", lambda rng: _version(rng, rng.choice((-1, -32768))), 2),
        Kind("header: version above the highest", _version_above, 3),
        Kind("header: version below the lowest", _version_below, 2),
        Kind("header: version 32767", lambda rng: _version(rng, 32767)),
        Kind("header: ApiVersions of an unknown version", _api_versions, 2),
        Kind("header: client id length", lambda rng: _client_id_length(rng, rng.choice((-2, -32768)))),
        Kind("header: client id longer than the frame", lambda rng: _client_id_length(rng, rng.choice((500, 32767)))),
        Kind("header: client id of 32 KB", lambda rng: _client_id(rng, b"x" * 32767)),
        Kind(
            "header: client id not UTF-8",
            lambda rng: _client_id(rng, rng.choice((b"\xff\xfe", b"\xc3", b"\xed\xa0\x80"))),
        ),
        Kind("header: client id with control characters", lambda rng: _client_id(rng, b"a\n\0\x1b[31mred\r\n")),
        Kind("header: a million tags", lambda rng: _tags(rng, _many_tags(1_000_000)), at_most=6),
        Kind(
            "header: tag count", lambda rng: _tags(rng, uvarint(rng.choice((5, 1 << 20, (1 << 31) - 1, (1 << 32) - 1))))
        ),
        Kind("header: unknown tags", lambda rng: _tags(rng, b"\2" + uvarint(77) + b"\1x" + uvarint(1 << 30) + b"\0")),
        Kind("header: duplicate tags", lambda rng: _tags(rng, b"\2\5\1x\5\1y")),
        Kind("header: unsorted tags", lambda rng: _tags(rng, b"\2\6\1x\5\1y")),
        Kind(
            "header: overlong tag", lambda rng: _tags(rng, b"\1\5" + uvarint(rng.choice((200, 1 << 20, (1 << 31) - 1))))
        ),
        Kind("header: varint of six bytes", lambda rng: _tags(rng, b"\x80\x80\x80\x80\x80\1")),
        Kind("header: varint over 32 bits", lambda rng: _tags(rng, b"\xff\xff\xff\xff\x7f")),
        Kind("header: software name", _software_name, 2),
    )


def _sized(size: int, rest: bytes) -> Hostile:
    return Hostile(struct.pack(">i", size) + rest, is_complete=False)


def _cut(rng: Random) -> Hostile:
    api, version = any_served(rng)
    whole = request(api.key, version, body(api.key, version, rng), rng).payload
    return Hostile(whole[: rng.randint(4, len(whole) - 1)], is_complete=False)


def _http(rng: Random) -> Hostile:
    line = rng.choice((b"GET / HTTP/1.1", b"POST /topics HTTP/1.1", b"HEAD / HTTP/1.0"))
    return Hostile(line + b"\r\nHost: localhost\r\n\r\n", is_complete=False)


def _then_garbage(rng: Random) -> Hostile:
    return Hostile(
        api_versions_request() + b"\xff" + rng.randbytes(rng.randint(8, 100)), API_VERSIONS, 0, is_complete=False
    )


def _unknown_key(rng: Random) -> Hostile:
    key = rng.choice((-32768, -1, APIS[-1].key + 1, 200, 1000, 10_000, 32767))
    return request(key, rng.choice((-1, 0, 1, 5)), rng.randbytes(rng.randint(0, 40)), rng)


def _removed_key(rng: Random) -> Hostile:
    key = rng.choice([api.key for api in APIS if api.min_version > api.max_version])
    return request(key, rng.randint(0, 7), rng.randbytes(rng.randint(0, 40)), rng)


def _version(rng: Random, version: int) -> Hostile:
    api, good = any_served(rng)
    return request(api.key, version, body(api.key, good, rng), rng)


def _version_above(rng: Random) -> Hostile:
    api, good = any_served(rng)
    return request(api.key, api.max_version + rng.randint(1, 3), body(api.key, good, rng), rng)


def _version_below(rng: Random) -> Hostile:
    api, good = any_served(rng)
    return request(api.key, api.min_version - 1, body(api.key, good, rng), rng)


def _api_versions(rng: Random) -> Hostile:
    return request(API_VERSIONS, rng.choice((6, 7, 100, 32767, -1)), rng.randbytes(rng.randint(0, 20)), rng)


def _client_id_length(rng: Random, length: int) -> Hostile:
    start = struct.pack(">hhih", METADATA, 12, rng.randrange(1 << 30), length)
    return Hostile(framed(start + b"torture\0" + METADATA_BODY), METADATA, 12)


def _client_id(rng: Random, client_id: bytes) -> Hostile:
    return Hostile(framed(header(METADATA, 12, rng, client_id=client_id) + METADATA_BODY), METADATA, 12)


def _tags(rng: Random, tags: bytes) -> Hostile:
    return Hostile(framed(header(METADATA, 12, rng, tags=tags) + METADATA_BODY), METADATA, 12)


def _many_tags(count: int) -> bytes:
    return uvarint(count) + b"".join(uvarint(tag) + b"\0" for tag in range(count))


def _software_name(rng: Random) -> Hostile:
    name = rng.choice((b"a\nb", b"\x1b[2J", b"", b"x" * 5000, b"\xff\xfe", b"-name-", "name ünï".encode()))
    version = rng.choice((b"1.0", b"", b"1\r\n2", b"y" * 5000))
    content = uvarint(len(name) + 1) + name + uvarint(len(version) + 1) + version + b"\0"
    return request(API_VERSIONS, 3, content, rng)
