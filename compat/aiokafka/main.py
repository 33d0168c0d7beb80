"""aiokafka: the shared scenarios with its producer, consumer and admin client, on an event loop in a thread of its
own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import BrokerResponseError, KafkaError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
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
TIMEOUT_S = 30
PRODUCER_FENCED = 90
CONFIG_SOURCES = {1: "DYNAMIC_TOPIC_CONFIG", 4: "STATIC_BROKER_CONFIG", 5: "DEFAULT_CONFIG"}
DEFAULT_CONFIG = 5
ISOLATION = {True: "read_committed", False: "read_uncommitted"}


class Loop:
    """An event loop that runs in a thread; calls from other threads wait for their result."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="event loop", daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for the coroutine. Raises: BrokerError where the library raises what a broker answered."""
        with broker_errors():
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(TIMEOUT_S)


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn the library's exceptions for broker errors into BrokerError."""
    try:
        yield
    except BrokerResponseError as error:
        raise broker_error(error.errno, str(error)) from error
    except KafkaError as error:
        if isinstance(error.__cause__, BrokerResponseError):
            raise broker_error(error.__cause__.errno, str(error)) from error
        raise


def settings(**given: object) -> dict[str, object]:
    """Return what was given, without the Nones that mean the library's default."""
    return {name: value for name, value in given.items() if value is not None}


class AioProducer(Producer):
    """AIOKafkaProducer."""

    def __init__(self, loop: Loop, config: Mapping[str, object]) -> None:
        self._loop = loop
        self._producer: AIOKafkaProducer = loop.run(self._open(config))

    async def _open(self, config: Mapping[str, object]) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**config)
        await producer.start()
        return producer

    def produce(self, records: Sequence[Send]) -> list[Ack]:
        return self._loop.run(self._produce(records))

    async def _produce(self, records: Sequence[Send]) -> list[Ack]:
        sent = [
            await self._producer.send(
                record.topic,
                value=record.value,
                key=record.key,
                partition=record.partition,
                timestamp_ms=record.timestamp,
                headers=list(record.headers),
            )
            for record in records
        ]
        answers = await asyncio.gather(*sent)
        # With acks=0 the library answers None.
        return [Ack(-1, -1) if answer is None else Ack(answer.partition, answer.offset) for answer in answers]

    def close(self) -> None:
        self._loop.run(self._producer.stop())


class AioTransactionalProducer(TransactionalProducer):
    """AIOKafkaProducer with a transactional id."""

    def __init__(self, loop: Loop, config: Mapping[str, object]) -> None:
        self._loop = loop
        self._producer: AIOKafkaProducer = self._run(self._open(config))

    async def _open(self, config: Mapping[str, object]) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**config)
        await producer.start()
        return producer

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run(coroutine)
        except ProducerFenced as error:
            raise broker_error(PRODUCER_FENCED, str(error)) from error

    def begin(self) -> None:
        self._run(self._producer.begin_transaction())

    def produce(self, records: Sequence[Send]) -> None:
        self._run(self._produce(records))

    async def _produce(self, records: Sequence[Send]) -> None:
        sent = [
            await self._producer.send(record.topic, value=record.value, partition=record.partition or 0)
            for record in records
        ]
        await asyncio.gather(*sent)

    def send_offsets(self, consumer: Consumer, offsets: Mapping[Partition, int]) -> None:
        assert isinstance(consumer, AioConsumer)
        wanted = {TopicPartition(*tp): offset for tp, offset in offsets.items()}
        self._run(self._producer.send_offsets_to_transaction(wanted, consumer.group))

    def commit(self) -> None:
        self._run(self._producer.commit_transaction())

    def abort(self) -> None:
        self._run(self._producer.abort_transaction())

    def close(self) -> None:
        self._loop.run(self._producer.stop())


class Listener(ConsumerRebalanceListener):
    """Pass the library's callbacks on, in a thread, since they commit and wait for it."""

    def __init__(
        self, on_assigned: Callable[[list[Partition]], None], on_revoked: Callable[[list[Partition]], None]
    ) -> None:
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await asyncio.to_thread(self._on_assigned, [Partition(*each) for each in assigned])

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await asyncio.to_thread(self._on_revoked, [Partition(*each) for each in revoked])


class AioConsumer(Consumer):
    """AIOKafkaConsumer."""

    def __init__(self, loop: Loop, config: Mapping[str, object]) -> None:
        self._loop = loop
        self.group = str(config.get("group_id"))
        self._consumer: AIOKafkaConsumer = loop.run(self._open(config))

    async def _open(self, config: Mapping[str, object]) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(**config)
        await consumer.start()
        return consumer

    async def _call(self, method: Callable[..., T], *arguments: Any) -> T:
        """Call one of the library's plain methods on its event loop."""
        return method(*arguments)

    def assign(self, partitions: Sequence[Partition]) -> None:
        self._loop.run(self._call(self._consumer.assign, [TopicPartition(*each) for each in partitions]))

    def subscribe(
        self,
        topics: Sequence[str],
        on_assigned: Callable[[list[Partition]], None],
        on_revoked: Callable[[list[Partition]], None],
    ) -> None:
        listener = Listener(on_assigned, on_revoked)
        self._loop.run(self._call(lambda: self._consumer.subscribe(topics, listener=listener)))

    def poll(self, timeout_s: float) -> list[Message]:
        polled = self._loop.run(self._consumer.getmany(timeout_ms=int(timeout_s * 1000)))
        return [
            Message(each.topic, each.partition, each.offset, each.timestamp, each.key, each.value, each.headers)
            for records in polled.values()
            for each in records
        ]

    def seek(self, partition: Partition, offset: int) -> None:
        self._loop.run(self._call(self._consumer.seek, TopicPartition(*partition), offset))

    def seek_to_beginning(self, partition: Partition) -> None:
        self._loop.run(self._consumer.seek_to_beginning(TopicPartition(*partition)))

    def seek_to_end(self, partition: Partition) -> None:
        self._loop.run(self._consumer.seek_to_end(TopicPartition(*partition)))

    def position(self, partition: Partition) -> int:
        return self._loop.run(self._consumer.position(TopicPartition(*partition)))

    def bounds(self, partition: Partition) -> tuple[int, int]:
        tp = TopicPartition(*partition)
        beginning = self._loop.run(self._consumer.beginning_offsets([tp]))
        return beginning[tp], self._loop.run(self._consumer.end_offsets([tp]))[tp]

    def offset_for_time(self, partition: Partition, timestamp: int) -> tuple[int, int | None] | None:
        tp = TopicPartition(*partition)
        found = self._loop.run(self._consumer.offsets_for_times({tp: timestamp}))[tp]
        return None if found is None else (found.offset, found.timestamp)

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        wanted = {TopicPartition(*tp): OffsetAndMetadata(offset, text) for tp, (offset, text) in offsets.items()}
        self._loop.run(self._consumer.commit(wanted))

    def committed(self, partition: Partition) -> tuple[int, str | None] | None:
        offset = self._loop.run(self._consumer.committed(TopicPartition(*partition)))
        return None if offset is None else (offset, None)

    def assignment(self) -> set[Partition]:
        return {Partition(*each) for each in self._consumer.assignment()}

    def close(self) -> None:
        self._loop.run(self._consumer.stop())


class Aiokafka(Library):
    """The library against one cluster."""

    tells_instance_ids = False
    carries_instance_ids = False
    describing_creates = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self._loop = Loop()
        self._admin_client: AIOKafkaAdminClient | None = None

    def _common(self, client_id: str | None = None) -> dict[str, object]:
        return {"bootstrap_servers": self._context.bootstrap, "client_id": client_id or self._context.name("client")}

    async def _open_admin(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(**self._common())
        await admin.start()
        return admin

    @property
    def _admin(self) -> AIOKafkaAdminClient:
        if self._admin_client is None:
            self._admin_client = self._loop.run(self._open_admin())
        return self._admin_client

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
        return AioProducer(
            self._loop,
            self._common()
            | settings(
                acks=acks,
                compression_type=None if compression == "none" else compression,
                enable_idempotence=idempotent,
                max_batch_size=batch_bytes,
                max_request_size=max_request_bytes,
                linger_ms=linger_ms,
            ),
        )

    def transactional_producer(self, transactional_id: str) -> TransactionalProducer:
        return AioTransactionalProducer(self._loop, self._common() | {"transactional_id": transactional_id})

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
            raise Unsupported("switch auto-creation off")
        return AioConsumer(
            self._loop,
            self._common(client_id)
            | settings(
                group_id=group,
                auto_offset_reset=reset,
                enable_auto_commit=False,
                partition_assignment_strategy=(RangePartitionAssignor,),
                group_instance_id=instance_id,
                session_timeout_ms=session_timeout_ms,
                max_partition_fetch_bytes=partition_fetch_bytes,
                heartbeat_interval_ms=500,
                isolation_level=None if read_committed is None else ISOLATION[read_committed],
            ),
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
        if assignments:
            partitions = replication_factor = -1
        topic = NewTopic(
            name,
            partitions,
            replication_factor,
            replica_assignments=dict(assignments) if assignments else None,
            topic_configs=dict(configs or {}),
        )
        answer = self._loop.run(self._admin.create_topics([topic], validate_only=validate_only))
        _raise_first(answer.topic_errors)
        if not validate_only:
            self.wait_until_led(self._context, name)

    def delete_topic(self, name: str) -> None:
        _raise_first(self._loop.run(self._admin.delete_topics([name])).topic_error_codes)

    def list_topics(self) -> set[str]:
        return set(self._loop.run(self._admin.list_topics()))

    def describe_topic(self, name: str) -> list[Replicas]:
        (topic,) = self._loop.run(self._admin.describe_topics([name]))
        if topic["error_code"]:
            raise broker_error(topic["error_code"])
        found = sorted(topic["partitions"], key=lambda each: each["partition"])
        return [Replicas(each["leader"], each["replicas"], each["isr"]) for each in found]

    def create_partitions(self, name: str, total: int) -> None:
        self._loop.run(self._admin.create_partitions({name: NewPartitions(total)}))

    def broker_ids(self) -> list[int]:
        return [broker["node_id"] for broker in self._loop.run(self._admin.describe_cluster())["brokers"]]

    def topic_configs(self, name: str) -> dict[str, ConfigValue]:
        return self._configs(ConfigResource(ConfigResourceType.TOPIC, name))

    def broker_configs(self, broker_id: int) -> dict[str, ConfigValue]:
        return self._configs(ConfigResource(ConfigResourceType.BROKER, str(broker_id)))

    def _configs(self, resource: ConfigResource) -> dict[str, ConfigValue]:
        (answer,) = self._loop.run(self._admin.describe_configs([resource]))
        (described,) = answer.to_object()["resources"]
        if described["error_code"]:
            raise broker_error(described["error_code"], described["error_message"])
        return {
            entry["config_names"]: ConfigValue(
                entry["config_value"],
                entry["config_source"] == DEFAULT_CONFIG,
                CONFIG_SOURCES.get(entry["config_source"], str(entry["config_source"])),
            )
            for entry in described["config_entries"]
        }

    def replace_topic_configs(self, name: str, configs: Mapping[str, str]) -> None:
        resource = ConfigResource(ConfigResourceType.TOPIC, name, dict(configs))
        (answer,) = self._loop.run(self._admin.alter_configs([resource]))
        for described in answer.to_object()["resources"]:
            if described["error_code"]:
                raise broker_error(described["error_code"], described["error_message"])

    def delete_records(self, partition: Partition, before: int) -> int:
        tp = TopicPartition(*partition)
        return self._loop.run(self._admin.delete_records({tp: RecordsToDelete(before_offset=before)}))[tp]

    def list_groups(self) -> set[str]:
        return {group[0] for group in self._loop.run(self._admin.list_consumer_groups())}

    def describe_group(self, group: str) -> Group:
        (answer,) = self._loop.run(self._admin.describe_consumer_groups([group]))
        (described,) = answer.to_object()["groups"]
        members = []
        for member in described["members"]:
            assigned = ()
            if member["member_assignment"]:
                assigned = ConsumerProtocolMemberAssignment.decode(member["member_assignment"]).assignment
            partitions = frozenset(Partition(topic, number) for topic, numbers in assigned for number in numbers)
            members.append(GroupMember(member["client_id"], member["client_host"], partitions))
        return Group(described["state"], described["protocol_type"], members)

    def group_offsets(self, group: str) -> dict[Partition, int]:
        found = self._loop.run(self._admin.list_consumer_group_offsets(group))
        return {Partition(*tp): each.offset for tp, each in found.items() if each.offset >= 0}


def _raise_first(answers: Sequence[tuple[Any, ...]]) -> None:
    """Raise the first error in (topic, error code, message if the version has it) tuples."""
    for _, code, *message in answers:
        if code:
            raise broker_error(code, str(*message))


if __name__ == "__main__":
    main(Aiokafka)
