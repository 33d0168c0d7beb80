"""Frames as lines: in a child, which is given a trace."""

import os
import subprocess
import sys

from tests.support.running import DEADLINE_S
from wire.study.exchanges import Direction, TracedFrame
from wire.study.trace import MAGIC, Lost, encode

COMMAND = [sys.executable, "-m", "pykbroker.study.explainer"]
HEARTBEAT = bytes.fromhex("000c0000000000070004") + "grüß".encode()[:4] + bytes.fromhex("0001670000000100016d")


def heartbeat() -> TracedFrame:
    return TracedFrame(0, "c", "peer", Direction.REQUEST, 12, 0, HEARTBEAT)


def explained(events: list[TracedFrame | Lost], *keys: str) -> list[str]:
    trace = MAGIC + b"".join(map(encode, events))
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, *keys], input=trace, capture_output=True, timeout=DEADLINE_S, check=True, env=env)
    assert not done.stderr
    return done.stdout.decode().splitlines()


def test_line_for_each_frame_and_for_what_was_lost() -> None:
    first, lost, second = explained([heartbeat(), Lost(0, 7), heartbeat()])
    assert first.split()[2:5] == ["peer", ">", "Heartbeat"]
    assert lost.endswith("7 frames were not recorded")
    assert second.split()[0] == "2"


def test_tree_where_one_is_wanted() -> None:
    assert not any("api_key: int16 = 12" in line for line in explained([heartbeat()], "3"))
    assert any("api_key: int16 = 12" in line for line in explained([heartbeat()], "3", "12"))


def test_frames_are_shown_while_they_come() -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(MAGIC + encode(heartbeat()))
        process.stdin.flush()
        assert b"Heartbeat" in process.stdout.readline()
        process.stdin.close()


def test_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    trace = MAGIC + encode(heartbeat())
    done = subprocess.run(COMMAND, input=trace, stdout=writing, stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


SCRIPT = """
from pykbroker.study.explainer import Explainer
from pykbroker.study.frames import Frames
from pykbroker.study.recorder import record
from wire.study.exchanges import Direction, TracedFrame

frames = Frames()
with record(frames, Explainer()):
    frames.publish(TracedFrame(0, "c", "peer", Direction.REQUEST, 12, 0, bytes.fromhex("{frame}")))
print("closed", flush=True)
"""


def test_all_is_shown_before_the_recording_ends() -> None:
    script = SCRIPT.format(frame=HEARTBEAT.hex())
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=DEADLINE_S, check=True)
    first, last = done.stdout.decode().splitlines()
    assert "Heartbeat" in first
    assert last == "closed"
