"""What tshark says of frames."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from wire.study.exchanges import TracedFrame
from wire.study.pcapng import PcapngWriter

NEEDS_TSHARK = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed: apt-get install tshark"
)


def pdml(folder: Path, frames: Sequence[TracedFrame], protocol: str, *options: str) -> list[ElementTree.Element]:
    """Return what tshark says of each frame."""
    writer = PcapngWriter()
    capture = folder / "frames.pcapng"
    capture.write_bytes(writer.header() + b"".join(map(writer.frame, frames)))
    command = ["tshark", "-r", str(capture), *options, "-d", f"tcp.port==9092,{protocol}", "-T", "pdml", "-J", protocol]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "Lua" not in done.stderr, done.stderr
    root = ElementTree.fromstring(done.stdout)
    protos = [proto for proto in root.iter("proto") if proto.get("name") == protocol]
    for proto in protos:
        for records in proto.iter("field"):
            if records.get("name") == "kafka_wire.batch.records":
                count_in_their_buffer(records, int(proto.get("pos", "0")) + 4)
    return protos


def count_in_their_buffer(records: ElementTree.Element, base: int) -> None:
    """Let `place` give the places of decompressed records in their buffer."""
    for item in records.iter("field"):
        if item is not records:
            # PDML adds the place of what a record is in, in another buffer, to its own.
            first = item[0] if item.get("name") == "kafka_wire.record" else item
            item.set("pos", str(base + int(first.get("pos", "0"))))


def items(proto: ElementTree.Element) -> Iterator[ElementTree.Element]:
    return (item for item in proto.iter("field") if item.get("hide") != "yes")


def place(item: ElementTree.Element, proto: ElementTree.Element) -> tuple[int, int]:
    """Where an item's bytes are, from the beginning of the frame without its size."""
    start = int(item.get("pos", "0")) - int(proto.get("pos", "0")) - 4
    return start, start + int(item.get("size", "0"))
