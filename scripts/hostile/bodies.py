"""Hostile bodies of every request, and what a client must not do to a session."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from random import Random

from support import frames
from support.frames import compact, uvarint

from hostile.kinds import TARGETS, Hostile, Kind, any_served, request
from hostile.values import ANY, ARRAYS, TEXTS, body, empty_body, lying_body
from wire.catalog import API_BY_NAME
from wire.schema import Kind as WireKind

LARGEST = (1 << 31) - 1
ABSURD_NAMES = (
    "",
    ".",
    "..",
    "a" * 250,
    "a" * 32_000,
    "with/slash",
    "nul\0byte",
    "new\nline",
    "ünïcode",
    "../../etc/passwd",
    "__consumer_offsets",
)
PARTITIONS = (-1, -(1 << 31), LARGEST, 99)


def kinds() -> tuple[Kind, ...]:
    """Return the kinds that are wrong behind a right header."""
    lie = functools.partial
    return (
        Kind("body: array of 2^31-1", lie(_lying, ARRAYS, (LARGEST,)), 6),
        Kind("body: array of -2", lie(_lying, ARRAYS, (-2, -LARGEST)), 4),
        Kind("body: array of as many as bytes are left", lie(_lying, ARRAYS, tuple(range(3, 60))), 6),
        Kind("body: array of thousands", lie(_lying, ARRAYS, (1_000, 65_536, 1_000_000)), 4),
        Kind("body: text length", lie(_lying, TEXTS, (-2, 32_767, 1_000_000, LARGEST)), 6),
        Kind("body: null where it is not allowed", lie(_lying, ANY, (-1,)), 6),
        Kind("body: trailing bytes", _trailing, 4),
        Kind("body: cut, in a frame of its size", _cut, 6),
        Kind("body: of another version", _other_version, 4),
        Kind("body: of another request", _other_request, 4),
        Kind("body: empty arrays", lambda rng: _of_any(rng, empty_body), 6),
        Kind("body: random bytes", _random, 6),
        Kind("body: flipped bits", _flipped, 10),
        Kind("body: words overwritten", _overwritten, 10),
        Kind("body: absurd values", lambda rng: _of_any(rng, body), 14),
        Kind("body: nested arrays that multiply", _nested, at_most=40),
        Kind("body: the same topic twice", _twice, 3),
        Kind("body: partitions", _partitions, 3),
        Kind("body: topic names", _topic_names, 4),
        Kind("body: a million partitions", _million, at_most=6),
        Kind("sessions: authentication where there is none", _sasl, 2),
        Kind("sessions: a client that claims to be a replica", _replica, 2),
        Kind("sessions: fetch session", _fetch_session, 6),
        Kind("sessions: member ids", _member, 6),
        Kind("sessions: commit metadata over the limit", _commit_metadata, 2),
    )


def _of_any(rng: Random, write: object) -> Hostile:
    assert callable(write)
    api, version = any_served(rng)
    return request(api.key, version, write(api.key, version, rng), rng)


def _lying(where: Sequence[WireKind], sizes: Sequence[int], rng: Random) -> Hostile:
    while True:
        api, version = any_served(rng)
        made = lying_body(api.key, version, rng, where, rng.choice(sizes))
        if made is not None:
            return request(api.key, version, made, rng)


def _trailing(rng: Random) -> Hostile:
    api, version = any_served(rng)
    return request(api.key, version, body(api.key, version, rng) + rng.randbytes(rng.randint(1, 50)), rng)


def _cut(rng: Random) -> Hostile:
    api, version = any_served(rng)
    whole = body(api.key, version, rng)
    return request(api.key, version, whole[: rng.randint(0, max(0, len(whole) - 1))], rng)


def _other_version(rng: Random) -> Hostile:
    api, version = any_served(rng)
    other = rng.randint(api.min_version, api.max_version)
    return request(api.key, version, body(api.key, other, rng), rng)


def _other_request(rng: Random) -> Hostile:
    api, version = any_served(rng)
    other, its_version = any_served(rng)
    return request(api.key, version, body(other.key, its_version, rng), rng)


def _random(rng: Random) -> Hostile:
    api, version = any_served(rng)
    return request(api.key, version, rng.randbytes(rng.randint(0, 500)), rng)


def _flipped(rng: Random) -> Hostile:
    api, version = any_served(rng)
    made = bytearray(body(api.key, version, rng))
    for _ in range(rng.randint(1, 4) if made else 0):
        made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return request(api.key, version, bytes(made), rng)


def _overwritten(rng: Random) -> Hostile:
    api, version = any_served(rng)
    made = bytearray(body(api.key, version, rng)).ljust(4, b"\0")
    word = rng.choice(
        (
            b"\x7f\xff\xff\xff",
            b"\xff\xff\xff\xff",
            b"\x80\0\0\0",
            b"\xff\xff\xff\xff\x0f",
            b"\xff\xff\xff\xff\x7f",
            b"\xff\xfe",
        )
    )
    position = rng.randrange(len(made))
    made[position : position + len(word)] = word
    return request(api.key, version, bytes(made), rng)


def _nested(rng: Random) -> Hostile:
    """ListOffsets of hundreds of topics, each with hundreds of partitions that do not exist."""
    partitions = b"".join(struct.pack(">iiq", number + 100, -1, -1) + b"\0" for number in range(200))
    topic = compact(rng.choice(TARGETS)) + uvarint(201) + partitions + b"\0"
    return request(frames.LIST_OFFSETS, 7, struct.pack(">ib", -1, 0) + uvarint(301) + topic * 300 + b"\0", rng)


def _twice(rng: Random) -> Hostile:
    """The same topic, or the same partition, more than once in one request."""
    topic = compact(rng.choice(TARGETS))
    if rng.random() < 0.5:
        partition = struct.pack(">iiq", 0, -1, -1) + b"\0"
        one = topic + b"\3" + partition * 2 + b"\0"
        return request(frames.LIST_OFFSETS, 7, struct.pack(">ib", -1, 0) + b"\3" + one * 2 + b"\0", rng)
    partition = struct.pack(">i", 0) + compact(frames.batch_of([b"value"])) + b"\0"
    one = topic + b"\3" + partition * 2 + b"\0"
    return request(frames.PRODUCE, 11, b"\0" + struct.pack(">hi", 1, 1000) + b"\3" + one * 2 + b"\0", rng)


def _partitions(rng: Random) -> Hostile:
    topic, partition = rng.choice(TARGETS), rng.choice(PARTITIONS)
    made = rng.choice(
        (
            frames.produce_request(topic, partition, frames.batch_of([b"value"])),
            bytes(
                frames.fetch_request(
                    topic, partition, rng.choice((0, -1, LARGEST)), max_bytes=rng.choice((0, -1, 1000)), max_wait_ms=0
                )
            ),
            frames.list_offsets_request(topic, partition, rng.choice((-1, -2, -3, -100, 0))),
        )
    )
    key, version = struct.unpack_from(">hh", made, 4)
    return Hostile(made, key, version)


def _topic_names(rng: Random) -> Hostile:
    name = rng.choice(ABSURD_NAMES)
    choices = (
        (frames.CREATE_TOPICS, frames.create_topics_request({name: 1}, replication_factor=1)),
        (frames.METADATA, frames.metadata_request([name])),
        (frames.PRODUCE, frames.produce_request(name, 0, frames.batch_of([b"value"]))),
        (frames.DELETE_TOPICS, frames.delete_topics_request([name])),
    )
    # Apache Kafka deletes an internal topic if it is asked to; that would not be an attack but an order.
    key, made = rng.choice(choices[:3] if name.startswith("__") else choices)
    return Hostile(made, key, frames.VERSIONS[key])


def _million(rng: Random) -> Hostile:
    """A million partitions, asked for by a client or to be created."""
    if rng.random() < 0.5:
        made = frames.create_topics_request({"torture-million": 1_000_000}, replication_factor=1)
        return Hostile(made, frames.CREATE_TOPICS, frames.VERSIONS[frames.CREATE_TOPICS])
    numbers = b"".join(struct.pack(">iiq", number, -1, -1) for number in range(1_000_000))
    topic = b"\0\x0dtorture-plain" + struct.pack(">i", 1_000_000) + numbers
    return request(frames.LIST_OFFSETS, 4, struct.pack(">ib", -1, 0) + struct.pack(">i", 1) + topic, rng)


def _sasl(rng: Random) -> Hostile:
    if rng.random() < 0.5:
        name = rng.choice((b"PLAIN", b"", b"x" * 30_000, b"SCRAM-SHA-256\n"))
        return request(17, 1, struct.pack(">h", len(name)) + name, rng)
    token = rng.choice((b"", b"\0user\0password", rng.randbytes(100_000)))
    return request(36, 2, uvarint(len(token) + 1) + token + b"\0", rng)


def _replica(rng: Random) -> Hostile:
    """Fetch 12 as if it came from a broker: an ordinary client must not move the high watermark."""
    made = frames.fetch_request(rng.choice(TARGETS), 0, rng.choice((0, 5, 1 << 40)), max_bytes=1000, max_wait_ms=0)
    body_start = 4 + 8 + 2 + len(frames.CLIENT_ID) + 1
    struct.pack_into(">i", made, body_start, rng.choice((0, 1, 2, 99, LARGEST, -2)))
    return Hostile(bytes(made), frames.FETCH, 12)


def _fetch_session(rng: Random) -> Hostile:
    """Sessions opened and left, continued with a wrong id or epoch."""
    made = frames.fetch_request(rng.choice(TARGETS), rng.choice((0, 0, 1)), 0, max_bytes=1000, max_wait_ms=0)
    session = 4 + 8 + 2 + len(frames.CLIENT_ID) + 1 + 4 + 4 + 4 + 4 + 1
    choice = rng.choice(((0, 0), (0, 0), (12345, 1), (12345, -1), (-1, 0), (LARGEST, LARGEST), (0, 5)))
    struct.pack_into(">ii", made, session, *choice)
    return Hostile(bytes(made), frames.FETCH, 12)


def _member(rng: Random) -> Hostile:
    """JoinGroup without a member id: the broker invents one, and the client never comes back for it."""
    group = compact(f"torture-group-{rng.randrange(5)}")
    member = compact(rng.choice(("", "", "", "unknown-member", "x" * 10_000)))
    timeouts = struct.pack(">ii", rng.choice((6_000, 10_000, 0, -1, LARGEST)), rng.choice((1_000, -1, LARGEST)))
    protocols = b"\2" + compact("range") + compact(rng.randbytes(20)) + b"\0"
    return request(
        API_BY_NAME["JoinGroup"].key,
        7,
        group + timeouts + member + b"\0" + compact("consumer") + protocols + b"\0",
        rng,
    )


def _commit_metadata(rng: Random) -> Hostile:
    metadata = compact("m" * rng.choice((4_097, 20_000, 100_000)))
    partition = struct.pack(">iqi", 0, 1, -1) + metadata + b"\0"
    topic = compact(rng.choice(TARGETS)) + b"\2" + partition + b"\0"
    group = compact("torture-commits") + struct.pack(">i", -1) + compact("") + b"\0"
    return request(API_BY_NAME["OffsetCommit"].key, 8, group + b"\2" + topic + b"\0", rng)
