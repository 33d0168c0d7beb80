"""The handlers of metadata on a real cluster image: requests go in and answers come out as bytes of their version."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pykbroker.clock import SimulatedClock
from pykbroker.cluster.changes import Change, register_broker
from pykbroker.cluster.membership import Cluster
from pykbroker.cluster.producer_ids import ProducerIds
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Delete
from pykbroker.config import BrokerConfig, Endpoint
from pykbroker.groups.coordinator import GroupCoordinator
from pykbroker.handlers.context import ConnectionInfo, Services
from pykbroker.log.log_dirs import LogDirs
from pykbroker.metrics import Metrics
from pykbroker.replication.fetch_session import FetchSessions
from pykbroker.replication.replica_manager import ReplicaManager
from pykbroker.server.dispatch import HANDLERS, Dispatcher, Started
from pykbroker.transactions.coordinator import TransactionCoordinator
from pykbroker.transactions.other_brokers import OtherBrokers
from pykbroker.transactions.verification import TransactionVerifier
from pykbroker.waiters import Wakeups
from wire import codec, frame
from wire.catalog import API_BY_KEY, request_class, response_class
from wire.schema import spec_of

LISTENER = "PLAINTEXT"
PORT = 9092


class ClusterRig:
    def __init__(self, folder: Path, properties: Mapping[str, str] | None = None) -> None:
        self.clock = SimulatedClock()
        self.config = BrokerConfig.from_properties({"node.id": "1", "log.dirs": str(folder), **dict(properties or {})})
        self.log_dirs = LogDirs([folder], self.config, self.clock)
        self.log_dirs.open()
        store = SqliteStore(folder / "metadata.sqlite", self.clock, ephemeral=True)
        self.cluster = Cluster(store, self.config, self.clock)
        self.replicas = ReplicaManager(self.config, self.clock, self.cluster, self.log_dirs, Wakeups())
        self.groups = GroupCoordinator(self.config, self.clock, self.replicas)
        brokers = OtherBrokers(self.config, self.clock)
        self.transactions = TransactionCoordinator(
            self.config, self.clock, self.cluster, self.replicas, groups=self.groups, brokers=brokers
        )
        self.metrics = Metrics()
        self.connection = ConnectionInfo(id="c", listener=LISTENER, host="127.0.0.1")
        verifier = TransactionVerifier(self.config, self.clock, self.cluster, self.transactions, brokers)
        services = Services(
            config=self.config,
            clock=self.clock,
            cluster=self.cluster,
            replicas=self.replicas,
            groups=self.groups,
            transaction_coordinator=lambda: self.transactions,
            transaction_verifier=lambda: verifier,
            log_dirs=self.log_dirs,
            fetch_sessions=FetchSessions(self.clock, max_sessions=10),
            producer_ids=ProducerIds(self.cluster),
            metrics=self.metrics,
            served_api_keys=HANDLERS.keys(),
        )
        self._dispatcher = Dispatcher(services)

    async def start(self) -> "ClusterRig":
        await self.cluster.start([Endpoint(LISTENER, "PLAINTEXT", "127.0.0.1", PORT)])
        return self

    async def stop(self) -> None:
        self.transactions.close()
        self.groups.close()
        await self.cluster.stop()
        self.log_dirs.close()
        assert self.metrics.bugs_total == 0

    async def ask(self, request: Any, version: int) -> Any:
        """Send a request and return the decoded answer."""
        key = spec_of(type(request)).key
        assert key is not None
        header = frame.RequestHeader(key, version, 7, "test")
        raw = await self.ask_raw(frame.encode_request(header, request)[4:])
        known = API_BY_KEY[key].min_version <= version <= API_BY_KEY[key].max_version
        answered = version if known else 0
        correlation_id, pos = frame.decode_response_header(key, answered, raw)
        assert correlation_id == 7
        response, end = codec.decode(response_class(key), answered, raw, pos)
        assert end == len(raw)
        return response

    async def ask_raw(self, request: bytes) -> bytes:
        started = self._dispatcher.start(self.connection, memoryview(request))
        if isinstance(started, Started):
            started = self._dispatcher.encode(started, await self._dispatcher.finish(started))
        assert isinstance(started, bytes)
        return started[4:]

    async def call(self, name: str, version: int, **fields: object) -> Any:
        """Send the request of this name with these fields."""
        key = next(api.key for api in API_BY_KEY.values() if api.name == name)
        return await self.ask(request_class(key)(**fields), version)

    async def add_broker(
        self, broker_id: int, *, rack: str | None = None, listener: str = LISTENER, fenced: bool = False
    ) -> None:
        endpoint = Endpoint(listener, "PLAINTEXT", f"host{broker_id}", PORT)
        await self.cluster.propose(lambda image: register_broker(image, broker_id, rack, [endpoint], 0))
        if fenced:
            await self.fence(broker_id)

    async def fence(self, broker_id: int) -> None:
        await self.cluster.propose(lambda image: Change([], [Delete(f"/alive/{broker_id}")]))
