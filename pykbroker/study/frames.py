"""The source of frames: whoever traces gives them to it, and whoever wants to see them subscribes.

    frames = Frames()
    with frames.subscription() as seen:
        await seen.wait()
        for frame in seen.take(): …

Rules
- A subscriber that does not keep up loses frames, is told how many, and holds nobody up: each one has bounds.
- Frames are made public (wire.study.exchanges.public) before anybody sees them.
- A frame is offered where it lies, slices of files among it: it is copied by who keeps it, once, and no more than that
  one wants of it.
- `on_change` is told when the first subscriber comes and when the last one leaves: without any, nothing is traced.

Not here: a file of frames and lines on the terminal, which have a thread of their own (recorder).
"""

import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import anyio

from pykbroker.log.files import FileSlice
from wire.primitives import Buffer
from wire.study.exchanges import Direction, TracedFrame
from wire.study.trace import Source

MAX_QUEUED_BYTES = 16 * 1024 * 1024
MAX_QUEUED_FRAMES = 100_000
MAX_FRAME_BYTES = 4 * 1024 * 1024
FRAME_COST = 512  # bytes that a frame takes besides its own

Piece: TypeAlias = Buffer | FileSlice


class FrameKind(NamedTuple):
    direction: Direction
    api_key: int
    api_version: int


# (source, time_us, kind, the frame's start, what follows it)
Offer: TypeAlias = Callable[[Source, int, FrameKind, Buffer, Sequence[Piece]], None]


class Subscriber(ABC):
    @abstractmethod
    def offer(self, source: Source, time_us: int, kind: FrameKind, data: Buffer, rest: Sequence[Piece], /) -> None:
        """Take a frame, or count it as lost; called on the event loop, must not block.

        The frame is `data`, then `rest`: all memory in them is the publisher's again on return.
        """


class Frames:
    def __init__(self, on_change: Callable[[], None] | None = None) -> None:
        self.offer: Offer = _to_nobody  # gives a frame to all subscribers
        self._subscribers: tuple[Subscriber, ...] = ()
        self._on_change = on_change

    @property
    def is_wanted(self) -> bool:
        return bool(self._subscribers)

    def publish(self, frame: TracedFrame) -> None:
        """Give a frame to all subscribers that is there as one."""
        time_us, connection, peer, direction, key, version, data, _ = frame
        self.offer(Source(connection, peer), time_us, FrameKind(direction, key, version), data, ())

    def add(self, subscriber: Subscriber) -> None:
        self._change((*self._subscribers, subscriber))

    def remove(self, subscriber: Subscriber) -> None:
        """Take a subscriber away, if it is still there."""
        self._change(tuple(one for one in self._subscribers if one is not subscriber))

    def _change(self, subscribers: tuple[Subscriber, ...]) -> None:
        self._subscribers = subscribers
        if len(subscribers) == 1:
            self.offer = subscribers[0].offer
        else:
            self.offer = self._to_all if subscribers else _to_nobody
        if self._on_change is not None:
            self._on_change()

    def _to_all(self, source: Source, time_us: int, kind: FrameKind, data: Buffer, rest: Sequence[Piece]) -> None:
        for subscriber in self._subscribers:
            subscriber.offer(source, time_us, kind, data, rest)

    @contextlib.contextmanager
    def subscription(
        self,
        max_bytes: int = MAX_QUEUED_BYTES,
        *,
        max_frames: int = MAX_QUEUED_FRAMES,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> "Iterator[Subscription]":
        """Take part while the block runs."""
        made = Subscription(max_bytes, max_frames=max_frames, max_frame_bytes=max_frame_bytes)
        self.add(made)
        try:
            yield made
        finally:
            self.remove(made)


def _to_nobody(source: Source, time_us: int, kind: FrameKind, data: Buffer, rest: Sequence[Piece]) -> None: ...


class Subscription(Subscriber):
    """Frames for a task of the event loop: of large ones the start, and how much is left out.

    What of a slice is not in the page cache is left out, too: no frame is worth waiting for a disk.
    """

    def __init__(
        self, max_bytes: int, *, max_frames: int = MAX_QUEUED_FRAMES, max_frame_bytes: int = MAX_FRAME_BYTES
    ) -> None:
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self._max_frame_bytes = max_frame_bytes
        self._frames: deque[TracedFrame] = deque()
        self._bytes = 0
        self._arrived = anyio.Event()
        self.lost = 0  # frames, since the beginning

    def offer(self, source: Source, time_us: int, kind: FrameKind, data: Buffer, rest: Sequence[Piece], /) -> None:
        size = len(data)
        if rest:
            size += sum(map(len, rest))
        kept = min(size, self._max_frame_bytes)
        cost = kept + FRAME_COST
        frames = self._frames
        if frames and (self._bytes + cost > self._max_bytes or len(frames) >= self._max_frames):
            self.lost += 1
            return
        self._bytes += cost
        start = bytes(data[:kept]) if len(data) >= kept else _start(data, rest, kept)
        frames.append(TracedFrame(time_us, source.connection, source.peer, *kind, start, size - len(start)))
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


def _start(data: Buffer, rest: Sequence[Piece], size: int) -> bytes:
    """Return the first bytes of a frame, as far as they can be had at once."""
    pieces = [data]
    left = size - len(data)
    for piece in rest:
        if not left:
            break
        wanted = min(left, len(piece))
        if isinstance(piece, FileSlice):
            part: Buffer = FileSlice(piece.file, piece.position, wanted).read_resident()
        else:
            part = piece[:wanted]
        pieces.append(part)
        if len(part) < wanted:
            break
        left -= wanted
    return b"".join(pieces)
