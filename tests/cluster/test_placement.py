import random
from collections import Counter

import pytest

from pykbroker.cluster.image import BrokerImage
from pykbroker.cluster.placement import assign_replicas
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode


def brokers(*racks: str | None, fenced: tuple[int, ...] = ()) -> list[BrokerImage]:
    return [BrokerImage(number, rack, {}, 1, number in fenced) for number, rack in enumerate(racks)]


def test_single_broker_leads_everything() -> None:
    assert assign_replicas(brokers(None), 3, 1, random.Random(0)) == [(0,), (0,), (0,)]


@pytest.mark.parametrize("seed", range(5))
def test_leaders_and_replicas_are_spread_evenly(seed: int) -> None:
    assigned = assign_replicas(brokers(None, None, None, None), 12, 3, random.Random(seed))
    assert Counter(replicas[0] for replicas in assigned) == dict.fromkeys(range(4), 3)
    assert set(Counter(broker for replicas in assigned for broker in replicas).values()) == {9}
    assert all(len(set(replicas)) == 3 for replicas in assigned)


@pytest.mark.parametrize("seed", range(5))
def test_replicas_of_a_partition_are_in_different_racks(seed: int) -> None:
    racks = ["a", "a", "a", "b", "c"]
    for replicas in assign_replicas(brokers(*racks), 30, 3, random.Random(seed)):
        assert {racks[broker] for broker in replicas} == {"a", "b", "c"}


def test_followers_of_one_leader_vary() -> None:
    assigned = assign_replicas(brokers(None, None, None), 6, 2, random.Random(3))
    assert len(set(assigned)) == 6


def test_fenced_broker_is_only_a_last_resort_and_never_leads() -> None:
    for replicas in assign_replicas(brokers(None, None, None, fenced=(1,)), 6, 2, random.Random(1)):
        assert 1 not in replicas
    for replicas in assign_replicas(brokers(None, None, None, fenced=(1,)), 6, 3, random.Random(1)):
        assert replicas[2] == 1


@pytest.mark.parametrize(
    ("registered", "factor", "message"),
    [
        (brokers(None, None), 3, "the cluster has 2"),
        (brokers(None, fenced=(0,)), 1, "no broker is alive"),
    ],
)
def test_too_few_brokers_are_an_invalid_replication_factor(
    registered: list[BrokerImage], factor: int, message: str
) -> None:
    with pytest.raises(KafkaError) as caught:
        assign_replicas(registered, 1, factor, random.Random(0))
    assert caught.value.code is ErrorCode.INVALID_REPLICATION_FACTOR
    assert message in str(caught.value.message)
