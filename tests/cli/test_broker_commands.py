"""The commands that look at brokers and move replicas, against several brokers."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from pykbroker.cluster.image import MetadataImage
from tests.cli.support import Commands
from tests.cli.test_process import ENVIRONMENT, PROGRAM
from tests.support.cluster import RunningCluster, cluster_of, until

T = TypeVar("T")

pytestmark = pytest.mark.anyio

# Windows so long that what was sent once counts until the end of the test: with a rate of 1 a move never ends.
FOREVER = {"replication_quota_window_size_seconds": "1000", "replica_fetch_max_bytes": "1000"}
BATCHES = 5
RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def commands(cluster: RunningCluster) -> Commands:
    return Commands(cluster.brokers[1].bootstrap)


def known(cluster: RunningCluster, of: Callable[[MetadataImage], T]) -> T | None:
    """What all brokers know; None as long as they do not agree."""
    first, *others = [of(broker.services.cluster.image) for broker in cluster.brokers.values()]
    return first if all(other == first for other in others) else None


def replicas(cluster: RunningCluster, name: str) -> list[tuple[int, ...]] | None:
    return known(cluster, lambda image: [tuple(each.replicas) for each in image.topics[name].partitions])


def leaders(cluster: RunningCluster, name: str) -> list[int] | None:
    return known(cluster, lambda image: [each.leader for each in image.topics[name].partitions])


def throttles(cluster: RunningCluster) -> dict[str, str] | None:
    """All that is throttled, by `resource config`."""

    def of(image: MetadataImage) -> dict[str, str]:
        return {
            f"{kind.name} {resource} {config}": value
            for (kind, resource), configs in image.configs.items()
            for config, value in configs.items()
            if "replication.throttled" in config
        }

    return known(cluster, of)


async def filled(cluster: RunningCluster, name: str, *assignment: tuple[int, ...]) -> None:
    await cluster.create_topic(name, assignment)
    for index, (leader, *_) in enumerate(assignment):
        for _ in range(BATCHES):
            await cluster.produce(leader, name, b"x" * 900, index=index)


# Looking


async def test_brokers_are_listed_with_what_is_on_them(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, racks=True) as cluster:
        await filled(cluster, "t", (1, 2))
        await filled(cluster, "u", (1,))
        run = commands(cluster)
        first, second = (await run("brokers", "list", "--json")).json
        assert first["bytes"] > second["bytes"] > 900 * BATCHES
        assert [each["is_controller"] for each in (first, second)].count(True) == 1
        host, port = cluster.brokers[2].addresses[0]
        assert {**second, "bytes": 0, "is_controller": False} == {
            "id": 2,
            "host": host,
            "port": port,
            "rack": "rack-2",
            "state": "active",
            "is_controller": False,
            "leaders": 0,
            "replicas": 1,
            "replicas_not_in_sync": 0,
            "bytes": 0,
        }
        lines = (await run("brokers", "list")).lines
        assert lines[1][:4] == ["1", cluster.brokers[1].bootstrap, "rack-1", "active"]
        assert lines[1][5:8] == ["2", "2", "0"]


async def test_broker_that_is_away_is_listed_fenced_and_after_it_is_forgotten_absent(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("t", [(1, 2), (2, 1)])
        await cluster.stop(2)
        await until(lambda: (cluster.isr("t"), cluster.isr("t", 1)) == ((1,), (1,)))
        run = commands(cluster)
        told = (await run("brokers", "list", "--json")).json[1]
        assert (told["state"], told["replicas"], told["replicas_not_in_sync"], told["bytes"]) == ("fenced", 2, 2, None)
        failed = await run("brokers", "unregister", "2", status=1)
        assert failed.err == "pykbroker: broker 2 has 2 replicas: decommission it first, or --force\n"
        assert (await run("brokers", "unregister", "2", "--force")).out == "broker 2: unregistered\n"
        assert (await run("brokers", "list")).lines[2] == ["2", "-", "-", "absent", "-", "0", "2", "2", "-"]


# Taking one out of service


async def test_broker_is_taken_out_of_service_and_forgotten(tmp_path: Path) -> None:
    async with cluster_of(4, tmp_path) as cluster:
        await filled(cluster, "t", (3, 1), (1, 3), (2, 4))
        await filled(cluster, "single", (3,))
        run = commands(cluster)
        planned = await run("brokers", "decommission", "3", "--dry-run", "--json")
        assert replicas(cluster, "t") == [(3, 1), (1, 3), (2, 4)]
        assert (await run("brokers", "decommission", "3")).out == "broker 3: replicas moved: 3, none left\n"
        moved = {(each["topic"], each["partition"]): tuple(each["to"]) for each in planned.json["moves"]}
        assert moved.keys() == {("t", 0), ("t", 1), ("single", 0)}
        assert all(3 not in each for each in moved.values())
        await until(lambda: replicas(cluster, "t") == [moved["t", 0], moved["t", 1], (2, 4)])
        await until(lambda: replicas(cluster, "single") == [moved["single", 0]])
        (heir,) = moved["single", 0]
        await until(lambda: cluster.replica(heir, "single").log.log_end_offset == BATCHES)
        failed = await run("brokers", "unregister", "3", status=1)
        assert failed.err == "pykbroker: broker 3 is there, or was a few seconds ago: stop it first\n"
        await cluster.stop(3)
        assert (await run("brokers", "unregister", "3", "--json")).json == {"broker": 3, "unregistered": True}
        assert [line[0] for line in (await run("brokers", "list")).lines] == ["ID", "1", "2", "4"]


async def test_broker_that_is_away_is_taken_out_of_service_as_far_as_others_have_its_replicas(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path) as cluster:
        await cluster.create_topic("t", [(3, 1)])
        await cluster.create_topic("lost", [(3,)])
        await cluster.stop(3)
        run = commands(cluster)
        done = await run("brokers", "decommission", "3", status=1)
        assert done.out == "broker 3: replicas moved: 1\n"
        assert done.err == "pykbroker: lost-0: LEADER_NOT_AVAILABLE: nobody leads it, so that it cannot be copied\n"
        await until(lambda: replicas(cluster, "t") == [(2, 1)])


async def test_broker_stays_where_others_are_too_few(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("single", [(2,)])
        await cluster.create_topic("t", [(1, 2)])
        run = commands(cluster)
        failed = await run("brokers", "decommission", "2", status=1)
        assert failed.err == (
            "pykbroker: broker 2 cannot be taken out of service: "
            "2 replicas need as many other brokers, and there are 1 (partitions: t-0)\n"
        )
        assert replicas(cluster, "single") == [(2,)]
        failed = await run("brokers", "decommission", "9", status=1)
        assert failed.err == "pykbroker: there is no broker 9\n"


async def test_throttle_holds_moves_back_and_goes_with_the_last_of_them(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path, **FOREVER) as cluster:
        await filled(cluster, "t", (2,))
        run = commands(cluster)
        begun = await run("brokers", "decommission", "2", "--throttle", "1", "--no-wait")
        assert begun.out == "broker 2: replicas that move: 1\n"
        assert "the throttle stays" in begun.err
        (move,) = (await run("topics", "moves", "--json")).json
        (heir,) = move["adding_replicas"]
        throttled = {
            "TOPIC t leader.replication.throttled.replicas": "0:2",
            "TOPIC t follower.replication.throttled.replicas": f"0:{heir}",
            **{f"BROKER {broker} {rate}": "1" for broker in (2, heir) for rate in RATES},
        }
        await until(lambda: throttles(cluster) == throttled)
        assert (move["replicas"], move["removing_replicas"]) == ([heir], [2])
        assert move["bytes_left"] > 900
        lines = (await run("topics", "moves", "t")).lines
        assert lines[1][:5] == ["t", "0", str(heir), str(heir), "2"]
        await run("brokers", "decommission", "2", "--throttle", "1000000000")
        await until(lambda: replicas(cluster, "t") == [(heir,)])
        await until(lambda: throttles(cluster) == {})


async def test_throttle_of_a_command_that_did_not_see_the_end_is_taken_away_by_the_next(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await filled(cluster, "t", (2,))
        run = commands(cluster)
        await run("brokers", "decommission", "2", "--throttle", "1000000000", "--no-wait")
        await until(lambda: replicas(cluster, "t") == [(1,)])
        await until(lambda: throttles(cluster))
        assert (await run("brokers", "decommission", "2")).out == "broker 2: replicas moved: 0, none left\n"
        await until(lambda: throttles(cluster) == {})


async def test_command_that_is_interrupted_leaves_the_moves_and_says_so(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, **FOREVER) as cluster:
        await filled(cluster, "t", (2,))
        words = ["brokers", "decommission", "2", "--throttle", "1", "-b", cluster.brokers[1].bootstrap]
        async with await anyio.open_process([*PROGRAM, *words], env=ENVIRONMENT) as process:
            await until(lambda: replicas(cluster, "t") == [(1, 2)])
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            said = b"".join([chunk async for chunk in process.stderr]).decode()
        assert (process.returncode, said) == (
            130,
            "pykbroker: the moves go on without this command: repeat it to follow them, "
            "or end them with `topics move --cancel`\n",
        )
        run = commands(cluster)
        assert len((await run("topics", "moves", "--json")).json) == 1
        assert (await run("topics", "move", "--cancel")).out == "t-0: goes back\n"
        await until(lambda: (replicas(cluster, "t"), throttles(cluster)) == ([(2,)], {}))


# Moving


async def test_topic_is_moved_and_its_partitions_take_turns(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path) as cluster:
        await filled(cluster, "t", (1, 2), (1, 2), (1, 2))
        run = commands(cluster)
        done = await run("topics", "move", "t", "--to", "2,3", "--throttle", "1000000000")
        assert done.out == "t-0: moved to 2,3\nt-1: moved to 3,2\nt-2: moved to 2,3\n"
        await until(lambda: (replicas(cluster, "t"), throttles(cluster)) == ([(2, 3), (3, 2), (2, 3)], {}))
        moved = await run("topics", "move", "t", "-p", "1", "-p", "2", "--to", "1,2,3", "--json")
        assert moved.json == [{"topic": "t", "partition": index, "error": None} for index in (1, 2)]
        await until(lambda: replicas(cluster, "t") == [(2, 3), (1, 2, 3), (1, 2, 3)])


async def test_only_the_moves_that_are_named_are_cancelled(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, **FOREVER) as cluster:
        await filled(cluster, "t", (1,), (1,))
        await filled(cluster, "u", (1,))
        run = commands(cluster)
        for name in ("t", "u"):
            await run("topics", "move", name, "--to", "2", "--throttle", "1", "--no-wait")
        assert (await run("topics", "move", "t", "-p", "1", "--cancel")).out == "t-1: goes back\n"
        moves = [(each["topic"], each["partition"]) for each in (await run("topics", "moves", "--json")).json]
        assert moves == [("t", 0), ("u", 0)]
        assert (await run("topics", "move", "t", "--cancel")).out == "t-0: goes back\n"
        await until(lambda: {each.split()[1] for each in throttles(cluster) or () if "TOPIC" in each} == {"u"})
        assert "BROKER 1 leader.replication.throttled.rate" in (throttles(cluster) or ())  # u needs it
        assert (await run("topics", "move", "u", "--cancel", "--json")).json == [
            {"topic": "u", "partition": 0, "error": None}
        ]
        await until(lambda: throttles(cluster) == {})
        assert (await run("topics", "move", "--cancel")).out == "nothing moves\n"


async def test_move_that_is_refused_leaves_no_throttle(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await filled(cluster, "t", (1,))
        run = commands(cluster)
        failed = await run("topics", "move", "t", "--to", "2,9", "--throttle", "1", "--no-wait", status=1)
        assert failed.err.startswith("pykbroker: t-0: INVALID_REPLICA_ASSIGNMENT")
        await until(lambda: throttles(cluster) == {})
        failed = await run("topics", "move", "t", "-p", "5", "--to", "2", status=1)
        assert failed.err == "pykbroker: t has no partition 5\n"


async def test_preferred_leaders_are_elected(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, auto_leader_rebalance_enable="false") as cluster:
        await cluster.create_topic("t", [(1, 2), (2, 1)])
        await cluster.create_topic("u", [(2, 1)])
        await cluster.elect("t", 2)
        await cluster.elect("u", 1)
        run = commands(cluster)
        assert (await run("topics", "elect", "t", "-p", "0")).out == "t-0: elected\n"
        await until(
            lambda: known(cluster, lambda image: [each.leader for each in image.topics["t"].partitions]) == [1, 2]
        )
        assert (await run("topics", "elect", "t")).out == "all of them are led by their preferred leaders\n"
        assert (await run("topics", "elect", "--json")).json == [{"topic": "u", "partition": 0, "error": None}]
        await cluster.stop(2)
        failed = await run("topics", "elect", "u", status=1)
        assert failed.err.startswith("pykbroker: u-0: PREFERRED_LEADER_NOT_AVAILABLE")
