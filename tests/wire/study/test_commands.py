"""The commands as people call them."""

import json
from pathlib import Path

import pytest

from tests.wire.study.golden import golden_frames
from wire.records import Record, build_batch
from wire.study.commands import main
from wire.study.exchanges import Direction
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
    ("arguments", "complaint"),
    [
        (["describe", "Fetsch"], "no API or message is called Fetsch"),
        (["describe", "Fetch", "99"], "FetchRequest has no version 99"),
        (["diff", "Fetch", "1", "99"], "Fetch has no version 1"),
        (["decode", "no hex"], "neither a file that is understood nor hexadecimal text"),
        (["decode", "--response", "Fetch", "x", "00"], "x is no version"),
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
