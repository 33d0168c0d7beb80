"""Brokers that are processes under one supervisor: a broker here has the others started and stopped by it.

    lifecycle = SupervisedLifecycle(send)       # broker.faults.run_by(lifecycle)
    await lifecycle.run()                       # until the supervisor is gone

Format: an order is a line of JSON, {"id": 1, "order": "stop", "broker": 2}, and so is its answer on the standard input,
{"id": 1, "error": null}. An order is answered when it is carried out.

Not here: who carries them out (pykbroker/supervisor).
"""

import itertools
import json
import os
from collections.abc import Callable

import anyio

from pykbroker.faults.control import Lifecycle
from pykbroker.faults.rules import FaultError

ORDER_TIMEOUT_S = 60.0  # a broker that starts may have logs to recover
STDIN = 0
READ_BYTES = 4096


class SupervisedLifecycle(Lifecycle):
    def __init__(self, send: Callable[[str], None]) -> None:
        """`send` takes an order to the supervisor."""
        self._send = send
        self._ids = itertools.count(1)
        self._waiting: dict[int, anyio.Event] = {}
        self._errors: dict[int, str | None] = {}

    async def start(self, broker: int) -> None:
        await self._order("start", broker)

    async def stop(self, broker: int) -> None:
        await self._order("stop", broker)

    async def kill(self, broker: int) -> None:
        await self._order("kill", broker)

    async def _order(self, order: str, broker: int) -> None:
        """Raises: FaultError, TimeoutError."""
        order_id = next(self._ids)
        answered = self._waiting[order_id] = anyio.Event()
        self._send(json.dumps({"id": order_id, "order": order, "broker": broker}))
        try:
            with anyio.fail_after(ORDER_TIMEOUT_S):
                await answered.wait()
        finally:
            del self._waiting[order_id]
        if (error := self._errors.pop(order_id)) is not None:
            raise FaultError(error)

    async def run(self) -> None:
        """Hear the answers until the supervisor is gone."""
        rest = b""
        while True:
            await anyio.wait_readable(STDIN)
            data = os.read(STDIN, READ_BYTES)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                if answer["id"] in self._waiting:  # else nobody waits any longer
                    self._errors[answer["id"]] = answer["error"]
                    self._waiting[answer["id"]].set()
