"""The records of `__transaction_state` beside those that Apache Kafka 4.4.0 wrote for the same states."""

import attrs
import pytest

from pykbroker.replication.coordinator_log import CoordinatorRecord
from pykbroker.topic_partition import TopicPartition
from pykbroker.transactions.records import decode_record, tombstone, transaction_record
from pykbroker.transactions.state import COMPLETE_ABORT, EMPTY, ONGOING, PREPARE_ABORT, Transaction
from wire.errors import ProtocolError

KEY = bytes.fromhex("0000000d676f6c64656e2d66656e636564")
WHEN = 1_795_676_961_837
NEW = Transaction("golden-fenced", 44, 60_000, producer_epoch=0, previous_producer_id=44, last_update_ms=WHEN)
OPEN = attrs.evolve(
    NEW,
    state=ONGOING,
    producer_epoch=2,
    partitions=frozenset({TopicPartition("golden-fenced", 0)}),
    start_ms=1_795_676_962_125,
    last_update_ms=1_795_676_962_125,
)
FENCED = attrs.evolve(OPEN, state=PREPARE_ABORT, producer_epoch=3, client_version=2, last_update_ms=1_795_676_962_141)
OVER = attrs.evolve(FENCED, state=COMPLETE_ABORT, partitions=frozenset(), last_update_ms=1_795_676_962_144)
WRITTEN_BY_KAFKA = [
    (NEW, "0001000000000000002c00000000ea600000000001a216affc2dffffffffffffffff010008000000000000002c"),
    (
        OPEN,
        "0001000000000000002c00020000ea6001020e676f6c64656e2d66656e636564020000000000000001a216affd4d000001a216affd4d01"
        "0008000000000000002c",
    ),
    (
        FENCED,
        "0001000000000000002c00030000ea6003020e676f6c64656e2d66656e636564020000000000000001a216affd5d000001a216affd4d02"
        "0008000000000000002c02020002",
    ),
    (
        OVER,
        "0001000000000000002c00030000ea600501000001a216affd60000001a216affd4d020008000000000000002c02020002",
    ),
]


@pytest.mark.parametrize(("transaction", "value"), WRITTEN_BY_KAFKA)
def test_record_is_byte_for_byte_that_of_kafka(transaction: Transaction, value: str) -> None:
    assert transaction_record(transaction, 2) == CoordinatorRecord(KEY, bytes.fromhex(value))
    assert decode_record(KEY, bytes.fromhex(value)) == ("golden-fenced", transaction)


def test_record_of_a_cluster_without_flexible_records_is_read_back() -> None:
    record = transaction_record(attrs.evolve(OPEN, client_version=0, previous_producer_id=-1), 0)
    assert record.value is not None
    assert record.value[:2] == b"\0\0"
    assert decode_record(*attrs.astuple(record)) == (
        "golden-fenced",
        attrs.evolve(OPEN, client_version=0, previous_producer_id=-1),
    )


def test_tombstone_is_read_back() -> None:
    assert decode_record(tombstone("p").key, None) == ("p", None)


def test_key_of_a_newer_broker_is_passed_over() -> None:
    assert decode_record(b"\0\7newer", b"\0\0") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"\0", b""),
        (KEY, b""),
        (KEY, b"\0\1cut"),
        (KEY, bytes.fromhex(WRITTEN_BY_KAFKA[0][1]).replace(b"\xea\x60\0", b"\xea\x60\x63")),
    ],
)
def test_damaged_record_is_a_protocol_error(key: bytes, value: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_record(key, value)


def test_states_have_the_names_that_clients_know() -> None:
    assert [EMPTY.label, PREPARE_ABORT.label, COMPLETE_ABORT.label] == ["Empty", "PrepareAbort", "CompleteAbort"]
