from collections.abc import Callable

from pykbroker.clock import SimulatedClock
from pykbroker.waiters import Parked, Signal, Wakeups


def test_parked_answer_is_built_once_by_the_first_release() -> None:
    built: list[str] = []
    sent: list[object] = []
    parked = Parked(lambda: built.append("built") or "answer")
    parked.deliver = lambda build: sent.append(build())
    parked.release()
    parked.release()
    assert built == ["built"]
    assert sent == ["answer"]


def test_parked_answer_is_released_at_its_deadline() -> None:
    clock = SimulatedClock()
    sent: list[object] = []
    parked = Parked(clock.time_ms, clock=clock, timeout_ms=500)
    parked.deliver = lambda build: sent.append(build())
    started = clock.time_ms()
    clock.advance(499)
    assert sent == []
    clock.advance(1)
    assert sent == [started + 500]


def test_cancelled_answer_cleans_up_and_is_never_built() -> None:
    clock = SimulatedClock()
    ended: list[str] = []
    sent: list[Callable[[], object]] = []
    parked = Parked(lambda: "never", clock=clock, timeout_ms=10)
    parked.on_end(lambda: ended.append("end"))
    parked.deliver = sent.append
    parked.cancel()
    clock.advance(100)
    assert ended == ["end"]
    assert sent == []


def test_signal_wakes_a_subscriber_once_per_batch() -> None:
    wakeups = Wakeups()
    signal, other = Signal(wakeups), Signal(wakeups)
    woken: list[str] = []

    def wake() -> None:
        woken.append("woken")

    signal.subscribe(wake)
    other.subscribe(wake)
    wakeups.begin()
    signal.fire()
    other.fire()
    assert woken == []
    wakeups.end()
    assert woken == ["woken"]
    signal.fire()
    assert woken == ["woken", "woken"]
    signal.unsubscribe(wake)
    signal.fire()
    assert woken == ["woken", "woken"]


def test_signal_fired_while_waking_runs_in_the_same_round() -> None:
    wakeups = Wakeups()
    first, second = Signal(wakeups), Signal(wakeups)
    woken: list[str] = []
    first.subscribe(second.fire)
    second.subscribe(lambda: woken.append("second"))
    first.fire()
    assert woken == ["second"]


def test_callback_that_raises_is_reported_and_the_others_are_woken() -> None:
    wakeups = Wakeups()
    bugs: list[Exception] = []
    wakeups.on_bug = bugs.append
    signal = Signal(wakeups)
    woken: list[str] = []
    error = ValueError("a bug")

    def fail() -> None:
        raise error

    signal.subscribe(fail)
    signal.subscribe(lambda: woken.append("second"))
    wakeups.begin()
    signal.fire()
    wakeups.end()
    assert bugs == [error]
    assert woken == ["second"]
    signal.unsubscribe(fail)
    signal.fire()
    assert woken == ["second", "second"]
