"""Writing the end of a transaction into its partitions: here, or through the brokers that lead them.

Owns: which partitions still lack the marker of each decided transaction.
Rules
- A transaction that comes here is decided for good. Its markers are written until every partition has one; only a
  change of the coordinator ends that, and the new one begins again: a second marker does no harm.
- A partition that is no more needs none. One whose leader is not there is tried again.
- A partition that knows the producer with a higher epoch has seen this transaction end: that happens where an admin
  aborted it by hand. Kafka's coordinator would stop here for good; this one goes on with the others.
- A marker in `__consumer_offsets` also decides the offsets that are pending there, so it waits for the group
  coordinator to be loaded.
Not here: the decision (state), what becomes of the transactional id (shard).
Sources: KIP-98, KIP-890, KIP-1228; Kafka's TransactionMarkerChannelManager.
"""

import logging
from collections.abc import Callable, Iterable

import attrs

from pykbroker.clock import Clock
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError, StorageError
from pykbroker.replication.partition import ALL
from pykbroker.replication.replica_manager import ReplicaManager
from pykbroker.topic_partition import TopicPartition
from pykbroker.transactions.other_brokers import OtherBrokers
from pykbroker.transactions.pending_offsets import PendingOffsets
from pykbroker.transactions.requests import WRITE_MARKERS_VERSION, Marker, marker_errors, write_markers
from wire.errors import ErrorCode
from wire.messages.transactions import WriteTxnMarkersResponse
from wire.records import ControlType, build_end_txn_marker

GROUPS_TOPIC = "__consumer_offsets"

Done = Callable[[ErrorCode], None]

_log = logging.getLogger(__name__)


class MarkerAppender:
    """Appends markers to partitions that this broker leads."""

    def __init__(self, replicas: ReplicaManager, clock: Clock, groups: PendingOffsets) -> None:
        self._replicas = replicas
        self._clock = clock
        self._groups = groups

    def append(self, marker: Marker, topic_partition: TopicPartition, done: Done) -> None:
        """Append a marker; `done` learns when it is committed, or why it will not be."""
        topic, index = topic_partition
        try:
            partition = self._replicas.partition(topic, index)
            if topic == GROUPS_TOPIC and not self._groups.is_ready(index):
                raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
            partition.check_leader()
            partition.log.producers.check_marker(
                marker.producer_id, marker.producer_epoch, marker.coordinator_epoch, marker.transaction_version
            )
            batch = build_end_txn_marker(
                ControlType.COMMIT if marker.commit else ControlType.ABORT,
                producer_id=marker.producer_id,
                producer_epoch=marker.producer_epoch,
                coordinator_epoch=marker.coordinator_epoch,
                timestamp=self._clock.time_ms(),
            )
            info = partition.append(memoryview(batch), acks=ALL, from_client=False)
        except KafkaError as error:
            done(error.code)
            return
        except StorageError:
            done(ErrorCode.KAFKA_STORAGE_ERROR)
            return
        if topic == GROUPS_TOPIC:
            self._groups.transaction_completed(
                index, marker.producer_id, commit=marker.commit, record_offset=info.last_offset
            )
        partition.when_committed(info.last_offset, done)


@attrs.define(eq=False)
class Ending:
    """A decided transaction whose markers are being written."""

    marker: Marker
    missing: set[TopicPartition]
    written: Callable[[], None]  # called once, when nothing is missing any more
    is_over: bool = False


class MarkerWriter:
    """Has the markers of decided transactions written everywhere."""

    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        cluster: Cluster,
        appender: MarkerAppender,
        brokers: OtherBrokers,
    ) -> None:
        self._config = config
        self._clock = clock
        self._cluster = cluster
        self._appender = appender
        self._brokers = brokers

    def write(self, marker: Marker, partitions: Iterable[TopicPartition], written: Callable[[], None]) -> Ending:
        """Write the marker to all partitions, as long as it takes; `written` is called when all have it."""
        ending = Ending(marker, set(partitions), written)
        self._go_on(ending, sorted(ending.missing))
        return ending

    def _go_on(self, ending: Ending, partitions: list[TopicPartition]) -> None:
        """Write to these partitions; those that fail are tried again."""
        if ending.is_over:
            return
        image = self._cluster.image
        elsewhere: dict[int, list[TopicPartition]] = {}
        here: list[TopicPartition] = []
        again: list[TopicPartition] = []
        for topic_partition in partitions:
            partition = image.partition(*topic_partition)
            if partition is None:
                ending.missing.discard(topic_partition)
            elif partition.leader == self._config.node_id:
                here.append(topic_partition)
            elif partition.leader in image.brokers and not image.brokers[partition.leader].fenced:
                elsewhere.setdefault(partition.leader, []).append(topic_partition)
            else:
                again.append(topic_partition)
        self._retry_later(ending, again)
        for topic_partition in here:
            self._append_here(ending, topic_partition)
        for broker_id, asked in elsewhere.items():
            self._ask(ending, broker_id, asked)
        self._finish(ending)

    def _append_here(self, ending: Ending, topic_partition: TopicPartition) -> None:
        def done(error: ErrorCode) -> None:
            self._outcome(ending, topic_partition, error)
            self._finish(ending)

        self._appender.append(ending.marker, topic_partition, done)

    def _ask(self, ending: Ending, broker_id: int, partitions: list[TopicPartition]) -> None:
        def answered(response: WriteTxnMarkersResponse | None) -> None:
            errors = {} if response is None else marker_errors(response)
            for topic_partition in partitions:
                error = errors.get(topic_partition, ErrorCode.REQUEST_TIMED_OUT)
                self._outcome(ending, topic_partition, error)
            self._finish(ending)

        self._brokers.call(broker_id, write_markers(ending.marker, partitions), WRITE_MARKERS_VERSION, answered)

    def _outcome(self, ending: Ending, topic_partition: TopicPartition, error: ErrorCode) -> None:
        if ending.is_over:
            return
        match error:
            case ErrorCode.NONE:
                ending.missing.discard(topic_partition)
            case ErrorCode.INVALID_PRODUCER_EPOCH:
                _log.warning("%s has seen %s end already", topic_partition, ending.marker)
                ending.missing.discard(topic_partition)
            case ErrorCode.TRANSACTION_COORDINATOR_FENCED:
                _log.warning("%s knows a newer coordinator than that of %s", topic_partition, ending.marker)
                ending.is_over = True
            case _:
                self._retry_later(ending, [topic_partition])

    def _retry_later(self, ending: Ending, partitions: list[TopicPartition]) -> None:
        if partitions:
            self._clock.call_later(
                self._config.pykbroker_transaction_marker_retry_ms, lambda: self._go_on(ending, partitions)
            )

    def _finish(self, ending: Ending) -> None:
        if not ending.missing and not ending.is_over:
            ending.is_over = True
            ending.written()
