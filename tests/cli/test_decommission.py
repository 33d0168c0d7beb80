"""Where the replicas of a broker go that is taken out of service."""

from collections import Counter

import pytest

from pykbroker.cli.actions.decommission import TooFewBrokersError, plan
from pykbroker.topic_partition import TopicPartition

T0, T1, T2 = (TopicPartition("t", index) for index in range(3))
NO_RACKS: dict[int, str | None] = dict.fromkeys((1, 2, 3, 4))


def test_replica_takes_the_place_of_the_one_that_goes() -> None:
    assert plan(3, [T0], {T0: (1, 3)}, {1: None, 2: None, 3: None}) == {T0: [1, 2]}


def test_brokers_with_the_fewest_replicas_come_first() -> None:
    replicas = {**{TopicPartition("t", index): (3,) for index in range(5)}, TopicPartition("u", 0): (1,)}
    leaving = [tp for tp, each in replicas.items() if each == (3,)]
    new = plan(3, leaving, replicas, {1: None, 2: None, 3: None})
    assert sorted(Counter(each for (each,) in new.values()).items()) == [(1, 2), (2, 3)]


def test_partitions_of_a_topic_are_spread_where_brokers_are_alike() -> None:
    replicas = {T0: (3,), TopicPartition("a", 0): (2,), T1: (1,)}
    assert plan(3, [T0], replicas, {1: None, 2: None, 3: None}) == {T0: [2]}


def test_rack_that_the_partition_is_not_in_comes_before_the_emptier_broker() -> None:
    racks: dict[int, str | None] = {1: "a", 2: "a", 3: "b", 4: "b"}
    full = {TopicPartition("full", index): (4,) for index in range(3)}
    assert plan(3, [T0], {T0: (1, 3), **full}, racks) == {T0: [1, 4]}
    without = racks | {2: None}
    assert plan(3, [T0], {T0: (1, 3), **full}, without) == {T0: [1, 2]}


def test_preferred_leader_is_who_is_that_least_often() -> None:
    assert plan(3, [T0], {T0: (3, 1), T1: (4, 2), T2: (1, 2)}, NO_RACKS) == {T0: [4, 1]}
    assert plan(3, [T0], {T0: (3, 4), T1: (1, 2), T2: (2, 1)}, NO_RACKS) == {T0: [4, 1]}


def test_broker_that_is_away_is_not_made_the_preferred_leader() -> None:
    assert plan(3, [T0], {T0: (3, 9), T1: (1,), T2: (1,)}, {1: None, 3: None}) == {T0: [1, 9]}


def test_too_few_brokers_are_said_with_the_partitions() -> None:
    replicas = {TopicPartition("t", index): (1, 2, 3) for index in range(5)}
    with pytest.raises(TooFewBrokersError) as raised:
        plan(3, replicas, replicas, {1: None, 2: None, 3: None})
    assert str(raised.value) == (
        "3 replicas need as many other brokers, and there are 2 (partitions: t-0, t-1, t-2, ...)"
    )
