"""Faults over HTTP in `pykbroker cluster`, whose brokers are processes: they have one another stopped and started."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.support.background import Background
from tests.test_cli import brokers_of

CLUSTER = (sys.executable, "-m", "pykbroker", "cluster", "--brokers", "3", "--ephemeral", "--port", "0", "--http", "0")
ENABLED = ("--set", "pykbroker.http.faults.enable=true", "--log-level", "error")
LINE = re.compile(r"pykbroker (\d) (serves HTTP|accepts clients) on (?:http://)?(127.0.0.1:\d+)")

http = build_opener(ProxyHandler({}))  # no proxy of this machine's environment


class RunningCluster:
    def __init__(self, background: Background) -> None:
        self._background = background
        self.http: dict[int, str] = {}
        self.clients: dict[int, tuple[str, int]] = {}
        for _ in range(6):
            self.read_address()

    def read_address(self) -> tuple[int, str]:
        while (found := LINE.match(self._background.wait_for(" on "))) is None:
            pass  # "stops on SIGTERM"
        broker, address = int(found[1]), found[3]
        if found[2] == "serves HTTP":
            self.http[broker] = address
        else:
            self.clients[broker] = ("127.0.0.1", int(address.rpartition(":")[2]))
        return broker, address

    def order(self, at: int, action: str, **arguments: object) -> tuple[int, dict[str, Any]]:
        request = Request(f"http://{self.http[at]}/faults/actions/{action}", json.dumps(arguments).encode())
        try:
            with http.open(request) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def members(self, seen_by: int) -> set[int]:
        return {broker.node_id for broker in brokers_of(self.clients[seen_by])}


@pytest.fixture
def three(tmp_path: Path) -> Iterator[RunningCluster]:
    with Background([*CLUSTER, *ENABLED], cwd=tmp_path) as background:
        yield RunningCluster(background)


@pytest.mark.slow
def test_brokers_have_one_another_stopped_and_started_on_the_same_ports(three: RunningCluster) -> None:
    addresses = (dict(three.http), dict(three.clients))
    for end in ("stop", "kill"):
        assert three.order(1, end, broker=2) == (200, {"result": None})
        with pytest.raises(OSError, match="refused"):
            brokers_of(three.clients[2])
        assert three.order(3, "start", broker=2) == (200, {"result": None})
        assert three.members(seen_by=3) == {1, 2, 3}
        for _ in range(2):
            assert three.read_address()[0] == 2
    assert three.order(2, "freeze") == (200, {"result": None})
    assert three.order(1, "restart", broker=2) == (200, {"result": None}), "a frozen broker stops, too"
    assert three.order(1, "start", broker=2) == (200, {"result": None}), "it runs already"
    assert (three.http, three.clients) == addresses


@pytest.mark.slow
def test_what_cannot_be_ordered_is_refused_with_the_reason(three: RunningCluster) -> None:
    for at, action, arguments, why in (
        (1, "stop", {"broker": 9}, "there is no broker 9; there are 1, 2, 3"),
        (1, "stop", {"broker": 1}, "broker 1 answers here"),
        (1, "kill", {}, "broker 1 answers here"),
        (1, "partition", {"sides": [[1], [2], [3]]}, "2 and 3 run elsewhere"),
        (1, "freeze", {"broker": 2}, "no broker 2 runs here"),
    ):
        status, answer = three.order(at, action, **arguments)
        assert (status, why in answer["error"]) == (400, True), answer
