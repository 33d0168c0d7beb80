"""The tables of configurations against the facts about Apache Kafka 4.4.0 in `data/configs.tsv`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from pykbroker import topic_config
from pykbroker.cluster.config_entries import broker_definitions
from pykbroker.config import DEFINITIONS
from pykbroker.config_tables import client_metrics, group
from pykbroker.config_tables.broker_reported import REPORTED
from pykbroker.config_tables.definition import ConfigDef
from pykbroker.config_tables.documentation import documentation, parse

# Kafka insists on these; a single broker here needs no settings.
OPTIONAL_HERE = {"node.id", "process.roles", "controller.listener.names"}


class Fact(NamedTuple):
    scope: str
    name: str
    type: str
    default: str
    checked: str
    internal: str
    dynamic: str


def facts() -> Iterator[Fact]:
    lines = (Path(__file__).parent / "data" / "configs.tsv").read_text().splitlines()
    return (Fact(*line.split("\t")) for line in lines if not line.startswith("#"))


def table(scope: str) -> Mapping[str, ConfigDef]:
    return {
        "broker": broker_definitions(),
        "topic": topic_config.DEFINITIONS,
        "group": group.DEFINITIONS,
        "client_metrics": client_metrics.DEFINITIONS,
    }[scope]


@pytest.mark.parametrize("scope", ["broker", "topic", "group", "client_metrics"])
def test_table_has_kafkas_configurations_and_our_own(scope: str) -> None:
    named_as_kafkas = {name for name in table(scope) if not name.startswith("pykbroker.")}
    assert named_as_kafkas == {fact.name for fact in facts() if fact.scope == scope}


def test_each_configuration_is_as_in_kafka() -> None:
    differences = []
    for fact in facts():
        definition = table(fact.scope)[fact.name]
        default = definition.render(definition.default)
        found = Fact(
            fact.scope,
            definition.name,
            definition.type.name,
            "required" if fact.name in OPTIONAL_HERE else "-" if default is None else default,
            fact.checked,
            str(definition.internal).lower(),
            definition.dynamic.value if fact.scope == "broker" else "-",
        )
        if found != fact:
            differences.append((found, fact))
    assert differences == []


def test_each_configuration_that_kafka_checks_is_checked() -> None:
    # A text is never null, and an empty list is these two's default.
    unneeded = {"authorizer.class.name", "controller.quorum.voters", "controller.quorum.bootstrap.servers"}
    checked = {(fact.scope, fact.name) for fact in facts() if fact.checked == "yes" and fact.name not in unneeded}
    assert [key for key in sorted(checked) if table(key[0])[key[1]].check is None] == []


def test_default_of_each_configuration_passes_its_own_check() -> None:
    for scope in ("broker", "topic", "group", "client_metrics"):
        for definition in table(scope).values():
            text = definition.render(definition.default)
            if text is not None:
                assert definition.parse(text) == definition.default, definition.name


def test_configuration_is_in_one_of_the_brokers_tables_only() -> None:
    assert not DEFINITIONS.keys() & REPORTED.keys()


@pytest.mark.parametrize("scope", ["broker", "topic", "group", "client_metrics"])
def test_documentation_is_of_configurations_that_exist(scope: str) -> None:
    assert documentation(scope).keys() <= table(scope).keys()


def test_documentation_goes_on_in_indented_lines() -> None:
    assert parse("\na.b: first: one\n    and more\nc: two\n") == {"a.b": "first: one and more", "c": "two"}
