"""One broker: builds its parts in order, runs them, and takes them down in the opposite order.

    async with Broker(BrokerConfig.from_properties({"listeners": "PLAINTEXT://127.0.0.1:0"})) as broker:
        broker.bootstrap        # "127.0.0.1:40123"

Owns: the order of starting and stopping. Every part is given what it needs; nothing is found through globals.

Starting: log directories (locked, recovered) -> listeners bound, so that port 0 becomes a port that can be
advertised -> store -> registration -> replicas, groups and transactions from the first image -> clients are accepted.
Stopping: no more clients -> transactions, groups -> registration -> logs, cleanly.

Not here: the command line (cli), what a request does (handlers).
"""

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

import anyio
import attrs

from pykbroker.clock import Clock, SystemClock
from pykbroker.cluster.membership import Cluster
from pykbroker.cluster.producer_ids import ProducerIds
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.config import BrokerConfig, Endpoint
from pykbroker.errors import KafkaError, StorageError
from pykbroker.groups.coordinator import GroupCoordinator
from pykbroker.handlers.context import Services
from pykbroker.log.log_dirs import LogDirs
from pykbroker.metrics import Metrics
from pykbroker.replication.fetch_session import FetchSessions
from pykbroker.replication.replica_manager import ReplicaManager
from pykbroker.server.buffers import Buffers
from pykbroker.server.connection import ServerContext
from pykbroker.server.dispatch import HANDLERS, Dispatcher
from pykbroker.server.listener import Listener, ListenError, Server
from pykbroker.transactions.coordinator import TransactionCoordinator
from pykbroker.transactions.other_brokers import OtherBrokers
from pykbroker.transactions.verification import TransactionVerifier
from pykbroker.waiters import Wakeups

logger = logging.getLogger("pykbroker")

STORE_FILE = "metadata.sqlite"


class StartError(Exception):
    """The broker cannot start; the message is fit for a person."""


class Broker:
    def __init__(self, config: BrokerConfig, *, is_ephemeral: bool = False, clock: Clock | None = None) -> None:
        """`is_ephemeral`: the data goes with the process, so nothing has to reach the disk for good."""
        self.config = config
        self.metrics = Metrics()
        self.data_dir = Path(config.log_dirs[0])
        self.clock = clock or SystemClock()
        self.services: Services  # once it has started
        self._is_ephemeral = is_ephemeral
        self._exit = contextlib.AsyncExitStack()
        self._listeners: list[Listener] = []
        self._advertised: list[Endpoint] = []

    @property
    def bootstrap(self) -> str:
        """host:port of the first listener, as advertised."""
        endpoint = self._advertised[0]
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        return f"{host}:{endpoint.port}"

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """What it listens on, in the order of `listeners`."""
        return [listener.address for listener in self._listeners]

    async def __aenter__(self) -> "Broker":
        """Start, and return when clients are accepted. Raises: StartError."""
        try:
            await self._start()
        except BaseException as error:
            # No scope around this: it takes down task groups, and scopes have to end in the order of their nesting.
            await self._exit.aclose()
            if isinstance(error, ListenError | StorageError | KafkaError):
                raise StartError(str(error)) from error
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop. What was raised in the body goes on as it is: told of it, the task groups would wrap it in groups."""
        await self._exit.aclose()

    def _on_bug(self, error: Exception) -> None:
        """A callback of a timer or of a signal failed: there is nobody to answer, and the others go on."""
        if isinstance(error, StorageError):
            logger.error("%s", error)
            return
        self.metrics.bugs_total += 1
        logger.error("bug in a callback", exc_info=error)

    async def _start(self) -> None:
        config, clock = self.config, self.clock
        clock.on_bug = self._on_bug
        log_dirs = LogDirs([Path(folder) for folder in config.log_dirs], config, clock, ephemeral=self._is_ephemeral)
        log_dirs.open()
        self._exit.callback(log_dirs.close)
        self._bind()

        store = SqliteStore(self.data_dir / STORE_FILE, clock, ephemeral=self._is_ephemeral)
        cluster = Cluster(store, config, clock)
        wakeups = Wakeups()
        wakeups.on_bug = self._on_bug
        replicas = ReplicaManager(config, clock, cluster, log_dirs, wakeups)
        groups = GroupCoordinator(config, clock, replicas)
        # Two ways to the others: a question of a producer must not wait for markers.
        marker_brokers, question_brokers = OtherBrokers(config, clock), OtherBrokers(config, clock)
        transactions = TransactionCoordinator(config, clock, cluster, replicas, groups=groups, brokers=marker_brokers)
        self.services = Services(
            config=config,
            clock=clock,
            cluster=cluster,
            replicas=replicas,
            groups=groups,
            transactions=transactions,
            verifier=TransactionVerifier(config, cluster, transactions, question_brokers),
            log_dirs=log_dirs,
            fetch_sessions=FetchSessions(clock, max_sessions=config.max_incremental_fetch_session_cache_slots),
            producer_ids=ProducerIds(cluster),
            metrics=self.metrics,
            served_api_keys=HANDLERS.keys(),
        )

        tasks = await self._exit.enter_async_context(anyio.create_task_group())
        self._exit.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(clock.run)

        replicas.open()
        self._exit.callback(replicas.close)
        cluster.on_image += [replicas.on_image, groups.on_image, transactions.on_image]
        self._exit.push_async_callback(_shielded, cluster.stop)
        await cluster.start(self._advertised, cluster_id=log_dirs.cluster_id, after_unclean_stop=log_dirs.was_unclean)
        log_dirs.write_meta_properties(cluster.image.cluster_id)
        tasks.start_soon(cluster.run)
        self._exit.callback(groups.close)
        self._exit.callback(transactions.close)
        tasks.start_soon(marker_brokers.run)
        tasks.start_soon(question_brokers.run)

        connections = await self._exit.enter_async_context(anyio.create_task_group())
        self._exit.callback(connections.cancel_scope.cancel)
        server = Server(
            config,
            ServerContext(
                dispatcher=Dispatcher(self.services),
                buffers=Buffers(),
                wakeups=wakeups,
                metrics=self.metrics,
                clock=clock,
                task_group=connections,
                max_request_bytes=config.socket_request_max_bytes,
            ),
        )
        server.start_idle_sweep()
        for listener in self._listeners:
            connections.start_soon(server.serve, listener)

    def _bind(self) -> None:
        """Open the listeners, and fill in what the advertised addresses leave open."""
        ports = {}
        for endpoint in self.config.client_endpoints:
            if endpoint.protocol != "PLAINTEXT":
                raise ListenError(f"listener {endpoint.listener} is of {endpoint.protocol}, only PLAINTEXT is served")
            listener = Listener.bind(endpoint.listener, endpoint.host, endpoint.port)
            self._exit.callback(listener.socket.close)
            self._listeners.append(listener)
            ports[endpoint.listener] = listener.address[1]
        self._advertised = [
            attrs.evolve(
                endpoint,
                host=endpoint.host or socket.getfqdn(),
                port=endpoint.port or ports[endpoint.listener],
            )
            for endpoint in self.config.advertised_endpoints
        ]
        if any(endpoint.host in ("0.0.0.0", "::") for endpoint in self._advertised):
            raise ListenError("no client can reach all addresses: advertised.listeners has to name another address")


async def _shielded(stop: Callable[[], Awaitable[None]]) -> None:
    """Let a part stop properly although the tasks around it are being cancelled."""
    with anyio.CancelScope(shield=True):
        await stop()
