"""A cluster on one machine: a process for each broker, and what is said about them.

Owns: the brokers' processes. Rules
- What a broker prints is printed with its id behind the first word, what it logs with its id in front.
- A broker that ends before it accepts clients takes the others down: one line says why, and the exit status is 1.
- A broker that ends later is reported, and the others go on, since that is what they are several for. Nothing is
  started anew: whoever wants that has to know that it happened. The exit status is 1 then, too.
- A broker that takes faults over HTTP may order another one to be stopped, killed or started. It says so in a line of
  its output, and is answered in a line of its input. A broker that is started again has its ports again.
- SIGTERM and SIGINT are passed on to all as SIGTERM; the second one kills. The brokers are in sessions of their own, so
  that a terminal's Ctrl-C reaches them by this way only; they stop when their standard input ends, with this process.

Not here: what a broker is told (cli).
"""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import anyio
import anyio.abc
import attrs

ACCEPTS = "pykbroker accepts clients on "
KEEPS = "pykbroker keeps its data in "
SERVES_HTTP = "pykbroker serves HTTP on http://"
ORDERS = "pykbroker orders "  # {"id": 1, "order": "stop", "broker": 2}; the answer is {"id": 1, "error": null}
ERROR = "pykbroker: "


@attrs.define(eq=False)
class _Member:
    broker_id: int
    process: anyio.abc.Process
    accepts: bool = False
    ports: list[str] = attrs.field(factory=list)  # options that have it listen there again
    error: str | None = None  # the last that it said about itself
    has_ended: bool = False
    is_ordered: bool = False  # started, or ended, because a broker ordered it: that one is told how it went
    has_started: anyio.Event = attrs.field(factory=anyio.Event)  # or has ended instead
    ended: anyio.Event = attrs.field(factory=anyio.Event)


class OrderError(Exception):
    """An order that cannot be carried out; the message says why."""


class Supervisor:
    def __init__(self, commands: Mapping[int, Sequence[str]]) -> None:
        """`commands`: how each broker is started, by its id."""
        self._commands = commands
        self._members: dict[int, _Member] = {}
        self._is_stopping = False
        self._status = 0
        self._tasks: anyio.abc.TaskGroup
        self._attending: anyio.abc.TaskGroup
        self._ordering = anyio.Lock()  # one order at a time

    async def run(self) -> int:
        """Run the cluster until it is told to stop or no broker is left, and return the exit status."""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._obey, signals)
                async with anyio.create_task_group() as self._attending:
                    for broker_id in self._commands:
                        if self._is_stopping:
                            break
                        await self._start(broker_id)
                self._tasks.cancel_scope.cancel()
        return self._status

    async def _start(self, broker_id: int, *, ports: Sequence[str] = (), is_ordered: bool = False) -> _Member:
        process = await anyio.open_process(
            [*self._commands[broker_id], *ports], stdin=subprocess.PIPE, start_new_session=True, stderr=subprocess.PIPE
        )
        member = self._members[broker_id] = _Member(broker_id, process, is_ordered=is_ordered)
        self._attending.start_soon(self._attend, member)
        if self._is_stopping:  # since a moment ago
            process.send_signal(signal.SIGTERM)
        return member

    async def _obey(self, signals: AsyncIterator[signal.Signals]) -> None:
        async for received in signals:
            print(f"pykbroker stops on {received.name}", flush=True)
            self._stop(signal.SIGKILL if self._is_stopping else signal.SIGTERM)

    def _stop(self, by: signal.Signals) -> None:
        self._is_stopping = True
        for member in self._members.values():
            if not member.has_ended:
                member.process.send_signal(by)

    async def _attend(self, member: _Member) -> None:
        async with member.process, anyio.create_task_group() as reading:
            reading.start_soon(self._pass_output_on, member)
            reading.start_soon(self._pass_log_on, member)
            status = await member.process.wait()
            member.has_ended = True
        # All that it said has been read now.
        self._on_end(member, status)
        member.ended.set()
        member.has_started.set()

    async def _pass_output_on(self, member: _Member) -> None:
        async for line in _lines(member.process.stdout):
            if line.startswith(ORDERS):
                self._tasks.start_soon(self._answer, member, line.removeprefix(ORDERS))
                continue
            if line.startswith(SERVES_HTTP):
                member.ports += ["--http", line.removeprefix(SERVES_HTTP)]
            if line.startswith(ACCEPTS):
                member.ports += ["--port", line.rpartition(":")[2]]
                member.accepts = True
                member.has_started.set()
            if not line.startswith(KEEPS):
                print(f"pykbroker {member.broker_id} {line.removeprefix('pykbroker ')}", flush=True)

    async def _pass_log_on(self, member: _Member) -> None:
        async for line in _lines(member.process.stderr):
            if line.startswith(ERROR):
                member.error = line.removeprefix(ERROR)
            else:
                print(f"[{member.broker_id}] {line}", file=sys.stderr, flush=True)

    def _on_end(self, member: _Member, status: int) -> None:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        if member.error is not None:
            how = f"{how}: {member.error}"
        if member.is_ordered and not self._is_stopping:
            return
        if not member.accepts and not self._is_stopping:
            self._fail(f"broker {member.broker_id} did not start: {member.error or how}")
            self._stop(signal.SIGTERM)
        elif not self._is_stopping:
            others = any(not other.has_ended for other in self._members.values())
            self._fail(f"broker {member.broker_id} {how}; {'the others go on' if others else 'none is left'}")
        elif status not in (0, -signal.SIGTERM) and self._status == 0:  # SIGTERM: it had not got far
            self._fail(f"broker {member.broker_id} {how}")

    # Orders of brokers

    async def _answer(self, asking: _Member, text: str) -> None:
        order = json.loads(text)
        error = None
        try:
            async with self._ordering:
                await self._carry_out(order["order"], order["broker"])
        except OrderError as failed:
            error = str(failed)
        answer = json.dumps({"id": order["id"], "error": error})
        assert asking.process.stdin is not None
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # it has ended meanwhile
            await asking.process.stdin.send(f"{answer}\n".encode())

    async def _carry_out(self, order: str, broker_id: int) -> None:
        """Raises: OrderError."""
        member = self._members.get(broker_id)
        if member is None:
            raise OrderError(f"there is no broker {broker_id}; there are {', '.join(map(str, self._members))}")
        if self._is_stopping:
            raise OrderError("the cluster stops")
        if order == "start":
            if member.has_ended:
                member = await self._start(broker_id, ports=member.ports, is_ordered=True)
                await member.has_started.wait()
                if member.has_ended:
                    raise OrderError(f"broker {broker_id} did not start: {member.error}")
                member.is_ordered = False
        elif not member.has_ended:
            member.is_ordered = True
            member.process.send_signal({"stop": signal.SIGTERM, "kill": signal.SIGKILL}[order])
            await member.ended.wait()

    def _fail(self, message: str) -> None:
        self._status = 1
        print(f"{ERROR}{message}", file=sys.stderr, flush=True)


async def _lines(stream: anyio.abc.ByteReceiveStream | None) -> AsyncIterator[str]:
    assert stream is not None
    rest = b""
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
