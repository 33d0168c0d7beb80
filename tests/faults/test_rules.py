import math

import anyio
import attrs
import pytest

from pykbroker.faults.rules import MAX_FAULTS, Fault, FaultError, FaultFields, FaultRules, Target
from wire.errors import ErrorCode

PRODUCE, FETCH = 0, 1


def test_names_are_kafkas_in_any_case() -> None:
    fault = Fault(api="joingroup", error="not_coordinator")
    assert (fault.api, fault.error) == ("JoinGroup", ErrorCode.NOT_COORDINATOR)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "says what happens"),
        ({"topic": "t"}, "says what happens"),
        ({"api": "Produces", "drop": True}, "no API 'Produces'"),
        ({"error": "NO_SUCH"}, "no error 'NO_SUCH'"),
        ({"error": 4711}, "no error 4711"),
        ({"error": "NONE"}, "NONE is none"),
        ({"error": "NOT_COORDINATOR", "drop": True}, "one ending"),
        ({"cut_bytes": 3, "freeze": True}, "one ending"),
        ({"drop": True, "partition": 3}, "one of a topic"),
        ({"drop": True, "when": "later"}, "before or after"),
        ({"delay_ms": -1}, "delay_ms is a number"),
        ({"drop": True, "times": True}, "times is a whole number"),
        ({"drop": True, "times": 0}, "met once or more"),
        ({"drop": "false"}, "drop is true or false"),
        ({"freeze": 1}, "freeze is true or false"),
        ({"cut_bytes": 3.5}, "cut_bytes is a whole number"),
        ({"throttle_ms": 2**40}, "throttle_ms is a whole number"),
        ({"delay_ms": math.nan}, "delay_ms is a number"),
        ({"delay_ms": math.inf}, "delay_ms is a number"),
        ({"delay_ms": 10**400}, "delay_ms is a number"),
        ({"error": True}, "no error True"),
        ({"error": 6.0}, "no error 6.0"),
        ({"drop": True, "topic": 5}, "topic is a name"),
        ({"drop": True, "topics": "t"}, "has no topics"),
        ({"drop": True, "api": 5}, "not a fault"),
    ],
)
def test_fault_that_cannot_be_says_why(fields: dict[str, object], why: str) -> None:
    with pytest.raises(FaultError, match=why):
        Fault.of(fields)


def test_fault_asks_for_its_api_its_broker_and_its_clients() -> None:
    assert Fault(drop=True).asks_for(FETCH, "app", 1)
    assert Fault(drop=True).asks_for(FETCH, None, 1)
    assert Fault(drop=True, api="Fetch", client_id="app-*", broker=2).asks_for(FETCH, "app-7", 2)
    assert not Fault(drop=True, api="Fetch").asks_for(PRODUCE, "app", 1)
    assert not Fault(drop=True, broker=2).asks_for(PRODUCE, "app", 1)
    assert not Fault(drop=True, client_id="app-*").asks_for(PRODUCE, "other", 1)
    assert not Fault(drop=True, client_id="app-*").asks_for(PRODUCE, None, 1)


@pytest.mark.parametrize("client_id", ["broker-1-fetcher-0", "broker-2-liveness", "broker-3-transaction-markers"])
def test_fault_leaves_alone_what_brokers_ask_unless_it_names_them(client_id: str) -> None:
    assert not Fault(drop=True).asks_for(FETCH, client_id, 1)
    assert Fault(drop=True, client_id="broker-*").asks_for(FETCH, client_id, 1)


def test_fault_is_about_a_target_that_has_all_that_it_names() -> None:
    fault = Fault(drop=True, topic="t", partition=1)
    assert fault.is_about(Target(topic="t", partition=1, transactional_id="tx"))
    assert not fault.is_about(Target(topic="t", partition=0))
    assert not fault.is_about(Target(topic="t"))
    assert not fault.is_about(Target(group="g"))
    assert Fault(drop=True).is_about(Target())


def test_fault_is_met_after_skip_and_spent_after_times() -> None:
    active = FaultRules().add(Fault(drop=True, skip=1, times=2))
    assert [active.hit() for _ in range(5)] == [False, True, True, False, False]
    assert active.hits == 2
    assert active.is_spent


def test_rules_tell_of_every_change_and_a_removed_fault_is_spent() -> None:
    rules, told = FaultRules(), []
    rules.on_change.append(lambda: told.append(len(rules)))
    first, second = rules.add(Fault(drop=True)), rules.add(Fault(freeze=True))
    first.remove()
    first.remove()
    assert [active.id for active in rules] == [second.id]
    rules.clear()
    assert told == [1, 2, 1, 0]
    assert not second.hit()


@pytest.mark.anyio
async def test_nobody_waits_for_a_fault_that_was_removed() -> None:
    rules = FaultRules()
    active = rules.add(Fault(drop=True))
    active.hit()
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            with pytest.raises(FaultError, match="met 1 times, and not 2"):
                await active.wait(2, timeout_s=3600)

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        rules.clear()
    await active.wait(1)  # that has come about


def test_told_fault_has_what_was_said_of_it() -> None:
    fields = {"api": "Fetch", "topic": "t", "error": "OFFSET_OUT_OF_RANGE", "times": 1, "when": "after"}
    assert Fault.of(fields).told == fields


def test_fields_by_name_are_those_of_a_fault() -> None:
    assert FaultFields.__annotations__.keys() == {field.name for field in attrs.fields(Fault)}


def test_faults_in_force_have_a_limit() -> None:
    rules = FaultRules()
    for _ in range(MAX_FAULTS):
        last = rules.add(Fault(drop=True))
    with pytest.raises(FaultError, match="remove some"):
        rules.add(Fault(drop=True))
    last.remove()
    rules.add(Fault(drop=True))
