"""`log dump`: each kind of file, damage, and records of internal topics."""

import struct
from pathlib import Path

import pytest

from pykbroker.client import Client, CoordinatorType, Question, groups
from pykbroker.client.client import check
from pykbroker.client.producer import Producer
from pykbroker.log.producer_state import ProducerStates
from pykbroker.log.transaction_index import AbortedTransaction, encode_transactions
from pykbroker.topic_partition import TopicPartition
from tests.cli.support import Done, invoke
from tests.client.support import QUICK, create
from tests.support.running import running
from tests.wire.study.test_secrets import CREDENTIAL, SECRET, SENSITIVE, metadata_value
from wire import codec
from wire.messages.cluster_records import TopicRecord
from wire.messages.control_records import LeaderChangeMessage, TransactionLogKey
from wire.messages.transactions import InitProducerIdRequest
from wire.records import ControlType, Record, batch_crc, build_batch, build_end_txn_marker, iter_batches
from wire.study.commands import main

SEGMENT = "00000000000000000000.log"


def dump(*words: object, status: int = 0) -> Done:
    done = invoke("log", "dump", *map(str, words))
    assert done.status == status, done
    return done


def entries(*words: object, status: int = 0) -> list[dict[str, object]]:
    import json

    return [json.loads(line) for line in dump(*words, "--json", status=status).out.splitlines()]


def segment(folder: Path, *batches: bytes | bytearray, name: str = "t-0") -> Path:
    path = folder / name / SEGMENT
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(batches))
    return path


ONE = build_batch(
    [Record(timestamp=1000, key=b"k", value=b"v", headers=(("h", b"\xff"),)), Record(timestamp=2000, value=None)],
    producer_id=7,
    producer_epoch=1,
    base_sequence=5,
    is_transactional=True,
    partition_leader_epoch=3,
)
ABORT = build_end_txn_marker(ControlType.ABORT, producer_id=7, producer_epoch=1, coordinator_epoch=9, timestamp=3000)


def test_batches_of_a_segment_are_shown(tmp_path: Path) -> None:
    path = segment(tmp_path, ONE, ABORT)
    first, second = entries(path)
    assert first == {
        "file": str(path),
        "kind": "batch",
        "position": 0,
        "base_offset": 0,
        "last_offset": 1,
        "records": 2,
        "size": len(ONE),
        "codec": "none",
        "max_timestamp": 2000,
        "leader_epoch": 3,
        "producer_id": 7,
        "producer_epoch": 1,
        "base_sequence": 5,
        "flags": ["transactional"],
        "crc": "ok",
    }
    assert (second["position"], second["flags"]) == (len(ONE), ["transactional", "control"])


def test_records_are_shown_on_request(tmp_path: Path) -> None:
    shown = entries(segment(tmp_path, ONE, ABORT), "--records")
    records = [{name: value for name, value in entry.items() if name != "file"} for entry in shown]
    assert [record for record in records if record["kind"] == "record"] == [
        {
            "kind": "record",
            "offset": 0,
            "timestamp": 1000,
            "key": "k",
            "value": "v",
            "headers": [{"name": "h", "value_base64": "/w=="}],
        },
        {"kind": "record", "offset": 1, "timestamp": 2000, "key": None, "value": None, "headers": []},
        {"kind": "record", "offset": 0, "timestamp": 3000, "control": "abort", "coordinator_epoch": 9},
    ]


def test_people_see_a_line_for_each_entry(tmp_path: Path) -> None:
    path = segment(tmp_path, ONE)
    lines = dump(path, "-r").out.splitlines()
    assert lines[0] == str(path)
    assert lines[1].startswith("  position=0 base_offset=0 last_offset=1 records=2 ")
    assert lines[2] == '    offset=0 timestamp=1000 key=k value=v headers=[{"name": "h", "value_base64": "/w=="}]'


def test_quotes_at_the_ends_of_a_value_are_shown(tmp_path: Path) -> None:
    path = segment(tmp_path, build_batch([Record(timestamp=0, value=b'"hi" says "she"')]))
    assert r" value=\"hi\" says \"she\" " in dump(path, "-r").out


def test_wrong_crc_is_said_and_what_follows_is_shown(tmp_path: Path) -> None:
    damaged = bytearray(ONE)
    damaged[-1] ^= 1
    path = segment(tmp_path, damaged, ABORT)
    done = dump(path, "-r", status=1)
    assert done.err == f"pykbroker: {path}: position 0: a batch whose CRC is wrong\n"
    assert "control=abort" in done.out


@pytest.mark.parametrize("size", [1, 16, 17, 60, len(ONE) - 1])
def test_segment_that_ends_in_a_batch_is_said(tmp_path: Path, size: int) -> None:
    path = segment(tmp_path, ONE, ONE[:size])
    done = dump(path, status=1)
    assert done.err == f"pykbroker: {path}: position {len(ONE)}: {size} bytes that are no batch\n"


def test_empty_files_have_no_entries(tmp_path: Path) -> None:
    path = segment(tmp_path)
    for suffix in (".index", ".timeindex", ".txnindex"):
        path.with_suffix(suffix).touch()
    assert entries(path.parent) == []


def test_indexes_are_shown_without_what_is_only_reserved(tmp_path: Path) -> None:
    index = tmp_path / "00000000000000000100.index"
    index.write_bytes(struct.pack(">IIII", 5, 1024, 9, 2048) + bytes(80))
    times = index.with_suffix(".timeindex")
    times.write_bytes(struct.pack(">qI", 1000, 5))
    assert [(entry["offset"], entry["position"]) for entry in entries(index)] == [(105, 1024), (109, 2048)]
    assert [(entry["timestamp"], entry["offset"]) for entry in entries(times)] == [(1000, 105)]


def test_index_that_is_cut_is_said(tmp_path: Path) -> None:
    index = tmp_path / "00000000000000000000.index"
    index.write_bytes(struct.pack(">III", 5, 1024, 9))
    assert "position 8: an entry that is cut short" in dump(index, status=1).err


def test_aborted_transactions_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "00000000000000000000.txnindex"
    path.write_bytes(encode_transactions([AbortedTransaction(7, 10, 20, 15)]))
    (entry,) = entries(path)
    del entry["file"]
    assert entry == {
        "kind": "aborted",
        "producer_id": 7,
        "first_offset": 10,
        "last_offset": 20,
        "last_stable_offset": 15,
    }
    path.write_bytes(path.read_bytes()[:-1])
    assert "cut short" in dump(path, status=1).err


def test_producers_are_shown(tmp_path: Path) -> None:
    states = ProducerStates(tmp_path_name(tmp_path))
    for header, batch in iter_batches(ONE):
        states.update_from_batch(header, batch)
    path = tmp_path / "00000000000000000002.snapshot"
    path.write_bytes(states.encode())
    (entry,) = entries(path)
    assert (entry["producer_id"], entry["epoch"], entry["last_sequence"], entry["current_txn_first_offset"]) == (
        7,
        1,
        6,
        0,
    )
    path.write_bytes(b"\0")
    assert "not a snapshot" in dump(path, status=1).err


def tmp_path_name(path: Path) -> TopicPartition:
    return TopicPartition(path.name, 0)


def test_checkpoints_are_shown_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "leader-epoch-checkpoint").write_text("0\n1\n3 100\n")
    (tmp_path / "partition.metadata").write_text("version: 0\ntopic_id: x")
    assert dump(tmp_path).out.splitlines() == [
        str(tmp_path / "leader-epoch-checkpoint"),
        "  0",
        "  1",
        "  3 100",
        str(tmp_path / "partition.metadata"),
        "  version: 0",
        "  topic_id: x",
    ]


def test_file_that_is_none_of_a_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.touch()
    assert "is no file of a log" in dump(path, status=1).err
    assert dump(tmp_path / "nope", status=1).err.endswith("nope: No such file or directory\n")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_folder_of_a_broker_is_shown_with_its_internal_topics_decoded(tmp_path: Path) -> None:
    async with (
        running(tmp_path, transaction_state_log_num_partitions="1") as broker,
        Client(broker.bootstrap, settings=QUICK) as client,
    ):
        await create(client, "t")
        async with Producer(client, is_idempotent=True) as producer:
            await producer.send("t", b"value")
        await groups.commit_offsets(client, "g", {TopicPartition("t", 0): groups.CommittedOffset(1)})
        question = Question.of(InitProducerIdRequest("id", 60_000))
        await client.ask_coordinator(
            CoordinatorType.TRANSACTION, "id", question, lambda answer: check(answer.error_code)
        )
    shown = [entry for entry in entries(tmp_path, "-r") if entry["kind"] == "record"]
    by_folder = {Path(str(entry["file"])).parent.name: entry for entry in shown}
    assert by_folder["t-0"]["value"] == "value"
    committed = by_folder["__consumer_offsets-0"]
    assert committed["key"] == {"type": "OffsetCommitKey", "group": "g", "topic": "t", "partition": 0}
    assert isinstance(committed["value"], dict)
    assert committed["value"]["offset"] == 1
    transaction = by_folder["__transaction_state-0"]
    assert transaction["key"] == {"type": "TransactionLogKey", "transactional_id": "id"}
    moved = tmp_path / "moved" / SEGMENT
    moved.parent.mkdir()
    (tmp_path / "__consumer_offsets-0" / SEGMENT).rename(moved)
    assert all("type" not in str(entry["key"]) for entry in entries(moved, "-r") if entry["kind"] == "record")
    assert any(entry.get("key") == committed["key"] for entry in entries(moved, "--offsets-decoder"))


def metadata_segment(folder: Path, name: str, file: str = SEGMENT) -> Path:
    """What a controller's log may hold: control records, metadata, credentials, and a record of a later version."""
    later = b"\x01\x7f\x00" + SECRET.encode()
    leader = codec.encode_bytes(LeaderChangeMessage(leader_id=7), 0)
    path = segment(
        folder,
        control_batch(2, leader),
        control_batch(9, b"\0\0"),
        build_batch(
            [
                Record(value=metadata_value(TopicRecord(name="t", topic_id=bytes(16)))),
                Record(value=metadata_value(CREDENTIAL)),
                Record(value=metadata_value(SENSITIVE)),
                Record(value=later),
                Record(value=None),
            ]
        ),
        name=name,
    )
    return path.rename(path.with_name(file))


def control_batch(type_: int, value: bytes) -> bytes:
    batch = build_batch([Record(key=struct.pack(">hh", 0, type_), value=value)])
    struct.pack_into(">H", batch, 21, 0x20)  # attributes
    struct.pack_into(">I", batch, 17, batch_crc(batch))
    return bytes(batch)


PLACES = [("__cluster_metadata-0", SEGMENT), ("data", "bootstrap.checkpoint"), ("moved", SEGMENT), ("data-4", "a.log")]


@pytest.mark.parametrize(("folder", "file"), PLACES)
def test_log_of_controllers_is_decoded_and_its_secrets_are_hidden(tmp_path: Path, folder: str, file: str) -> None:
    path = metadata_segment(tmp_path, folder, file)
    shown = dump(path, "-r").out
    assert SECRET not in shown
    records = [entry for entry in entries(path, "-r") if entry["kind"] == "record"]
    assert [record["control"] for record in records[:2]] == ["leader change", "other"]
    assert records[0]["leader_id"] == 7
    topic, credential, config, later, null = (record["value"] for record in records[2:])
    assert topic == {"type": "TopicRecord", "version": 0, "name": "t", "topic_id": "A" * 22}
    assert isinstance(credential, dict)
    assert (credential["name"], credential["salt"], credential["stored_key"], credential["server_key"]) == (
        "alice",
        *["(hidden)"] * 3,
    )
    assert isinstance(config, dict)
    assert (config["name"], config["value"]) == ("ssl.key.password", "(hidden)")
    assert later == {"unknown": "(15 bytes, hidden)"}
    assert null is None


@pytest.mark.parametrize(("folder", "file"), PLACES)
def test_secrets_of_controllers_are_hidden_in_trees_of_their_files(
    tmp_path: Path, folder: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = metadata_segment(tmp_path, folder, file)
    for option in ("--expand", "--json"):
        main(["decode", option, str(path)])
        shown = capsys.readouterr().out
        assert "UserScramCredentialRecord" in shown
        assert SECRET not in shown
        assert SECRET.encode().hex() not in shown


@pytest.mark.parametrize("first", [CREDENTIAL, TopicRecord(name="t")], ids=["credential", "topic"])
def test_log_of_controllers_is_known_by_its_first_record(tmp_path: Path, first: object) -> None:
    batches = [build_batch([Record(value=metadata_value(record))]) for record in (first, CREDENTIAL)]
    assert SECRET not in dump(segment(tmp_path, *batches, name="moved"), "-r").out


@pytest.mark.parametrize("first", [b"", b"\1", b"\1\2\0", b"\1\2\0\2t", metadata_value(TopicRecord(name="t")) + b"!"])
def test_records_of_others_are_shown_as_they_are(tmp_path: Path, first: bytes) -> None:
    path = segment(tmp_path, build_batch([Record(value=first), Record(value=b"x")]), name="moved")
    assert [entry["value"] for entry in entries(path, "-r") if entry["kind"] == "record"] == [first.decode(), "x"]


def test_decoder_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    batch = build_batch([Record(value=b"none of these"), Record(value=metadata_value(CREDENTIAL))])
    path = segment(tmp_path, batch, name="moved")
    assert SECRET in dump(path, "-r").out
    assert SECRET not in dump(path, "--cluster-metadata-decoder").out


@pytest.mark.parametrize("ending", ["0", "0.0f5a-delete", "0.0f5a-future", "0.0f5a-stray"])
def test_internal_topic_is_known_by_the_names_of_its_folder(tmp_path: Path, ending: str) -> None:
    key = struct.pack(">h", 0) + codec.encode_bytes(TransactionLogKey(transactional_id="id"), 0)
    path = segment(tmp_path, build_batch([Record(key=key, value=None)]), name=f"__transaction_state-{ending}")
    assert [entry["key"] for entry in entries(path, "-r") if entry["kind"] == "record"] == [
        {"type": "TransactionLogKey", "transactional_id": "id"}
    ]


def test_two_decoders_are_refused(tmp_path: Path) -> None:
    done = dump(segment(tmp_path, ONE), "--offsets-decoder", "--share-group-state-decoder", status=2)
    assert "exclude each other" in done.err


def test_records_of_internal_topics_that_are_not_known_are_shown_as_they_are(tmp_path: Path) -> None:
    unknown = build_batch([Record(key=b"\x7f\xff", value=b"x"), Record(key=None, value=b"y")])
    path = segment(tmp_path, unknown, name="__consumer_offsets-0")
    values = [entry["value"] for entry in entries(path, "-r") if entry["kind"] == "record"]
    assert values == ["x", "y"]
