"""Golden frames as files: tests/data/golden/<family>.txt.

Format: a comment that names the broker, then two lines a call, `api version request hex` and `api version response
hex`: whole frames without their size. A call that was answered by closing the connection is left out. Paths are those
of no machine: the directories in the answers to DescribeLogDirs are called LOG_DIR instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from golden.caller import Call
from wire.catalog import API_BY_NAME
from wire.frame import encode_response
from wire.study.exchanges import Direction, TracedFrame

FOLDER = Path(__file__).resolve().parent.parent.parent / "tests" / "data" / "golden"
# Of the recorded broker's server.properties what its answers show; the last one only spares waiting.
RECORDED_WITH = {
    "node.id": "1",
    "num.io.threads": "8",
    "log.segment.bytes": "1073741824",
    "log.retention.hours": "168",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}
LOG_DIR = "/var/lib/kafka"
FIRST_PORT = 50000
FIRST_US, STEP_US = 1_700_000_000_000_000, 1000


def write_frames(calls: Sequence[Call], broker: str) -> None:
    families: dict[str, list[str]] = {}
    for call in calls:
        if call.received is not None:
            lines = families.setdefault(API_BY_NAME[call.name].family, [])
            lines += [
                f"{call.name} {call.version} request {call.sent.hex()}",
                f"{call.name} {call.version} response {without_paths(call).hex()}",
            ]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        if path.stem not in families:
            path.unlink()
    for family, lines in families.items():
        (FOLDER / f"{family}.txt").write_text("\n".join([f"# {broker}", *lines, ""]))


def without_paths(call: Call) -> bytes:
    """Return the answer with another name for its directories."""
    assert call.received is not None
    if call.name != "DescribeLogDirs":
        return call.received
    answer = call.answer()
    for result in answer.results:
        result.log_dir = LOG_DIR
    correlation_id = int.from_bytes(call.received[:4], "big")
    chunks = encode_response(API_BY_NAME[call.name].key, call.version, correlation_id, answer)
    return b"".join(bytes(chunk) for chunk in chunks)[4:]  # type: ignore[call-overload]


def recording(calls: Sequence[Call]) -> Iterator[TracedFrame]:
    """Yield calls as a trace would hold them, each with its answer; after a close comes another connection."""
    closed = 0
    for number, call in enumerate(calls):
        connection, time_us = (
            f"127.0.0.1:9092-127.0.0.1:{FIRST_PORT + closed}-{closed}",
            FIRST_US + 2 * number * STEP_US,
        )
        key = API_BY_NAME[call.name].key
        peer = f"127.0.0.1:{FIRST_PORT + closed}"
        yield TracedFrame(time_us, connection, peer, Direction.REQUEST, key, call.version, call.sent)
        if call.received is None:
            closed += 1
        else:
            yield TracedFrame(time_us + STEP_US, connection, peer, Direction.RESPONSE, key, call.version, call.received)


def read_frames() -> list[Call]:
    """Return the recorded calls in the order in which they were made."""
    calls = []
    for path in sorted(FOLDER.glob("*.txt")):
        lines = path.read_text().splitlines()[1:]
        for sent, received in zip(lines[::2], lines[1::2], strict=True):
            name, version, _, request = sent.split(" ")
            calls.append(Call(name, int(version), bytes.fromhex(request), bytes.fromhex(received.split(" ")[3])))
    return sorted(calls, key=lambda call: call.sent[4:8])
