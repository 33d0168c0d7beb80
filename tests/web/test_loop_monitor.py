import time

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.web.loop_monitor import INTERVAL_MS, LoopMonitor


def test_timer_that_fires_late_tells_the_lag() -> None:
    clock = SimulatedClock()
    monitor = LoopMonitor(clock)
    monitor.start()
    clock.advance(INTERVAL_MS)
    assert monitor.last_lag_ms == 0
    clock._elapsed_ms += INTERVAL_MS + 40  # nobody ran meanwhile
    clock.advance(0)
    assert monitor.last_lag_ms == 40
    clock.advance(INTERVAL_MS)
    assert monitor.last_lag_ms == 0
    assert monitor.lag_us.quantiles((1.0,), 0) == [pytest.approx(40_000, rel=1 / 16)]


def test_work_of_the_thread_is_not_idle_time() -> None:
    clock = SimulatedClock()
    monitor = LoopMonitor(clock)
    monitor.start()
    worked_until = time.thread_time() + 0.05
    while time.thread_time() < worked_until:
        pass
    clock.advance(INTERVAL_MS)
    assert 0.5 < monitor.idle_ratio <= 1 - 50 / INTERVAL_MS
    clock.advance(INTERVAL_MS)
    assert monitor.idle_ratio > 1 - 50 / INTERVAL_MS


def test_stopped_monitor_looks_no_more() -> None:
    clock = SimulatedClock()
    monitor = LoopMonitor(clock)
    monitor.start()
    clock.advance(INTERVAL_MS)
    monitor.stop()
    clock.advance(10 * INTERVAL_MS)
    assert monitor.lag_us.count == 1
