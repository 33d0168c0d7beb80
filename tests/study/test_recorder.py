"""What a recorder writes: every frame as it was, in whatever pieces; nothing that fails or blocks holds anybody up."""

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pykbroker.log.files import FilePool, FileSlice, LogFile
from pykbroker.study.frames import FrameKind, Frames
from pykbroker.study.recorder import CHUNK_BYTES, Recorder, Sink, record
from pykbroker.study.trace_file import MIN_LIMIT_BYTES, TraceFile
from pykbroker.study.tracing import Tracing
from tests.study.test_tracing import fetch, make_topic, produce
from tests.support.client import Client
from tests.support.running import BACKENDS, DEADLINE_S, running
from wire.messages.metadata import MetadataRequest
from wire.study.exchanges import Direction, TracedFrame
from wire.study.trace import MAGIC, Lost, Source, TraceDecoder

SOURCE = Source("c", "p")
FETCHED = FrameKind(Direction.RESPONSE, 1, 11)
RECORD_BYTES = SOURCE.head_bytes  # besides the frame


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def frame(size: int = 10, number: int = 0) -> TracedFrame:
    return TracedFrame(number, "c", "p", Direction.REQUEST, 3, 9, bytes([number % 256]) * size)


def frames_in(path: Path) -> list[TracedFrame]:
    events = TraceDecoder().feed(path.read_bytes())
    assert not [event for event in events if isinstance(event, Lost)]
    return [event for event in events if isinstance(event, TracedFrame)]


class Memory(Sink):
    """Takes bytes when it is allowed to."""

    max_chunks = 2

    def __init__(self) -> None:
        self.go = threading.Event()
        self.started = threading.Event()
        self.closed = threading.Event()
        self.written = bytearray()

    def write(self, data: memoryview, *, is_behind: bool) -> None:
        self.started.set()
        self.go.wait()
        self.written += data

    def close(self) -> None:
        self.closed.set()

    def counts(self) -> list[int]:
        """1 for a frame that is there, and how many are missing where some are."""
        events = TraceDecoder().feed(bytes(self.written))
        return [event.count if isinstance(event, Lost) else 1 for event in events]


def test_recorder_that_is_too_slow_says_how_many_it_lost_and_where() -> None:
    sink = Memory()
    frames = Frames()
    with record(frames, sink):
        for number in range(2):
            frames.publish(frame(CHUNK_BYTES * 3 // 4, number))
        sink.started.wait()  # from here on the thread is busy with the first chunk
        for number in range(4):
            frames.publish(frame(CHUNK_BYTES * 3 // 4, number))
        frames.publish(frame())  # there is room for that one
        sink.go.set()
    assert sink.counts() == [1, 1, 4, 1]
    assert sink.written.startswith(MAGIC)


def test_only_frame_is_recorded_whatever_its_size() -> None:
    sink = Memory()
    sink.go.set()
    frames = Frames()
    with record(frames, sink):
        frames.publish(frame(5 * CHUNK_BYTES))
    assert sink.counts() == [1]
    assert len(sink.written) == len(MAGIC) + RECORD_BYTES + 5 * CHUNK_BYTES


class Full(Memory):
    def write(self, data: memoryview, *, is_behind: bool) -> None:
        raise OSError(28, "No space left on device")


def test_recorder_whose_disk_is_full_gives_up_with_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    frames, sink = Frames(), Full()
    with caplog.at_level(logging.ERROR, "pykbroker.study"), record(frames, sink):
        frames.publish(frame())
        assert sink.closed.wait(DEADLINE_S)
        assert frames.is_wanted
        frames.publish(frame(2 * CHUNK_BYTES))
        assert not frames.is_wanted  # nobody pays for it any more
    assert [line.message for line in caplog.records] == ["the trace ends here: [Errno 28] No space left on device"]


def test_sink_that_takes_nothing_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    frames, sink = Frames(), Memory()
    with caplog.at_level(logging.ERROR, "pykbroker.study"), record(frames, sink, close_s=0):
        frames.publish(frame())
        sink.started.wait()
    assert [line.message for line in caplog.records] == [
        "the end of the trace is missing: writing it takes longer than 0 s"
    ]
    sink.go.set()
    assert sink.closed.wait(DEADLINE_S)


NOBODY_READS = """
import os
from pathlib import Path
from pykbroker.study.frames import Frames
from pykbroker.study.recorder import record
from pykbroker.study.trace_file import TraceFile
from wire.study.exchanges import Direction, TracedFrame

_, writing = os.pipe()
frames = Frames()
with record(frames, TraceFile(Path(f"/dev/fd/{writing}")), close_s=0):
    frames.publish(TracedFrame(0, "c", "p", Direction.REQUEST, 3, 9, bytes(10_000_000)))
"""


def test_blocked_pipe_does_not_keep_the_process_alive() -> None:
    done = subprocess.run([sys.executable, "-c", NOBODY_READS], timeout=DEADLINE_S, capture_output=True, check=True)
    assert done.stderr.startswith(b"the end of the trace is missing")


# Files


def test_records_run_across_the_ends_of_chunks(tmp_path: Path) -> None:
    """Sizes around the room that is left, so that heads, frames and both are cut."""
    path = tmp_path / "broker.trace"
    sizes = [size for less in range(RECORD_BYTES + 3) for size in (CHUNK_BYTES - less - RECORD_BYTES, 0, less)]
    frames = Frames()
    with record(frames, TraceFile(path)) as recorder:
        for number, size in enumerate(sizes):
            frames.publish(frame(size, number))
            if number % 20 == 0:
                until_written(recorder)
    assert frames_in(path) == [frame(size, number) for number, size in enumerate(sizes)]


def until_written(recorder: Recorder) -> None:
    while recorder._full:
        pass


def test_fifo_takes_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    frames = Frames()
    with record(frames, TraceFile(path)):
        for number in range(3):
            frames.publish(frame(CHUNK_BYTES, number))
    reader.join()
    assert TraceDecoder().feed(got[0]) == [frame(CHUNK_BYTES, number) for number in range(3)]


def test_file_with_a_limit_keeps_the_newest_frames(tmp_path: Path) -> None:
    path = tmp_path / "broker.trace"
    older = Path(f"{path}.1")
    older.write_bytes(b"of another trace")
    frames = Frames()
    with record(frames, TraceFile(path, 2 * MIN_LIMIT_BYTES)) as recorder:
        assert not older.exists()
        for number in range(100):
            frames.publish(frame(CHUNK_BYTES // 4, number))
            until_written(recorder)
    assert sorted(tmp_path.iterdir()) == [path, older]
    assert path.stat().st_size <= MIN_LIMIT_BYTES >= older.stat().st_size > MIN_LIMIT_BYTES // 2
    numbers = [frame.time_us for frame in frames_in(older) + frames_in(path)]
    assert numbers == list(range(numbers[0], 100))
    assert len(numbers) > 7


def test_frame_larger_than_the_limit_is_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "broker.trace"
    frames = Frames()
    with record(frames, TraceFile(path, MIN_LIMIT_BYTES)):
        frames.publish(frame(2 * MIN_LIMIT_BYTES, 1))
        frames.publish(frame(10, 2))
    assert frames_in(Path(f"{path}.1")) == [frame(2 * MIN_LIMIT_BYTES, 1)]
    assert frames_in(path) == [frame(10, 2)]


def test_what_cannot_have_a_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="less than"):
        TraceFile(tmp_path / "broker.trace", MIN_LIMIT_BYTES - 1)
    with pytest.raises(ValueError, match="only a file"):
        TraceFile(Path(os.devnull), MIN_LIMIT_BYTES)


# Slices of files


@contextlib.contextmanager
def segment(path: Path, content: bytes) -> Iterator[LogFile]:
    file = LogFile(str(path / "segment"), FilePool(1))
    file.write_at(0, content)
    yield file
    file.close()


def test_slices_are_read_to_their_places(tmp_path: Path) -> None:
    """Neighbours, some that are none, and such as do not fit into a chunk."""
    path = tmp_path / "broker.trace"
    content = os.urandom(CHUNK_BYTES)
    cuts = [(0, 1000), (1000, 5000), (6000, 1), (6001, 100_000), (50, 70), (120, CHUNK_BYTES - 120), (0, CHUNK_BYTES)]
    frames = Frames()
    with segment(tmp_path, content) as file, record(frames, TraceFile(path)):
        for number, (position, length) in enumerate(cuts):
            piece = FileSlice(file.open(), position, length)
            frames.offer(SOURCE, number, FETCHED, b"head", [b"more", piece, piece, b"end"])
    assert [frame.data for frame in frames_in(path)] == [
        b"headmore" + 2 * content[position : position + length] + b"end" for position, length in cuts
    ]


def test_slice_whose_file_became_shorter_is_filled_up(tmp_path: Path) -> None:
    path = tmp_path / "broker.trace"
    frames, sink = Frames(), TraceFile(path)
    with segment(tmp_path, b"abcdef") as file:
        file.truncate(4)
        pieces = [FileSlice(file.open(), 0, 3), b"-", FileSlice(file.open(), 3, 3), b"end"]
        with record(frames, sink):
            frames.offer(SOURCE, 0, FETCHED, b"head", pieces)
            frames.publish(frame())
    first, second = frames_in(path)
    assert first.data == b"headabc-d\0\0end"
    assert second == frame()


# Of a broker


@pytest.mark.anyio
async def test_large_requests_are_recorded_as_the_client_sent_them(tmp_path: Path) -> None:
    """Their memory is used again by the connection, and the broker stamps offsets into batches."""
    path = tmp_path / "broker.trace"
    values = [bytes([number]) * (200_000 + number) for number in range(1, 101)]
    async with running(tmp_path / "data") as broker, Client.connect(broker) as client:
        await make_topic(client)
        with record(Tracing(broker).frames, TraceFile(path)):
            for value in values:
                assert not (await client.ask(produce(value), 9)).responses[0].partition_responses[0].error_code
    asked = [frame for frame in frames_in(path) if frame.direction is Direction.REQUEST]
    assert len(asked) == len(values)
    assert all(value in frame.data for value, frame in zip(values, asked, strict=True))
    offsets = {node.value for frame in asked for node in frame.tree().walk_all() if node.name == "base_offset"}
    assert offsets == {0}


@pytest.mark.anyio
async def test_answer_larger_than_a_chunk_is_recorded_whole(tmp_path: Path) -> None:
    path = tmp_path / "broker.trace"
    value = bytes(range(256)) * 12_000
    async with running(tmp_path / "data") as broker, Client.connect(broker) as client:
        await make_topic(client)
        for _ in range(2):
            await client.ask(produce(value), 9)
        with record(Tracing(broker).frames, TraceFile(path)):
            answer = await client.ask(fetch(max_bytes=16 << 20), 11)
            await client.ask(MetadataRequest(), 9)
    records = bytes(answer.responses[0].partitions[0].records)
    assert records.count(value) == 2
    frames = frames_in(path)
    assert [frame.api_key for frame in frames] == [1, 1, 3, 3]
    assert records in frames[1].data
    assert not list(frames[1].tree().errors())
