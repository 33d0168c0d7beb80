"""The records of `__transaction_state`, as Apache Kafka 4.4 writes them.

Format: key = int16 0 | TransactionLogKey; value = int16 version | TransactionLogValue, or null for a tombstone. The
version is 1 where the cluster's transaction.version is 1 or more, else 0.
Rules: all versions of values are read. A key of another type is what a newer broker wrote, and is passed over. The
last epoch told to a client is not in the log.
Not here: what a record does to the state (shard).
Source: Kafka's TransactionLog.
"""

from struct import Struct

from pykbroker.replication.coordinator_log import CoordinatorRecord
from pykbroker.topic_partition import TopicPartition, by_topic
from pykbroker.transactions.state import EMPTY, Transaction, TransactionState
from wire.codec import decode, encode_bytes
from wire.errors import ProtocolError
from wire.messages.control_records import PartitionsSchema, TransactionLogKey, TransactionLogValue

KEY_TYPE = 0
FLEXIBLE_VERSION = 1

_VERSION = Struct(">h")


def transaction_record(transaction: Transaction, transaction_version: int) -> CoordinatorRecord:
    """Build the record that stores the state of a transactional id."""
    value = TransactionLogValue(
        producer_id=transaction.producer_id,
        producer_epoch=transaction.producer_epoch,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_status=transaction.state,
        transaction_partitions=None
        if transaction.state is EMPTY
        else [
            PartitionsSchema(topic, partitions)
            for topic, partitions in by_topic(sorted(transaction.partitions)).items()
        ],
        transaction_last_update_timestamp_ms=transaction.last_update_ms,
        transaction_start_timestamp_ms=transaction.start_ms,
    )
    version = min(transaction_version, FLEXIBLE_VERSION)
    if version == FLEXIBLE_VERSION:
        value.previous_producer_id = transaction.previous_producer_id
        value.next_producer_id = transaction.next_producer_id
        value.client_transaction_version = transaction.client_version
    return CoordinatorRecord(_key(transaction.transactional_id), _VERSION.pack(version) + encode_bytes(value, version))


def tombstone(transactional_id: str) -> CoordinatorRecord:
    return CoordinatorRecord(_key(transactional_id), None)


def _key(transactional_id: str) -> bytes:
    return _VERSION.pack(KEY_TYPE) + encode_bytes(TransactionLogKey(transactional_id), 0)


def decode_record(key: bytes, value: bytes | None) -> tuple[str, Transaction | None] | None:
    """Return the transactional id and its state, or None for a tombstone; None for an unknown key.

    Raises: ProtocolError.
    """
    if _read_version(key) != KEY_TYPE:
        return None
    stored_key, _ = decode(TransactionLogKey, 0, key, _VERSION.size)
    transactional_id = stored_key.transactional_id
    if value is None:
        return transactional_id, None
    stored, _ = decode(TransactionLogValue, _read_version(value), value, _VERSION.size)
    try:
        state = TransactionState(stored.transaction_status)
    except ValueError:
        raise ProtocolError(f"transactional id {transactional_id} has the state {stored.transaction_status}") from None
    return transactional_id, Transaction(
        transactional_id,
        stored.producer_id,
        stored.transaction_timeout_ms,
        producer_epoch=stored.producer_epoch,
        previous_producer_id=stored.previous_producer_id,
        next_producer_id=stored.next_producer_id,
        state=state,
        partitions=frozenset(
            TopicPartition(each.topic, partition)
            for each in stored.transaction_partitions or ()
            for partition in each.partition_ids
        ),
        start_ms=stored.transaction_start_timestamp_ms,
        last_update_ms=stored.transaction_last_update_timestamp_ms,
        client_version=stored.client_transaction_version,
    )


def _read_version(data: bytes) -> int:
    if len(data) < _VERSION.size:
        raise ProtocolError(f"a key or value of {len(data)} bytes in __transaction_state")
    version: int = _VERSION.unpack_from(data)[0]
    return version
