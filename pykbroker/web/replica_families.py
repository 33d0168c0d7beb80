"""Families about replicas and the cluster's metadata, by the names that the JMX exporter gives Kafka's.

Each broker tells of what it has: of its replicas, of the partitions that it leads. Of the cluster as a whole
(`kafka_controller_kafkacontroller_...`) only the controller tells, so that the sum over all brokers, and the highest of
them, are both right: dashboards take either.
Not here: logs (log_families). Sources: the MBeans of Kafka 4.4 and the exporter's example for KRaft
(tests/data/jmx_exporter_names.tsv).
"""

from collections.abc import Iterator, Sequence

from pykbroker.cluster.image import NO_BROKER, BrokerImage
from pykbroker.handlers.context import Services
from pykbroker.replication.partition import Partition
from pykbroker.web.families import NO_LABELS, PAUSE, Families, Family, Labels, counter, gauge, labels, partition_labels
from pykbroker.web.traffic import Traffic

LATE_AFTER_MS = 5 * 60 * 1000  # what Kafka gives a transaction beyond the longest timeout
RUNNING, FENCED, STOPPING = 3, 2, 6  # states of a broker, as Kafka numbers them


class ReplicaFamilies:
    def __init__(self, services: Services, traffic: Traffic) -> None:
        self._services = services
        self._traffic = traffic

    def collect(self) -> Families:
        partitions = list(self._services.replicas.partitions())
        led = [partition for partition in partitions if partition.is_leader]
        yield PAUSE
        yield from self._traffic_families()
        yield from self._replica_manager(partitions, led)
        yield from _of_led(led)
        yield from self._fetchers()
        yield from self._controller()
        yield gauge("kafka_server_kafkaserver_brokerstate", "3: running, 2: fenced, 6: stopping.", self._state())

    def _state(self) -> int:
        me = self._services.cluster.me
        if me is None or me.fenced:
            return FENCED
        return STOPPING if me.is_stopping else RUNNING

    def _traffic_families(self) -> Families:
        traffic = self._traffic
        topics: list[Labels] = [NO_LABELS, *(labels(topic=name) for name in traffic.topics)]
        counted = [traffic.all_topics, *traffic.topics.values()]
        prefix = "kafka_server_brokertopicmetrics"
        yield counter(
            f"{prefix}_messagesin_total",
            "Records that leaders on this broker took; without a topic: of all topics.",
            [(of, each.messages_in) for of, each in zip(topics, counted, strict=True)],
        )
        yield counter(
            f"{prefix}_bytesin_total",
            "Bytes of batches that leaders on this broker took; without a topic: of all topics.",
            [(of, each.bytes_in) for of, each in zip(topics, counted, strict=True)],
        )
        yield counter(
            f"{prefix}_replicationbytesin_total",
            "Bytes that followers on this broker took.",
            traffic.replication_bytes_in,
        )

    def _replica_manager(self, partitions: Sequence[Partition], led: Sequence[Partition]) -> Families:
        image, me = self._services.cluster.image, self._services.cluster.broker_id
        states = (image.partition(*each.topic_partition) for each in led)
        reassigning = sum(
            state is not None and bool(state.adding_replicas or state.removing_replicas) for state in states
        )
        yield PAUSE
        assigned = sum(me in state.replicas for topic in image.topics.values() for state in topic.partitions)
        prefix = "kafka_server_replicamanager"
        yield gauge(f"{prefix}_partitioncount", "Replicas on this broker.", len(partitions))
        yield gauge(f"{prefix}_leadercount", "Replicas on this broker that lead.", len(led))
        yield gauge(
            f"{prefix}_offlinereplicacount",
            "Replicas that should be on this broker, but are not served: their log directory is offline.",
            max(assigned - len(partitions), 0),
        )
        yield gauge(
            f"{prefix}_underreplicatedpartitions",
            "Led partitions with fewer replicas in sync than there are.",
            sum(_is_under_replicated(each) for each in led),
        )
        yield gauge(
            f"{prefix}_underminisrpartitioncount",
            "Led partitions with fewer replicas in sync than min.insync.replicas.",
            sum(_is_under_min_isr(each) for each in led),
        )
        yield gauge(
            f"{prefix}_atminisrpartitioncount",
            "Led partitions with just min.insync.replicas in sync.",
            sum(_is_at_min_isr(each) for each in led),
        )
        longest_ms = self._services.config.transaction_max_timeout_ms + LATE_AFTER_MS
        late_ms = self._services.clock.time_ms() - longest_ms
        opened = (each.log.oldest_open_transaction_ms() for each in led)
        yield gauge(
            f"{prefix}_partitionswithlatetransactionscount",
            "Led partitions with a transaction that should have timed out.",
            sum(ms is not None and ms < late_ms for ms in opened),
        )
        yield gauge(f"{prefix}_reassigningpartitions", "Led partitions under reassignment.", reassigning)
        yield gauge(
            f"{prefix}_produceridcount",
            "Producers that logs on this broker remember.",
            sum(len(each.log.active_producers()) for each in partitions),
        )
        yield counter(f"{prefix}_isrshrinks_total", "Led partitions whose ISR shrank.", self._traffic.isr_shrinks)
        yield counter(f"{prefix}_isrexpands_total", "Led partitions whose ISR grew.", self._traffic.isr_expands)

    def _fetchers(self) -> Families:
        lags = [
            (
                f'clientId="ReplicaFetcherThread-{number}-{leader_id}",'
                + partition_labels(*followed.partition.topic_partition),
                followed.lag,
            )
            for leader_id, number, followed in self._services.replicas.followed()
        ]
        yield gauge(
            "kafka_server_fetcherlagmetrics_consumerlag", "Committed records that a follower here does not have.", lags
        )
        yield gauge(
            "kafka_server_replicafetchermanager_maxlag",
            "The largest lag of a follower here.",
            [(labels(clientId="Replica"), max((lag for _, lag in lags), default=0))],
        )

    def _controller(self) -> Families:
        cluster = self._services.cluster
        image = cluster.image
        brokers = image.brokers.values()
        states = [state for topic in image.topics.values() for state in topic.partitions]
        yield PAUSE
        prefix = "kafka_controller_kafkacontroller"
        yield gauge(f"{prefix}_activecontrollercount", "1 on the controller.", int(cluster.is_controller))
        yield gauge(
            f"{prefix}_newactivecontrollerscount",
            "How often this broker saw one become the controller.",
            self._traffic.new_controllers,
        )
        yield gauge(
            "kafka_server_metadataloader_currentcontrollerid",
            "The controller that this broker knows; -1: none.",
            image.controller_id,
        )

        def family(name: str, documentation: str, value: int) -> Family:
            return gauge(f"{prefix}_{name}", documentation, value if cluster.is_controller else ())

        yield family("activebrokercount", "Brokers that are not fenced.", sum(not broker.fenced for broker in brokers))
        yield family("fencedbrokercount", "Brokers that are.", sum(broker.fenced for broker in brokers))
        yield family(
            "controlledshutdownbrokercount",
            "Brokers that stop, and still serve.",
            sum(broker.is_stopping and not broker.fenced for broker in brokers),
        )
        yield gauge(
            f"{prefix}_brokerregistrationstate",
            "10: fenced, 20: stopping, 30: active.",
            [(labels(broker=each.id), _registration_state(each)) for each in brokers] if cluster.is_controller else (),
        )
        yield family("globaltopiccount", "Topics of the cluster.", len(image.topics))
        yield family("globalpartitioncount", "Partitions of the cluster.", len(states))
        yield family(
            "offlinepartitionscount",
            "Partitions of the cluster without a leader.",
            sum(state.leader == NO_BROKER for state in states),
        )
        yield family(
            "preferredreplicaimbalancecount",
            "Partitions of the cluster that another than the first replica leads.",
            sum(state.leader != state.replicas[0] for state in states),
        )
        prefix = "kafka_controller_controllerstats"
        yield counter(
            f"{prefix}_uncleanleaderelections_total",
            "Leaders that this controller took from outside the ISR.",
            self._traffic.unclean_elections,
        )
        yield counter(
            f"{prefix}_electionfromeligibleleaderreplicas_total",
            "Leaders that this controller took from the eligible leader replicas.",
            self._traffic.elections_from_elr,
        )


def _of_led(led: Sequence[Partition]) -> Families:
    of_each = [partition_labels(*each.topic_partition) for each in led]
    yield PAUSE

    def family(name: str, documentation: str, values: Iterator[int]) -> Family:
        return gauge(f"kafka_cluster_partition_{name}", documentation, zip(of_each, values, strict=True))

    yield family("replicascount", "Replicas of a led partition.", (len(each.replicas) for each in led))
    yield family("insyncreplicascount", "Those in sync.", (len(each.isr) for each in led))
    yield family(
        "underreplicated", "1: fewer are in sync than there are.", (_is_under_replicated(each) for each in led)
    )
    yield family("underminisr", "1: fewer are in sync than the minimum.", (_is_under_min_isr(each) for each in led))
    yield family("atminisr", "1: just the minimum is in sync.", (_is_at_min_isr(each) for each in led))
    yield family(
        "laststableoffsetlag",
        "Committed records behind the first open transaction.",
        (each.high_watermark - each.last_stable_offset for each in led),
    )


def _registration_state(broker: BrokerImage) -> int:
    if broker.fenced:
        return 10
    return 20 if broker.is_stopping else 30


def _is_under_replicated(partition: Partition) -> int:
    return int(len(partition.isr) < len(partition.replicas))


def _is_under_min_isr(partition: Partition) -> int:
    return int(len(partition.isr) < partition.effective_min_isr)


def _is_at_min_isr(partition: Partition) -> int:
    return int(len(partition.isr) == partition.effective_min_isr)
