"""Families about what is our own: counters of the broker, its place in the cluster, its disks."""

import contextlib
import importlib.metadata
import os
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

from pykbroker.handlers.context import Services
from pykbroker.web.families import Families, counter, gauge, labels

PACKAGE = "pykbroker"
VOLUMES_TIMEOUT_S = 1.0  # a network file system may hang: then there are no samples of the volumes


@attrs.frozen
class _Volume:
    directory: str
    size: int
    free: int


class BrokerFamilies:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._version = _version()
        self._volumes: Sequence[_Volume] = ()
        self._one_at_a_time = anyio.CapacityLimiter(1)

    async def look_at_volumes(self) -> None:
        """Ask, in a thread, how full the volumes of the log directories are."""
        self._volumes = ()
        here = [each.absolute_path for each in self._services.log_dirs.directories if each.offline is None]
        with anyio.move_on_after(VOLUMES_TIMEOUT_S):
            self._volumes = await anyio.to_thread.run_sync(
                _volumes, here, abandon_on_cancel=True, limiter=self._one_at_a_time
            )

    def collect(self) -> Families:
        yield from self._counters()
        yield from self._cluster()
        yield from self._log_dirs()
        yield from self._fetch_sessions()
        for name, size in _disk_bytes().items():
            documentation = "Bytes that this process had the disks do so with."
            yield gauge(f"kafka_server_kafkaserver_linux_disk_{name}", documentation, size)

    def _counters(self) -> Families:
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

    def _cluster(self) -> Families:
        services = self._services
        cluster = services.cluster
        about = labels(version=self._version, node_id=services.config.node_id, cluster_id=cluster.image.cluster_id)
        yield gauge("pykbroker_info", "What this broker is; always 1.", [(about, 1)])
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

    def _log_dirs(self) -> Families:
        volumes = [(labels(logDirectory=each.directory), each) for each in self._volumes]
        yield gauge(
            "pykbroker_log_directory_bytes",
            "Size of a log directory's volume.",
            [(of, volume.size) for of, volume in volumes],
        )
        yield gauge(
            "pykbroker_log_directory_free_bytes", "What is free of it.", [(of, volume.free) for of, volume in volumes]
        )

    def _fetch_sessions(self) -> Families:
        sessions = self._services.fetch_sessions
        prefix = "kafka_server_fetchsessioncache"
        yield gauge(f"{prefix}_numincrementalfetchsessions", "Fetch sessions.", len(sessions))
        yield gauge(
            f"{prefix}_numincrementalfetchpartitionscached",
            "Partitions that fetch sessions remember.",
            sessions.count_partitions(),
        )
        yield counter(
            f"{prefix}_incrementalfetchsessionevictions_total",
            "Fetch sessions that made room for others.",
            sessions.evictions_total,
        )


def _disk_bytes() -> dict[str, int]:
    """Return what Linux counts for this process; nothing elsewhere."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return {}
    counts = dict(line.split(": ") for line in lines)
    return {name: int(counts[name]) for name in ("read_bytes", "write_bytes")}


def _version() -> str:
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
        return "unknown"


def _volumes(directories: Sequence[str]) -> list[_Volume]:
    volumes = []
    for directory in directories:
        with contextlib.suppress(OSError):  # whoever needs the directory finds out
            volume = os.statvfs(directory)
            volumes.append(_Volume(directory, volume.f_frsize * volume.f_blocks, volume.f_frsize * volume.f_bavail))
    return volumes
