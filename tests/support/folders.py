"""Where tests keep their files: those of the fast set in memory, since a disk makes them wait for it.

Rules
- All that is temporary follows `TMPDIR`: `tmp_path`, the folders of ephemeral brokers, what subprocesses write.
- Slow tests stay on the disk: they install packages and write gigabytes.

Not here: the simulation's disks (tests/simulation/disk.py).
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 4 * 1024**3  # far more than the fast tests need at a time; a container often has 64 MB


def use_memory() -> None:
    """Keep temporary files in memory from now on, where this machine has such a place with enough room."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # look again


@pytest.fixture
def disk_path() -> Iterator[Path]:
    """A folder on a disk: its files have pages in the cache, which can leave it."""
    with tempfile.TemporaryDirectory(prefix="pykbroker-", dir="/var/tmp") as folder:
        yield Path(folder)
