"""The story of scripts/kill_cleaner, small: real processes, SIGKILL, librdkafka as the reader."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent.parent / "scripts" / "kill_cleaner"


def test_table_of_the_reader_is_that_of_the_writer_through_kills_in_cleanings(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--updates", "150000", "--keys", "3000", "--kills", "3", "--segment-mb", "1"]
    done = subprocess.run(
        [*command, "--data-dir-root", tmp_path], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
