"""One broker: builds its parts in order, runs them, and takes them down in the opposite order.

    async with Broker(BrokerConfig.from_properties({"listeners": "PLAINTEXT://127.0.0.1:0"})) as broker:
        broker.bootstrap        # "127.0.0.1:40123"

Owns: the order of starting and stopping. Every part is given what it needs; nothing is found through globals.

Starting: log directories (locked, recovered) -> listeners bound, so that port 0 becomes a port that can be
advertised -> store -> registration -> replicas, groups and transactions from the first image -> clients are accepted.
Stopping: others take over what it leads -> no more clients -> transactions, groups -> replicas -> registration -> logs,
cleanly.

Not here: the command line (cli), what a request does (handlers).
"""

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import anyio
import attrs

from pykbroker.clock import Clock, SystemClock
from pykbroker.cluster.controller import Controller
from pykbroker.cluster.image import ConfigResourceType, ImageDelta, MetadataImage
from pykbroker.cluster.membership import Cluster
from pykbroker.cluster.producer_ids import ProducerIds
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Store
from pykbroker.config import BrokerConfig, Endpoint
from pykbroker.errors import KafkaError, StartError, StorageError
from pykbroker.groups.coordinator import GroupCoordinator
from pykbroker.handlers.context import ConnectionInfo, Services
from pykbroker.log import identity
from pykbroker.log.log_dirs import LogDirs
from pykbroker.log.storage import Flusher, LogDirectory
from pykbroker.metrics import Metrics
from pykbroker.peer import Network, SocketNetwork
from pykbroker.replication.fetch_session import FetchSessions
from pykbroker.replication.replica_manager import ReplicaManager
from pykbroker.server.buffers import Buffers
from pykbroker.server.connection import ServerContext
from pykbroker.server.dispatch import HANDLERS, TELEMETRY_KEYS, Dispatcher, RequestDispatcher
from pykbroker.server.listener import Listener, ListenError, Server
from pykbroker.server.quota_switch import QuotaSwitch
from pykbroker.transaction_parts import TransactionParts
from pykbroker.waiters import Wakeups
from wire.primitives import uuid_text

if TYPE_CHECKING:  # they are imported where they are wanted
    from pykbroker.faults.broker import FaultyBroker
    from pykbroker.faults.control import Faults
    from pykbroker.faults.seams import Seams
    from pykbroker.web.starting import StartingHealth

__all__ = ["Broker", "StartError"]

logger = logging.getLogger("pykbroker")

STORE_FILE = "metadata.sqlite"
PRIVATE = "sqlite"  # pykbroker.store: a file of this broker's own


class Broker:
    def __init__(
        self,
        config: BrokerConfig,
        *,
        is_ephemeral: bool = False,
        clock: Clock | None = None,
        network: Network | None = None,
        store: Store | None = None,
        new_flusher: Callable[[LogDirectory], Flusher] | None = None,
        listens: bool = True,
        faults: "Faults | None" = None,
        seams: "Seams | None" = None,
    ) -> None:
        """`is_ephemeral`: the data goes with the process, so nothing has to reach the disk for good.

        `network` is how other brokers are reached, by sockets unless given; `store` is taken instead of the one that
        the configuration names, and closed at the end. Without `listens` no socket is opened: clients come by `serve`,
        and `listeners` is only what is advertised. `faults` are ordered of this broker among others,
        and get at its clock, network and store through `seams`.
        """
        self.config = config
        self.metrics = Metrics()
        self.data_dir = Path(config.log_dirs[0])
        if faults is None and config.pykbroker_http_faults_enable:
            from pykbroker.faults.control import Faults
            from pykbroker.faults.seams import Seams

            faults = Faults(lambda: {} if self.faulty is None else {config.node_id: self.faulty})
            seams = Seams(config, faults.lasting(config.node_id))
        self.clock = clock or (SystemClock() if seams is None else seams.clock)
        self.services: Services  # once it has started
        self._is_ephemeral = is_ephemeral
        self._network = network
        self._store = store
        self._new_flusher = new_flusher
        self._listens = listens
        self.faults = faults  # None: none can be ordered
        self.faulty: FaultyBroker | None = None  # what they get hold of, once it has started
        self._seams = seams
        self._server: Server
        self._context: ServerContext
        self._is_killed = False
        self._stopping: anyio.CancelScope | None = None  # while a part is being stopped
        self._exit = contextlib.AsyncExitStack()
        self._listeners: list[Listener] = []
        self._http_listener: Listener | None = None
        self._starting: StartingHealth  # while there is an HTTP listener, and nobody else answers
        self.http_address: tuple[str, int] | None = None  # where HTTP is served, if it is
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

    @property
    def dispatcher(self) -> RequestDispatcher:
        """What connections give their requests to; another one is used from the next buffer on."""
        return self._context.dispatcher

    @dispatcher.setter
    def dispatcher(self, dispatcher: RequestDispatcher) -> None:
        self._context.dispatcher = dispatcher

    @property
    def frames(self) -> object:
        """What those who trace it share (study.tracing), once there is somebody."""
        return self._context.frames

    @frames.setter
    def frames(self, frames: object) -> None:
        self._context.frames = frames

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

    def serve(self, client: socket.socket, *, listener: str, client_id: str, host: str) -> None:
        """Serve a client that is connected already, by whatever way; the socket is this broker's from now on."""
        self._server.adopt(client, ConnectionInfo(id=client_id, listener=listener, host=host))

    def kill(self) -> None:
        """Let the stop that follows, or is under way, be like a crash: nothing is completed, and nobody is told."""
        self._is_killed = True
        if self._stopping is not None:
            self._stopping.cancel()

    async def _shielded(self, stop: Callable[[], Awaitable[None]]) -> None:
        """Let a part stop properly although the tasks around it are being cancelled, unless the broker is killed."""
        if not self._is_killed:
            with anyio.CancelScope(shield=True) as self._stopping:
                await stop()

    def _on_stop(self, stop: Callable[[], None]) -> None:
        """Have `stop` called when the broker stops, in the opposite order; not if it is killed."""
        self._exit.callback(lambda: None if self._is_killed else stop())

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
        config.log_what_is_ignored()
        if config.pykbroker_http_listener:
            self._bind_http()
        log_dirs = self._open_log_dirs()
        self._bind()

        store = self._store or self._open_store()
        if self._seams is not None:
            store = self._seams.line_to(store)
        network = self._network or (SocketNetwork(config) if self._seams is None else self._seams.network)
        wakeups = Wakeups()
        wakeups.on_bug = self._on_bug
        cluster = Cluster(store, config, clock)
        replicas = ReplicaManager(config, clock, cluster, log_dirs, wakeups, network=network)
        groups = GroupCoordinator(config, clock, replicas)
        transactions = TransactionParts(config, clock, cluster, replicas, groups=groups, network=network)
        self.services = Services(
            config=config,
            clock=clock,
            cluster=cluster,
            replicas=replicas,
            groups=groups,
            transaction_coordinator=transactions.coordinator,
            transaction_verifier=transactions.verifier,
            log_dirs=log_dirs,
            fetch_sessions=FetchSessions(clock, max_sessions=config.max_incremental_fetch_session_cache_slots),
            producer_ids=ProducerIds(cluster),
            metrics=self.metrics,
            served_api_keys=HANDLERS.keys() - (() if config.pykbroker_telemetry_enable else TELEMETRY_KEYS),
        )
        await self._join_cluster(store, transactions, network)
        await self._accept_clients(wakeups, network)
        if config.controlled_shutdown_enable:
            self._exit.push_async_callback(self._shielded, cluster.hand_over)
        if self._seams is not None:
            self._exit.callback(self._seams.thaw)  # frozen, it would never stop

    def _open_log_dirs(self) -> LogDirs:
        log_dirs = LogDirs(
            [Path(folder) for folder in self.config.log_dirs],
            self.config,
            self.clock,
            ephemeral=self._is_ephemeral,
            new_flusher=self._new_flusher,
        )
        log_dirs.open()
        self._exit.callback(lambda: log_dirs.close(clean=not self._is_killed))
        return log_dirs

    async def _join_cluster(self, store: Store, transactions: TransactionParts, network: Network) -> None:
        """Register, and have all parts follow the image from then on."""
        config, clock, services = self.config, self.clock, self.services
        cluster, replicas, groups, log_dirs = services.cluster, services.replicas, services.groups, services.log_dirs
        tasks = await self._exit.enter_async_context(anyio.create_task_group())
        self._exit.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(clock.run)

        replicas.open()
        self._on_stop(replicas.close)
        controller = Controller(cluster, config, clock)
        cluster.on_image += [transactions.on_image, replicas.on_image, groups.on_image, controller.on_image]
        self._on_stop(lambda: log_dirs.note_broker_epoch(cluster.broker_epoch))
        self._exit.push_async_callback(_close, store)
        self._exit.push_async_callback(self._shielded, cluster.stop)
        await cluster.start(
            self._advertised,
            cluster_id=log_dirs.cluster_id or config.pykbroker_cluster_id,
            after_unclean_stop=log_dirs.was_unclean,
            previous_broker_epoch=log_dirs.previous_broker_epoch,
            directory_id=uuid_text(log_dirs.directories[0].directory_id),
            find_foreign_data=lambda: identity.foreign_data(log_dirs.all()),
        )
        log_dirs.write_meta_properties(cluster.image.cluster_id)
        for run in (cluster.run, controller.run, replicas.run):
            tasks.start_soon(run)
        self._on_stop(replicas.stop)
        if self._store is not None or config.pykbroker_store != PRIVATE:  # else there is nobody to watch
            from pykbroker.cluster.liveness import Liveness

            liveness = Liveness(cluster, config, clock, network)
            cluster.on_image.append(liveness.on_image)
            tasks.start_soon(liveness.run)
        self._on_stop(groups.close)
        self._on_stop(transactions.close)
        tasks.start_soon(transactions.run)

    async def _accept_clients(self, wakeups: Wakeups, network: Network) -> None:
        connections = await self._exit.enter_async_context(anyio.create_task_group())
        self._exit.callback(connections.cancel_scope.cancel)
        dispatcher = Dispatcher(self.services)
        self._context = ServerContext(
            dispatcher=dispatcher,
            buffers=Buffers(),
            wakeups=wakeups,
            metrics=self.metrics,
            clock=self.clock,
            task_group=connections,
            max_request_bytes=self.config.socket_request_max_bytes,
        )
        self._server = Server(self.config, self._context)
        self._exit.callback(self._server.close)
        QuotaSwitch(self.services, dispatcher, self._server, connections).start()
        self._server.start_idle_sweep()
        for listener in self._listeners:
            self._server.start(listener)
        self._adjust_listeners()
        self.services.cluster.on_image.append(self._on_image)
        if self._http_listener is not None:
            from pykbroker.web.server import WebServer

            self._starting.stop()

            web = WebServer(
                self._http_listener,
                self.services,
                context=self._context,
                server=self._server,
                dispatcher=dispatcher,
                network=network,
                bootstrap=self._reachable_here(),
                faults=self.faults if self.config.pykbroker_http_faults_enable else None,
            )
            await web.start(connections)
            self._exit.push_async_callback(self._shielded, web.stop)
        if self.faults is not None and self._seams is not None:
            from pykbroker.faults.broker import FaultyBroker

            self.faulty = FaultyBroker(self.services, self._context, self.faults.rules, self._seams)
            self._exit.callback(self.faulty.close)

    def _on_image(self, image: MetadataImage, delta: ImageDelta) -> None:
        if (ConfigResourceType.BROKER, str(self.config.node_id)) in delta.configs:
            self._adjust_listeners()

    def _adjust_listeners(self) -> None:
        """Open and close listeners whose names came or went; what is advertised stays as it was at the start."""
        if not self._listens:
            return
        wanted = {endpoint.listener: endpoint for endpoint in self.config.client_endpoints}
        for listener in [each for each in self._listeners if each.name not in wanted]:
            self._server.stop(listener.name)
            self._listeners.remove(listener)
        for name in wanted.keys() - {listener.name for listener in self._listeners}:
            try:
                listener = self._open_listener(wanted[name])
            except ListenError as error:
                logger.error("%s", error)
            else:
                self._server.start(listener)

    def _open_listener(self, endpoint: Endpoint) -> Listener:
        _check_protocol(endpoint)
        listener = Listener.bind(endpoint.listener, endpoint.host, endpoint.port, self.config)
        self._listeners.append(listener)
        return listener

    def _open_store(self) -> Store:
        if self.config.pykbroker_store == PRIVATE:
            return SqliteStore(self.data_dir / STORE_FILE, self.clock, ephemeral=self._is_ephemeral)
        from pykbroker.cluster.engines import open_store

        return open_store(self.config, self.data_dir, self.clock, is_ephemeral=self._is_ephemeral)

    def _bind(self) -> None:
        """Open the listeners, and fill in what the advertised addresses leave open."""
        for entry in self.config.controller_listeners:
            logger.info("listener %s is not opened: the store does the controllers' work", entry)
        ports = {}
        for endpoint in self.config.client_endpoints:
            _check_protocol(endpoint)
            if self._listens:
                listener = self._open_listener(endpoint)
                self._exit.callback(listener.socket.close)  # if nobody comes to serve it
                ports[endpoint.listener] = listener.address[1]
        self._advertised = [
            attrs.evolve(
                endpoint,
                host=endpoint.host or socket.getfqdn(),
                port=endpoint.port or ports.get(endpoint.listener, 0),
            )
            for endpoint in self.config.advertised_endpoints
        ]
        if any(endpoint.host in ("0.0.0.0", "::") for endpoint in self._advertised):
            raise ListenError("no client can reach all addresses: advertised.listeners has to name another address")
        if len(self._advertised) > 1:
            for each in self._advertised:
                logger.info("listener %s is advertised as %s:%d", each.listener, each.host, each.port)
        if self.config.pykbroker_http_console_enable and not self.config.pykbroker_http_listener:
            logger.warning("there is no console without pykbroker.http.listener")

    def _bind_http(self) -> None:
        """Open the listener of HTTP, where probes are answered from now on: recovering logs may take minutes."""
        from pykbroker.config_tables.http_listener import parse_http_listener

        try:
            import pykbroker.web.server  # noqa: F401
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("pykbroker"):
                raise
            package = error.name.partition(".")[0]
            needed = f"pykbroker.http.listener needs {package}: pip install 'pykbroker[http]'"
            raise ListenError(needed) from error
        self._http_listener = Listener.bind(
            "HTTP", *parse_http_listener(self.config.pykbroker_http_listener), self.config
        )
        self._exit.callback(self._http_listener.socket.close)
        self.http_address = self._http_listener.address
        from pykbroker.web.starting import StartingHealth

        self._starting = StartingHealth(self._http_listener.socket)
        self._exit.callback(self._starting.stop)

    def _reachable_here(self) -> tuple[str, int]:
        """Where this machine reaches the listener by which brokers reach each other: it tells addresses that are good
        here, too."""
        wanted = self.config.inter_broker_listener_effective
        listening = {listener.name: listener.address for listener in self._listeners}
        host, port = listening.get(wanted) or (self._advertised[0].host, self._advertised[0].port)
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port


def _check_protocol(endpoint: Endpoint) -> None:
    if endpoint.protocol != "PLAINTEXT":
        raise ListenError(f"listener {endpoint.listener} is of {endpoint.protocol}, only PLAINTEXT is served")


async def _close(store: Store) -> None:
    with anyio.CancelScope(shield=True):
        await store.close()
