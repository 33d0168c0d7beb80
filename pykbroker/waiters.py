"""Waiting as data: an answer that is not ready is an object, not a task.

A handler returns a `Parked`; whatever makes its condition true calls `release`, which builds the response and hands it
to the connection in the same tick. Nobody blocks inside the state.

Rules
- `build` runs exactly once, at release; a parked answer ends once, by `release` or by `cancel` (its connection died).
- A `Signal` wakes each callback once per batch of requests: `Wakeups` collects what fires while a connection works
  through its buffer, and runs it when the buffer is done, so that one waiting fetch answers with all that was appended.
  Outside a batch a signal's callbacks run at once.
- A callback may subscribe or unsubscribe anything, itself included.
- An `Answer` is what an operation returns that may be complete at once or later: a handler returns its `response` if it
  is there, else what is `parked`. It is completed at most once; `abandoned` runs if the client's connection dies first.
- A callback that raises harms neither the others nor whoever fired the signal: `Wakeups.on_bug` is told, if it is set.
"""

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from pykbroker.clock import Clock, Timer

Callback = Callable[[], None]
T = TypeVar("T")


class Parked:
    """An answer that waits for a condition or a deadline."""

    __slots__ = ("_build", "_ended", "_on_end", "_timer", "deliver")

    def __init__(self, build: Callable[[], object], *, clock: Clock | None = None, timeout_ms: float = 0) -> None:
        """With a `clock`, the answer is released after `timeout_ms` at the latest."""
        self._build = build
        self._on_end: list[Callback] = []
        self._ended = False
        self._timer: Timer | None = clock.call_later(timeout_ms, self.release) if clock is not None else None
        self.deliver: Callable[[Callable[[], object]], None] | None = None  # set by the connection

    @property
    def ended(self) -> bool:
        return self._ended

    def on_end(self, callback: Callback) -> None:
        """Run `callback` when the wait is over, whichever way; before the response is built."""
        self._on_end.append(callback)

    def build_by(self, how: Callable[[Callable[[], object]], object]) -> None:
        """Have the response built by `how`, which is given the way in which it is built otherwise."""
        self._build = partial(how, self._build)

    def release(self) -> None:
        """The condition holds: build the response and send it. Does nothing the second time."""
        if not self._ended and self.deliver is not None:
            self._end()
            self.deliver(self._build)
        elif not self._ended:
            self._end()  # released before the connection took it: see `build_now`

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        if not self._ended:
            self._end()

    def build_now(self) -> object:
        """Build the response of an answer that was released before the handler returned it."""
        assert self._ended
        return self._build()

    def _end(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        for callback in self._on_end:
            callback()
        self._on_end.clear()


class Answer(Generic[T]):
    __slots__ = ("_abandoned", "_response", "parked", "prepare")

    def __init__(self, abandoned: "Callable[[Answer[T]], None] | None" = None) -> None:
        self._response: T | None = None
        self._abandoned = abandoned
        # Fits the response to the version of the request; set by the handler.
        self.prepare: Callable[[T], T] | None = None
        self.parked = Parked(self._take)
        self.parked.on_end(self._ended)

    @property
    def response(self) -> T | None:
        return self._response

    @property
    def outcome(self) -> T | Parked:
        """What a handler returns: the response, or that it comes later."""
        return self.parked if self._response is None else self._response

    def complete(self, response: T) -> None:
        if not self.parked.ended:
            self._response = response
            self.parked.release()

    def _take(self) -> object:
        assert self._response is not None
        return self._response if self.prepare is None else self.prepare(self._response)

    def _ended(self) -> None:
        abandoned, self._abandoned = self._abandoned, None
        if self._response is None and abandoned is not None:
            abandoned(self)


class Wakeups:
    """Callbacks that wait for the end of the batch in progress."""

    __slots__ = ("_depth", "_waiting", "on_bug")

    def __init__(self) -> None:
        self.on_bug: Callable[[Exception], None] | None = None  # told what a callback raises; None: it is passed on
        self._waiting: dict[Callback, None] = {}
        self._depth = 0

    def begin(self) -> None:
        self._depth += 1

    def end(self) -> None:
        self._depth -= 1
        if not self._depth and self._waiting:
            self._run()

    def add(self, callback: Callback) -> None:
        self._waiting[callback] = None
        if not self._depth:
            self._run()

    def _run(self) -> None:
        self._depth += 1  # what fires meanwhile joins this round
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                for callback in waiting:
                    try:
                        callback()
                    except Exception as error:
                        if self.on_bug is None:
                            raise
                        self.on_bug(error)
        finally:
            self._depth -= 1


class Signal:
    """Something that happens again and again; subscribers are told until they unsubscribe."""

    __slots__ = ("_callbacks", "_wakeups")

    def __init__(self, wakeups: Wakeups) -> None:
        self._callbacks: dict[Callback, None] | None = None
        self._wakeups = wakeups

    @property
    def subscribers(self) -> int:
        return len(self._callbacks) if self._callbacks is not None else 0

    def subscribe(self, callback: Callback) -> None:
        if self._callbacks is None:
            self._callbacks = {}
        self._callbacks[callback] = None

    def unsubscribe(self, callback: Callback) -> None:
        if self._callbacks is not None:
            self._callbacks.pop(callback, None)

    def fire(self) -> None:
        if self._callbacks:
            for callback in tuple(self._callbacks):
                self._wakeups.add(callback)
