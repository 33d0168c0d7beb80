"""When replication is too fast, and whose."""

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.config import BrokerConfig
from pykbroker.quotas.replication_quotas import ReplicationQuotas

RATE = "leader.replication.throttled.rate"


@pytest.mark.parametrize(
    ("throttled", "partition", "applies"),
    [
        ((), 0, False),
        (("*",), 7, True),
        (("0:1", "3:1"), 3, True),
        (("0:1", "3:2"), 3, False),
        (("13:1",), 3, False),
        (("3:11",), 3, False),
    ],
)
def test_quota_applies_to_the_replicas_that_the_topic_names(
    throttled: tuple[str, ...], partition: int, applies: bool
) -> None:
    quota = ReplicationQuotas.of(BrokerConfig.from_properties({"node.id": "1"}), SimulatedClock()).leader
    assert quota.applies_to(partition, throttled) == applies


def test_quota_is_exceeded_until_the_rate_is_below_what_is_set_now() -> None:
    config, clock = BrokerConfig.from_properties({}), SimulatedClock()
    quota = ReplicationQuotas.of(config, clock).leader
    config.apply_dynamic({RATE: "1000"}, {})
    assert not quota.is_exceeded
    quota.record(4000)
    assert quota.is_exceeded
    config.apply_dynamic({RATE: "1000"}, {"leader.replication.throttled.rate": "5000"})
    assert not quota.is_exceeded
    config.apply_dynamic({RATE: "1000"}, {})
    clock.advance(3999)
    assert quota.is_exceeded
    clock.advance(1)
    assert not quota.is_exceeded


def test_rate_is_set_only_while_the_broker_runs() -> None:
    config = BrokerConfig.from_properties({RATE: "1000"})
    unlimited = BrokerConfig.from_properties({}).leader_replication_throttled_rate
    assert config.leader_replication_throttled_rate == unlimited
    config.apply_dynamic({RATE: "5"}, {})
    assert config.leader_replication_throttled_rate == 5
    config.apply_dynamic({}, {})
    assert config.leader_replication_throttled_rate == unlimited
