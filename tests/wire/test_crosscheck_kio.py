"""kio, another implementation of the protocol, reads what we write, finds the same values and writes the same bytes."""

import dataclasses
import io
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.wire.official import OfficialMessage, body_messages, our_class
from tests.wire.plain import our_values, plain, without_markers
from tests.wire.values import random_message
from wire import codec

pytest.importorskip("kio")

from kio.index import load_entity_schema
from kio.schema.index import schema_name_map
from kio.serial import entity_reader, entity_writer
from kio.static.constants import EntityType

pytestmark = [pytest.mark.slow, pytest.mark.parallel]

ENTITIES = {"request": EntityType.request, "response": EntityType.response, "data": EntityType.data}


def kio_name(name: str) -> str:
    words = ["_" + letter.lower() if letter.isupper() else letter for letter in name]
    return "".join(words).lstrip("_").removesuffix("_request").removesuffix("_response")


def known_versions(message: OfficialMessage) -> Iterator[tuple[int, Any]]:
    """Each version that both know, with kio's class."""
    versions = schema_name_map.get(kio_name(message.name), {})
    for version in message.version_numbers():
        if ENTITIES.get(message.type) in versions.get(version, {}):
            yield version, load_entity_schema(kio_name(message.name), version, ENTITIES[message.type])


def kio_values(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return [kio_values(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return [kio_values(item) for item in value] if isinstance(value, tuple) else plain(value)


@pytest.mark.parametrize("message", body_messages(), ids=lambda message: message.name)
def test_kio_reads_and_writes_the_same(message: OfficialMessage) -> None:
    for version, kio_class in known_versions(message):
        random = Random(f"{message.name} {version}")
        for _ in range(2):
            ours = random_message(
                our_class(message), version, random, unknown_tags=False, large=False, any_number=False
            )
            encoded = codec.encode_bytes(ours, version)
            theirs, size = entity_reader(kio_class)(encoded, 0)
            assert size == len(encoded)
            assert without_markers(kio_values(theirs)) == without_markers(our_values(ours, version))
            written = io.BytesIO()
            entity_writer(kio_class)(written, theirs)
            assert written.getvalue() == encoded
            assert codec.decode(our_class(message), version, written.getvalue())[0] == ours


def test_kio_knows_most_messages_and_versions() -> None:
    both = sum(1 for message in body_messages() for _ in known_versions(message))
    assert both > 500
