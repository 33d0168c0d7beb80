"""A broker's handlers on real logs, with a clock that stands still and metadata that a test sets."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from pykbroker.clock import SimulatedClock
from pykbroker.cluster.features import FINALIZED_AT_FOUNDING
from pykbroker.cluster.image import BrokerImage, ImageDelta, MetadataImage, PartitionImage, TopicImage
from pykbroker.cluster.membership import Cluster
from pykbroker.cluster.producer_ids import ProducerIds
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.config import BrokerConfig
from pykbroker.groups.coordinator import OFFSETS_TOPIC, GroupCoordinator
from pykbroker.handlers.context import ConnectionInfo, Services
from pykbroker.log.files import FileSlice
from pykbroker.log.log_dirs import LogDirs
from pykbroker.metrics import Metrics
from pykbroker.replication.fetch_session import FetchSessions
from pykbroker.replication.replica_manager import ReplicaManager
from pykbroker.server.dispatch import Dispatcher, Started
from pykbroker.transactions.coordinator import TRANSACTION_TOPIC, TransactionCoordinator
from pykbroker.transactions.other_brokers import OtherBrokers
from pykbroker.transactions.verification import TransactionVerifier
from pykbroker.waiters import Parked, Wakeups
from wire import codec, frame
from wire.catalog import API_BY_KEY, response_class
from wire.schema import Uuid, spec_of

BROKER_ID = 1
ANOTHER_BROKER = 2
TOPIC_ID: Uuid = b"t" * 16
OFFSETS_TOPIC_ID: Uuid = b"o" * 16
TRANSACTION_TOPIC_ID: Uuid = b"x" * 16


def topic(
    name: str,
    topic_id: Uuid,
    partitions: int,
    *,
    leader: int = BROKER_ID,
    leader_epoch: int = 0,
    isr: tuple[int, ...] = (),
    replicas: tuple[int, ...] = (BROKER_ID, ANOTHER_BROKER),
) -> TopicImage:
    partition = attrs.evolve(
        PartitionImage.created(replicas), leader=leader, leader_epoch=leader_epoch, isr=isr or (leader,)
    )
    return TopicImage(name, topic_id, (partition,) * partitions, 1)


@attrs.define
class Answered:
    """What became of a request: a response, or nothing yet."""

    response: Any = None
    parked: Parked | None = None


class HandlerRig:
    def __init__(
        self,
        data_dir: Path,
        properties: Mapping[str, str] | None = None,
        *,
        clock: SimulatedClock | None = None,
        brokers: OtherBrokers | None = None,
    ) -> None:
        self.clock = clock or SimulatedClock()
        data_dir.mkdir(exist_ok=True)
        self.config = BrokerConfig.from_properties(
            {"node.id": str(BROKER_ID), "log.dirs": str(data_dir), "offset.metadata.max.bytes": "100"}
            | dict(properties or {})
        )
        self.log_dirs = LogDirs([Path(folder) for folder in self.config.log_dirs], self.config, self.clock)
        self.log_dirs.open()
        self.cluster = Cluster(SqliteStore(data_dir / "metadata.sqlite", self.clock), self.config, self.clock)
        self.cluster.lease_ends_ms = math.inf  # as if this broker kept its registration
        wakeups = Wakeups()
        self.replicas = ReplicaManager(self.config, self.clock, self.cluster, self.log_dirs, wakeups)
        self.replicas.open()
        numbers = itertools.count(1)
        self.groups = GroupCoordinator(self.config, self.clock, self.replicas, lambda: str(next(numbers)))
        brokers = brokers or OtherBrokers(self.config, self.clock)
        self.transactions = TransactionCoordinator(
            self.config, self.clock, self.cluster, self.replicas, groups=self.groups, brokers=brokers
        )
        self.metrics = Metrics()
        verifier = TransactionVerifier(self.config, self.clock, self.cluster, self.transactions, brokers)
        self._dispatcher = Dispatcher(
            Services(
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
            )
        )

    def close(self) -> None:
        self.transactions.close()
        self.groups.close()
        self.replicas.close()
        self.log_dirs.close()
        assert self.metrics.bugs_total == 0

    # Metadata

    def set_topics(self, *topics: TopicImage) -> None:
        """Make these the topics of the cluster."""
        before = self.cluster.image
        image = attrs.evolve(
            before,
            features=FINALIZED_AT_FOUNDING,
            topics={each.name: each for each in topics},
            topic_names_by_id={each.id: each.name for each in topics},
        )
        known = {each.name: each for each in before.topics.values()}
        kept = [each for each in topics if known.get(each.name, each).id == each.id and each.name in known]
        delta = ImageDelta(
            created_topics=tuple(each for each in topics if each not in kept),
            deleted_topics=tuple(each for each in known.values() if each.name not in {one.name for one in kept}),
            changed_partitions=tuple((each, index) for each in kept for index in range(len(each.partitions))),
        )
        self._apply(image, delta)

    def set_brokers(self, brokers: Mapping[int, BrokerImage]) -> None:
        """Make these the brokers of the cluster, before there are topics."""
        self.cluster.image = attrs.evolve(self.cluster.image, brokers=dict(brokers))

    def _apply(self, image: MetadataImage, delta: ImageDelta) -> None:
        self.cluster.image = image
        for callback in (self.replicas.on_image, self.groups.on_image, self.transactions.on_image):
            callback(image, delta)

    # Requests

    def send(self, request: object, version: int, *, client_id: str = "c") -> Answered:
        """Send a request through its bytes; the answer is there already, or comes later."""
        key = spec_of(type(request)).key
        assert key is not None
        header = frame.RequestHeader(key, version, 7, client_id)
        connection = ConnectionInfo(id="1", listener="PLAINTEXT", host="127.0.0.1")
        started = self._dispatcher.start(connection, memoryview(bytearray(frame.encode_request(header, request)))[4:])
        answered = Answered()

        def answer(chunks: bytes | list[Any]) -> None:
            pieces = [chunks] if isinstance(chunks, bytes) else chunks
            data = b"".join(piece.read() if isinstance(piece, FileSlice) else piece for piece in pieces)[4:]
            _, pos = frame.decode_response_header(key, version, data)
            answered.response = codec.decode(response_class(key), version, data, pos)[0]
            answered.parked = None

        if not isinstance(started, Started):
            if started is not None:
                answer(started)
            return answered
        parked = started.outcome
        assert isinstance(parked, Parked)

        def deliver(build: Any) -> None:
            answer(self._dispatcher.encode(started, self._dispatcher.build(started, build)))

        if parked.ended:
            deliver(parked.build_now)
        else:
            answered.parked = parked
            parked.deliver = deliver
        return answered

    def call(self, request: object, version: int | None = None, *, client_id: str = "c") -> Any:
        """Send a request that is answered at once, at its newest version unless told."""
        key = spec_of(type(request)).key
        assert key is not None
        answered = self.send(request, API_BY_KEY[key].max_version if version is None else version, client_id=client_id)
        assert answered.response is not None, "it waits"
        return answered.response


def offsets_topic(partitions: int = 1, *, leader: int = BROKER_ID, isr: tuple[int, ...] = ()) -> TopicImage:
    return topic(OFFSETS_TOPIC, OFFSETS_TOPIC_ID, partitions, leader=leader, isr=isr)


def transaction_topic(partitions: int = 1, *, leader: int = BROKER_ID, isr: tuple[int, ...] = ()) -> TopicImage:
    return topic(TRANSACTION_TOPIC, TRANSACTION_TOPIC_ID, partitions, leader=leader, isr=isr)
