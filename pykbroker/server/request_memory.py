"""The memory that unfinished requests may take, all connections together (`queued.max.request.bytes`).

Owns: how much of it is held.

Rules
- A request that is not complete holds its whole size from the moment that it is known until its handler has returned.
- Who holds nothing is not read while nothing is left. The last request that got in may hold more than there was, so
  that none is too large to be read at all.
- Connections of this kind are in use only while there is such a limit: others do not look.

Source: KIP-72; Kafka's SimpleMemoryPool, Selector.
"""

import socket
from struct import Struct

import attrs

from pykbroker.handlers.context import ConnectionInfo
from pykbroker.server.connection import Connection, ServerContext

_size_at = Struct(">i").unpack_from


@attrs.define(eq=False)
class RequestMemory:
    limit_bytes: int
    held_bytes: int = 0
    waiting: "dict[BoundedConnection, None]" = attrs.field(factory=dict)

    @property
    def is_used_up(self) -> bool:
        return self.held_bytes >= self.limit_bytes

    def change(self, by_bytes: int) -> None:
        self.held_bytes += by_bytes
        if by_bytes < 0 and not self.is_used_up:
            waiting, self.waiting = self.waiting, {}
            for connection in waiting:
                connection.memory_is_back()


class BoundedConnection(Connection):
    __slots__ = ("_held_bytes", "_memory")

    def __init__(self, sock: socket.socket, info: ConnectionInfo, server: ServerContext, memory: RequestMemory) -> None:
        super().__init__(sock, info, server)
        self._memory = memory
        self._held_bytes = 0

    async def serve(self) -> None:
        try:
            await super().serve()
        finally:
            self._memory.waiting.pop(self, None)
            self._hold(0)

    def memory_is_back(self) -> None:
        self._go_on()

    def _handle(self, scratch: memoryview, filled: int) -> bool:
        goes_on = super()._handle(scratch, filled)
        self._hold(self._unfinished_bytes())
        return goes_on

    def _handle_large(self, large: object) -> bool:
        goes_on = super()._handle_large(large)  # type: ignore[arg-type]
        self._hold(self._unfinished_bytes())
        return goes_on

    def _must_wait(self) -> bool:
        if super()._must_wait():
            return True
        if self._held_bytes or not self._memory.is_used_up:
            return False
        self._memory.waiting[self] = None
        return True

    def _unfinished_bytes(self) -> int:
        if self._large is not None:
            return self._large.frame_bytes
        kept = self._kept
        return max(4 + _size_at(kept)[0], len(kept)) if len(kept) >= 4 else len(kept)

    def _hold(self, size: int) -> None:
        if size != self._held_bytes:
            change, self._held_bytes = size - self._held_bytes, size
            self._memory.change(change)
