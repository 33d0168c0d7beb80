"""The calling convention of README.md for clients whose program is written in Python.

Rules: standard library only, since each client runs in an environment of its own; one result line per scenario,
       flushed at its end.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SCENARIO_TIMEOUT_S = 60.0
REPLICATION_FACTOR = int(os.environ.get("COMPAT_REPLICATION_FACTOR", "1"))
STANDARD_RECORDS = [
    (b"key-%04d" % index, b"value-%04d-" % index + b"abcdefghij" * 20)
    for index in range(200)
]  # fmt: skip
BASE_TIMESTAMP = 1_700_000_000_000


class NotApplicable(Exception):
    """The library cannot do this scenario; the text is the reason."""


class Context:
    """What one scenario is given: where the cluster is, names of its own, and its deadline."""

    def __init__(self, scenario: str, bootstrap: str, prefix: str, topics: Sequence[str]) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.topics = topics
        self.scenario = scenario
        self.deadline = time.monotonic() + SCENARIO_TIMEOUT_S

    @property
    def data_dir(self) -> Path | None:
        """Return the broker's data directory where it is known."""
        known = os.environ.get("COMPAT_DATA_DIR")
        return Path(known) if known else None

    def name(self, *parts: str) -> str:
        """Return a topic, group or client name that is unique to this run and scenario."""
        return "-".join([self.prefix, self.scenario.replace("_", "-"), *parts])

    def wait_until(
        self, what: str, condition: Callable[[], object], timeout_s: float = 30, pause_s: float = 0.05
    ) -> None:
        """Call `condition` until it is true; fail with `what` after the timeout or at the scenario's deadline."""
        end = min(self.deadline, time.monotonic() + timeout_s)
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
            time.sleep(pause_s)


Scenario = Callable[[Context], None]


def check(condition: object, message: str) -> None:
    """Fail the scenario with `message` unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def equal(actual: object, expected: object, what: str) -> None:
    """Fail the scenario unless both are equal."""
    if actual != expected:
        raise AssertionError(f"{what}: expected {_short(expected)}, got {_short(actual)}")


def main(scenarios: Mapping[str, Scenario]) -> None:
    """Run the scenarios of the command line and exit."""
    if len(sys.argv) not in (4, 5):
        print(f"usage: {sys.argv[0]} SCENARIO[,SCENARIO…] BOOTSTRAP UNIQUE_PREFIX [TOPIC,TOPIC…]", file=sys.stderr)
        raise SystemExit(2)
    logging.basicConfig(level=logging.WARNING, format="%(relativeCreated)d ms %(name)s: %(message)s")
    topics = sys.argv[4].split(",") if len(sys.argv) == 5 else []
    failed = False
    for name in sys.argv[1].split(","):
        context = Context(name, sys.argv[2], sys.argv[3], topics)
        print(f"--- {name}", file=sys.stderr, flush=True)
        line = _run(scenarios, name, context)
        failed = failed or line.startswith("fail")
        print(line, flush=True)
    # A library's background threads must not turn a finished run into a hanging one.
    sys.stderr.flush()
    os._exit(1 if failed else 0)


def _run(scenarios: Mapping[str, Scenario], name: str, context: Context) -> str:
    if name not in scenarios:
        return f"fail {name}: this client has no such scenario"
    try:
        scenarios[name](context)
    except NotApplicable as reason:
        return f"n/a {name}: {_one_line(reason)}"
    except AssertionError as error:
        traceback.print_exc()
        return f"fail {name}: {_one_line(error)}"
    except Exception as error:  # whatever a library raises is this scenario's failure, and the next one still runs
        traceback.print_exc()
        return f"fail {name}: {type(error).__name__}: {_one_line(error)}"
    return f"ok {name}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:600]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
