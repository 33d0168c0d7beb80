"""The commands as people call them."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import DEADLINE_S
from tests.wire.study.golden import golden_frames
from wire import codec
from wire.catalog import APIS
from wire.frame import encode_response
from wire.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from wire.messages.log_records import GroupMetadataKey
from wire.messages.metadata import MetadataResponse, MetadataResponseTopic
from wire.records import Record, build_batch
from wire.study.commands import main, run
from wire.study.exchanges import UNKNOWN, Direction, TracedFrame, teaches_topics
from wire.study.pcapng import PcapngWriter
from wire.study.trace import MAGIC, Lost, encode

METADATA = next(frame for frame in golden_frames() if frame.api_key == 3 and frame.api_version == 9)


def out_of(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(list(arguments)) == status
    return capsys.readouterr().out


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "app.trace"
    path.write_bytes(MAGIC + b"".join(map(encode, golden_frames()[:20])) + encode(Lost(0, 3)))
    return path


def test_describe_and_diff_print_json(capsys: pytest.CaptureFixture[str]) -> None:
    described = json.loads(out_of(capsys, "describe", "Fetch", "--json"))
    assert described["messages"][0]["fields"][0]["name"] == "cluster_id"
    changes = json.loads(out_of(capsys, "diff", "Fetch", "12", "13", "--json"))
    assert changes[0]["changes"][0] == {
        "sign": "-",
        "path": "topics.topic",
        "what": "string",
        "about": "until version 12; later the topic id says which topic",
    }


def test_decode_shows_a_request_with_and_without_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    plain = out_of(capsys, "decode", METADATA.data.hex())
    assert plain.startswith(f"Metadata v9 request  {len(METADATA.data)} bytes\n")
    size = len(METADATA.data).to_bytes(4, "big")
    sized = out_of(capsys, "decode", (size + METADATA.data).hex(" "))
    assert "size: int32" in sized
    both = out_of(capsys, "decode", (2 * (size + METADATA.data)).hex())
    assert both.count("Metadata v9 request") == 2


def test_decode_of_an_answer_is_told_what_it_answers(capsys: pytest.CaptureFixture[str]) -> None:
    answer = golden_frames()[golden_frames().index(METADATA) + 1]
    shown = out_of(capsys, "decode", "--response", "Metadata", "9", answer.data.hex())
    assert "MetadataResponse v9" in shown


def test_decode_of_wrong_bytes_shows_where_and_why_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    shown = out_of(capsys, "decode", METADATA.data[:-3].hex(), status=1)
    assert "<-- " in shown


def test_request_that_is_not_known_is_said_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    shown = out_of(capsys, "decode", "00010063000000010000", status=1)
    assert "no request that we know: Fetch has no version 99" in shown
    assert "no request that we know; it" in out_of(capsys, "decode", "7fff0000000000010000", status=1)


def test_codec_is_found_by_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert out_of(capsys, "codec", "1", "13") == out_of(capsys, "codec", "Fetch", "13")


def test_frame_that_is_not_there_is_said(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["decode", str(trace), "--frame", "21"])
    assert "there is no frame 21: there are 20" in capsys.readouterr().err


def test_decode_reads_hexadecimal_text_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "frame.txt"
    path.write_text(METADATA.data.hex(" ") + "\n")
    assert "Metadata v9 request" in out_of(capsys, "decode", str(path))


def test_decode_of_a_trace_shows_frames_and_what_is_missing(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = out_of(capsys, "decode", str(trace), "--summary").splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("3 frames were not recorded")
    one = out_of(capsys, "decode", str(trace), "--frame", "2", "--json").splitlines()
    assert [json.loads(line)["number"] for line in one if "tree" in line] == [2]


def test_frame_that_is_asked_for_is_the_last_one_that_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "app.trace"
    whole = MAGIC + b"".join(map(encode, golden_frames()[:3]))
    path.write_bytes(whole + b"\xff" * 20)  # no record
    assert "#" in out_of(capsys, "decode", str(path), "--frame", "3")
    assert main(["decode", str(path), "--summary"]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 3
    assert shown.err == "python -m wire: a record of 4294967295 bytes\n"


def test_trees_are_shown_of_the_apis_that_were_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "app.trace"
    frames = [frame for key in (3, 1) for frame in golden_frames() if frame.api_key == key][:10]
    frames += [frame for frame in golden_frames() if frame.api_key == 12][:10]
    trace.write_bytes(MAGIC + b"".join(map(encode, frames)))
    lines = out_of(capsys, "decode", str(trace), "--tree", "Metadata").splitlines()
    assert {line.split(" = ")[1] for line in lines if "api_key: int16" in line} == {"3  Metadata"}
    assert len([line for line in lines if " > " in line or " < " in line]) == 20
    every = out_of(capsys, "decode", str(trace), "--tree", "all")
    assert every == out_of(capsys, "decode", str(trace))


def test_topics_are_known_by_frames_that_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topic_id = bytes(range(16))
    metadata = MetadataResponse(topics=[MetadataResponseTopic(name="__consumer_offsets", topic_id=topic_id)])
    key = b"\0\2" + codec.encode_bytes(GroupMetadataKey(group="g"), 0)
    records = bytes(build_batch([Record(key=key)]))
    fetched = FetchResponse(
        responses=[FetchableTopicResponse(topic_id=topic_id, partitions=[PartitionData(records=records)])]
    )
    frames = []
    for api_key, version, message in ((3, 12, metadata), (1, 13, fetched)):
        data = b"".join(map(bytes, encode_response(api_key, version, 1, message)))[4:]  # type: ignore[arg-type]
        frames.append(TracedFrame(0, "c", "p", Direction.RESPONSE, api_key, version, data))
    path = tmp_path / "app.trace"
    path.write_bytes(MAGIC + b"".join(map(encode, frames)))
    for options in (("--api", "Fetch"), ("--frame", "2")):
        assert "GroupMetadata" in out_of(capsys, "decode", str(path), *options)


def test_frames_that_teach_topics_are_those_that_have_names_and_ids() -> None:
    taught = [(api.name, direction.name) for api in APIS for direction in Direction for version in [api.max_version]
              if teaches_topics(direction, api.key, version)]  # fmt: skip
    assert taught == [
        ("Metadata", "REQUEST"),
        ("Metadata", "RESPONSE"),
        ("CreateTopics", "RESPONSE"),
        ("DeleteTopics", "REQUEST"),
        ("DeleteTopics", "RESPONSE"),
        ("ConsumerGroupDescribe", "RESPONSE"),
        ("DescribeTopicPartitions", "RESPONSE"),
        ("ShareGroupDescribe", "RESPONSE"),
        ("DescribeShareGroupOffsets", "RESPONSE"),
        ("AlterShareGroupOffsets", "RESPONSE"),
        ("DeleteShareGroupOffsets", "RESPONSE"),
    ]
    assert not teaches_topics(Direction.RESPONSE, 3, 9)
    assert not teaches_topics(Direction.RESPONSE, UNKNOWN, UNKNOWN)


@contextlib.contextmanager
def decoding(*arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "wire", "decode", *arguments, "--summary"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()  # where it has not ended


@pytest.mark.parametrize("is_capture", [False, True], ids=["trace", "capture"])
def test_frames_are_shown_while_they_come_through_a_pipe(is_capture: bool) -> None:
    writer = PcapngWriter()
    with decoding("-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(writer.header() if is_capture else MAGIC)
        for number, frame in enumerate(golden_frames()[:5], 1):
            process.stdin.write(writer.frame(frame) if is_capture else encode(frame))
            process.stdin.flush()
            assert process.stdout.readline().split()[0] == b"%d" % number
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(DEADLINE_S) == 0


def test_trace_that_grows_is_followed(trace: Path) -> None:
    with decoding(str(trace), "--follow") as process:
        assert process.stdout is not None
        for _ in range(21):
            assert process.stdout.readline()
        for frame in golden_frames()[20:22]:
            with trace.open("ab") as file:
                file.write(encode(frame))
            assert b" > " in process.stdout.readline() or frame.direction is Direction.RESPONSE
        assert process.poll() is None


def test_text_that_the_terminal_cannot_show_is_escaped() -> None:
    command = [sys.executable, "-m", "wire", "decode", "000c000000000007000667 72 c3bc c39f 0001670000000100016d"]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=True, env=env)
    assert rb"'gr\xfc\xdf'" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("words", [["decode", "-", "--summary"], ["describe", "Heartbeat"]], ids=" ".join)
def test_reader_that_leaves_ends_a_command_without_a_complaint(words: list[str], trace: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "wire", *words],
        input=trace.read_bytes(),
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=DEADLINE_S,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_interrupt_ends_a_command_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(parsed: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    parser = argparse.ArgumentParser()
    parser.set_defaults(run=interrupted)
    assert run(parser, []) == 130
    assert capsys.readouterr().err == ""


def test_trace_and_the_capture_made_from_it_show_the_same(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = tmp_path / "app.pcapng"
    out_of(capsys, "pcapng", str(trace), str(capture))
    of_trace = out_of(capsys, "decode", str(trace), "--summary").splitlines()[:-1]
    assert out_of(capsys, "decode", str(capture), "--summary").splitlines() == of_trace


def test_decode_shows_only_the_apis_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "all.pcapng"
    writer = PcapngWriter()
    frames = [frame for frame in golden_frames() if frame.api_key in (3, 16)]
    path.write_bytes(writer.header() + b"".join(map(writer.frame, frames)))
    lines = out_of(capsys, "decode", str(path), "--summary", "--api", "ListGroups").splitlines()
    of_api = [frame for frame in frames if frame.api_key == 16]
    assert len(lines) == len(of_api)
    assert {frame.direction for frame in of_api} == set(Direction)


def test_decode_of_a_segment_shows_its_batches_and_offsets_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "__consumer_offsets-7"
    folder.mkdir()
    key, value = b"\0\1\0\1g\0\1t\0\0\0\5", b"\0\1" + (42).to_bytes(8, "big") + b"\0\0" + bytes(16)
    first = build_batch([Record(key=key, value=value)])
    second = build_batch([Record(key=key, value=None)], base_offset=1)
    segment = folder / "00000000000000000000.log"
    segment.write_bytes(first + second)
    shown = out_of(capsys, "decode", str(segment))
    assert "offset: int64 = 42" in shown
    assert "deletes the key" in shown
    assert f"{len(first):>7}  0000000000000001  " in shown
    segment.write_bytes(first + second[:20])
    assert "the start of a batch" in out_of(capsys, "decode", str(segment))


def test_decode_of_the_files_beside_a_segment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = tmp_path / "00000000000000000000.index"
    index.write_bytes(b"\0\0\0\5\0\0\1\0" + bytes(16))
    shown = out_of(capsys, "decode", str(index))
    assert "relative_offset: uint32 = 5" in shown
    assert "unused" in shown
    times = tmp_path / "00000000000000000000.timeindex"
    times.write_bytes((1_700_000_000_000).to_bytes(8, "big") + b"\0\0\0\5")
    assert "2023-11-14 22:13:20.000 UTC" in out_of(capsys, "decode", str(times))
    aborted = tmp_path / "00000000000000000000.txnindex"
    aborted.write_bytes(b"\0\0" + b"".join(number.to_bytes(8, "big") for number in (9, 1, 2, 3)))
    assert "producer_id: int64 = 9" in out_of(capsys, "decode", str(aborted))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("leader-epoch-checkpoint", "0\n0\n", "is text, to be read as it is"),
        ("notes.txt", "words", "is neither a file that is understood nor hexadecimal text"),
    ],
)
def test_file_that_is_nothing_to_be_decoded_is_said(
    name: str, text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SystemExit):
        main(["decode", str(path)])
    assert f"{path} {complaint}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["describe", "Fetsch"], "no API or message is called Fetsch"),
        (["describe", "Fetch", "99"], "FetchRequest has no version 99"),
        (["diff", "Fetch", "1", "99"], "Fetch has no version 1"),
        (["decode", "no hex"], "'no hex' is neither a file nor hexadecimal text"),
        (["decode", "--response", "Fetch", "x", "00"], "x is no version"),
        (["decode", "--response", "Fetch", "99", "00"], "Fetch has no version 99"),
        (["codec", "Fetsch", "1"], "no API is called Fetsch"),
        (["codec", "1", "99"], "FetchRequest has no version 99"),
        (["pcapng", "/no/such/file", "/no/such/target"], "/no/such/file: No such file"),
    ],
)
def test_wrong_arguments_exit_with_one_complaint(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err
