"""GET /healthz and /readyz: is the process alive, and can clients use the broker.

Rules
- Both answer 200, or 503 with what is wrong in `reasons`, and numbers that explain it.
- *Healthy* is a broker that answers, which its event loop does, and that has a log directory left. What else is wrong
  with it a restart would not cure, or make worse.
- *Ready* is one that is registered and not fenced, does not stop, sees changes of the metadata and acts on them, serves
  each partition that is to be here, has loaded the groups and transactions that it coordinates, and has no offline log
  directory.
- Replicas that are not in sync yet are told, but are no reason: a broker that copies much data serves what it leads.

Sources: the probes of Kubernetes; Kafka's BrokerState.
"""

from collections.abc import Callable

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pykbroker.handlers.context import Services
from pykbroker.topic_partition import TopicPartition
from pykbroker.transaction_parts import TRANSACTION_TOPIC
from pykbroker.web.loop_monitor import LoopMonitor


@attrs.frozen
class Health:
    reasons: list[str]  # why not; empty: all is well
    details: dict[str, object]

    @property
    def is_good(self) -> bool:
        return not self.reasons


def liveness(services: Services, loop: LoopMonitor) -> Health:
    directories = services.log_dirs.directories
    offline = [each for each in directories if each.offline is not None]
    reasons = ["all log directories are offline"] if len(offline) == len(directories) else []
    return Health(
        reasons,
        {
            "event_loop_lag_ms": round(loop.last_lag_ms, 3),
            "offline_log_directories": {each.absolute_path: each.offline for each in offline},
            "bugs_total": services.metrics.bugs_total,
        },
    )


def readiness(services: Services) -> Health:
    cluster, me = services.cluster, services.cluster.me
    reasons = []
    if me is None or me.fenced:
        reasons.append("the broker is not registered" if me is None else "the broker is fenced")
    elif me.is_stopping:
        reasons.append("the broker is stopping")
    if not cluster.follows_store:
        reasons.append("the metadata may be old: the store cannot be followed")
    absent, not_leading, not_in_sync = _partitions(services)
    if absent:
        reasons.append(f"{absent} replicas are not served")
    if not_leading:
        reasons.append(f"{not_leading} partitions are not led yet")
    if services.groups.loading:
        reasons.append(f"{services.groups.loading} partitions of the group coordinator are being loaded")
    # Whoever has the topic has a coordinator already; without it, none is made for this.
    if TRANSACTION_TOPIC in cluster.image.topics and services.transactions.loading:
        reasons.append(f"{services.transactions.loading} partitions of the transaction coordinator are being loaded")
    offline = services.log_dirs.offline
    if offline:
        reasons.append(
            f"{len(offline)} log directories are offline: {', '.join(each.absolute_path for each in offline)}"
        )
    return Health(
        reasons,
        {
            "broker_epoch": cluster.broker_epoch,
            "metadata_revision": cluster.image.revision,
            "is_controller": cluster.is_controller,
            "replicas_not_in_sync": not_in_sync,
        },
    )


def _partitions(services: Services) -> tuple[int, int, int]:
    """How many replicas that the metadata places here are absent; do not lead, though they should; are not in sync."""
    me = services.cluster.broker_id
    here = {each.topic_partition: each for each in services.replicas.partitions()}
    absent = not_leading = not_in_sync = 0
    for topic in services.cluster.image.topics.values():
        for index, state in enumerate(topic.partitions):
            if me not in state.replicas:
                continue
            partition = here.get(TopicPartition(topic.name, index))
            absent += partition is None
            not_in_sync += me not in state.isr
            not_leading += partition is not None and state.leader == me and not partition.is_leader
    return absent, not_leading, not_in_sync


def routes(services: Services, loop: LoopMonitor) -> list[BaseRoute]:
    def route(path: str, look: Callable[[], Health], good: str, bad: str) -> Route:
        async def answer(request: Request) -> Response:
            health = look()
            content = {"status": good if health.is_good else bad, "reasons": health.reasons, **health.details}
            return JSONResponse(content, status_code=200 if health.is_good else 503)

        return Route(path, answer)

    return [
        route("/healthz", lambda: liveness(services, loop), "healthy", "unhealthy"),
        route("/readyz", lambda: readiness(services), "ready", "not ready"),
    ]
