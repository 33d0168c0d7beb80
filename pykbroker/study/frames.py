"""The source of frames: whoever traces gives them to it, and whoever wants to see them subscribes.

    frames = Frames()
    with frames.subscription() as seen:
        await seen.wait()
        for frame in seen.take(): …

Rules
- A subscriber that does not keep up loses frames, is told how many, and holds nobody up: each one has a bound in bytes.
- Frames are made public (wire.study.exchanges.public) before anybody sees them.
- A large frame is published as a LongFrame, whose parts are where they were: it is copied by who keeps it, once.
- `on_change` is told when the first subscriber comes and when the last one leaves: without any, nothing is traced.

Not here: a file of frames and lines on the terminal, which have a thread of their own (recorder).
"""

import contextlib
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import anyio
import attrs

from pykbroker.log.files import FileSlice
from wire.primitives import Buffer
from wire.study.exchanges import TracedFrame

MAX_QUEUED_BYTES = 16 * 1024 * 1024
FRAME_COST = 512  # bytes that a frame takes besides its own
LONG_BYTES = 64 * 1024  # a frame from that size on is copied by who keeps it

Piece: TypeAlias = Buffer | FileSlice


@attrs.frozen(eq=False)
class LongFrame:
    """A frame of which only the start has been copied; `rest` follows `start.data`.

    Memory in `rest` that can change is the publisher's again when `offer` has returned.
    """

    start: TracedFrame
    rest: Sequence[Piece]

    @property
    def time_us(self) -> int:
        return self.start.time_us

    def __len__(self) -> int:
        return len(self.start.data) + sum(map(len, self.rest))

    def whole(self) -> TracedFrame:
        """Return it in one piece."""
        data = bytearray(len(self))
        view = memoryview(data)
        pos = len(self.start.data)
        view[:pos] = self.start.data
        for piece in self.rest:
            part = view[pos : pos + len(piece)]
            if isinstance(piece, FileSlice):
                os.preadv(piece.fileno(), [part], piece.position)
            else:
                part[:] = piece
            pos += len(piece)
        return self.start._replace(data=data)


class Subscriber(ABC):
    @abstractmethod
    def offer(self, frame: TracedFrame | LongFrame) -> None:
        """Take a frame, or count it as lost; called on the event loop, must not block."""


def cost_of(frame: TracedFrame | LongFrame) -> int:
    """Return the bytes by which a frame counts against a bound."""
    return (len(frame) if isinstance(frame, LongFrame) else len(frame.data)) + FRAME_COST


class Frames:
    def __init__(self, on_change: Callable[[], None] | None = None) -> None:
        self._subscribers: list[Subscriber] = []
        self._on_change = on_change

    @property
    def is_wanted(self) -> bool:
        return bool(self._subscribers)

    def publish(self, frame: TracedFrame | LongFrame) -> None:
        for subscriber in self._subscribers:
            subscriber.offer(frame)

    def add(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)
        self._changed()

    def remove(self, subscriber: Subscriber) -> None:
        self._subscribers.remove(subscriber)
        self._changed()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    @contextlib.contextmanager
    def subscription(self, max_bytes: int = MAX_QUEUED_BYTES) -> "Iterator[Subscription]":
        """Take part while the block runs."""
        made = Subscription(max_bytes)
        self.add(made)
        try:
            yield made
        finally:
            self.remove(made)


class Subscription(Subscriber):
    """Frames for a task of the event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._frames: deque[TracedFrame] = deque()
        self._bytes = 0
        self._arrived = anyio.Event()
        self.lost = 0  # frames, since the beginning

    def offer(self, frame: TracedFrame | LongFrame) -> None:
        size = cost_of(frame)
        if self._bytes + size > self._max_bytes:
            self.lost += 1
            return
        self._bytes += size
        self._frames.append(frame.whole() if isinstance(frame, LongFrame) else frame)
        self._arrived.set()

    def take(self) -> list[TracedFrame]:
        """Return what has come since the last time."""
        frames = list(self._frames)
        self._frames.clear()
        self._bytes = 0
        self._arrived = anyio.Event()
        return frames

    async def wait(self) -> None:
        """Return when there is something to take."""
        await self._arrived.wait()
