"""docs/TESTING.md: its examples are run as they are printed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette

import pykbroker
from pykbroker.web.faults import ACTIONS, routes
from tests.support.background import Background
from tests.test_readme import network_of_its_own

pytest.importorskip("aiokafka")
pytest.importorskip("confluent_kafka")

PAGE = (Path(__file__).parent.parent / "docs" / "TESTING.md").read_text()
IN_OTHER_LANGUAGES = PAGE[PAGE.index("## In other languages") : PAGE.index("### Brokers that are processes")]
BLOCKS = [  # what is not Python is run by test_docs_other_languages, but for the orders
    (language, code)
    for page in (PAGE.replace(IN_OTHER_LANGUAGES, ""), IN_OTHER_LANGUAGES)
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    if page != IN_OTHER_LANGUAGES or language == "http"
]
PYTHON = [code for language, code in BLOCKS if language == "python"]
PROGRAMS = [code for code in PYTHON if "def test_" not in code]
TESTS = [code for code in PYTHON if "def test_" in code and "urlopen" not in code]
ORDERS = [code for language, code in BLOCKS if language == "http"]
COMMANDS = [code for language, code in BLOCKS if language == "sh"]
TESTS_OVER_HTTP = [code for code in PYTHON if "urlopen" in code]

STUCK_S = 60  # after that, a test says where it is
DEADLINE_S = 200


def test_every_block_of_the_page_is_run_by_one_of_these_tests() -> None:
    assert len(BLOCKS) == sum(map(len, (PROGRAMS, TESTS, ORDERS, COMMANDS, TESTS_OVER_HTTP)))
    assert min(map(len, (PROGRAMS, TESTS, ORDERS))) >= 2
    assert (len(COMMANDS), len(TESTS_OVER_HTTP)) == (1, 1)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("code", PROGRAMS)
def test_program_runs(code: str, tmp_path: Path) -> None:
    assert run("-c", code, folder=tmp_path) == ""


@pytest.mark.slow
@pytest.mark.parallel
def test_tests_pass(tmp_path: Path) -> None:
    run_tests(TESTS, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parallel
def test_tests_over_http_pass(tmp_path: Path) -> None:
    """In a network of its own, where the ports of the page are free."""
    with network_of_its_own(tmp_path) as network:
        if not network:
            pytest.skip("this machine gives no network of its own")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = [*network, "sh", "-c", *COMMANDS]
        with Background(command, cwd=tmp_path, environment=os.environ | {"PATH": path}) as cluster:
            cluster.wait_for(*(f"pykbroker {broker} accepts clients" for broker in (1, 2, 3)))
            run_tests(TESTS_OVER_HTTP, folder=tmp_path, network=network)


def run_tests(files: list[str], *, folder: Path, network: Sequence[str] = ()) -> None:
    for number, code in enumerate(files):
        (folder / f"test_{number:02}.py").write_text(code)
    (folder / "pytest.ini").touch()
    options = ["-p", "no:cacheprovider", "-W", "ignore", "-o", f"faulthandler_timeout={STUCK_S}"]
    output = run("-m", "pytest", "-v", *options, folder=folder, network=network)
    assert f"{sum(code.count('def test_') for code in files)} passed" in output


def run(*arguments: str, folder: Path, network: Sequence[str] = ()) -> str:
    """Run Python and return what it says; it has to end well, and soon."""
    process = subprocess.Popen(
        [*network, sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"no_proxy": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def test_orders_over_http_are_taken() -> None:
    async def order() -> list[int]:
        async with pykbroker.Cluster(3) as kafka:
            transport = httpx.ASGITransport(app=Starlette(routes=routes(kafka.faults)))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                answers = []
                for text in ORDERS:
                    head, _, body = text.partition("\n")
                    method, path = head.split()
                    answers.append((await http.request(method, path, json=json.loads(body or "{}"))).status_code)
                return answers

    assert anyio.run(order) == [201, 200, 200, 204, 200, 200, 200]


def test_page_names_every_action_and_every_field_of_a_fault() -> None:
    from attrs import fields

    from pykbroker.faults.rules import Fault

    named = set(re.findall(r"`(\w+)", PAGE)) | set(re.findall(r"/actions/(\w+)", PAGE))
    assert set(ACTIONS) - named == set()
    assert {field.name for field in fields(Fault)} - named == set()
