"""Which connections have to wait, and which are not let in at all."""

from pykbroker.clock import SimulatedClock
from pykbroker.config import BrokerConfig
from pykbroker.quotas.connection_rates import ConnectionRates

LISTENER, OTHER = "PLAINTEXT", "INTERNAL"


def rates_of(**properties: str) -> tuple[ConnectionRates, SimulatedClock]:
    clock = SimulatedClock()
    config = BrokerConfig.from_properties({name.replace("_", "."): value for name, value in properties.items()})
    return ConnectionRates(config, clock), clock


def waits(rates: ConnectionRates, count: int, listener: str = LISTENER, *, is_protected: bool = False) -> list[int]:
    return [rates.wait_ms(listener, is_protected=is_protected) for _ in range(count)]


def test_connections_beyond_the_rate_of_the_broker_wait_a_window_at_most() -> None:
    rates, _ = rates_of(max_connection_creation_rate="2")
    assert waits(rates, 21) == [0] * 20 + [500]
    assert waits(rates, 10)[-1] == 1000


def test_rate_of_the_broker_is_shared_by_its_listeners() -> None:
    rates, _ = rates_of(max_connection_creation_rate="2")
    waits(rates, 20)
    assert waits(rates, 1, OTHER) == [500]
    assert waits(rates, 1, OTHER, is_protected=True) == [0]


def test_listener_has_its_own_rate_besides() -> None:
    rates, _ = rates_of(**{"listener.name.plaintext.max.connection.creation.rate": "1"})
    assert waits(rates, 11) == [0] * 10 + [1000]
    assert waits(rates, 30, OTHER) == [0] * 30


def test_rate_is_free_again_when_time_has_passed() -> None:
    rates, clock = rates_of(max_connection_creation_rate="2")
    waits(rates, 30)
    clock.advance(11_000)
    assert waits(rates, 1) == [0]


def test_address_beyond_its_quota_is_refused_and_does_not_count() -> None:
    rates, clock = rates_of()
    rates.set_quotas({"10.0.0.1": 1.0}, None)
    assert [rates.refuse_ms("10.0.0.1") for _ in range(12)] == [0] * 10 + [1000] * 2
    assert [rates.refuse_ms("10.0.0.2") for _ in range(12)] == [0] * 12
    clock.advance(11_000)
    assert rates.refuse_ms("10.0.0.1") == 0


def test_default_quota_holds_for_each_other_address() -> None:
    rates, _ = rates_of()
    rates.set_quotas({"10.0.0.1": 2.0}, 1.0)
    for address, allowed in (("10.0.0.1", 20), ("10.0.0.2", 10), ("10.0.0.3", 10)):
        assert [rates.refuse_ms(address) > 0 for _ in range(allowed + 1)] == [False] * allowed + [True]


def test_addresses_beyond_the_limit_are_forgotten() -> None:
    rates, _ = rates_of(pykbroker_max_quota_measures="1")
    rates.set_quotas({}, 1.0)
    for _ in range(10):
        rates.refuse_ms("10.0.0.1")
    rates.refuse_ms("10.0.0.2")
    assert rates.refuse_ms("10.0.0.1") == 0
