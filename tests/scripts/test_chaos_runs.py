"""scripts/chaos itself, briefly: a cluster of ours keeps what it acknowledged through the loss of brokers."""

import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).parent.parent.parent / "scripts" / "chaos"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chaos")]


def test_nothing_acknowledged_is_lost_when_brokers_are_killed_and_cut_off(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka")
    command = [sys.executable, str(CHAOS), "--seconds", "15", "--seed", "1", "--faults", "kill,stop,partition"]
    command += ["--overlapping", "0", "--no-java", "--no-dump", "--data-dir-root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing acknowledged was lost, no replica differs" in done.stdout
