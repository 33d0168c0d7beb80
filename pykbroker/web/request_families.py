"""Families about requests, connections and the event loop, by the names that the JMX exporter gives Kafka's.

Not here: how requests are counted (server/metering), what logs cost (log_families).
"""

from collections import Counter
from collections.abc import Callable

from pykbroker.handlers.context import Services
from pykbroker.histogram import Histogram
from pykbroker.server.listener import Server
from pykbroker.server.metering import FETCH, PRODUCE, ApiStats, MeteringDispatcher, TopicStats
from pykbroker.server.response_errors import error_name
from pykbroker.web.families import NO_LABELS, Families, Labels, counter, gauge, labels, summary, zeros
from pykbroker.web.loop_monitor import LoopMonitor

DELETE_RECORDS = 21
_PURGATORIES = {"Produce": PRODUCE, "Fetch": FETCH, "DeleteRecords": DELETE_RECORDS}
_TIMES: dict[str, tuple[str, Callable[[ApiStats], Histogram]]] = {
    "totaltimems": ("Time until the answer to a request was sent.", lambda stats: stats.total_us),
    "localtimems": (
        "Time that a request was worked on until it was answered or had to wait.",
        lambda stats: stats.local_us,
    ),
    "remotetimems": ("Time that a request had to wait.", lambda stats: stats.remote_us),
    "responsequeuetimems": (
        "Time that an answer waited for those before it on its connection.",
        lambda stats: stats.response_queue_us,
    ),
    "responsesendtimems": ("Time until the kernel had taken an answer.", lambda stats: stats.response_send_us),
    "throttletimems": ("Time for which clients were told to wait by quotas.", lambda stats: stats.throttle_us),
}
_TOPIC_COUNTS: dict[str, tuple[str, Callable[[TopicStats], int]]] = {
    "totalproducerequests": ("Partitions in produce requests.", lambda stats: stats.produce_requests),
    "failedproducerequests": (
        "Those that failed for another reason than clients expect.",
        lambda stats: stats.failed_produce_requests,
    ),
    "totalfetchrequests": ("Partitions in fetch requests.", lambda stats: stats.fetch_requests),
    "failedfetchrequests": (
        "Those that failed for another reason than clients expect.",
        lambda stats: stats.failed_fetch_requests,
    ),
    "bytesout": ("Bytes of batches that consumers got.", lambda stats: stats.bytes_out),
    "bytesrejected": ("Bytes of batches that were too large.", lambda stats: stats.bytes_rejected),
    "producemessageconversions": (
        "Records of batches that were not of the topic's codec.",
        lambda stats: stats.produce_conversions,
    ),
}


class RequestFamilies:
    def __init__(self, services: Services, metering: MeteringDispatcher, server: Server, loop: LoopMonitor) -> None:
        self._services = services
        self._metering = metering
        self._server = server
        self._loop = loop

    def collect(self) -> Families:
        yield from self._topics()
        yield from self._requests()
        yield from self._waiting()
        yield from self._connections()
        yield from self._event_loop()

    def _topics(self) -> Families:
        metering = self._metering
        metering.forget(self._services.cluster.image.topics)
        counted: list[tuple[Labels, TopicStats]] = [(NO_LABELS, metering.all_topics)]
        counted += [(labels(topic=name), stats) for name, stats in metering.topics.items()]
        prefix = "kafka_server_brokertopicmetrics"
        for name, (documentation, value) in _TOPIC_COUNTS.items():
            yield counter(
                f"{prefix}_{name}_total",
                f"{documentation} Without a topic: of all topics.",
                [(of, value(stats)) for of, stats in counted],
            )
        yield counter(
            f"{prefix}_fetchmessageconversions_total", "Always 0: as in Kafka 4, there are no old formats.", 0
        )
        yield counter(
            f"{prefix}_replicationbytesout_total",
            "Bytes of batches that followers got.",
            metering.replication_bytes_out,
        )

    def _requests(self) -> Families:
        metering, now_ms = self._metering, self._services.clock.monotonic_ms()
        prefix = "kafka_network_requestmetrics"
        yield counter(
            f"{prefix}_requests_total",
            "Requests by API and version; fetches also as FetchConsumer and FetchFollower.",
            [(labels(request=name, version=version), n) for (name, version), n in metering.requests.items()],
        )
        errors: Counter[tuple[str, str]] = Counter()  # several unknown codes have one name
        for (name, code), n in metering.errors.items():
            errors[name, error_name(code)] += n
        yield counter(
            f"{prefix}_errors_total",
            "Error codes in responses, NONE among them.",
            [(labels(request=name, error=error), n) for (name, error), n in errors.items()],
        )
        apis = [(labels(request=name), stats) for name, stats in metering.apis.items()]
        for _, stats in apis:
            stats.complete()
        for name, (documentation, value) in _TIMES.items():
            yield summary(
                f"{prefix}_{name}",
                documentation,
                [(of, value(stats)) for of, stats in apis],
                now_ms=now_ms,
                unit=1000,
            )
        yield zeros(
            f"{prefix}_requestqueuetimems",
            "Always 0: requests are started as they are read.",
            ((of, stats.total_us.count) for of, stats in apis),
        )
        produce = metering.apis.get("Produce")
        if produce is not None:
            metering.conversion_us.fill_up(produce.total_us.count)
        yield summary(
            f"{prefix}_messageconversionstimems",
            "Time that batches took to get the codec of their topic.",
            [(labels(request="Produce"), metering.conversion_us)] if produce is not None else (),
            now_ms=now_ms,
            unit=1000,
        )
        yield summary(
            f"{prefix}_requestbytes",
            "Bytes of a request.",
            [(of, stats.request_bytes) for of, stats in apis],
            now_ms=now_ms,
        )

    def _waiting(self) -> Families:
        waiting = [(labels(delayedOperation=name), self._metering.parked[key]) for name, key in _PURGATORIES.items()]
        prefix = "kafka_server_delayedoperationpurgatory"
        yield gauge(f"{prefix}_numdelayedoperations", "Requests that wait for something.", waiting)
        yield gauge(f"{prefix}_purgatorysize", "The same: none is remembered longer than it waits.", waiting)

    def _connections(self) -> Families:
        connected = list(self._server.connected())
        listeners = Counter({endpoint.listener: 0 for endpoint in self._services.config.client_endpoints})
        listeners.update(info.listener for info in connected)
        software = Counter((info.listener, info.software_name, info.software_version) for info in connected)
        prefix = "kafka_server_socket_server_metrics"
        yield gauge(
            f"{prefix}_connection_count",
            "Clients that are connected.",
            [(labels(listener=name, networkProcessor=0), count) for name, count in listeners.items()],
        )
        accepted = self._server.accepted_total
        yield counter(
            f"{prefix}_connection_creation_total",
            "Clients that were ever connected.",
            [(labels(listener=name, networkProcessor=0), accepted[name]) for name in listeners],
        )
        yield counter(
            f"{prefix}_connection_close_total",
            "Clients that are not connected any more.",
            [(labels(listener=name, networkProcessor=0), accepted[name] - count) for name, count in listeners.items()],
        )
        yield gauge(
            f"{prefix}_connections_software",
            "Clients that are connected, by what they call themselves.",
            [
                (
                    labels(
                        clientSoftwareName=name,
                        clientSoftwareVersion=version,
                        listener=listener,
                        networkProcessor=0,
                    ),
                    count,
                )
                for (listener, name, version), count in software.items()
            ],
        )

    def _event_loop(self) -> Families:
        idle = self._loop.idle_ratio
        documentation = "Part of the last half second in which the event loop had nothing to do."
        # Two sets of rules for the JMX exporter that many use make different names of one MBean.
        yield gauge("kafka_network_socketserver_networkprocessoravgidlepercent", documentation, idle)
        yield gauge("kafka_network_socketserver_networkprocessoravgidle_percent", documentation, idle)
        yield gauge("kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent", documentation, idle)
        yield summary(
            "pykbroker_event_loop_lag_seconds",
            "How much later than it was to a timer fired.",
            [(NO_LABELS, self._loop.lag_us)],
            now_ms=self._services.clock.monotonic_ms(),
            unit=1_000_000,
        )
