"""The facts of the official definitions, read from tests/data/official (written by scripts/official_facts).

Also the way from an official name to our class, so that a test can walk both side by side.
"""

import functools
import importlib
import re
from pathlib import Path
from typing import Any

import attrs

from wire.catalog import API_BY_KEY
from wire.schema import Versions

FOLDER = Path(__file__).resolve().parent.parent / "data" / "official"
RECORD_FAMILIES = ("log_records", "control_records", "share_records", "streams_records", "cluster_records")


@attrs.define
class OfficialField:
    name: str
    type: str
    versions: Versions
    nullable: Versions
    tag: int | None
    tagged: Versions
    default: str | None  # None: the usual one of the type
    ignorable: bool
    flexible: str | None  # only the request header's client id has one
    fields: list["OfficialField"] = attrs.field(factory=list)

    @property
    def is_array(self) -> bool:
        return self.type.startswith("[]")

    @property
    def element(self) -> str:
        return self.type.removeprefix("[]")


@attrs.define
class OfficialMessage:
    type: str  # request, response, header, data, coordinator-key, coordinator-value
    name: str
    key: int | None
    versions: Versions
    flexible: Versions
    fields: list[OfficialField] = attrs.field(factory=list)

    def version_numbers(self) -> range:
        return range(self.versions.low, self.versions.high + 1)


@functools.cache
def official_messages() -> dict[str, OfficialMessage]:
    messages: dict[str, OfficialMessage] = {}
    levels: list[list[OfficialField]] = []
    for line in (FOLDER / "messages.txt").read_text().splitlines():
        depth = len(line) - len(line.lstrip(" "))
        words = line.split()
        options = dict(word.split("=") for word in words if "=" in word)
        if depth == 0:
            message = OfficialMessage(
                words[0],
                words[1],
                int(options["key"]) if "key" in options else None,
                Versions.parse(options["versions"]),
                Versions.parse(options.get("flexible", "none")),
            )
            assert message.name not in messages
            messages[message.name] = message
            levels = [message.fields]
            continue
        field = OfficialField(
            words[0],
            words[1],
            Versions.parse(words[2]),
            Versions.parse(options.get("nullable", "none")),
            int(options["tag"]) if "tag" in options else None,
            Versions.parse(options.get("tagged", "none")),
            options.get("default"),
            "ignorable" in words,
            options.get("flexible"),
        )
        del levels[depth:]
        levels[depth - 1].append(field)
        levels.append(field.fields)
    return messages


def rows(name: str) -> list[list[str]]:
    return [line.split(" ") for line in (FOLDER / name).read_text().splitlines()]


def snake_case(name: str) -> str:
    """Our name of an official one: words begin at a capital after a small letter, and at the last of several."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return words.lower().replace("k_raft", "kraft")


def our_class(message: OfficialMessage) -> type[Any]:
    families = RECORD_FAMILIES
    if message.type in ("request", "response"):
        assert message.key is not None
        families = (API_BY_KEY[message.key].family,)
    for family in families:
        found = getattr(importlib.import_module(f"wire.messages.{family}"), message.name, None)
        if isinstance(found, type):
            return found
    raise AssertionError(f"{message.name} is not declared in {families}")


def body_messages() -> list[OfficialMessage]:
    """All messages that have a class: everything but the two headers, which wire.frame writes by hand."""
    return [message for message in official_messages().values() if message.type != "header"]


def codec_cases() -> list[tuple[OfficialMessage, int]]:
    return [(message, version) for message in body_messages() for version in message.version_numbers()]
