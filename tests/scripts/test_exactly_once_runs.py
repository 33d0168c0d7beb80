"""scripts/exactly_once itself, briefly: Kafka's transactional clients on a cluster of ours that loses a broker."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXACTLY_ONCE = Path(__file__).parent.parent.parent / "scripts" / "exactly_once"
MISSING = [program for program in ("java", "javac", "mvn") if shutil.which(program) is None]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chaos")]


@pytest.mark.skipif(bool(MISSING), reason=f"Kafka's clients need {' and '.join(MISSING)} on the PATH")
def test_each_record_counts_once_when_a_broker_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka")
    command = [sys.executable, str(EXACTLY_ONCE), "--seconds", "12", "--every", "10", "--seed", "1"]
    done = subprocess.run(
        [*command, "--data-dir-root", str(tmp_path)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each record counted exactly once, and nothing aborted was seen" in done.stdout
