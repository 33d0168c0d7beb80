"""`pykbroker test`: brokers for the tests of another program, and that program.

    pykbroker test --brokers 3 -- go test ./...     # the command finds them in its environment
    pykbroker test --port 9092 --http 9644          # until SIGTERM or Ctrl-C

Rules
- The brokers are those that tests in Python embed, in one process: in a temporary folder, with the same defaults.
- Two lines on stdout say where they are; a command has its stdout for itself.
- Who gives a command gets its exit status, as from a shell. SIGTERM is passed on to it. A terminal's Ctrl-C reaches it
  without us; we end when it does.

Not here: what is served by HTTP (embedded/over_http).
"""

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import anyio
import anyio.abc

from pykbroker.embedded.cluster import AsyncCluster
from pykbroker.embedded.over_http import serving

NOT_FOUND, NOT_EXECUTABLE, BY_SIGNAL = 127, 126, 128  # exit statuses, as shells have them
STDIN = 0
READ_BYTES = 4096
Signals = AsyncIterator[signal.Signals]


async def run(
    kafka: AsyncCluster,
    http_listener: str,
    command: Sequence[str],
    say: Callable[[str], None],
    *,
    until_stdin_closes: bool,
) -> int:
    """Return the exit status. Raises: StartError, ConfigError, ListenError."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with kafka, serving(kafka, http_listener) as (host, port):
            gc.freeze()
            gc.enable()
            http = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            if command:
                status = await _run_command(command, kafka.bootstrap, http, signals)
            else:
                if until_stdin_closes:
                    threading.Thread(target=_end_with_stdin, daemon=True).start()
                say(f"pykbroker serves HTTP on {http}")
                say(f"pykbroker accepts clients on {kafka.bootstrap}")
                say(f"pykbroker stops on {(await anext(signals)).name}")
                status = 0
            if kafka.bugs:
                print(f"pykbroker: there were {kafka.bugs} bugs of the brokers' own, see the log", file=sys.stderr)
            return status


def _end_with_stdin() -> None:
    """Read, in a thread since it may be a file, until there is no more, and have the process end."""
    with contextlib.suppress(OSError):
        while os.read(STDIN, READ_BYTES):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


async def _run_command(command: Sequence[str], bootstrap: str, http: str, signals: Signals) -> int:
    where = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "PYKBROKER_BOOTSTRAP": bootstrap, "PYKBROKER_HTTP": http}
    try:
        process = await anyio.open_process(command, stdin=None, stdout=None, stderr=None, env=os.environ | where)
    except OSError as error:
        print(f"pykbroker: {command[0]}: {error.strerror}", file=sys.stderr)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    async with process, anyio.create_task_group() as passing:
        passing.start_soon(_pass_on, signals, process)
        status = await process.wait()
        passing.cancel_scope.cancel()
    return status if status >= 0 else BY_SIGNAL - status


async def _pass_on(signals: Signals, process: anyio.abc.Process) -> None:
    async for received in signals:
        if received is signal.SIGTERM:
            process.terminate()
