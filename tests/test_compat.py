"""Stock clients against this broker, each in the scenarios of compat/README.md. Slow: programs are built first."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

COMPAT = Path(__file__).parent.parent / "compat"
CLIENTS = sorted(tomllib.loads(path.read_text())["name"] for path in COMPAT.glob("*/client.toml"))
NAME_PACKAGE_VERSION = 3  # columns of `--list`; what follows says what is missing on this machine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("compat")]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, COMPAT / "run.py", *arguments], capture_output=True, text=True, timeout=800, check=False
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_stock_client_passes_every_scenario(client: str) -> None:
    listed = run("--list", client).stdout.split(maxsplit=NAME_PACKAGE_VERSION)
    if len(listed) > NAME_PACKAGE_VERSION:
        pytest.skip(f"{client}: {listed[-1].strip()}")
    done = run(client)
    assert done.returncode == 0, done.stdout + done.stderr
