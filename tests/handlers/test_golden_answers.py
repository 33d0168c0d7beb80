"""Our answers beside Apache Kafka's: what was asked when its answers were recorded is asked of a broker of ours.

Not here: what is asked and what may differ (scripts/golden), a replay of the same session (tests/study/test_replay,
`scripts/differential`).
"""

from pathlib import Path

import anyio
import anyio.to_thread
import attrs
import pytest
from golden.caller import Call, Caller
from golden.cases import STORIES
from golden.compare import compared, differences
from golden.frames import RECORDED_WITH, read_frames

from pykbroker.broker import Broker
from pykbroker.config import BrokerConfig
from pykbroker.server.dispatch import HANDLERS
from wire.catalog import API_BY_KEY

DEADLINE_S = 50.0


@pytest.fixture(scope="module")
def recorded() -> list[Call]:
    return read_frames()


# Its requests name directories of the machine; test_log_dirs.py has what Apache Kafka 4.4.0 answered.
NOT_RECORDED = {"AlterReplicaLogDirs"}


async def ask_ours(data_dir: Path) -> list[Call]:
    properties = {**RECORDED_WITH, "listeners": "PLAINTEXT://127.0.0.1:0", "log.dirs": str(data_dir)}
    with anyio.fail_after(DEADLINE_S):
        async with Broker(BrokerConfig.from_properties(properties), is_ephemeral=True) as broker:
            calls = await anyio.to_thread.run_sync(Caller.parse(broker.bootstrap).tell, STORIES)
        assert broker.metrics.bugs_total == 0
    return calls


def test_answers_are_those_of_apache_kafka(tmp_path: Path, recorded: list[Call]) -> None:
    calls = anyio.run(ask_ours, tmp_path)
    found = [difference for difference in differences(recorded, calls) if difference.reason is None]
    assert not found, "\n".join(map(str, found[:50]))
    assert compared(recorded, calls) == len(calls)
    assert {call.name for call in calls} | NOT_RECORDED == {API_BY_KEY[key].name for key in HANDLERS}


def test_comparing_kafka_with_itself_finds_nothing(recorded: list[Call]) -> None:
    assert not differences(recorded, recorded)


def test_comparing_finds_an_answer_of_another_call(recorded: list[Call]) -> None:
    calls = [call for call in recorded if (call.name, call.version) == ("ListOffsets", 11)]
    first, second = next(
        (one, another) for one in calls for another in calls if one.answer().topics != another.answer().topics
    )
    assert differences([first], [attrs.evolve(second, sent=first.sent)])


def test_comparing_finds_an_id_that_changes(recorded: list[Call]) -> None:
    calls = [call for call in recorded if (call.name, call.version) == ("Metadata", 13)][:2]
    topic_id = calls[0].answer().topics[0].topic_id
    assert calls[1].received is not None
    assert topic_id in calls[1].received
    changed = attrs.evolve(calls[1], received=calls[1].received.replace(topic_id, bytes(range(16))))
    (difference,) = differences(calls, [calls[0], changed])
    assert difference.path.endswith("topic_id")
