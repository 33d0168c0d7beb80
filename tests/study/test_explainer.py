"""Frames as lines, by a child: what it prints is `wire decode`'s (tests/wire/study/test_commands)."""

import subprocess
import sys

from tests.support.running import DEADLINE_S

SCRIPT = """
from pykbroker.study.explainer import Explainer
from pykbroker.study.frames import Frames
from pykbroker.study.recorder import record
from wire.study.exchanges import Direction, TracedFrame

heartbeat = bytes.fromhex("000c000000000007000474657374 0001670000000100016d")
frames = Frames()
with record(frames, Explainer(["Fetch", "Heartbeat"])):
    for key, data in ((12, heartbeat), (3, bytes.fromhex("00030000000000080004746573740000 0000"))):
        frames.publish(TracedFrame(0, "c", "peer", Direction.REQUEST, key, 0, data))
print("closed", flush=True)
"""


def test_all_is_shown_before_the_recording_ends_and_trees_of_the_apis_that_are_wanted() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, timeout=DEADLINE_S, check=True)
    lines = done.stdout.decode().splitlines()
    assert lines[0].split()[2:5] == ["peer", ">", "Heartbeat"]
    assert sum("api_key: int16" in line for line in lines) == 1
    assert lines[-2].split()[2:5] == ["peer", ">", "Metadata"]
    assert lines[-1] == "closed"
