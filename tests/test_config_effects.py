"""What docs/CONFIGURATION.md says of configurations is true: what is honoured is read by the code, all else is not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pykbroker import topic_config
from pykbroker.cluster.config_entries import broker_definitions
from pykbroker.config import DEFINITIONS, BrokerConfig, ConfigError
from pykbroker.config_tables.effects import Statement, effect_of, entries
from tests.test_config_tables import facts, table

REPOSITORY = Path(__file__).parent.parent
HONOURED = (Statement.LIVE, Statement.AT_START)
# Topics take these from the broker, by name (topic_config.broker_defaults).
OF_TOPICS = {name for synonyms in topic_config.BROKER_SYNONYMS.values() for name in synonyms[:1]}


@pytest.fixture(scope="module")
def read() -> set[str]:
    """The names of attributes that the broker's code reads, outside of the tables and of what only checks them."""
    found: set[str] = set()
    for path in (REPOSITORY / "pykbroker").rglob("*.py"):
        if "config_tables" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        checks = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _only_checks(path, node)]
        ignored = {id(node) for check in checks for node in ast.walk(check)}
        found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and id(node) not in ignored}
    return found


def _only_checks(path: Path, function: ast.FunctionDef) -> bool:
    return path.name == "config.py" and function.name.startswith(("check", "_check_logs", "_check_part"))


def test_what_is_honoured_of_brokers_is_read(read: set[str]) -> None:
    honoured = {name for name, row in broker_definitions().items() if effect_of("broker", row).statement in HONOURED}
    unread = {name for name in honoured if name.replace(".", "_") not in read}
    assert unread - OF_TOPICS - {"process.roles"} == set()  # it is checked, and then of no use
    assert honoured <= DEFINITIONS.keys()


def test_what_is_honoured_of_topics_is_read(read: set[str]) -> None:
    rows = topic_config.DEFINITIONS.items()
    honoured = {name for name, row in rows if effect_of("topic", row).statement in HONOURED}
    assert {name for name in honoured if name.replace(".", "_") not in read} == set()


def test_what_has_no_effect_is_not_read(read: set[str]) -> None:
    for resource, rows in (("broker", broker_definitions()), ("topic", topic_config.DEFINITIONS)):
        without = {name for name, row in rows.items() if effect_of(resource, row).statement not in HONOURED}
        # Some of these are a name of something else as well, or read where there is a topic's configuration.
        shared = {name for name in without if resource == "broker" and name in topic_config.DEFINITIONS}
        assert {name for name in without - shared if name.replace(".", "_") in read} == set(), resource


def test_broker_acts_on_a_default_of_topics_where_topics_do() -> None:
    for name, synonyms in topic_config.BROKER_SYNONYMS.items():
        of_topic = effect_of("topic", topic_config.DEFINITIONS[name]).statement in HONOURED
        for synonym in synonyms:
            assert (effect_of("broker", DEFINITIONS[synonym]).statement in HONOURED) is of_topic, synonym


def test_what_the_broker_only_shows_is_not_honoured() -> None:
    shown = [row for name, row in broker_definitions().items() if name not in DEFINITIONS]
    assert [row.name for row in shown if effect_of("broker", row).statement in HONOURED] == []


def test_every_reason_is_of_a_configuration_that_exists() -> None:
    for resource in ("broker", "topic", "group", "client_metrics"):
        names = table(resource).keys()
        for entry in entries(resource):
            assert any(name == entry or (entry[-1] == "*" and name.startswith(entry[:-1])) for name in names), entry


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("config.providers", "file"),
        ("remote.log.storage.system.enable", "true"),
        ("create.topic.policy.class.name", "com.example.Policy"),
    ],
)
def test_what_is_refused_keeps_a_broker_from_starting(name: str, value: str) -> None:
    assert effect_of("broker", broker_definitions()[name]).statement is Statement.REFUSED
    with pytest.raises(ConfigError, match=name):
        BrokerConfig.from_properties({name: value})


def test_what_is_refused_may_be_set_to_its_default() -> None:
    defaults = {"authorizer.class.name": "", "config.providers": "", "remote.log.storage.system.enable": "false"}
    assert BrokerConfig.from_properties(defaults).properties == defaults


def test_page_has_a_line_for_each_of_kafkas_configurations_and_is_up_to_date() -> None:
    lines = (REPOSITORY / "docs" / "CONFIGURATION.md").read_text().splitlines()
    kafkas = lines[: lines.index("## This broker's own")]
    named = sorted(line.split("`")[1] for line in kafkas if line.startswith("| `"))
    assert named == sorted(fact.name for fact in facts())
    command = [sys.executable, str(REPOSITORY / "scripts" / "config_docs"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def test_page_that_is_not_up_to_date_is_noticed(tmp_path: Path) -> None:
    for part in ("scripts/config_docs", "pykbroker", "wire"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (tmp_path / part).symlink_to(REPOSITORY / part)
    (tmp_path / "docs").mkdir()
    script = (REPOSITORY / "scripts" / "config_docs").read_text()
    copied = tmp_path / "scripts" / "config_docs"
    copied.unlink()
    copied.write_text(script)
    for text, status in (("", 1), ((REPOSITORY / "docs" / "CONFIGURATION.md").read_text(), 0)):
        (tmp_path / "docs" / "CONFIGURATION.md").write_text(text)
        assert subprocess.run([sys.executable, str(copied), "--check"], check=False).returncode == status
