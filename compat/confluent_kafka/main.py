"""confluent-kafka (librdkafka): the shared scenarios with its producer, consumer and admin client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka import Consumer as ConfluentKafkaConsumer
from confluent_kafka import Message as ConfluentKafkaMessage
from confluent_kafka import Producer as ConfluentKafkaProducer
from library import (
    Ack,
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

T = TypeVar("T")
TIMEOUT_S = 20
ISOLATION = {True: "read_committed", False: "read_uncommitted"}
STRATEGIES = {"eager": "range", "cooperative": "cooperative-sticky"}
# Errors that librdkafka gives codes of its own.
LIBRARY_CODES = {KafkaError._AUTO_OFFSET_RESET: 1, KafkaError._UNKNOWN_TOPIC: 3, KafkaError._FENCED: 82}
PRODUCER_FENCED = 90


def raise_error(error: KafkaError) -> None:
    """Raise what the library reports."""
    code = error.code()
    if code == KafkaError._FATAL and "Static consumer fenced" in error.str():
        code = KafkaError.FENCED_INSTANCE_ID
    code = LIBRARY_CODES.get(code, code)
    if code < 0:
        raise KafkaException(error)
    raise broker_error(code, error.str())


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn the library's exceptions for broker errors into BrokerError."""
    try:
        yield
    except KafkaException as error:
        raise_error(error.args[0])
        raise


def result(futures: Mapping[object, Future[T]]) -> T:
    """Wait for the only answer of an admin call. Raises: BrokerError."""
    (future,) = futures.values()
    with broker_errors():
        return future.result(TIMEOUT_S)


class RdProducer(Producer):
    """confluent_kafka.Producer."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._producer = ConfluentKafkaProducer(config)

    def produce(self, records: Sequence[Send]) -> list[Ack]:
        acks: list[Ack | None] = [None] * len(records)
        failed: list[KafkaError] = []
        for index, record in enumerate(records):
            arguments: dict[str, object] = {"value": record.value, "key": record.key, "headers": list(record.headers)}
            if record.partition is not None:
                arguments["partition"] = record.partition
            if record.timestamp is not None:
                arguments["timestamp"] = record.timestamp

            def delivered(error: KafkaError | None, message: ConfluentKafkaMessage, index: int = index) -> None:
                if error is not None:
                    failed.append(error)
                else:
                    offset = message.offset()
                    acks[index] = Ack(message.partition(), -1 if offset is None else offset)

            with broker_errors():
                self._producer.produce(record.topic, on_delivery=delivered, **arguments)
            self._producer.poll(0)
        left = self._producer.flush(TIMEOUT_S)
        if failed:
            raise_error(failed[0])
        if left:
            raise AssertionError(f"{left} records were not acknowledged within {TIMEOUT_S} s")
        return [ack for ack in acks if ack is not None]

    def close(self) -> None:
        self._producer.flush(TIMEOUT_S)


class RdTransactionalProducer(TransactionalProducer):
    """confluent_kafka.Producer with a transactional id."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._producer = ConfluentKafkaProducer(config)
        self._run(self._producer.init_transactions, TIMEOUT_S)

    def _run(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            call(*arguments)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._FENCED:
                raise broker_error(PRODUCER_FENCED, error.args[0].str()) from error
            raise_error(error.args[0])

    def begin(self) -> None:
        self._run(self._producer.begin_transaction)

    def produce(self, records: Sequence[Send]) -> None:
        for record in records:
            self._run(partial(self._producer.produce, record.topic, record.value, partition=record.partition or 0))
        self._producer.flush(TIMEOUT_S)

    def send_offsets(self, consumer: Consumer, offsets: Mapping[Partition, int]) -> None:
        assert isinstance(consumer, RdConsumer)
        wanted = [TopicPartition(*tp, offset) for tp, offset in offsets.items()]
        self._run(self._producer.send_offsets_to_transaction, wanted, consumer.group_metadata(), TIMEOUT_S)

    def commit(self) -> None:
        self._run(self._producer.commit_transaction, TIMEOUT_S)

    def abort(self) -> None:
        self._run(self._producer.abort_transaction, TIMEOUT_S)

    def close(self) -> None:
        self._producer.purge()


class RdConsumer(Consumer):
    """confluent_kafka.Consumer."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._consumer = ConfluentKafkaConsumer(config)
        self._closed = False
        self._start_offsets: dict[Partition, TopicPartition] | None = None  # until the first poll

    def assign(self, partitions: Sequence[Partition]) -> None:
        self._start_offsets = {each: TopicPartition(*each) for each in partitions}
        self._consumer.assign(list(self._start_offsets.values()))

    def subscribe(
        self,
        topics: Sequence[str],
        on_assigned: Callable[[list[Partition]], None],
        on_revoked: Callable[[list[Partition]], None],
    ) -> None:
        def passed_on(callback: Callable[[list[Partition]], None]) -> Callable[[object, list[TopicPartition]], None]:
            return lambda consumer, partitions: callback([Partition(tp.topic, tp.partition) for tp in partitions])

        self._consumer.subscribe(list(topics), on_assign=passed_on(on_assigned), on_revoke=passed_on(on_revoked))

    def poll(self, timeout_s: float) -> list[Message]:
        self._start_offsets = None
        with broker_errors():
            polled = self._consumer.consume(500, timeout_s)
        messages = []
        for each in polled:
            if each.error() is not None:
                raise_error(each.error())
            messages.append(
                Message(
                    each.topic(),
                    each.partition(),
                    each.offset(),
                    each.timestamp()[1],
                    each.key(),
                    each.value(),
                    each.headers() or [],
                )
            )
        return messages

    def seek(self, partition: Partition, offset: int) -> None:
        # The library refuses to seek until it has begun to fetch the partition: until then an offset goes with the
        # assignment.
        if self._start_offsets is not None:
            self._start_offsets[partition] = TopicPartition(*partition, offset)
            return self._consumer.assign(list(self._start_offsets.values()))
        end = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return self._consumer.seek(TopicPartition(*partition, offset))
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def seek_to_beginning(self, partition: Partition) -> None:
        self.seek(partition, OFFSET_BEGINNING)

    def seek_to_end(self, partition: Partition) -> None:
        self.seek(partition, OFFSET_END)

    def position(self, partition: Partition) -> int:
        offset = self._consumer.position([TopicPartition(*partition)])[0].offset
        if offset < 0:
            raise Unsupported("tell a position before the first record")
        return offset

    def bounds(self, partition: Partition) -> tuple[int, int]:
        return self._consumer.get_watermark_offsets(TopicPartition(*partition), TIMEOUT_S)

    def offset_for_time(self, partition: Partition, timestamp: int) -> tuple[int, int | None] | None:
        (found,) = self._consumer.offsets_for_times([TopicPartition(*partition, timestamp)], TIMEOUT_S)
        return None if found.offset < 0 else (found.offset, None)

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        wanted = [TopicPartition(*tp, offset, text) for tp, (offset, text) in offsets.items()]
        with broker_errors():
            for each in self._consumer.commit(offsets=wanted, asynchronous=False):
                if each.error is not None:
                    raise_error(each.error)

    def committed(self, partition: Partition) -> tuple[int, str | None] | None:
        (found,) = self._consumer.committed([TopicPartition(*partition)], TIMEOUT_S)
        return None if found.offset < 0 else (found.offset, found.metadata or "")

    def group_metadata(self) -> object:
        return self._consumer.consumer_group_metadata()

    def assignment(self) -> set[Partition]:
        return {Partition(tp.topic, tp.partition) for tp in self._consumer.assignment()}

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._consumer.close()


class ConfluentKafka(Library):
    """The library against one cluster."""

    strategies = ("eager", "cooperative")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._admin = AdminClient(self._common(None))

    def _common(self, client_id: str | None, **more: object) -> dict[str, object]:
        common = {"bootstrap.servers": self._context.bootstrap, "client.id": client_id or self._context.name("client")}
        return common | {name.replace("_", "."): value for name, value in more.items() if value is not None}

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
        return RdProducer(
            self._common(
                None,
                acks=acks,
                compression_type=compression,
                enable_idempotence=idempotent,
                batch_size=batch_bytes,
                message_max_bytes=max_request_bytes,
                linger_ms=linger_ms,
            )
        )

    def transactional_producer(self, transactional_id: str) -> TransactionalProducer:
        return RdTransactionalProducer(self._common(None, transactional_id=transactional_id))

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
        return RdConsumer(
            self._common(
                client_id,
                group_id=group or self._context.name("no-group"),
                auto_offset_reset="error" if reset == "none" else reset,
                enable_auto_commit=False,
                partition_assignment_strategy=STRATEGIES[strategy],
                group_instance_id=instance_id,
                session_timeout_ms=session_timeout_ms,
                max_poll_interval_ms=max(300_000, session_timeout_ms or 0),
                max_partition_fetch_bytes=partition_fetch_bytes,
                allow_auto_create_topics=auto_create,
                isolation_level=None if read_committed is None else ISOLATION[read_committed],
                heartbeat_interval_ms=500,
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
        if partitions == 0:
            raise Unsupported("ask for 0 partitions")
        placed: dict[str, object] = {"replication_factor": replication_factor}
        if assignments:
            partitions, placed = len(assignments), {"replica_assignment": list(assignments.values())}
        topic = NewTopic(name, partitions, config=dict(configs or {}), **placed)
        result(self._admin.create_topics([topic], validate_only=validate_only))
        if not validate_only:
            self.wait_until_led(self._context, name)

    def delete_topic(self, name: str) -> None:
        result(self._admin.delete_topics([name]))

    def list_topics(self) -> set[str]:
        return set(self._admin.list_topics(timeout=TIMEOUT_S).topics)

    def describe_topic(self, name: str) -> list[Replicas]:
        described = result(self._admin.describe_topics(TopicCollection([name])))
        return [
            Replicas(each.leader.id, [node.id for node in each.replicas], [node.id for node in each.isr])
            for each in sorted(described.partitions, key=lambda each: each.id)
        ]

    def create_partitions(self, name: str, total: int) -> None:
        result(self._admin.create_partitions([NewPartitions(name, total)]))

    def broker_ids(self) -> list[int]:
        return [node.id for node in self._admin.describe_cluster().result(TIMEOUT_S).nodes]

    def topic_configs(self, name: str) -> dict[str, ConfigValue]:
        return self._configs(ConfigResource(ResourceType.TOPIC, name))

    def broker_configs(self, broker_id: int) -> dict[str, ConfigValue]:
        return self._configs(ConfigResource(ResourceType.BROKER, str(broker_id)))

    def _configs(self, resource: ConfigResource) -> dict[str, ConfigValue]:
        described = result(self._admin.describe_configs([resource]))
        return {
            name: ConfigValue(entry.value, entry.is_default, ConfigSource(entry.source).name)
            for name, entry in described.items()
        }

    def alter_topic_configs(self, name: str, changes: Sequence[tuple[str, str, str | None]]) -> None:
        entries = [
            ConfigEntry(config, value, incremental_operation=AlterConfigOpType[operation])
            for operation, config, value in changes
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        result(self._admin.incremental_alter_configs([resource]))

    def replace_topic_configs(self, name: str, configs: Mapping[str, str]) -> None:
        result(self._admin.alter_configs([ConfigResource(ResourceType.TOPIC, name, set_config=dict(configs))]))

    def delete_records(self, partition: Partition, before: int) -> int:
        place = TopicPartition(*partition, OFFSET_END if before < 0 else before)
        return result(self._admin.delete_records([place])).low_watermark

    def max_timestamp_offset(self, partition: Partition) -> int:
        return result(self._admin.list_offsets({TopicPartition(*partition): OffsetSpec.max_timestamp()})).offset

    def list_groups(self) -> set[str]:
        listed = self._admin.list_consumer_groups().result(TIMEOUT_S)
        if listed.errors:
            raise listed.errors[0]
        return {group.group_id for group in listed.valid}

    def describe_group(self, group: str) -> Group:
        described = result(self._admin.describe_consumer_groups([group]))
        members = [
            GroupMember(
                member.client_id,
                member.host,
                frozenset(Partition(tp.topic, tp.partition) for tp in member.assignment.topic_partitions),
                member.group_instance_id,
            )
            for member in described.members
        ]
        return Group(described.state.name.title(), None, members)

    def group_offsets(self, group: str) -> dict[Partition, int]:
        listed = result(self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
        return {Partition(tp.topic, tp.partition): tp.offset for tp in listed.topic_partitions if tp.offset >= 0}

    def alter_group_offsets(self, group: str, offsets: Mapping[Partition, int]) -> None:
        wanted = [TopicPartition(*tp, offset) for tp, offset in offsets.items()]
        altered = result(self._admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)]))
        for each in altered.topic_partitions:
            if each.error is not None:
                raise_error(each.error)

    def delete_group(self, group: str) -> None:
        result(self._admin.delete_consumer_groups([group]))


if __name__ == "__main__":
    main(ConfluentKafka)
