"""Families about what is our own: counters of the broker, its place in the cluster, its disks."""

import importlib.metadata
import os
from collections.abc import Iterator

from prometheus_client import Metric

from pykbroker.handlers.context import Services
from pykbroker.web.families import Labels, counter, gauge

PACKAGE = "pykbroker"


class BrokerFamilies:
    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        yield from self._counters()
        yield from self._cluster()
        yield from self._log_dirs()
        yield from self._fetch_sessions()

    def _counters(self) -> Iterator[Metric]:
        metrics = self._services.metrics
        yield counter(
            "pykbroker_bugs_total", "Requests answered UNKNOWN_SERVER_ERROR, and other bugs.", metrics.bugs_total
        )
        yield counter(
            "pykbroker_protocol_errors_total",
            "Connections closed because of what the client sent.",
            metrics.protocol_errors_total,
        )
        yield counter("pykbroker_requests_total", "Requests that were started.", metrics.requests_total)
        yield counter("pykbroker_received_bytes_total", "Bytes that clients sent.", metrics.bytes_in_total)
        yield counter("pykbroker_sent_bytes_total", "Bytes that clients were sent.", metrics.bytes_out_total)
        yield gauge("pykbroker_connections", "Clients that are connected.", metrics.connections)
        yield counter(
            "pykbroker_connections_accepted_total", "Clients that were ever connected.", metrics.connections_total
        )
        yield counter(
            "pykbroker_connections_refused_total",
            "Clients refused because of the limits on connections.",
            metrics.connections_refused_total,
        )

    def _cluster(self) -> Iterator[Metric]:
        services = self._services
        cluster = services.cluster
        labels = {
            "version": importlib.metadata.version(PACKAGE),
            "node_id": str(services.config.node_id),
            "cluster_id": cluster.image.cluster_id,
        }
        yield gauge("pykbroker_info", "What this broker is; always 1.", [(labels, 1)])
        yield gauge(
            "pykbroker_store_revision", "Revision of the metadata that this broker acts on.", cluster.image.revision
        )
        yield gauge(
            "pykbroker_store_followed",
            "1: the broker sees what changes in the store, and its lease is alive.",
            int(cluster.follows_store),
        )
        left_ms = max(cluster.lease_ends_ms - services.clock.monotonic_ms(), 0)
        yield gauge("pykbroker_lease_seconds", "How long the broker may still act as a leader.", left_ms / 1000)

    def _log_dirs(self) -> Iterator[Metric]:
        total: list[tuple[Labels, float]] = []
        free: list[tuple[Labels, float]] = []
        for directory in self._services.log_dirs.directories:
            if directory.offline is not None:
                continue
            try:
                volume = os.statvfs(directory.path)
            except OSError:  # whoever needs the directory finds out
                continue
            labels = {"logDirectory": directory.absolute_path}
            total.append((labels, volume.f_frsize * volume.f_blocks))
            free.append((labels, volume.f_frsize * volume.f_bavail))
        yield gauge("pykbroker_log_directory_bytes", "Size of a log directory's volume.", total)
        yield gauge("pykbroker_log_directory_free_bytes", "What is free of it.", free)

    def _fetch_sessions(self) -> Iterator[Metric]:
        sessions = self._services.fetch_sessions
        prefix = "kafka_server_fetchsessioncache"
        yield gauge(f"{prefix}_numincrementalfetchsessions", "Fetch sessions.", len(sessions))
        yield gauge(
            f"{prefix}_numincrementalfetchpartitionscached",
            "Partitions that fetch sessions remember.",
            sessions.count_partitions(),
        )
