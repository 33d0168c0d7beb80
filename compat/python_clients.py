"""Run the shared scenarios with one Python client library."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import program
from library import Library
from scenarios import record_scenarios
from scenarios_admin import admin_scenarios
from scenarios_groups import group_scenarios
from scenarios_transactions import transaction_scenarios


def main(open_library: Callable[[program.Context], Library]) -> None:
    """Run the scenarios of the command line, each with a library of its own, and exit."""

    def bound(scenario: Callable[[Library, program.Context], None]) -> program.Scenario:
        return lambda context: scenario(open_library(context), context)

    scenarios = {**record_scenarios(), **group_scenarios(), **transaction_scenarios(), **admin_scenarios()}
    program.main({name: bound(scenario) for name, scenario in scenarios.items()} | {"pytest_plugin": pytest_plugin})


def pytest_plugin(context: program.Context) -> None:
    """Run the tests of the client's sample project, as its users do: with pykbroker installed beside pytest.

    They start brokers of their own, whatever the other scenarios run against.
    """
    project = Path(sys.argv[0]).parent / "project"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=program.SCENARIO_TIMEOUT_S,
        check=False,
    )
    print(done.stdout, file=sys.stderr)
    program.check(done.returncode == 0, f"the tests of {project.parent.name}/project: {done.stdout[-300:]}")
