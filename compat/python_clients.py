"""Run the shared scenarios with one Python client library."""

from __future__ import annotations

from collections.abc import Callable

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
    program.main({name: bound(scenario) for name, scenario in scenarios.items()})
