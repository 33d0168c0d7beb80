"""Read segment files as they lie on disk, by a parser that shares nothing with the broker.

Format: a segment is RecordBatches of magic 2 one after the other, each with its checksum; the file's name is the
first offset.
Rules: offsets go on without a gap from one batch to the next and from one file to the next, and a file ends where its
last batch does.
Sources: KIP-98 (record batches); kafka-dump-log, which dump() runs where java and Maven are there.
"""

from __future__ import annotations

import mmap
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from crc32c import crc32c
from support import kafka_tools
from support.frames import BATCH_HEADER

CRC_START = 21
BATCH_OVERHEAD = 12
DUMP_TIMEOUT_S = 900
DUMPED = (".log", ".index", ".timeindex", ".snapshot", ".txnindex")
DUMP_COMPLAINTS = (
    "isvalid: false",
    "mismatch",
    "Mismatch",
    "non-consecutive",
    "nonconsecutive",
    "Exception",
    "corrupt",
)


def check_partition(directory: Path) -> tuple[int, list[str]]:
    """Return the end offset that the segments of one partition come to, and what is wrong with them."""
    complaints: list[str] = []
    offset = 0
    for path in sorted(directory.glob("*.log")):
        if int(path.stem) != offset:
            complaints.append(f"{path.name} follows offset {offset}")
        offset = _check_segment(path, int(path.stem), complaints)
    return offset, complaints


def _check_segment(path: Path, offset: int, complaints: list[str]) -> int:
    if not path.stat().st_size:
        return offset
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        memoryview(data) as view,
    ):
        pos = 0
        while pos + BATCH_HEADER.size <= len(view):
            head = BATCH_HEADER.unpack_from(view, pos)
            base_offset, length, _, magic, crc, _, last_offset_delta, *_, count = head
            end = pos + BATCH_OVERHEAD + length
            if magic != 2 or length < BATCH_HEADER.size - BATCH_OVERHEAD or end > len(view):
                break
            if base_offset != offset:
                complaints.append(f"{path.name} at {pos}: offset {base_offset} where {offset} is due")
            if last_offset_delta != count - 1:
                complaints.append(f"{path.name} at {pos}: {count} records up to delta {last_offset_delta}")
            with view[pos + CRC_START : end] as checked:
                if crc32c(checked) != crc:
                    complaints.append(f"{path.name} at {pos}: wrong checksum")
            offset, pos = base_offset + last_offset_delta + 1, end
        if pos != len(view):
            complaints.append(f"{path.name}: no batch at {pos}, {len(view) - pos} bytes before the end")
    return offset


def dump(directories: Sequence[Path], *, deep: bool = True) -> list[str]:
    """Run Apache Kafka's kafka-dump-log on all segments and indexes; return its complaints. Raises: Unavailable.

    `deep`: read every record, and not only every batch.
    """
    files = [str(path) for directory in directories for path in sorted(directory.glob("*")) if path.suffix in DUMPED]
    options = ("--deep-iteration",) if deep else ()
    command = kafka_tools.java("DumpLogSegments", *options, "--files", ",".join(files), heap="512m")
    # It prints a line per record: what is wrong is picked out as it comes.
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        timer = threading.Timer(DUMP_TIMEOUT_S, process.kill)
        timer.start()
        assert process.stdout is not None
        lines = [line.rstrip() for line in process.stdout if any(word in line for word in DUMP_COMPLAINTS)]
        status = process.wait()
        timer.cancel()
        if status:
            said.seek(0)
            lines.append(f"kafka-dump-log ended with status {status}: {said.read()[-1000:]}")
    return lines
