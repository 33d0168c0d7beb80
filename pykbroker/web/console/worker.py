"""The console's worker: a process of its own, which asks the cluster, reads records and frames, and writes JSON.

    async with Worker(settings) as worker:
        answer = await worker.ask("GET", "/topics")

Owns: the process, while somebody looks; one at a time.

Rules
- All of the console's work is done there: decoding the records of one batch may take a second, and a thread would take
  the interpreter from the broker's event loop for as long.
- It begins with the first question, and ends with the console, after IDLE_S without a question, unless somebody holds
  it, or when it does not answer one within ANSWER_TIMEOUT_S: then something is too much for it, and the next question
  begins anew. What it held is gone then: traced frames, connections.
- It ends with the broker's process, too, however that ends: its end of the sockets tells.

Not here: what it answers (worker_process, pages).
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType

import anyio
import anyio.to_thread
import attrs
from anyio.abc import TaskGroup

from pykbroker.web.console.channel import Channel, Message

logger = logging.getLogger("pykbroker.web")

ANSWER_TIMEOUT_S = 20.0
IDLE_S = 300.0
PROGRAM = "pykbroker.web.console.worker_process"


class WorkerError(Exception):
    """The worker does not answer; says why."""


@attrs.frozen
class Answer:
    status: int
    media_type: str
    body: bytes


@attrs.define(eq=False)
class _Waiting:
    answered: anyio.Event = attrs.field(factory=anyio.Event)
    answer: Answer | None = None


@attrs.define(eq=False)
class _Process:
    popen: subprocess.Popen[bytes]
    channel: Channel


class Worker:
    def __init__(self, settings: Mapping[str, object], *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """`settings` are those of the pages (pages.PageSettings)."""
        self._settings = settings
        self._answer_timeout_s = answer_timeout_s
        self._process: _Process | None = None
        self._starting = anyio.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._asked = 0
        self._holders = 0
        self._tasks: TaskGroup

    async def __aenter__(self) -> "Worker":
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    @property
    def process_id(self) -> int | None:
        return None if self._process is None else self._process.popen.pid

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep it, questions or not, while the block runs."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1

    async def ask(self, method: str, path: str, query: str = "", body: bytes = b"") -> Answer:
        """Raises: WorkerError."""
        async with self._starting:
            process = self._process or await self._start()
        self._asked += 1
        number, waiting = self._asked, _Waiting()
        self._waiting[number] = waiting
        head = {"number": number, "method": method, "path": path, "query": query}
        try:
            with anyio.fail_after(self._answer_timeout_s):
                with anyio.CancelScope(shield=True):  # half a message would be the end of all
                    await process.channel.send(Message(head, body))
                await waiting.answered.wait()
        except TimeoutError:
            process.popen.kill()
            raise WorkerError("this takes too long") from None
        except OSError:
            pass  # its end comes by `_follow`, too
        finally:
            self._waiting.pop(number, None)
        if waiting.answer is None:
            raise WorkerError("the console's worker has ended")
        return waiting.answer

    async def _start(self) -> _Process:
        ours, theirs = socket.socketpair()
        with theirs:
            process = _Process(await anyio.to_thread.run_sync(_popen, theirs.fileno()), Channel(ours))
        self._process = process
        self._tasks.start_soon(self._follow, process)
        await process.channel.send(Message(dict(self._settings)))
        return process

    async def _follow(self, process: _Process) -> None:
        """Take what it answers, until it ends or is not needed any more."""
        try:
            while True:
                with anyio.move_on_after(IDLE_S) as idle:
                    head, body = await process.channel.receive()
                    waiting = self._waiting.get(head["number"])
                    if waiting is not None:
                        waiting.answer = Answer(head["status"], head["media_type"], body)
                        waiting.answered.set()
                if idle.cancelled_caught and not self._waiting and not self._holders:
                    return
        except (EOFError, OSError):
            logger.info("the console's worker has ended")
        finally:
            self._process = None
            for waiting in self._waiting.values():
                waiting.answered.set()
            process.channel.close()
            process.popen.kill()  # nothing of it is kept
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(process.popen.wait)


def _popen(descriptor: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", PROGRAM, str(descriptor)],
        pass_fds=[descriptor],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        start_new_session=True,  # Ctrl-C is for the broker, which ends it
    )
