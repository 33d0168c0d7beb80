"""Brokers come and go, and the controller sees to it that somebody leads. Several brokers on one shared store."""

from pathlib import Path

import anyio
import pytest

from pykbroker.cluster.changes import Change, fence_broker
from pykbroker.cluster.image import ConfigResourceType
from pykbroker.cluster.partition_changes import alter_isr, write_configs
from pykbroker.cluster.reassignments import cancel_reassignment, reassign
from tests.cluster.nodes import Nodes, several

pytestmark = pytest.mark.anyio

SESSION_MS = 9000
HEARTBEAT_MS = 2000


async def set_isr(nodes: Nodes, name: str, *isr: int) -> None:
    """As the partition's leader does."""

    def change(image: object) -> Change:
        current, state = nodes.any.image, nodes.partition(name)
        return alter_isr(
            current,
            current.topics[name].id,
            0,
            broker_id=state.leader,
            leader_epoch=state.leader_epoch,
            partition_epoch=state.partition_epoch,
            isr=isr,
        )

    await nodes.any.propose(change)


async def test_leader_that_dies_is_replaced_when_its_lease_ends(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, 3)
        await nodes.create("t", [(3, 2, 1)])
        dead = nodes.kill(3)
        took = await nodes.until(lambda: nodes.partition("t").leader == 2)
        assert SESSION_MS - HEARTBEAT_MS <= took <= SESSION_MS + 3000
        assert nodes.partition("t").isr == (2, 1)
        # It must have stopped acting as a leader before another one began to.
        assert dead.cluster.lease_ends_ms <= nodes.clock.monotonic_ms()


async def test_controller_that_dies_is_replaced_with_all_that_it_led(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, 3)
        await nodes.create("t", [(1, 2, 3), (1, 3, 2)])
        assert nodes.controller_id() == 1
        nodes.kill(1)
        took = await nodes.until(lambda: nodes.leaders("t") == [2, 3])
        assert took <= SESSION_MS + 3000
        assert nodes.controller_id() in (2, 3)


async def test_controller_role_is_taken_at_once_when_it_is_free(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, 3)
        await nodes.kill(1).cluster.stop()
        took = await nodes.until(lambda: nodes.controller_id() in (2, 3))
        assert took < 500


async def test_broker_that_is_back_leads_what_nobody_else_could(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, directory_id="")
        await nodes.create("t", [(2,)])
        epoch = nodes.any.image.brokers[2].epoch
        await nodes.stop(2)
        await nodes.until(lambda: nodes.partition("t").leader == -1)
        assert nodes.partition("t").elr == (2,)
        await nodes.start(2, previous_broker_epoch=epoch)
        await nodes.until(lambda: nodes.partition("t").leader == 2)
        assert (nodes.partition("t").isr, nodes.partition("t").elr) == ((2,), ())


async def test_bounced_broker_gets_nothing_back_before_the_check_for_imbalance(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, leader_imbalance_check_interval_seconds=5)
        await nodes.create("t", [(2, 1), (2, 1), (1, 2)])
        await nodes.stop(2)
        await nodes.until(lambda: nodes.leaders("t") == [1, 1, 1])
        await nodes.start(2, after_unclean_stop=True)
        await set_isr(nodes, "t", 1, 2)
        assert nodes.leaders("t") == [1, 1, 1]
        await nodes.until(lambda: nodes.leaders("t") == [2, 1, 1])
        # The second one is not in sync yet: it stays where it is.
        assert nodes.partition("t", 1).isr == (1,)


async def test_automatic_rebalance_can_be_switched_off(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, leader_imbalance_check_interval_seconds=1, auto_leader_rebalance_enable="false")
        await nodes.create("t", [(2, 1)])
        await nodes.stop(2)
        await nodes.start(2)
        await set_isr(nodes, "t", 1, 2)
        until = nodes.clock.monotonic_ms() + 5000
        await nodes.until(lambda: nodes.clock.monotonic_ms() > until)
        assert nodes.leaders("t") == [1]


async def test_unclean_election_happens_when_the_topic_allows_it(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2)
        await nodes.create("t", [(2, 1)])
        await nodes.create("u", [(2, 1)], unclean_leader_election_enable="true")
        for name in ("t", "u"):
            await set_isr(nodes, name, 2)
        nodes.kill(2)
        await nodes.until(lambda: nodes.leaders("u") == [1])
        assert nodes.leaders("t") == [-1]
        allowed = {"unclean.leader.election.enable": " TRUE"}
        await nodes.any.propose(lambda image: write_configs(image, (ConfigResourceType.TOPIC, "t"), allowed))
        await nodes.until(lambda: nodes.leaders("t") == [1])
        assert nodes.partition("t").isr == (1,)


async def test_unclean_election_happens_when_the_cluster_allows_it(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2)
        await nodes.create("t", [(2, 1)])
        await set_isr(nodes, "t", 2)
        nodes.kill(2)
        await nodes.until(lambda: nodes.leaders("t") == [-1])
        before = dict(nodes.any.image.config(ConfigResourceType.BROKER, ""))
        allowed = {**before, "unclean.leader.election.enable": "true"}
        await nodes.any.propose(lambda image: write_configs(image, (ConfigResourceType.BROKER, ""), allowed))
        await nodes.until(lambda: nodes.leaders("t") == [1])


async def test_reassignment_moves_a_partition_and_another_one_is_cancelled(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, 3)
        await nodes.create("t", [(1, 2)])
        await nodes.any.propose(lambda image: reassign(image, image.topics["t"], 0, (3, 2), may_change_factor=False))
        assert nodes.partition("t").adding_replicas == (3,)
        await set_isr(nodes, "t", 1, 2, 3)
        assert (nodes.partition("t").replicas, nodes.partition("t").leader) == ((3, 2), 3)
        await nodes.any.propose(lambda image: reassign(image, image.topics["t"], 0, (1,), may_change_factor=True))
        assert nodes.partition("t").removing_replicas == (2, 3)
        await nodes.any.propose(lambda image: cancel_reassignment(image, image.topics["t"], 0, unclean=False))
        assert (nodes.partition("t").replicas, nodes.partition("t").leader) == ((2, 3), 3)


async def test_stop_in_order_hands_over_before_the_broker_is_gone(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, 3)
        await nodes.create("t", [(1, 2, 3), (2, 1, 3)])
        node = nodes.running[1]
        await nodes.while_time_passes(node.cluster.hand_over)
        me = node.cluster.image.brokers[1]
        assert (me.fenced, me.is_stopping) == (False, True)
        assert [state.isr for state in node.cluster.image.topics["t"].partitions] == [(2, 3), (2, 3)]
        assert nodes.leaders("t") == [2, 2]
        await nodes.kill(1).cluster.stop()
        await nodes.until(lambda: nodes.controller_id() in (2, 3))


async def test_last_broker_has_nobody_to_hand_over_to(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1)
        await nodes.create("t", [(1,)])
        await nodes.running[1].cluster.hand_over()
        assert nodes.partition("t").leader == 1
        assert not nodes.any.image.brokers[1].is_stopping


async def test_hand_over_does_not_wait_for_a_controller_that_hangs(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, pykbroker_controlled_shutdown_timeout_ms=700)
        await nodes.create("t", [(2, 1)])
        nodes.kill(1)
        started = nodes.clock.monotonic_ms()
        await nodes.while_time_passes(nodes.running[2].cluster.hand_over)
        assert 700 <= nodes.clock.monotonic_ms() - started < 1500


async def test_process_that_was_killed_takes_its_registration_over_at_once(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, directory_id="d")
        await nodes.create("t", [(2, 1)])
        old = nodes.kill(2)
        started = nodes.clock.monotonic_ms()
        await nodes.start(2, directory_id="d", previous_broker_epoch=-1)
        assert nodes.clock.monotonic_ms() < started + 500
        assert nodes.any.image.brokers[2].epoch > old.cluster.broker_epoch
        # It was killed, so what it has may be less than what 1 has.
        await nodes.until(lambda: nodes.leaders("t") == [1])
        assert nodes.partition("t").isr == (1,)


async def test_emptied_disk_is_known_by_the_epoch_of_the_last_clean_stop(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2)
        await nodes.create("t", [(2, 1)], min_insync_replicas="2")
        await nodes.stop(2)
        await nodes.until(lambda: nodes.partition("t").elr == (2,))
        await nodes.start(2, previous_broker_epoch=-1)
        assert nodes.partition("t").elr == ()


async def test_many_partitions_that_lose_their_leader_are_written_in_few_transactions(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, 3)
        others = [(1, 2, 3), (2, 1, 3)] * 3500
        await nodes.create("t", [*[(3, 1, 2)] * 3000, *others])
        await nodes.kill(3).cluster.stop()
        store = nodes.running[2].store if nodes.controller_id() == 2 else nodes.running[1].store
        store.written.clear()
        await nodes.until(lambda: 3 not in nodes.leaders("t") and all(3 not in p.isr for p in all_of(nodes)))
        size = nodes.running[1].config.pykbroker_partitions_per_transaction
        assert sum(store.written) == 10_000
        assert len(store.written) == 10_000 / size
        assert nodes.leaders("t").count(1) == 6500


def all_of(nodes: Nodes) -> list[object]:
    return list(nodes.any.image.topics["t"].partitions)


async def test_fenced_broker_registers_again_at_once_under_a_new_epoch(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2)
        await nodes.create("t", [(2, 1)])
        wronged = nodes.running[2].cluster
        epoch = wronged.broker_epoch
        await nodes.running[1].cluster.propose(lambda image: fence_broker(image, 2, epoch))
        await nodes.until(lambda: wronged.broker_epoch > epoch)
        await nodes.until(lambda: nodes.leaders("t") == [1])
        await nodes.until(lambda: not nodes.any.image.brokers[2].fenced)


async def test_deposed_controller_cannot_write(tmp_path: Path) -> None:
    async with several(tmp_path) as nodes:
        await nodes.start(1, 2, 3)
        await nodes.create("t", [(3, 2), (2, 3)])
        deposed = nodes.kill(1)
        nodes.kill(3)
        # It learns that 3 is gone, and then is frozen before it can act on it.
        await deposed.cluster.propose(lambda image: fence_broker(image, 3, image.brokers[3].epoch))
        assert deposed.cluster.is_controller
        await nodes.until(lambda: nodes.controller_id() == 2 and nodes.leaders("t") == [2, 2])
        revision = nodes.any.image.revision
        deposed.store.written.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deposed.controller.run)
            await nodes.until(lambda: deposed.store.written)
            await nodes.until(lambda: not deposed.cluster.is_controller)
            tasks.cancel_scope.cancel()
        assert deposed.store.written == [2]
        assert nodes.any.image.revision == revision
