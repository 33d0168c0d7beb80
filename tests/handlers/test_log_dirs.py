"""Several log directories: where replicas lie, how they move while they are used, and what an error in one means."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from pykbroker.cluster.image import PartitionImage, TopicImage
from pykbroker.errors import KafkaError
from tests.handlers.rig import ANOTHER_BROKER, TOPIC_ID, HandlerRig, topic
from wire.errors import ErrorCode
from wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from wire.messages.placement import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirTopic,
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
)
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.records import Record, build_batch, iter_batches, read_records

FILE_DELETE_DELAY_MS = 60_000


def start(tmp_path: Path, **properties: str) -> HandlerRig:
    folders = f"{tmp_path / 'a'},{tmp_path / 'b'}"
    return HandlerRig(
        tmp_path, {"log.dirs": folders} | {name.replace("_", "."): value for name, value in properties.items()}
    )


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[HandlerRig]:
    rig = start(tmp_path)
    rig.set_topics(topic("t", TOPIC_ID, 2))
    yield rig
    rig.close()


def produce(rig: HandlerRig, *values: bytes, partition: int = 0) -> ErrorCode:
    batch = bytes(build_batch([Record(timestamp=rig.clock.time_ms(), value=value) for value in values]))
    request = ProduceRequest(
        acks=1,
        timeout_ms=1000,
        topic_data=[TopicProduceData(name="t", partition_data=[PartitionProduceData(index=partition, records=batch)])],
    )
    return ErrorCode(rig.call(request, 9).responses[0].partition_responses[0].error_code)


def fetch(rig: HandlerRig, partition: int = 0) -> tuple[ErrorCode, list[bytes | None]]:
    wanted = FetchPartition(partition=partition, fetch_offset=0, partition_max_bytes=1 << 20)
    answer = rig.call(FetchRequest(max_bytes=1 << 20, topics=[FetchTopic(topic="t", partitions=[wanted])]), 12)
    (found,) = answer.responses[0].partitions
    batches = iter_batches(bytes(found.records or b""))
    return ErrorCode(found.error_code), [record.value for _, batch in batches for record in read_records(batch)]


def describe(rig: HandlerRig, version: int = 5, topics: list[DescribableLogDirTopic] | None = None) -> dict[str, Any]:
    answer = rig.call(DescribeLogDirsRequest(topics=topics), version)
    return {Path(result.log_dir).name: result for result in answer.results}


def places(rig: HandlerRig) -> dict[str, list[tuple[int, bool]]]:
    """Directory → partition and whether it is a copy."""
    return {
        name: [(each.partition_index, each.is_future_key) for one in result.topics for each in one.partitions]
        for name, result in describe(rig).items()
    }


def move(rig: HandlerRig, path: Path | str, partition: int = 0, name: str = "t", version: int = 2) -> ErrorCode:
    wanted = AlterReplicaLogDir(path=str(path), topics=[AlterReplicaLogDirTopic(name=name, partitions=[partition])])
    answer = rig.call(AlterReplicaLogDirsRequest(dirs=[wanted]), version)
    return ErrorCode(answer.results[0].partitions[0].error_code)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_directories_are_described_with_their_replicas(rig: HandlerRig, version: int, tmp_path: Path) -> None:
    assert produce(rig, b"v") is ErrorCode.NONE
    found = describe(rig, version)
    assert [result.log_dir for result in found.values()] == [str(tmp_path / "a"), str(tmp_path / "b")]
    (first,) = found["a"].topics[0].partitions
    (second,) = found["b"].topics[0].partitions
    assert (first.partition_index, first.offset_lag, first.is_future_key) == (0, 0, False)
    assert first.partition_size == rig.replicas.partition("t", 0).log.size_bytes > 0
    assert (second.partition_index, second.partition_size) == (1, 0)
    assert (found["a"].total_bytes > found["a"].usable_bytes > 0) == (version >= 4)


def test_only_what_was_asked_for_is_described(rig: HandlerRig) -> None:
    found = describe(rig, topics=[DescribableLogDirTopic(topic="t", partitions=[1, 7])])
    assert found["a"].topics == []
    assert [each.partition_index for each in found["b"].topics[0].partitions] == [1]


def test_new_partitions_avoid_cordoned_directories(tmp_path: Path) -> None:
    rig = start(tmp_path, cordoned_log_dirs=str(tmp_path / "a"))
    rig.set_topics(topic("t", TOPIC_ID, 3))
    assert places(rig) == {"a": [], "b": [(0, False), (1, False), (2, False)]}
    assert [result.is_cordoned for result in describe(rig).values()] == [True, False]
    assert move(rig, tmp_path / "a") is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    rig.close()


@pytest.mark.parametrize("version", [1, 2])
def test_replica_moves_while_it_is_used(rig: HandlerRig, tmp_path: Path, version: int) -> None:
    for number in range(5):
        produce(rig, b"%d" % number)
    partition = rig.replicas.partition("t", 0)
    assert move(rig, tmp_path / "b", version=version) is ErrorCode.NONE
    produce(rig, b"meanwhile")
    assert places(rig) == {"a": [(0, False)], "b": [(1, False), (0, True)]}
    assert describe(rig)["b"].topics[0].partitions[1].offset_lag == 6
    rig.clock.advance(10)
    assert places(rig) == {"a": [], "b": [(0, False), (1, False)]} or places(rig)["a"] == []
    values = [*(b"%d" % number for number in range(5)), b"meanwhile"]
    assert fetch(rig) == (ErrorCode.NONE, values)
    assert rig.replicas.partition("t", 0) is partition
    produce(rig, b"after")
    assert fetch(rig)[1] == [*values, b"after"]
    assert (tmp_path / "b" / "t-0" / "00000000000000000000.log").exists()
    assert [path.name[-7:] for path in (tmp_path / "a").glob("t-0*")] == ["-delete"]
    assert not list((tmp_path / "b").glob("*-future"))


def test_move_in_pieces_ends_with_everything(rig: HandlerRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pykbroker.log.moves.COPY_BYTES", 200)
    values = [b"%d" % number + bytes(50) for number in range(20)]
    for value in values:
        produce(rig, value)
    move(rig, tmp_path / "b")
    rig.clock.advance(3)
    assert places(rig)["b"] == [(1, False), (0, True)]
    log = rig.replicas.partition("t", 0).log
    log.advance_log_start(2)
    rig.clock.advance(100)
    assert places(rig)["a"] == []
    moved = rig.replicas.partition("t", 0).log
    assert moved is not log
    assert (moved.log_start_offset, moved.log_end_offset) == (2, 20)
    assert moved.epoch_for_offset(5) == log.epoch_for_offset(5)


def test_move_waits_while_it_is_faster_than_the_rate(
    rig: HandlerRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pykbroker.log.moves.COPY_BYTES", 200)
    for number in range(20):
        produce(rig, b"%d" % number + bytes(50))
    rig.config.apply_dynamic({"replica.alter.log.dirs.io.max.bytes.per.second": "100"}, {})
    move(rig, tmp_path / "b")
    rig.clock.advance(1000)
    lag = describe(rig)["b"].topics[0].partitions[1].offset_lag
    assert 0 < lag < 20
    rig.clock.advance(500)
    assert describe(rig)["b"].topics[0].partitions[1].offset_lag == lag
    rig.clock.advance(10_000)
    assert describe(rig)["b"].topics[0].partitions[1].offset_lag < lag
    rig.config.apply_dynamic({}, {})
    rig.clock.advance(1000)
    assert places(rig)["a"] == []


def test_log_that_is_cut_while_it_moves_is_copied_anew(
    rig: HandlerRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pykbroker.log.moves.COPY_BYTES", 200)
    for number in range(20):
        produce(rig, b"%d" % number + bytes(50))
    move(rig, tmp_path / "b")
    rig.clock.advance(30)
    log = rig.replicas.partition("t", 0).log
    assert log.log_directory.path.name == "a"
    log.truncate_to(1)
    produce(rig, b"other")
    rig.clock.advance(100)
    assert fetch(rig)[1][1] == b"other"
    assert rig.replicas.partition("t", 0).log.log_directory.path.name == "b"
    assert rig.replicas.partition("t", 0).log.log_end_offset == 2


def test_move_back_ends_the_move(rig: HandlerRig, tmp_path: Path) -> None:
    produce(rig, b"v")
    move(rig, tmp_path / "b")
    assert move(rig, tmp_path / "a") is ErrorCode.NONE
    rig.clock.advance(100)
    assert places(rig) == {"a": [(0, False)], "b": [(1, False)]}
    rig.log_dirs.directories[1].flusher.stop()
    assert not list((tmp_path / "b").glob("*-future"))


def test_move_that_a_stop_interrupted_is_finished_after_the_start(tmp_path: Path) -> None:
    rig = start(tmp_path)
    rig.set_topics(topic("t", TOPIC_ID, 2))
    produce(rig, b"v")
    move(rig, tmp_path / "b")
    rig.close()
    assert list((tmp_path / "b").glob("t-0.*-future"))
    rig = start(tmp_path)
    rig.set_topics(topic("t", TOPIC_ID, 2))
    rig.clock.advance(100)
    assert places(rig)["a"] == []
    assert rig.replicas.partition("t", 0).log.log_end_offset == 1
    rig.close()
    assert not list((tmp_path / "b").glob("*-future"))


def test_replica_that_is_there_twice_is_taken_from_where_there_is_more(tmp_path: Path) -> None:
    rig = start(tmp_path)
    rig.set_topics(topic("t", TOPIC_ID, 1))
    produce(rig, b"1")
    rig.close()
    copy = tmp_path / "b" / "t-0"
    copy.mkdir()
    for path in (tmp_path / "a" / "t-0").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    rig = start(tmp_path)
    rig.set_topics(topic("t", TOPIC_ID, 1))
    assert fetch(rig) == (ErrorCode.NONE, [b"1"])
    assert [path.name[-6:] for path in (tmp_path / "b").glob("t-0*")] == ["-stray"]
    rig.close()


@pytest.mark.parametrize(
    "known_now",
    [
        pytest.param([], id="no such topic"),
        pytest.param([topic("t", b"o" * 16, 1)], id="another topic of that name"),
        pytest.param(
            [topic("t", TOPIC_ID, 1, leader=ANOTHER_BROKER, replicas=(ANOTHER_BROKER,))], id="moved to another broker"
        ),
    ],
)
def test_log_that_the_metadata_does_not_know_at_start_is_kept_aside(
    tmp_path: Path, known_now: list[TopicImage], caplog: pytest.LogCaptureFixture
) -> None:
    rig = start(tmp_path)
    rig.set_topics(topic("t", TOPIC_ID, 1))
    produce(rig, b"precious")
    segment = tmp_path / "a" / "t-0" / "00000000000000000000.log"
    written = segment.read_bytes()
    rig.close()
    rig = start(tmp_path)
    rig.set_topics(*known_now)
    (aside,) = (tmp_path / "a").glob("t-0.*-stray")
    assert str(aside) in caplog.text
    assert all(replica.log.log_end_offset == 0 for replica in rig.replicas.partitions())
    rig.clock.advance(FILE_DELETE_DELAY_MS)
    rig.close()
    rig = start(tmp_path)  # nor is it taken for anything later
    rig.close()
    assert (aside / segment.name).read_bytes() == written


def test_moves_that_cannot_be_are_refused(rig: HandlerRig, tmp_path: Path) -> None:
    assert move(rig, tmp_path / "c") is ErrorCode.LOG_DIR_NOT_FOUND
    assert move(rig, tmp_path / "b", partition=7) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    partition = attrs.evolve(PartitionImage.created((ANOTHER_BROKER,)), leader=ANOTHER_BROKER)
    rig.set_topics(topic("t", TOPIC_ID, 2), TopicImage("elsewhere", b"e" * 16, (partition,), 2))
    assert move(rig, tmp_path / "b", name="elsewhere") is ErrorCode.REPLICA_NOT_AVAILABLE
    assert move(rig, tmp_path / "b", name="x" * 230) is ErrorCode.INVALID_TOPIC_EXCEPTION
    rig.log_dirs.directories[1].failed(OSError(errno.EIO, "input/output error"))
    assert move(rig, tmp_path / "b") is ErrorCode.KAFKA_STORAGE_ERROR
    assert move(rig, tmp_path / "a", partition=1) is ErrorCode.KAFKA_STORAGE_ERROR


def test_partition_that_is_yet_to_come_goes_where_it_was_asked_for(rig: HandlerRig, tmp_path: Path) -> None:
    assert move(rig, tmp_path / "b", name="u") is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    rig.set_topics(topic("t", TOPIC_ID, 2), topic("u", b"u" * 16, 1))
    assert (tmp_path / "b" / "u-0").is_dir()


# --- errors


def test_directory_that_fails_is_offline_and_the_others_serve_on(rig: HandlerRig) -> None:
    produce(rig, b"v")
    produce(rig, b"v", partition=1)
    rig.replicas.partition("t", 0).log.log_directory.failed(OSError(errno.EIO, "input/output error"))
    assert produce(rig, b"v") is ErrorCode.KAFKA_STORAGE_ERROR
    assert fetch(rig)[0] is ErrorCode.KAFKA_STORAGE_ERROR
    assert produce(rig, b"v", partition=1) is ErrorCode.NONE
    rig.clock.advance(1000)
    with pytest.raises(KafkaError) as raised:
        rig.replicas.partition("t", 0)
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    rig.set_topics(topic("t", TOPIC_ID, 2))  # other news of the partition do not bring it back
    assert produce(rig, b"v") is ErrorCode.KAFKA_STORAGE_ERROR
    assert fetch(rig)[0] is ErrorCode.KAFKA_STORAGE_ERROR
    assert produce(rig, b"v", partition=1) is ErrorCode.NONE
    found = describe(rig)
    assert (found["a"].error_code, found["a"].topics) == (ErrorCode.KAFKA_STORAGE_ERROR, [])
    assert found["b"].error_code == 0


def test_waiting_fetch_learns_that_the_directory_went_offline(rig: HandlerRig) -> None:
    wanted = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    request = FetchRequest(
        max_wait_ms=60_000, min_bytes=1, max_bytes=1 << 20, topics=[FetchTopic(topic="t", partitions=[wanted])]
    )
    waiting = rig.send(request, 12)
    assert waiting.response is None
    rig.replicas.partition("t", 0).log.log_directory.failed(OSError(errno.EIO, "input/output error"))
    rig.clock.advance(1000)
    assert waiting.response is not None
    assert waiting.response.responses[0].partitions[0].error_code == ErrorCode.KAFKA_STORAGE_ERROR


def test_directory_that_is_broken_at_start_stays_offline_with_its_replicas(tmp_path: Path) -> None:
    rig = start(tmp_path)
    rig.set_topics(topic("t", TOPIC_ID, 2))
    produce(rig, b"v")
    produce(rig, b"w", partition=1)
    rig.close()
    (tmp_path / "a").rename(tmp_path / "away")
    (tmp_path / "a").write_text("no directory")
    rig = start(tmp_path)
    rig.set_topics(topic("t", TOPIC_ID, 2))
    assert produce(rig, b"v") is ErrorCode.KAFKA_STORAGE_ERROR
    assert fetch(rig, 1) == (ErrorCode.NONE, [b"w"])
    assert not (tmp_path / "b" / "t-0").exists()
    rig.set_topics(topic("t", TOPIC_ID, 2), topic("new", b"n" * 16, 1))
    assert (tmp_path / "b" / "new-0").is_dir()
    rig.close()
    (tmp_path / "a").unlink()
    (tmp_path / "away").rename(tmp_path / "a")
    rig = start(tmp_path)
    rig.set_topics(topic("t", TOPIC_ID, 2), topic("new", b"n" * 16, 1))
    assert fetch(rig) == (ErrorCode.NONE, [b"v"])
    rig.close()


def test_directory_that_was_lost_is_made_anew_and_empty(tmp_path: Path) -> None:
    rig = start(tmp_path)
    rig.set_topics(topic("t", TOPIC_ID, 1))
    rig.close()
    for path in sorted((tmp_path / "b").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "b").rmdir()
    rig = start(tmp_path)
    assert (tmp_path / "b").is_dir()
    assert [result.error_code for result in describe(rig).values()] == [0, 0]
    rig.close()
