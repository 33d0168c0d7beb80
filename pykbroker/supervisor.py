"""A cluster on one machine: a process for each broker, and what is said about them.

Owns: the brokers' processes. Rules
- What a broker prints is printed with its id behind the first word, what it logs with its id in front.
- A broker that ends before it accepts clients takes the others down: one line says why, and the exit status is 1.
- A broker that ends later is reported, and the others go on, since that is what they are several for. Nothing is
  started anew: whoever wants that has to know that it happened. The exit status is 1 then, too.
- SIGTERM and SIGINT are passed on to all as SIGTERM; the second one kills. The brokers are in sessions of their own, so
  that a terminal's Ctrl-C reaches them by this way only; they stop when their standard input ends, with this process.

Not here: what a broker is told (cli).
"""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import anyio
import anyio.abc
import attrs

ACCEPTS = "pykbroker accepts clients on "
KEEPS = "pykbroker keeps its data in "
ERROR = "pykbroker: "


@attrs.define(eq=False)
class _Member:
    broker_id: int
    process: anyio.abc.Process
    accepts: bool = False
    error: str | None = None  # the last that it said about itself
    has_ended: bool = False


class Supervisor:
    def __init__(self, commands: Mapping[int, Sequence[str]]) -> None:
        """`commands`: how each broker is started, by its id."""
        self._commands = commands
        self._members: list[_Member] = []
        self._is_stopping = False
        self._status = 0

    async def run(self) -> int:
        """Run the cluster until it is told to stop or no broker is left, and return the exit status."""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._obey, signals)
                async with anyio.create_task_group() as attending:
                    for broker_id, command in self._commands.items():
                        if self._is_stopping:
                            break
                        process = await anyio.open_process(
                            command, stdin=subprocess.PIPE, start_new_session=True, stderr=subprocess.PIPE
                        )
                        member = _Member(broker_id, process)
                        self._members.append(member)
                        attending.start_soon(self._attend, member)
                tasks.cancel_scope.cancel()
        return self._status

    async def _obey(self, signals: AsyncIterator[signal.Signals]) -> None:
        async for received in signals:
            print(f"pykbroker stops on {received.name}", flush=True)
            self._stop(signal.SIGKILL if self._is_stopping else signal.SIGTERM)

    def _stop(self, by: signal.Signals) -> None:
        self._is_stopping = True
        for member in self._members:
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

    async def _pass_output_on(self, member: _Member) -> None:
        async for line in _lines(member.process.stdout):
            member.accepts = member.accepts or line.startswith(ACCEPTS)
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
        if not member.accepts and not self._is_stopping:
            self._fail(f"broker {member.broker_id} did not start: {member.error or how}")
            self._stop(signal.SIGTERM)
        elif not self._is_stopping:
            others = any(not other.has_ended for other in self._members)
            self._fail(f"broker {member.broker_id} {how}; {'the others go on' if others else 'none is left'}")
        elif status not in (0, -signal.SIGTERM) and self._status == 0:  # SIGTERM: it had not got far
            self._fail(f"broker {member.broker_id} {how}")

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
