"""etcd's JSON gateway: one request to whichever endpoint answers, and the stream of a watch.

Owns: the HTTP client, which endpoint is asked, what is known of etcd's identity. Format: POST with a JSON body; keys
and values in base64, 64-bit numbers as text, fields of value zero left out.

Rules
- An attempt waits `timeout_ms` at most for etcd to go on. A request that may be repeated is tried at every endpoint,
  `ROUNDS` times, within `ROUNDS` times `timeout_ms`. One that may not is tried again only where it cannot have arrived,
  and raises `AnswerLost` where it may have.
- etcd is refused for good once it is not the one it was: another cluster id, or a revision below one that this process,
  or an earlier one with the same `memory` file, has seen. Somebody has restored an old backup then.
- Only linearizable answers are compared: a lease's and a watch's may be of a member that lags behind.

Not here: what is asked (etcd_store).
Sources: etcd 3.4's rpc.proto and its gateway; the codes are gRPC's.
"""

import base64
import contextlib
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import httpx

from pykbroker.clock import Clock
from pykbroker.errors import StorageError

logger = logging.getLogger("pykbroker.cluster")

Json = Mapping[str, Any]

ROUNDS = 3  # over all endpoints
BACKOFF_MS = 100  # between rounds
ANSWER_BYTES_MAX = 64 * 1024 * 1024
# Codes of gRPC
UNKNOWN, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, OUT_OF_RANGE, INTERNAL, UNAVAILABLE = 2, 4, 5, 8, 11, 13, 14
_TRANSIENT = (UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE)


class EtcdError(StorageError):
    """etcd answered that it will not do this."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"etcd: {message.removeprefix('etcdserver: ')}")
        self.code = code


class AnswerLost(StorageError):
    """The request may have been carried out, or still be."""


class Unreached(StorageError):
    """Nobody has got the request."""


class Silence(AnswerLost):
    """A stream brought nothing for its idle time."""


class EtcdClient:
    def __init__(
        self, endpoints: Sequence[tuple[str, int]], clock: Clock, *, timeout_ms: int, memory: Path | None
    ) -> None:
        """`memory`: the file in which an etcd's identity outlives this process."""
        self._urls = [f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host, port in endpoints]
        self._names = ", ".join(f"{host}:{port}" for host, port in endpoints)
        self._current = 0
        self._clock = clock
        self._timeout_ms = timeout_ms
        # Without TLS, the certificates of the world's authorities need not be loaded, which takes longer than a start.
        self._http = httpx.AsyncClient(timeout=timeout_ms / 1000, trust_env=False, verify=False)
        self._memory = memory
        self._cluster_id, self._revision = _read_memory(memory)
        self._remembered = self._revision
        self._unusable: str | None = None  # why nothing is asked any more

    async def call(self, path: str, body: Json, *, is_linearizable: bool = True, once: bool = False) -> Any:
        """Ask until somebody answers. `once`: what is asked for must not be done twice.

        Raises: EtcdError; AnswerLost, only with `once`; StorageError if nobody answered.
        """
        deadline = self._clock.monotonic_ms() + ROUNDS * self._timeout_ms
        failure: StorageError | None = None
        for attempt in range(ROUNDS * len(self._urls)):
            if attempt and attempt % len(self._urls) == 0:
                await self._clock.sleep(BACKOFF_MS)
            if self._clock.monotonic_ms() > deadline:
                break
            try:
                return await self._attempt(path, body, is_linearizable=is_linearizable)
            except EtcdError as error:
                if error.code not in _TRANSIENT:
                    raise
                if once:
                    raise AnswerLost(str(error)) from error
                failure = error
            except AnswerLost as error:
                if once:
                    raise
                failure = error
            except Unreached as error:
                failure = error
        raise StorageError(f"no etcd answers at {self._names}: {failure}") from failure

    @contextlib.asynccontextmanager
    async def stream(self, path: str, body: Json, *, idle_ms: float) -> AsyncIterator[AsyncIterator[Any]]:
        """Yield the messages that etcd sends. Raises: EtcdError; AnswerLost when it fails; Silence after `idle_ms`."""
        self._check_usable()
        timeout = httpx.Timeout(self._timeout_ms / 1000, read=idle_ms / 1000)
        url = self._urls[self._current]
        try:
            async with self._http.stream("POST", url + path, content=json.dumps(body), timeout=timeout) as response:
                if response.status_code != 200:
                    raise _error_of(await response.aread())
                async with contextlib.aclosing(_messages(response)) as messages:
                    yield messages
        except (httpx.HTTPError, OSError) as error:
            if isinstance(error, httpx.ReadTimeout):
                raise Silence(f"{url} has nothing to say") from error
            self._next_endpoint()
            raise AnswerLost(f"{url}: {_reason(error)}") from error

    @property
    def is_usable(self) -> bool:
        return self._unusable is None

    def remember(self) -> None:
        """Write down the newest revision, if it has changed."""
        if self._memory is None or self._revision == self._remembered:
            return
        new = self._memory.with_name(self._memory.name + ".tmp")
        try:
            new.write_text(json.dumps({"cluster_id": self._cluster_id, "revision": self._revision}))
            os.replace(new, self._memory)
        except OSError as error:
            raise StorageError(f"cannot write {self._memory}: {error.strerror}") from error
        self._remembered = self._revision

    def check_identity(self, header: Json, seen_revision: int = 0) -> None:
        """Refuse an etcd that is another one, or older than what was seen before it was asked."""
        self._check_usable()
        cluster_id, revision = header.get("cluster_id", "0"), int(header.get("revision", 0))
        if self._cluster_id is None:
            self._cluster_id = cluster_id
        if cluster_id != self._cluster_id:
            self._refuse(f"it is another cluster: {cluster_id}, not {self._cluster_id}")
        if revision < seen_revision:
            self._refuse(f"its revision went down from {seen_revision} to {revision}")
        self._revision = max(self._revision, revision)

    async def close(self) -> None:
        self.remember()
        self._unusable = self._unusable or "the store is closed"
        await self._http.aclose()

    async def _attempt(self, path: str, body: Json, *, is_linearizable: bool = True) -> Any:
        self._check_usable()
        seen_revision = self._revision if is_linearizable else 0
        url = self._urls[self._current]
        try:
            # Each step has its limit in the client; this one is for an answer that trickles in.
            with anyio.fail_after(2 * self._timeout_ms / 1000):
                response = await self._http.post(url + path, content=json.dumps(body))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            self._next_endpoint()
            raise Unreached(_reason(error)) from error
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            self._next_endpoint()
            raise AnswerLost(f"{url}: {_reason(error)}") from error
        if response.status_code != 200:
            failure = _error_of(response.content)
            if failure.code in _TRANSIENT:
                self._next_endpoint()
            raise failure
        try:
            answer = json.loads(response.content)
        except ValueError as error:
            raise AnswerLost(f"{url} does not answer like etcd") from error
        answer = answer.get("result", answer)
        self.check_identity(answer.get("header", {}), seen_revision)
        return answer

    def _next_endpoint(self) -> None:
        self._current = (self._current + 1) % len(self._urls)

    def _refuse(self, reason: str) -> None:
        self._unusable = f"the etcd at {self._names} is not the one that this broker knows: {reason}"
        if self._memory is not None:
            self._unusable += f"; was an old backup restored? If it is the right one, delete {self._memory}"
        logger.error("%s", self._unusable)
        self._check_usable()

    def _check_usable(self) -> None:
        if self._unusable is not None:
            raise StorageError(self._unusable)


def encode(key: bytes) -> str:
    return base64.b64encode(key).decode()


def decode(text: str) -> bytes:
    return base64.b64decode(text)


async def _messages(response: httpx.Response) -> AsyncGenerator[Any, None]:
    """Cut the stream into its lines, of one message each."""
    rest = bytearray()
    chunks = response.aiter_bytes()
    try:
        async for chunk in chunks:
            start = len(rest)
            rest += chunk
            while (end := rest.find(b"\n", start)) >= 0:
                line = bytes(rest[:end])
                del rest[: end + 1]
                start = 0
                if line:
                    yield _message_of(line)
            if len(rest) > ANSWER_BYTES_MAX:
                raise EtcdError(RESOURCE_EXHAUSTED, "a message of the watch is too long")
    finally:
        # The client's generators do not end one another: a cancellation where the innermost one waits ends all.
        with anyio.CancelScope() as unwinding:
            unwinding.cancel()
            async for _ in chunks:
                pass


def _message_of(line: bytes) -> Any:
    message = json.loads(line)
    if "error" in message:
        failure = message["error"]
        raise EtcdError(failure.get("grpc_code", UNKNOWN), failure.get("message", "no reason"))
    return message["result"]


def _error_of(content: bytes) -> EtcdError:
    try:
        failure = json.loads(content)
        return EtcdError(int(failure.get("code", UNKNOWN)), str(failure.get("message", failure)))
    except (ValueError, AttributeError):
        return EtcdError(UNAVAILABLE, "this is no answer of etcd's")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _read_memory(memory: Path | None) -> tuple[str | None, int]:
    if memory is None or not memory.exists():
        return None, 0
    try:
        fields = json.loads(memory.read_bytes())
        return str(fields["cluster_id"]), int(fields["revision"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Without it an old backup cannot be told from the etcd of before: somebody has to decide.
        raise StorageError(f"cannot read {memory}: {error}; delete it if this etcd is the right one") from error
