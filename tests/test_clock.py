import gc
import weakref
from collections.abc import Callable

import anyio
import pytest

from pykbroker.clock import MIN_TIMERS_TO_SWEEP, SimulatedClock, SystemClock


def test_timers_fire_in_order_of_deadline_and_creation() -> None:
    clock = SimulatedClock()
    fired: list[str] = []
    clock.call_later(20, lambda: fired.append("late"))
    clock.call_later(10, lambda: fired.append("first"))
    clock.call_later(10, lambda: fired.append("second"))
    clock.advance(9.9)
    assert fired == []
    clock.advance(20)
    assert fired == ["first", "second", "late"]


def test_cancelled_timer_does_not_fire() -> None:
    clock = SimulatedClock()
    fired: list[str] = []
    clock.call_later(10, lambda: fired.append("cancelled")).cancel()
    clock.call_later(10, lambda: fired.append("kept"))
    clock.advance(10)
    assert fired == ["kept"]


def test_timer_set_by_a_timer_fires_at_its_own_moment() -> None:
    clock = SimulatedClock(time_ms=1000)
    seen: list[int] = []
    clock.call_later(10, lambda: clock.call_later(5, lambda: seen.append(clock.time_ms())))
    clock.advance(100)
    assert seen == [1015]
    assert clock.time_ms() == 1100


@pytest.mark.anyio
async def test_system_clock_fires_an_earlier_timer_set_while_it_sleeps() -> None:
    clock = SystemClock()
    fired: list[str] = []
    done = anyio.Event()
    clock.call_later(60_000, lambda: fired.append("far"))

    def soon() -> None:
        fired.append("soon")
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.run)
        await anyio.lowlevel.checkpoint()
        clock.call_later(1, soon)
        with anyio.fail_after(10):
            await done.wait()
        tasks.cancel_scope.cancel()
    assert fired == ["soon"]


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_timer_that_raises_is_reported_and_the_others_fire() -> None:
    clock = SimulatedClock()
    bugs: list[Exception] = []
    fired: list[str] = []
    clock.on_bug = bugs.append
    error = ValueError("a bug")
    clock.call_later(10, failing(error))
    clock.call_later(10, lambda: fired.append("same moment"))
    clock.call_later(20, lambda: fired.append("later"))
    clock.advance(20)
    assert bugs == [error]
    assert fired == ["same moment", "later"]


def test_cancelled_timers_do_not_pile_up() -> None:
    clock = SimulatedClock()
    fired: list[str] = []
    clock.call_later(2**31, lambda: fired.append("kept"))
    timers = []
    for _ in range(4 * MIN_TIMERS_TO_SWEEP):
        timer = clock.call_later(2**31, lambda: fired.append("cancelled"))
        timer.cancel()
        timers.append(weakref.ref(timer))
    del timer
    gc.collect()
    assert sum(timer() is not None for timer in timers) <= MIN_TIMERS_TO_SWEEP
    clock.advance(2**31)
    assert fired == ["kept"]
