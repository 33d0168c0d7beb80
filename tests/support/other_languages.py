"""Programs in other languages, with the libraries that compat/ has prepared for its own clients.

libraries = prepared("java")        # skips where the toolchain, or the network, is absent
run("java", "-cp", f"{libraries}/libs/*", "Program.java", folder=tmp_path)
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from clients import Unavailable, load_clients, prepare

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 200.0


def prepared(client: str) -> Path:
    """Return the folder with what a client of compat/ is built of, and skip where there cannot be one."""
    (found,) = (each for each in load_clients() if each.name == client)
    try:
        return Path(prepare(found).environment["COMPAT_BUILD"])
    except Unavailable as why:
        pytest.skip(str(why))


def run(*command: str | Path, folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run a command that finds `pykbroker` on its path, and return what it prints; it has to end well."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ours = {"PATH": path, "PYTHONPATH": str(REPOSITORY), "no_proxy": "127.0.0.1"}
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=folder,
        env=os.environ | ours | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and what it has started
        out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out
