"""docs/CLI.md and docs/OPERATING.md: the examples are run in their order, and print what stands below them (… is
anything)."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread
import pytest

from pykbroker.broker import Broker
from pykbroker.config import BrokerConfig
from tests.support.cluster import cluster_of

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EXAMPLE = re.compile(r"^```sh\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
DEADLINE_S = 60.0


def run(commands: str, folder: Path, environment: dict[str, str]) -> str:
    """Run them in a shell that stops at the first failure; return stdout and stderr as a person would see them."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done
    return done.stdout


def as_pattern(expected: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, expected.split("…"))), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_examples_print_what_the_page_says(tmp_path: Path) -> None:
    examples = EXAMPLE.findall((REPOSITORY / "docs" / "CLI.md").read_text())
    assert len(examples) > 10
    await run_examples(tmp_path, examples)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_broker_goes_as_the_page_says(tmp_path: Path) -> None:
    leave, forget = EXAMPLE.findall((REPOSITORY / "docs" / "OPERATING.md").read_text())
    async with cluster_of(4, tmp_path / "cluster") as cluster:
        await cluster.create_topic("orders", [(4, 1, 2), (1, 4, 3)])
        environment = environment_of(tmp_path, cluster.brokers[1].bootstrap)
        for commands, expected in (leave, forget):
            printed = await anyio.to_thread.run_sync(run, commands, tmp_path, environment)
            assert as_pattern(expected).fullmatch(printed), (commands, printed)
            if commands == leave[0]:
                await cluster.stop(4)


def environment_of(folder: Path, bootstrap: str) -> dict[str, str]:
    """What a shell needs to know of the program, and of the cluster."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    program = bin_folder / "pykbroker"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pykbroker "$@"\n')
    program.chmod(0o755)
    return os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "PYKBROKER_BOOTSTRAP": bootstrap,
        "TERM": "dumb",
    }


async def run_examples(folder: Path, examples: Sequence[tuple[str, str]]) -> None:
    data_dir = folder / "data"
    properties = {
        "group.initial.rebalance.delay.ms": "0",
        "listeners": "PLAINTEXT://127.0.0.1:0",
        "log.dirs": str(data_dir),
    }
    async with Broker(BrokerConfig.from_properties(properties), is_ephemeral=True) as broker:
        environment = environment_of(folder, broker.bootstrap) | {"DATA_DIR": str(data_dir)}
        for commands, expected in examples:
            printed = await anyio.to_thread.run_sync(run, commands, folder, environment)
            assert as_pattern(expected).fullmatch(printed), (commands, printed)
        assert broker.metrics.bugs_total == 0
