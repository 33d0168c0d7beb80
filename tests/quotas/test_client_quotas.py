"""Which quota holds for whom, and when it is used up."""

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.config import BrokerConfig
from pykbroker.quotas.client_quotas import ClientQuotas, Limit, QuotaKind

PRODUCE, FETCH, REQUEST = QuotaKind.PRODUCE, QuotaKind.FETCH, QuotaKind.REQUEST
DEFAULT = None
Entity = tuple[tuple[str, str | None], ...]

# From the strongest to the weakest.
ENTITIES: list[Entity] = [
    (("client-id", "c"), ("user", "u")),
    (("client-id", DEFAULT), ("user", "u")),
    (("user", "u"),),
    (("client-id", "c"), ("user", DEFAULT)),
    (("client-id", DEFAULT), ("user", DEFAULT)),
    (("user", DEFAULT),),
    (("client-id", "c"),),
    (("client-id", DEFAULT),),
]


def quotas_of(clock: SimulatedClock, quotas: dict[Entity, float], **properties: str) -> ClientQuotas:
    config = BrokerConfig.from_properties({name.replace("_", "."): value for name, value in properties.items()})
    made = ClientQuotas(config, clock)
    made.apply({entity: {PRODUCE.value: value} for entity, value in quotas.items()})
    return made


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


def test_the_most_specific_quota_holds(clock: SimulatedClock) -> None:
    left = {entity: float(bound) for bound, entity in enumerate(ENTITIES, 1)}
    for entity, bound in list(left.items()):
        limit = quotas_of(clock, left).limit(PRODUCE, "u", "c")
        assert limit is not None
        assert limit.bound == bound, entity
        del left[entity]
    assert quotas_of(clock, left).limit(PRODUCE, "u", "c") is None


def test_quotas_of_others_do_not_hold(clock: SimulatedClock) -> None:
    quotas = quotas_of(
        clock, {(("client-id", "c"), ("user", "u")): 1.0, (("client-id", "d"),): 2.0, (("ip", DEFAULT),): 3.0}
    )
    assert quotas.limit(PRODUCE, "u", "e") is None
    assert quotas.limit(PRODUCE, "v", "c") is None
    assert quotas.limit(FETCH, "u", "c") is None
    assert quotas.limit(PRODUCE, "v", "d") is not None


def test_user_named_like_nobody_is_not_the_default(clock: SimulatedClock) -> None:
    quotas = quotas_of(clock, {(("user", DEFAULT),): 1.0, (("user", "default"),): 2.0})
    limit = quotas.limit(PRODUCE, "default", "c")
    assert limit is not None
    assert limit.bound == 2.0


@pytest.mark.parametrize(
    ("entity", "same"),
    [
        ((("user", "u"),), [("u", "other")]),
        ((("user", DEFAULT),), [("u", "other")]),
        ((("client-id", "c"),), [("v", "c")]),
        ((("client-id", DEFAULT),), [("v", "c")]),
        ((("client-id", "c"), ("user", DEFAULT)), []),
        ((("client-id", DEFAULT), ("user", "u")), []),
    ],
)
def test_who_a_quota_is_for_shares_one_measure(
    clock: SimulatedClock, entity: Entity, same: list[tuple[str, str]]
) -> None:
    quotas = quotas_of(clock, {entity: 100.0})
    quotas.record(quotas.limit(PRODUCE, "u", "c"), 2000)
    for user, client_id in [("u", "c"), ("u", "other"), ("v", "c"), ("v", "other")]:
        throttled = quotas.record(quotas.limit(PRODUCE, user, client_id), 0) > 0
        assert throttled == ((user, client_id) in [("u", "c"), *same]), (user, client_id)


def test_no_client_id_is_the_empty_one(clock: SimulatedClock) -> None:
    quotas = quotas_of(clock, {(("client-id", DEFAULT),): 100.0})
    assert quotas.limit(PRODUCE, "u", None) == quotas.limit(PRODUCE, "u", "") == Limit(100.0, (PRODUCE, "", ""))


def test_use_beyond_the_quota_is_throttled_until_it_is_forgotten(clock: SimulatedClock) -> None:
    quotas = quotas_of(clock, {(("user", "u"),): 100.0})
    limit = quotas.limit(PRODUCE, "u", "c")
    assert quotas.record(limit, 1000) == 0
    assert quotas.record(limit, 500) == 5000
    clock.advance(10_999)
    assert quotas.record(limit, 0) > 0
    clock.advance(1)
    assert quotas.record(limit, 0) == 0


def test_changed_quota_holds_for_what_was_measured_before(clock: SimulatedClock) -> None:
    quotas = quotas_of(clock, {(("user", "u"),): 100.0})
    quotas.record(quotas.limit(PRODUCE, "u", "c"), 1000)
    quotas.apply({(("user", "u"),): {PRODUCE.value: 50.0}})
    assert quotas.record(quotas.limit(PRODUCE, "u", "c"), 0) == 10_000


def test_windows_are_those_of_the_configuration(clock: SimulatedClock) -> None:
    quotas = quotas_of(clock, {(("user", "u"),): 100.0}, quota_window_num="3", quota_window_size_seconds="5")
    limit = quotas.limit(PRODUCE, "u", "c")
    assert quotas.most_at_once(limit) == 1000
    assert quotas.record(limit, 1000) == 0
    assert quotas.record(limit, 100) == 1000


def test_request_time_throttles_for_a_window_at_most(clock: SimulatedClock) -> None:
    quotas = quotas_of(clock, {})
    quotas.apply({(("user", "u"),): {REQUEST.value: 1.0}})
    assert quotas.record(quotas.limit(REQUEST, "u", "c"), 10_000) == 1000


def test_measures_beyond_the_limit_are_forgotten_the_oldest_first(clock: SimulatedClock) -> None:
    quotas = quotas_of(clock, {(("client-id", DEFAULT),): 1.0}, pykbroker_max_quota_measures="3")
    for client_id in "abc":
        assert quotas.record(quotas.limit(PRODUCE, "u", client_id), 100) > 0
    assert quotas.record(quotas.limit(PRODUCE, "u", "a"), 0) > 0  # used again
    assert quotas.record(quotas.limit(PRODUCE, "u", "d"), 0) == 0
    assert quotas.record(quotas.limit(PRODUCE, "u", "a"), 0) > 0
    assert quotas.record(quotas.limit(PRODUCE, "u", "b"), 0) == 0


def test_strict_mutations_are_refused_while_the_quota_is_exceeded(clock: SimulatedClock) -> None:
    quotas = quotas_of(clock, {})
    quotas.apply({(("user", "u"),): {QuotaKind.CONTROLLER_MUTATION.value: 2.0}})

    def ask(count: int, *, is_strict: bool = True) -> tuple[bool, int]:
        quota = quotas.mutations("u", "c", is_strict=is_strict)
        assert quota is not None
        return quota.allows(count), quota.throttle_ms

    assert ask(30) == (True, 0)  # a burst of 22, and once more than that
    assert ask(1) == (False, 4000)
    assert ask(2, is_strict=False) == (True, 5000)
    clock.advance(4999)
    assert ask(1) == (False, 1)
    clock.advance(2)
    assert ask(1) == (True, 0)
    assert quotas.mutations("v", "c", is_strict=True) is None


def test_throttle_time_of_mutations_is_counted_from_when_it_was_measured(clock: SimulatedClock) -> None:
    quotas = quotas_of(clock, {})
    quotas.apply({(("user", "u"),): {QuotaKind.CONTROLLER_MUTATION.value: 1.0}})
    quota = quotas.mutations("u", "c", is_strict=False)
    assert quota is not None
    quota.allows(21)
    clock.advance(3000)
    assert quota.throttle_ms == 7000
