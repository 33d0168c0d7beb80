"""What the shared scenarios ask of a Python client library, in neutral words.

Each Python client implements Library, Producer and Consumer with its library's own calls and turns the library's
exceptions into BrokerError.
A method that the library has no means for stays as it is here and raises Unsupported: that step of a scenario is
left out, said on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from cluster_state import known_to_all
from program import REPLICATION_FACTOR, Context


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class BrokerError(Exception):
    """An error of Kafka's protocol, by its protocol name (`TOPIC_ALREADY_EXISTS`)."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(f"{name} {message}".strip())
        self.name = name


class Unsupported(Exception):
    """The library has no means for this step."""


@dataclass(frozen=True)
class Send:
    """A record to produce; partition None leaves the choice to the library."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = 0
    timestamp: int | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


class Ack(NamedTuple):
    """Where the broker said a record is; offset -1 if it did not say."""

    partition: int
    offset: int


@dataclass(frozen=True)
class Message:
    """A record as it was consumed."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Replicas(NamedTuple):
    """One partition in a topic's description."""

    leader: int
    replicas: list[int]
    isr: list[int]


class ConfigValue(NamedTuple):
    """One config entry; `source` is a name like DYNAMIC_TOPIC_CONFIG, "" where the library does not tell."""

    value: str | None
    is_default: bool
    source: str = ""


@dataclass(frozen=True)
class GroupMember:
    """A member in a group's description."""

    client_id: str
    host: str
    assignment: frozenset[Partition]
    instance_id: str | None = None


@dataclass(frozen=True)
class Group:
    """A described group; `state` as Kafka writes it (`Stable`), `protocol_type` None where the library does not
    tell."""

    state: str
    protocol_type: str | None
    members: list[GroupMember] = field(default_factory=list)


# The protocol's code of each error that the scenarios expect, for libraries that have names of their own.
ERROR_NAMES: Mapping[int, str] = {
    1: "OFFSET_OUT_OF_RANGE",
    3: "UNKNOWN_TOPIC_OR_PARTITION",
    10: "MESSAGE_TOO_LARGE",
    17: "INVALID_TOPIC_EXCEPTION",
    25: "UNKNOWN_MEMBER_ID",
    26: "INVALID_SESSION_TIMEOUT",
    36: "TOPIC_ALREADY_EXISTS",
    37: "INVALID_PARTITIONS",
    38: "INVALID_REPLICATION_FACTOR",
    40: "INVALID_CONFIG",
    42: "INVALID_REQUEST",
    68: "NON_EMPTY_GROUP",
    69: "GROUP_ID_NOT_FOUND",
    82: "FENCED_INSTANCE_ID",
    90: "PRODUCER_FENCED",
}


def broker_error(code: int, message: str = "") -> BrokerError:
    """Return the error with this protocol code."""
    return BrokerError(ERROR_NAMES.get(code, f"ERROR_{code}"), message)


def _unsupported(what: str) -> Unsupported:
    return Unsupported(f"the library cannot {what}")


class Producer:
    """A producer of the library."""

    def produce(self, records: Sequence[Send]) -> list[Ack]:
        """Send all records, wait for all acknowledgements, return them in order. Raises: BrokerError."""
        raise NotImplementedError

    def close(self) -> None:
        """Flush and close."""
        raise NotImplementedError


class TransactionalProducer:
    """A producer of the library with a transactional id; it has its producer id when it is made."""

    def begin(self) -> None:
        raise NotImplementedError

    def produce(self, records: Sequence[Send]) -> None:
        """Send all records and wait until they are written. Raises: BrokerError."""
        raise NotImplementedError

    def send_offsets(self, consumer: Consumer, offsets: Mapping[Partition, int]) -> None:
        """Commit offsets of the consumer's group with the transaction. Raises: BrokerError."""
        raise NotImplementedError

    def commit(self) -> None:
        """Raises: BrokerError, PRODUCER_FENCED where another producer took over, whatever the library calls it."""
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything, without ending a transaction."""
        raise NotImplementedError


class Consumer:
    """A consumer of the library."""

    def assign(self, partitions: Sequence[Partition]) -> None:
        """Take these partitions, without a group's rebalancing."""
        raise NotImplementedError

    def subscribe(
        self,
        topics: Sequence[str],
        on_assigned: Callable[[list[Partition]], None],
        on_revoked: Callable[[list[Partition]], None],
    ) -> None:
        """Join the group for these topics."""
        raise NotImplementedError

    def poll(self, timeout_s: float) -> list[Message]:
        """Return what came within the timeout. Raises: BrokerError."""
        raise NotImplementedError

    def seek(self, partition: Partition, offset: int) -> None:
        """Go on at this offset."""
        raise NotImplementedError

    def seek_to_beginning(self, partition: Partition) -> None:
        """Go on at the first record."""
        raise NotImplementedError

    def seek_to_end(self, partition: Partition) -> None:
        """Go on after the last record."""
        raise NotImplementedError

    def position(self, partition: Partition) -> int:
        """Return the offset that is read next."""
        raise NotImplementedError

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """Return the earliest and the latest offset as the broker tells them."""
        raise NotImplementedError

    def offset_for_time(self, partition: Partition, timestamp: int) -> tuple[int, int | None] | None:
        """Return (offset, timestamp if the library tells it) of the first record not before the timestamp."""
        raise NotImplementedError

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        """Commit offset and metadata for each partition. Raises: BrokerError."""
        raise NotImplementedError

    def committed(self, partition: Partition) -> tuple[int, str | None] | None:
        """Return the committed (offset, metadata if the library tells it)."""
        raise NotImplementedError

    def assignment(self) -> set[Partition]:
        """Return the partitions owned now."""
        raise NotImplementedError

    def generation(self) -> int:
        """Return the group's generation that this member is in."""
        raise _unsupported("tell the generation")

    def stop_without_leaving(self) -> None:
        """End this member so that the group still counts it (a crash, or a static member's close)."""
        self.close()

    def close(self) -> None:
        """Leave the group and close."""
        raise NotImplementedError


class Library:
    """One Python client library against one cluster."""

    null_headers = True  # takes null header values
    tells_instance_ids = True  # in a group's description
    carries_instance_ids = True  # in heartbeats and commits
    describing_creates = False  # its metadata requests always allow auto-creation
    strategies: Sequence[str] = ("eager",)

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
        """Return a new producer; None leaves the library's default."""
        raise NotImplementedError

    def transactional_producer(self, transactional_id: str) -> TransactionalProducer:
        """Return a new producer that has taken over the transactional id."""
        raise _unsupported("produce in transactions")

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
        """Return a new consumer that never commits by itself; None leaves the library's default."""
        raise NotImplementedError

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
        """Create a topic. Raises: BrokerError."""
        raise NotImplementedError

    def wait_until_led(self, context: Context, name: str) -> None:
        """Wait until the leaders of a created topic answer (why: README.md)."""

        def answered() -> bool:
            try:
                partitions = range(len(self.describe_topic(name)))
                with closing(self.consumer()) as consumer:
                    for partition in partitions:
                        consumer.bounds(Partition(name, partition))
            except AssertionError:
                raise
            except Exception as error:  # the libraries have many names for "not yet"
                print(f"not yet led: {error!r}", file=sys.stderr)
                return False
            return True

        context.wait_until(f"the leaders of {name} answer", answered)
        context.wait_until(f"every broker knows {name}", lambda: known_to_all(context.bootstrap, name))

    def delete_topic(self, name: str) -> None:
        """Delete a topic. Raises: BrokerError."""
        raise NotImplementedError

    def list_topics(self) -> set[str]:
        """Return the names of all topics."""
        raise NotImplementedError

    def describe_topic(self, name: str) -> list[Replicas]:
        """Return its partitions in order. Raises: BrokerError, also for a topic that does not exist."""
        raise NotImplementedError

    def create_partitions(self, name: str, total: int) -> None:
        """Raise the topic to `total` partitions. Raises: BrokerError."""
        raise NotImplementedError

    def broker_ids(self) -> list[int]:
        """Return the ids of the cluster's brokers."""
        raise NotImplementedError

    def topic_configs(self, name: str) -> dict[str, ConfigValue]:
        """Describe a topic's configs, all of them."""
        raise NotImplementedError

    def broker_configs(self, broker_id: int) -> dict[str, ConfigValue]:
        """Describe a broker's configs, all of them."""
        raise NotImplementedError

    def alter_topic_configs(self, name: str, changes: Sequence[tuple[str, str, str | None]]) -> None:
        """Alter incrementally: (SET | DELETE | APPEND | SUBTRACT, config, value). Raises: BrokerError."""
        raise _unsupported("alter configs incrementally")

    def replace_topic_configs(self, name: str, configs: Mapping[str, str]) -> None:
        """Set all configs by the old AlterConfigs. Raises: BrokerError."""
        raise _unsupported("alter configs the old way")

    def delete_records(self, partition: Partition, before: int) -> int:
        """Delete records before the offset (-1: all); return the low watermark. Raises: BrokerError."""
        raise _unsupported("delete records")

    def max_timestamp_offset(self, partition: Partition) -> int:
        """Return the offset of the record with the largest timestamp."""
        raise _unsupported("ask for the largest timestamp")

    def list_groups(self) -> set[str]:
        """Return the ids of all groups."""
        raise _unsupported("list groups")

    def describe_group(self, group: str) -> Group:
        """Describe a group."""
        raise _unsupported("describe a group")

    def group_offsets(self, group: str) -> dict[Partition, int]:
        """Return the group's committed offsets through the admin API."""
        raise _unsupported("list a group's offsets")

    def alter_group_offsets(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Set committed offsets of an empty group."""
        raise _unsupported("alter a group's offsets")

    def delete_group_offsets(self, group: str, partitions: Sequence[Partition]) -> None:
        """Delete committed offsets."""
        raise _unsupported("delete a group's offsets")

    def delete_group(self, group: str) -> None:
        """Delete a group. Raises: BrokerError."""
        raise _unsupported("delete a group")


@contextmanager
def where_supported() -> Iterator[None]:
    """Leave out the steps in this block from where the library cannot do one, and say so on stderr."""
    try:
        yield
    except Unsupported as what:
        print(f"left out: {what}", file=sys.stderr)


def expect_error(name: str, what: str, call: Callable[[], object], *also: str) -> None:
    """Fail unless the call raises BrokerError of this name (or of one in `also`)."""
    try:
        result = call()
    except BrokerError as error:
        if error.name not in (name, *also):
            raise AssertionError(f"{what}: expected {name}, got {error}") from error
        return
    raise AssertionError(f"{what}: expected {name}, got success ({result!r})")
