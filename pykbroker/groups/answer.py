"""An answer of the group coordinator that comes now or later.

An operation returns an `Answer` at once and completes it when the round of the group, or the high watermark, is there.
A handler returns `response` if it is there already, else `parked`.
Rules: completed at most once, later completions do nothing; if the client's connection dies first, `abandoned` runs.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from pykbroker.waiters import Parked

T = TypeVar("T")


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
