"""Have memory pages used once before something is measured.

Pages that a virtual machine has never used cost the page cache many times what others do (2.4 ms a MB were seen), so
that whoever writes first would pay for the others.
"""

import tempfile
from pathlib import Path

_MB = 1 << 20


def touch_pages(count_bytes: int, directory: Path | None = None) -> None:
    """Write so many bytes to a file, and delete it."""
    with tempfile.TemporaryFile(buffering=0, dir=directory) as file:
        some = bytes(_MB)
        for _ in range(count_bytes // _MB):
            file.write(some)
