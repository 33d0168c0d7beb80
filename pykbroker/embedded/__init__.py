"""Brokers inside a program, mostly a test: `pykbroker.Broker` and `pykbroker.Cluster`.

    with pykbroker.Broker() as kafka:               # in a thread of its own
        kafka.bootstrap                             # "127.0.0.1:40123"

    async with pykbroker.Broker() as kafka:         # in the caller's event loop, asyncio's or trio's
        await kafka.reset()

Rules: both forms have the same methods; those of the second are to be awaited. An object may be used again once its
`with` is over.

Not here: what runs (cluster), the thread (threaded), fixtures (pytest_plugin).
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from pykbroker.embedded.cluster import AsyncCluster
from pykbroker.embedded.threaded import ThreadedCluster, in_thread

__all__ = ["AsyncCluster", "Broker", "Cluster", "ThreadedCluster"]


class Cluster:
    """Several brokers. Entering raises StartError or ConfigError where they cannot start."""

    def __init__(
        self,
        brokers: int = 3,
        *,
        properties: Mapping[str, object] | None = None,
        data_dir: Path | str | None = None,
    ) -> None:
        """`properties` are Kafka's, of all brokers. With a `data_dir` the data stays, and is found again."""
        self._cluster = AsyncCluster(brokers=brokers, properties=properties, data_dir=data_dir)
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> ThreadedCluster:
        return self._exit.enter_context(in_thread(self._cluster))

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    async def __aenter__(self) -> AsyncCluster:
        return await self._cluster.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._cluster.__aexit__(exc_type, exc, traceback)


class Broker(Cluster):
    """One broker."""

    def __init__(self, *, properties: Mapping[str, object] | None = None, data_dir: Path | str | None = None) -> None:
        super().__init__(1, properties=properties, data_dir=data_dir)
