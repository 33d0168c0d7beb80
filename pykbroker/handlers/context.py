"""What every handler is given: the request's facts, its connection's facts, and the broker's services.

A handler is `def api(ctx, request) -> Response | Parked | None`, or `async def` where it awaits the store. It runs to
completion on the event loop. None means that no answer is sent (acks=0).
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import attrs

from pykbroker.clock import Clock
from pykbroker.cluster.membership import Cluster
from pykbroker.cluster.producer_ids import ProducerIds
from pykbroker.config import BrokerConfig
from pykbroker.groups.coordinator import GroupCoordinator
from pykbroker.log.log_dirs import LogDirs
from pykbroker.metrics import Metrics
from pykbroker.replication.fetch_session import FetchSessions
from pykbroker.replication.replica_manager import ReplicaManager

if TYPE_CHECKING:  # they are made when they are needed first
    from pykbroker.quotas.client_quotas import ClientQuotas
    from pykbroker.telemetry import ClientTelemetry
    from pykbroker.transactions.coordinator import TransactionCoordinator
    from pykbroker.transactions.verification import TransactionVerifier
    from wire.study.trace import Source


@attrs.define(eq=False)
class ConnectionInfo:
    """Who is at the other end. The software's name and version come with ApiVersions (KIP-511)."""

    id: str
    listener: str
    host: str
    port: int = 0
    principal: str = "User:ANONYMOUS"
    software_name: str = "unknown"
    software_version: str = "unknown"
    mute: Callable[[float], None] | None = None  # have nothing more read of it for so many ms; set by the connection
    traced: "Source | None" = None  # what a trace calls it

    @property
    def user(self) -> str:
        return self.principal.partition(":")[2]


@attrs.define(eq=False)
class Services:
    """The broker's parts that handlers use; each has its own owner of state."""

    config: BrokerConfig
    clock: Clock
    cluster: Cluster
    replicas: ReplicaManager
    groups: GroupCoordinator
    transaction_coordinator: "Callable[[], TransactionCoordinator]"
    transaction_verifier: "Callable[[], TransactionVerifier]"
    log_dirs: LogDirs
    fetch_sessions: FetchSessions
    producer_ids: ProducerIds
    metrics: Metrics
    served_api_keys: Collection[int] = ()  # what ApiVersions may promise
    client_quotas: "ClientQuotas | None" = None  # there while a client has a quota
    _telemetry: "ClientTelemetry | None" = None

    @property
    def transactions(self) -> "TransactionCoordinator":
        return self.transaction_coordinator()

    @property
    def telemetry(self) -> "ClientTelemetry":
        """Made with the first client that asks."""
        if self._telemetry is None:
            from pykbroker.telemetry import ClientTelemetry

            self._telemetry = ClientTelemetry(self.config, self.clock)
        return self._telemetry

    @property
    def verifier(self) -> "TransactionVerifier":
        return self.transaction_verifier()


@attrs.define(eq=False)
class RequestContext:
    services: Services
    connection: ConnectionInfo
    api_version: int
    client_id: str | None
