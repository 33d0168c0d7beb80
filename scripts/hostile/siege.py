"""Connections that burden the broker for as long as the attack lasts.

- idle: a thousand that were opened and say nothing;
- slow: two hundred that send a request one byte at a time;
- deaf: ten that send a thousand Fetch requests each and read nothing of the answers;
- stuck: fifty that announce a request of the largest size and send a part of it.
"""

from __future__ import annotations

import asyncio
import struct

from attrs import define, field
from support import frames
from support.connection import Address

IDLE, SLOW, DEAF, STUCK = 1_000, 200, 10, 50
DEAF_REQUESTS = 1_000
BYTE_PAUSE_S = 1.0
STUCK_SIZE = 100_000_000
STUCK_SENT = 1 << 16


@define
class Siege:
    """Owns the connections and the tasks that keep them busy."""

    address: Address
    topic: str
    _writers: list[asyncio.StreamWriter] = field(factory=list)
    _tasks: list[asyncio.Task[None]] = field(factory=list)

    async def start(self) -> None:
        for _ in range(IDLE):
            await self._open()
        for _ in range(SLOW):
            self._tasks.append(asyncio.create_task(_drip(await self._open())))
        request = bytes(frames.fetch_request(self.topic, 0, 0, max_bytes=1 << 20, max_wait_ms=0))
        for _ in range(DEAF):
            writer = await self._open()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(request * DEAF_REQUESTS)
        for _ in range(STUCK):
            writer = await self._open()
            writer.write(struct.pack(">i", STUCK_SIZE) + bytes(STUCK_SENT))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _open(self) -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection(self.address.host, self.address.port)
        self._writers.append(writer)
        return writer


async def _drip(writer: asyncio.StreamWriter) -> None:
    request = frames.metadata_request(["torture-plain"])
    for byte in request:
        writer.write(bytes([byte]))
        await asyncio.sleep(BYTE_PAUSE_S)
