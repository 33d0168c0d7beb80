"""kafka-python's protocol classes read what we write, find the same values, and write the same bytes."""

import functools
import importlib
import pkgutil
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.wire.official import OfficialMessage, body_messages, our_class
from tests.wire.plain import our_values, plain, without_markers
from tests.wire.values import random_message
from wire import codec

pytest.importorskip("kafka.protocol.api_message")

from kafka.protocol.data_container import DataContainer

pytestmark = [pytest.mark.slow, pytest.mark.parallel]


@functools.cache
def their_classes() -> dict[str, Any]:
    found = {}
    for package in ("admin", "consumer", "metadata", "producer"):
        folder = importlib.import_module(f"kafka.protocol.{package}")
        for module in pkgutil.iter_modules(folder.__path__):
            members = vars(importlib.import_module(f"kafka.protocol.{package}.{module.name}"))
            found |= {name: cls for name, cls in members.items() if isinstance(cls, type)}
    sasl = vars(importlib.import_module("kafka.protocol.sasl"))
    return found | {name: cls for name, cls in sasl.items() if isinstance(cls, type)}


def known_versions(message: OfficialMessage) -> Iterator[tuple[int, Any]]:
    """Each version that both know, with kafka-python's class."""
    cls = their_classes().get(message.name)
    if cls is not None and message.type in ("request", "response"):
        for version in message.version_numbers():
            if version <= cls.max_version:
                yield version, cls


def their_values(value: Any, version: int) -> Any:
    if isinstance(value, DataContainer):
        fields = [field for field in value._struct._fields if field.for_version_q(version)]
        return [their_values(getattr(value, field.name), version) for field in fields]
    if isinstance(value, set):  # the bits of authorized operations
        bits = sum(1 << bit for bit in value)
        return bits - (1 << 32 if 31 in value else 0)
    return [their_values(item, version) for item in value] if isinstance(value, list) else plain(value)


@pytest.mark.parametrize("message", body_messages(), ids=lambda message: message.name)
def test_kafka_python_reads_and_writes_the_same(message: OfficialMessage) -> None:
    for version, cls in known_versions(message):
        random = Random(f"{message.name} {version}")
        for _ in range(2):
            ours = random_message(our_class(message), version, random, unknown_tags=False, large=False)
            if message.name == "ApiVersionsResponse":
                ours.error_code = 0  # with an error it reads version 0
            encoded = codec.encode_bytes(ours, version)
            theirs = cls.decode(encoded, version=version)
            assert without_markers(their_values(theirs, version)) == without_markers(our_values(ours, version))
            theirs._header = None  # its decoder leaves that unset, its encoder looks at it
            written = theirs.encode(version=version)
            assert written == encoded
            assert codec.decode(our_class(message), version, written)[0] == ours


def test_kafka_python_knows_most_client_messages_and_versions() -> None:
    both = sum(1 for message in body_messages() for _ in known_versions(message))
    assert both > 300
