"""kafka-python: the shared scenarios with its producer, consumer and admin client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import BrokerResponseError, KafkaError
from kafka.future import Future
from kafka.protocol.consumer import OffsetSpec
from kafka.structs import OffsetAndMetadata

from library import (
    Ack,
    BrokerError,
    ConfigValue,
    Consumer,
    Group,
    GroupMember,
    Library,
    Message,
    Partition,
    Producer,
    Replicas,
    Send,
    TransactionalProducer,
    Unsupported,
    broker_error,
)
from program import REPLICATION_FACTOR, Context
from python_clients import main

PRODUCER_FENCED = 90
ISOLATION = {True: "read_committed", False: "read_uncommitted"}
ASSIGNORS = {"eager": RangePartitionAssignor, "cooperative": CooperativeStickyAssignor}


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn the library's exceptions for broker errors into BrokerError."""
    try:
        yield
    except BrokerResponseError as error:
        raise broker_error(error.errno, str(error)) from error
    except KafkaError as error:
        # Some calls wrap the broker's answer in an error of the library's own.
        cause = error.args[0] if error.args and isinstance(error.args[0], BrokerResponseError) else error.__cause__
        if isinstance(cause, BrokerResponseError):
            raise broker_error(cause.errno, str(cause)) from error
        raise


def settings(**given: object) -> dict[str, object]:
    """Return what was given, without the Nones that mean the library's default."""
    return {name: value for name, value in given.items() if value is not None}


class KafkaPythonProducer(Producer):
    """KafkaProducer."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._producer = KafkaProducer(**config)

    def produce(self, records: Sequence[Send]) -> list[Ack]:
        with broker_errors():
            futures = [
                self._producer.send(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=record.partition,
                    timestamp_ms=record.timestamp,
                )
                for record in records
            ]
            self._producer.flush(timeout=30)
            answers = [future.get(timeout=30) for future in futures]
        return [Ack(answer.partition, -1 if answer.offset is None else answer.offset) for answer in answers]

    def close(self) -> None:
        self._producer.close(timeout=10)


class KafkaPythonTransactionalProducer(TransactionalProducer):
    """KafkaProducer with a transactional id."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._producer = KafkaProducer(**config)
        with fenced_errors():
            self._producer.init_transactions()

    def begin(self) -> None:
        with fenced_errors():
            self._producer.begin_transaction()

    def produce(self, records: Sequence[Send]) -> None:
        with fenced_errors():
            futures = [
                self._producer.send(record.topic, value=record.value, partition=record.partition or 0)
                for record in records
            ]
            self._producer.flush(timeout=30)
            for future in futures:
                future.get(timeout=30)

    def send_offsets(self, consumer: Consumer, offsets: Mapping[Partition, int]) -> None:
        assert isinstance(consumer, KafkaPythonConsumer)
        wanted = {TopicPartition(*tp): OffsetAndMetadata(offset, "", -1) for tp, offset in offsets.items()}
        with fenced_errors():
            self._producer.send_offsets_to_transaction(wanted, consumer.group_metadata())

    def commit(self) -> None:
        with fenced_errors():
            self._producer.commit_transaction()

    def abort(self) -> None:
        with fenced_errors():
            self._producer.abort_transaction()

    def close(self) -> None:
        self._producer.close(timeout=1)


@contextmanager
def fenced_errors() -> Iterator[None]:
    """Call each of the library's ways to say that a producer is fenced PRODUCER_FENCED."""
    try:
        with broker_errors():
            yield
    except BrokerError as error:
        if error.name == "INVALID_PRODUCER_EPOCH":
            raise broker_error(PRODUCER_FENCED, str(error)) from error
        raise


class Listener(kafka.AsyncConsumerRebalanceListener):
    """Pass the library's callbacks on, and wait for what they commit: they run on its event loop, where commit()
    must not block."""

    def __init__(
        self,
        consumer: KafkaPythonConsumer,
        on_assigned: Callable[[list[Partition]], None],
        on_revoked: Callable[[list[Partition]], None],
    ) -> None:
        self._consumer = consumer
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._on_assigned([Partition(*each) for each in assigned])

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        with self._consumer.commits_without_blocking() as commits:
            self._on_revoked([Partition(*each) for each in revoked])
        for commit in commits:
            await commit


class KafkaPythonConsumer(Consumer):
    """KafkaConsumer."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._consumer = KafkaConsumer(**config)
        self._commits: list[Future] | None = None  # while a rebalance callback runs

    @contextmanager
    def commits_without_blocking(self) -> Iterator[list[Future]]:
        """Give the futures of what is committed in this block."""
        self._commits = commits = []
        try:
            yield commits
        finally:
            self._commits = None

    def assign(self, partitions: Sequence[Partition]) -> None:
        self._consumer.assign([TopicPartition(*each) for each in partitions])

    def subscribe(
        self,
        topics: Sequence[str],
        on_assigned: Callable[[list[Partition]], None],
        on_revoked: Callable[[list[Partition]], None],
    ) -> None:
        self._consumer.subscribe(topics, listener=Listener(self, on_assigned, on_revoked))

    def poll(self, timeout_s: float) -> list[Message]:
        with broker_errors():
            polled = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        return [
            Message(each.topic, each.partition, each.offset, each.timestamp, each.key, each.value, each.headers)
            for records in polled.values()
            for each in records
        ]

    def seek(self, partition: Partition, offset: int) -> None:
        self._consumer.seek(TopicPartition(*partition), offset)

    def seek_to_beginning(self, partition: Partition) -> None:
        self._consumer.seek_to_beginning(TopicPartition(*partition))

    def seek_to_end(self, partition: Partition) -> None:
        self._consumer.seek_to_end(TopicPartition(*partition))

    def position(self, partition: Partition) -> int:
        return self._consumer.position(TopicPartition(*partition))

    def bounds(self, partition: Partition) -> tuple[int, int]:
        tp = TopicPartition(*partition)
        return self._consumer.beginning_offsets([tp])[tp], self._consumer.end_offsets([tp])[tp]

    def offset_for_time(self, partition: Partition, timestamp: int) -> tuple[int, int | None] | None:
        tp = TopicPartition(*partition)
        found = self._consumer.offsets_for_times({tp: timestamp})[tp]
        return None if found is None else (found.offset, found.timestamp)

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        wanted = {TopicPartition(*tp): OffsetAndMetadata(offset, text, -1) for tp, (offset, text) in offsets.items()}
        with broker_errors():
            if self._commits is None:
                self._consumer.commit(wanted)
            else:
                self._commits.append(self._consumer.commit_async(wanted))

    def committed(self, partition: Partition) -> tuple[int, str | None] | None:
        found = self._consumer.committed(TopicPartition(*partition), metadata=True)
        return None if found is None else (found.offset, found.metadata)

    def group_metadata(self) -> object:
        return self._consumer.group_metadata()

    def assignment(self) -> set[Partition]:
        return {Partition(*each) for each in self._consumer.assignment()}

    def generation(self) -> int:
        return self._consumer.group_metadata().generation_id

    def close(self) -> None:
        self._consumer.close(autocommit=False)


class KafkaPython(Library):
    """The library against one cluster."""

    null_headers = False  # its headers are (str, bytes)
    strategies = ("eager", "cooperative")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._admin: KafkaAdminClient | None = None

    def _common(self, client_id: str | None = None) -> dict[str, object]:
        return {"bootstrap_servers": self._context.bootstrap, "client_id": client_id or self._context.name("client")}

    @property
    def admin(self) -> KafkaAdminClient:
        if self._admin is None:
            self._admin = KafkaAdminClient(**self._common())
        return self._admin

    def producer(
        self,
        *,
        acks: int | str | None = None,
        compression: str | None = None,
        idempotent: bool | None = None,
        batch_bytes: int | None = None,
        max_request_bytes: int | None = None,
        linger_ms: int | None = None,
    ) -> Producer:
        return KafkaPythonProducer(
            self._common()
            | settings(
                acks=acks,
                compression_type=None if compression == "none" else compression,
                enable_idempotence=idempotent,
                batch_size=batch_bytes,
                max_request_size=max_request_bytes,
                linger_ms=linger_ms,
            )
        )

    def transactional_producer(self, transactional_id: str) -> TransactionalProducer:
        return KafkaPythonTransactionalProducer(self._common() | {"transactional_id": transactional_id})

    def consumer(
        self,
        *,
        group: str | None = None,
        reset: str = "earliest",
        strategy: str = "eager",
        instance_id: str | None = None,
        client_id: str | None = None,
        session_timeout_ms: int | None = None,
        partition_fetch_bytes: int | None = None,
        auto_create: bool | None = None,
        read_committed: bool | None = None,
    ) -> Consumer:
        if auto_create is False:
            raise Unsupported(
                "switch auto-creation off: the library's allow_auto_create_topics does not reach its requests"
            )
        return KafkaPythonConsumer(
            self._common(client_id)
            | settings(
                group_id=group,
                auto_offset_reset=reset,
                enable_auto_commit=False,
                partition_assignment_strategy=(ASSIGNORS[strategy],),
                group_instance_id=instance_id,
                session_timeout_ms=session_timeout_ms,
                max_partition_fetch_bytes=partition_fetch_bytes,
                heartbeat_interval_ms=500,
                isolation_level=None if read_committed is None else ISOLATION[read_committed],
            )
        )

    def create_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        replication_factor: int = REPLICATION_FACTOR,
        assignments: Mapping[int, list[int]] | None = None,
        configs: Mapping[str, str] | None = None,
        validate_only: bool = False,
    ) -> None:
        wanted: dict[str, object] = {"configs": dict(configs or {})}
        if assignments:
            wanted["assignments"] = dict(assignments)
        else:
            wanted |= {"num_partitions": partitions, "replication_factor": replication_factor}
        with broker_errors():
            self.admin.create_topics({name: wanted}, validate_only=validate_only)
        if not validate_only:
            self.wait_until_led(self._context, name)

    def delete_topic(self, name: str) -> None:
        with broker_errors():
            self.admin.delete_topics([name])

    def list_topics(self) -> set[str]:
        return set(self.admin.list_topics())

    def describe_topic(self, name: str) -> list[Replicas]:
        with broker_errors():
            (topic,) = self.admin.describe_topics([name])
        if topic["error_code"]:
            raise broker_error(topic["error_code"])
        found = sorted(topic["partitions"], key=lambda each: each["partition_index"])
        return [Replicas(each["leader_id"], each["replica_nodes"], each["isr_nodes"]) for each in found]

    def create_partitions(self, name: str, total: int) -> None:
        with broker_errors():
            self.admin.create_partitions({name: total})

    def broker_ids(self) -> list[int]:
        return [broker["broker_id"] for broker in self.admin.describe_cluster()["brokers"]]

    def topic_configs(self, name: str) -> dict[str, ConfigValue]:
        return self._configs(ConfigResourceType.TOPIC, name)

    def broker_configs(self, broker_id: int) -> dict[str, ConfigValue]:
        return self._configs(ConfigResourceType.BROKER, str(broker_id))

    def _configs(self, kind: ConfigResourceType, name: str) -> dict[str, ConfigValue]:
        described = self.admin.describe_configs([ConfigResource(kind, name)], config_filter="all")
        return {
            config: ConfigValue(entry["value"], entry["config_source"] == "DEFAULT_CONFIG", entry["config_source"])
            for config, entry in described[kind.name.lower()][name].items()
        }

    def alter_topic_configs(self, name: str, changes: Sequence[tuple[str, str, str | None]]) -> None:
        self._alter(name, {config: (operation, value) for operation, config, value in changes}, incremental=True)

    def replace_topic_configs(self, name: str, configs: Mapping[str, str]) -> None:
        self._alter(name, configs, incremental=False)

    def _alter(self, name: str, changes: Mapping[str, object], *, incremental: bool) -> None:
        resource = ConfigResource(ConfigResourceType.TOPIC, name, configs=dict(changes))
        answer = self.admin.alter_configs([resource], raise_on_unknown=False, incremental=incremental)["topic"][name]
        if answer != "OK":  # a text like "[Error 40] InvalidConfigurationError: …"
            raise broker_error(int(answer.partition("[Error ")[2].partition("]")[0] or -1), answer)

    def delete_records(self, partition: Partition, before: int) -> int:
        tp = TopicPartition(*partition)
        with broker_errors():
            return self.admin.delete_records({tp: before})[tp]["low_watermark"]

    def max_timestamp_offset(self, partition: Partition) -> int:
        tp = TopicPartition(*partition)
        return self.admin.list_partition_offsets({tp: OffsetSpec.MAX_TIMESTAMP})[tp].offset

    def list_groups(self) -> set[str]:
        return {group["group_id"] for group in self.admin.list_groups()}

    def describe_group(self, group: str) -> Group:
        described = self.admin.describe_groups([group])[group]
        members = [
            GroupMember(
                member["client_id"],
                member["client_host"],
                frozenset(
                    Partition(each["topic"], number)
                    for each in (member["member_assignment"] or {}).get("assigned_partitions", ())
                    for number in each["partitions"]
                ),
                member.get("group_instance_id"),
            )
            for member in described["members"]
        ]
        return Group(described["group_state"], described["protocol_type"], members)

    def group_offsets(self, group: str) -> dict[Partition, int]:
        return {
            Partition(*tp): found.offset
            for tp, found in self.admin.list_group_offsets(group)[group].items()
            if found.offset >= 0
        }

    def alter_group_offsets(self, group: str, offsets: Mapping[Partition, int]) -> None:
        wanted = {TopicPartition(*tp): OffsetAndMetadata(offset, "", -1) for tp, offset in offsets.items()}
        _raise_first(self.admin.alter_group_offsets(group, wanted))

    def delete_group_offsets(self, group: str, partitions: Sequence[Partition]) -> None:
        with broker_errors():
            _raise_first(self.admin.delete_group_offsets(group, [TopicPartition(*each) for each in partitions]))

    def delete_group(self, group: str) -> None:
        answer = self.admin.delete_groups([group])[group]
        if answer != "OK":
            raise broker_error(getattr(kafka.errors, answer).errno)


def _raise_first(answers: Mapping[TopicPartition, type[BrokerResponseError]]) -> None:
    for partition, error in answers.items():
        if error.errno:
            raise BrokerError(broker_error(error.errno).name, str(partition))


if __name__ == "__main__":
    main(KafkaPython)
