"""Stock clients against this broker, each in the scenarios of compat/README.md. Slow: programs are built first."""

import subprocess
import sys
import tomllib
from operator import itemgetter
from pathlib import Path

import pytest

COMPAT = Path(__file__).parent.parent / "compat"
CLIENTS = sorted((tomllib.loads(path.read_text()) for path in COMPAT.glob("*/client.toml")), key=itemgetter("name"))
NAME_PACKAGE_VERSION = 3  # columns of `--list`; what follows says what is missing on this machine

pytestmark = [pytest.mark.slow, pytest.mark.parallel]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, COMPAT / "run.py", *arguments], capture_output=True, text=True, timeout=800, check=False
    )


# What fills one cache of a toolchain is not built at the same time.
@pytest.mark.parametrize(
    "client",
    [
        pytest.param(client["name"], marks=pytest.mark.xdist_group(client.get("toolchain", client["name"])))
        for client in CLIENTS
    ],
)
def test_stock_client_passes_every_scenario(client: str) -> None:
    listed = run("--list", client).stdout.split(maxsplit=NAME_PACKAGE_VERSION)
    if len(listed) > NAME_PACKAGE_VERSION:
        pytest.skip(f"{client}: {listed[-1].strip()}")
    done = run(client)
    assert done.returncode == 0, done.stdout + done.stderr
