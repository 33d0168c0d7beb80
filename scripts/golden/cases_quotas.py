"""Quotas: of clients (which entities and keys there are, what a filter finds, what is refused), of replication, of new
connections."""

from __future__ import annotations

from typing import Any

from golden.caller import Caller, Story, Values

NAME, DEFAULT, ANY = range(3)  # what a filter matches


def entity(**names: str | None) -> list[Values]:
    return [{"entity_type": kind.replace("_", "-"), "entity_name": name} for kind, name in names.items()]


def op(key: str, value: float | None) -> Values:
    return {"key": key, "value": value or 0.0, "remove": value is None}


def entry(of: list[Values], *ops: Values) -> Values:
    return {"entity": of, "ops": list(ops)}


def wanted(kind: str, match_type: int, match: str | None = None) -> Values:
    return {"entity_type": kind, "match_type": match_type, "match": match}


RATE = op("producer_byte_rate", 1000.0)
ALICE = entity(user="alice")

REFUSED: list[list[Values]] = [
    [],
    [entry([], RATE)],
    [entry(entity(group="g"), RATE)],
    [entry(entity(user=""), RATE)],
    [entry(entity(client_id=""), RATE)],
    [entry([*ALICE, *entity(user="bob")], RATE)],
    [entry([*ALICE, *ALICE], RATE)],
    [entry(entity(user="alice", ip="127.0.0.1"), RATE)],
    [entry(entity(client_id="c", ip=None), RATE)],
    [entry(entity(ip="127.0.0.1"), RATE)],
    [entry(entity(ip="300.1.2.3.4.5"), op("connection_creation_rate", 1.0))],
    [entry(entity(ip="not an address"), op("connection_creation_rate", 1.0))],
    [entry(entity(ip=""), op("connection_creation_rate", 1.0))],
    [entry(entity(ip="127.0.0.1"), op("connection_creation_rate", 1.5))],
    [entry(entity(ip="127.0.0.1"), op("connection_creation_rate", -1.0))],
    [entry(entity(ip="127.0.0.1"), op("connection_creation_rate", 3e9))],
    [entry(ALICE, op("connection_creation_rate", 1.0))],
    [entry(ALICE, op("odd", 1.0))],
    [entry(ALICE, op("odd", None))],
    [entry(ALICE, op("", 1.0))],
    [entry(ALICE, op("SCRAM-SHA-256", 1.0))],
    [entry(ALICE, op("producer_byte_rate", 0.0))],
    [entry(ALICE, op("producer_byte_rate", -1.0))],
    [entry(ALICE, op("producer_byte_rate", 1.5))],
    [entry(ALICE, op("consumer_byte_rate", 0.5))],
    [entry(ALICE, op("producer_byte_rate", 1e300))],
    [entry(ALICE, op("producer_byte_rate", float("nan")))],
    [entry(ALICE, op("producer_byte_rate", float("inf")))],
    [entry(ALICE, op("request_percentage", -0.5))],
    [entry(ALICE, op("request_percentage", 0.0))],
    [entry(ALICE, op("controller_mutation_rate", 0.0))],
    [entry(ALICE, op("controller_mutation_rate", -2.5))],
    [entry(ALICE, RATE, op("producer_byte_rate", 5.0))],
    [entry(ALICE, RATE, op("odd", 5.0))],
    [entry(ALICE, RATE), entry(ALICE, op("consumer_byte_rate", 5.0))],
    [entry(ALICE, RATE), entry(entity(user=""), RATE)],
    [entry(ALICE)],
]  # fmt: skip

SET: list[list[Values]] = [
    [entry(ALICE, RATE, op("request_percentage", 12.5))],
    [entry(entity(user="alice", client_id="one"), RATE, op("controller_mutation_rate", 2.25))],
    [entry(entity(client_id="one", user=None), op("consumer_byte_rate", 2000.0))],
    [entry(entity(user="alice", client_id=None), op("consumer_byte_rate", 3000.0))],
    [entry(entity(user=None, client_id=None), RATE), entry(entity(client_id=None), RATE)],
    [entry(entity(user=None), op("consumer_byte_rate", 1.0000001))],
    [
        entry(entity(ip="127.0.0.9"), op("connection_creation_rate", 7.0)),
        entry(entity(ip=None), op("connection_creation_rate", 9.0)),
    ],
    [entry(entity(user="a/b%20=&é,:*"), RATE)],
    [entry(entity(user="alice", client_id="two"), op("producer_byte_rate", 1.0), op("producer_byte_rate", None))],
    [entry(ALICE, op("consumer_byte_rate", None))],
]  # fmt: skip

FILTERS: list[list[Values]] = [
    [],
    [wanted("user", NAME, "alice")],
    [wanted("user", DEFAULT)],
    [wanted("user", ANY)],
    [wanted("client-id", ANY)],
    [wanted("client-id", DEFAULT)],
    [wanted("user", ANY), wanted("client-id", ANY)],
    [wanted("user", NAME, "alice"), wanted("client-id", ANY)],
    [wanted("user", DEFAULT), wanted("client-id", NAME, "one")],
    [wanted("client-id", NAME, "one")],
    [wanted("ip", NAME, "127.0.0.9")],
    [wanted("ip", ANY)],
    [wanted("ip", DEFAULT)],
    [wanted("ip", NAME, "absent")],
    [wanted("ip", ANY), wanted("user", ANY)],
    [wanted("client-id", DEFAULT), wanted("ip", DEFAULT)],
    [wanted("user", NAME)],
    [wanted("user", DEFAULT, "alice")],
    [wanted("user", ANY, "alice")],
    [wanted("user", 3)],
    [wanted("user", -1)],
    [wanted("", ANY)],
    [wanted("group", ANY)],
    [wanted("group", 9)],
    [wanted("user", ANY), wanted("user", ANY)],
    [wanted("user", NAME, "alice"), wanted("user", DEFAULT)],
    [wanted("user", NAME, "")],
]


def quotas_of_clients(caller: Caller) -> None:
    for entries in REFUSED:
        caller.every("AlterClientQuotas", {"entries": entries, "validate_only": True})
    for entries in SET:
        caller.every("AlterClientQuotas", {"entries": entries})
    name = [wanted("user", NAME, "a/b%20=&é,:*")]
    caller.settle("DescribeClientQuotas", 1, {"components": name}, lambda answer: answer.entries)
    for components in FILTERS:
        for strict in (False, True):
            caller.every("DescribeClientQuotas", {"components": components, "strict": strict})
    for entries in SET:
        for each in entries:
            removed = dict.fromkeys(one["key"] for one in each["ops"])
            nothing = entry(each["entity"], *(op(key, None) for key in removed))
            caller.call("AlterClientQuotas", 1, {"entries": [nothing]})
    caller.settle("DescribeClientQuotas", 1, {"components": name}, lambda answer: not answer.entries)
    caller.every("DescribeClientQuotas", {"components": []})


SET_CONFIG, DELETE_CONFIG = 0, 1
BROKER = 4
# Of a broker, each with values that are refused and one that is not.
LIMITS: dict[str, list[str]] = {
    "leader.replication.throttled.rate": ["-1", "fast", "1.5", "9223372036854775808", "0", "1048576"],
    "follower.replication.throttled.rate": ["-1", "", "1048576"],
    "replica.alter.log.dirs.io.max.bytes.per.second": ["-1", "1048576"],
    "max.connections": ["-1", "100000"],
    "max.connection.creation.rate": ["-1", "100000"],
    "listener.name.plaintext.max.connections": ["-1", "many", "0", "100000"],
    "listener.name.plaintext.max.connection.creation.rate": ["-1", "100000"],
    "listener.name.plaintext.max.connections.per.ip": ["1"],
    "listener.name.absent.max.connections": ["-1", "1"],
    "quota.window.num": ["5"],
    "queued.max.request.bytes": ["1"],
}


def limits_of_a_broker(caller: Caller) -> None:
    def alter(name: str, operation: int, value: str | None, broker: str, validate_only: bool) -> None:
        config = {"name": name, "config_operation": operation, "value": value}
        resource = {"resource_type": BROKER, "resource_name": broker, "configs": [config]}
        caller.call("IncrementalAlterConfigs", 1, {"resources": [resource], "validate_only": validate_only})

    def described(broker: str, keys: list[str]) -> Any:
        resource = {"resource_type": BROKER, "resource_name": broker, "configuration_keys": keys}
        return {"resources": [resource], "include_synonyms": True}

    names = list(LIMITS)
    for name, values in LIMITS.items():
        for value in values:
            for broker in ("1", ""):
                alter(name, SET_CONFIG, value, broker, True)
    rates = names[:3]
    caller.call("DescribeConfigs", 4, described("1", names))
    for name in rates:
        alter(name, SET_CONFIG, "1048576", "1", False)
    alter(rates[0], SET_CONFIG, "2097152", "", False)

    for broker, count in (("1", 3), ("", 1)):
        caller.settle(
            "DescribeConfigs",
            4,
            described(broker, rates),
            lambda answer, count=count: len(answer.results[0].configs) == count,
        )
    for broker in ("1", ""):
        caller.call("DescribeConfigs", 4, described(broker, names))
    for name in rates:
        alter(name, DELETE_CONFIG, None, "1", False)
    alter(rates[0], DELETE_CONFIG, None, "", False)


def absent_credentials(caller: Caller) -> None:
    """What kafka-configs asks, too, when it describes the quotas of users."""
    absent, another, nobody = ({"name": name} for name in ("absent", "another", ""))
    for users in ([absent], [absent, another], [absent, absent, another], [nobody]):
        caller.every("DescribeUserScramCredentials", {"users": users})


STORIES = (
    Story(quotas_of_clients, needs=["AlterClientQuotas"]),
    Story(limits_of_a_broker, needs=["IncrementalAlterConfigs"]),
    Story(absent_credentials, needs=["DescribeUserScramCredentials"]),
)
