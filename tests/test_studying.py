"""docs/STUDYING.md: every example is run exactly as printed. docs/PROTOCOL.md: it is what would be written."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pykbroker.study.tracing import Tracing
from tests.support.client import Client
from tests.support.running import DEADLINE_S, running
from tests.wire.study.golden import golden_frames
from wire.frame import RequestHeader, encode_request
from wire.messages.fetch import FetchRequest
from wire.messages.metadata import MetadataRequest
from wire.study.exchanges import Direction, TracedFrame
from wire.study.trace import MAGIC, encode

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = (REPOSITORY / "docs" / "STUDYING.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
CONSOLE = [block for language, block in BLOCKS if language == "console"]
COMMANDS = [
    line.partition("#")[0].strip() for language, block in BLOCKS if language == "sh" for line in block.splitlines()
]
PYTHON = [block for language, block in BLOCKS if language == "python"]


def run(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command of the page in a folder, with the interpreter and the program of these tests."""
    words = shlex.split(command)
    program = {"python": [sys.executable], "pykbroker": [sys.executable, "-m", "pykbroker"]}
    return subprocess.run(
        [*program.get(words[0], words[:1]), *words[1:]],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize("block", CONSOLE, ids=lambda block: block.splitlines()[0])
def test_command_prints_what_the_page_shows(block: str, tmp_path: Path) -> None:
    first, _, expected = block.partition("\n")
    done = run(first.removeprefix("$ "), tmp_path)
    assert done.stdout == expected
    assert done.returncode == int("<--" in expected), done.stderr


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with the recordings that the page speaks of."""
    fetches = [
        TracedFrame(
            0, "c", "p", Direction.REQUEST, 1, 13, encode_request(RequestHeader(1, 13, number, "me"), request)[4:]
        )
        for number, request in enumerate((FetchRequest(max_wait_ms=100), FetchRequest(max_wait_ms=500)))
    ]
    frames = [*golden_frames()[:40], *fetches]
    (tmp_path / "app.trace").write_bytes(MAGIC + b"".join(map(encode, frames)))
    assert run("python -m wire pcapng app.trace app.pcapng", tmp_path).returncode == 0
    return tmp_path


def offline() -> Iterator[str]:
    return (command for command in COMMANDS if "decode" in command or "pcapng app.trace" in command)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("command", list(offline()))
def test_command_about_a_recording_works(command: str, app: Path) -> None:
    done = run(command, app)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    rest = [command for command in COMMANDS if command not in set(offline())]
    assert rest == [
        "pykbroker wire proxy 127.0.0.1:19092 127.0.0.1:9092 --trace app.trace",
        "python -m wire lua > kafka.lua",
        "wireshark -X lua_script:kafka.lua -o kafka_wire.ports:9092 app.pcapng",
        "pykbroker wire replay app.trace 127.0.0.1:9092",
    ]


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed: apt-get install tshark")
def test_dissector_and_filter_of_the_page_work(app: Path) -> None:
    (app / "kafka.lua").write_text(run("python -m wire lua", app).stdout)
    (filtered,) = re.findall(r"Filters look like `(.*?)`", PAGE)
    (command,) = (command for command in COMMANDS if command.startswith("wireshark"))
    options = shlex.split(command)[1:-1]
    done = run(shlex.join(["tshark", *options, "-r", "app.pcapng", "-Y", filtered]), app)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()  # of the two fetches one waits longer
    assert line.endswith("Fetch v13 request")
    kafka = run(shlex.join(["tshark", *options, "-r", "app.pcapng", "-Y", "kafka_wire"]), app)
    assert len(kafka.stdout.splitlines()) == 42


@pytest.mark.slow
@pytest.mark.parallel
def test_proxy_and_replay_of_the_page_work(tmp_path: Path) -> None:
    """With ports that are free, instead of those that a newcomer has."""
    command = [sys.executable, "-m", "pykbroker"]
    start = [*command, "start", "--ephemeral", "--port", "0", "--trace", "broker.trace"]
    with subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as broker:
        address = said(broker, "accepts clients on ")
        listen = [*command, "wire", "proxy", "127.0.0.1:0", address, "--trace", "app.trace"]
        with subprocess.Popen(listen, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as proxy:
            through = said(proxy, "clients connect to ")
            # A replay is a client like others, and its session becomes a trace.
            (tmp_path / "golden.trace").write_bytes(MAGIC + b"".join(map(encode, golden_frames()[:2])))
            assert run(f"pykbroker wire replay golden.trace {through}", tmp_path).returncode == 0
            proxy.send_signal(signal.SIGTERM)
        assert proxy.returncode == 0
        done = run(f"pykbroker wire replay app.trace {address}", tmp_path)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 calls compared, 0 answered otherwise")
        broker.send_signal(signal.SIGTERM)
    assert broker.returncode == 0
    seen = run("python -m wire decode broker.trace --summary", tmp_path)
    assert seen.stdout.count("> ApiVersions") >= 4
    assert run("python -m wire decode app.trace --summary", tmp_path).stdout.count("ApiVersions v0") == 4


def said(process: "subprocess.Popen[str]", what: str) -> str:
    """Wait for a line and return the rest of it."""
    assert process.stdout is not None
    for line in process.stdout:
        if what in line:
            return line.partition(what)[2].strip()
    raise AssertionError(f"ended without saying {what}")


def test_example_without_a_broker_works(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PYTHON[0], "STUDYING.md", "exec"), {})
    assert "api_key ApiVersions" in capsys.readouterr().out


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_example_with_a_broker_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import anyio

    names: dict[str, Any] = {}
    exec(compile(PYTHON[1], "STUDYING.md", "exec"), names)
    assert names["Tracing"] is Tracing
    asked = anyio.Event()
    async with running(tmp_path) as broker, Client.connect(broker) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(names["watch"], broker, asked.is_set)
        await anyio.lowlevel.checkpoint()
        asked.set()
        await client.ask(MetadataRequest(), 9)
    assert "REQUEST 3 Metadata v9 request" in capsys.readouterr().out


def test_protocol_page_is_what_would_be_written() -> None:
    done = run("python scripts/protocol_docs --check", REPOSITORY)
    assert done.returncode == 0, done.stderr
