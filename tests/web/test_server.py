"""HTTP itself: when it is there, who may hold it up, and that nothing of it ends the broker."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from pykbroker.broker import Broker, StartError
from tests.support.client import Client, create_topic
from tests.support.running import BACKENDS, config_for, running, until
from tests.web.http import get, url
from wire.messages.brokers import ApiVersionsRequest

pytestmark = pytest.mark.anyio

ASKED = 100  # megabytes of answers: more than sockets hold
VERSIONS = ApiVersionsRequest("test", "1.0")
CONSOLE = "pykbroker.web.console.console"
OF_HTTP = ("starlette", "anycorn", "h11", "prometheus_client", "httpx", "pykbroker.web", "pykbroker.server.metering")

_START = """
import sys, anyio
{before}
from pykbroker.broker import Broker, StartError
from pykbroker.config import BrokerConfig

async def main():
    properties = {{"listeners": "PLAINTEXT://127.0.0.1:0", "log.dirs": {folder!r}, "pykbroker.http.listener": {http!r}}}
    properties |= {more!r}
    try:
        async with Broker(BrokerConfig.from_properties(properties), is_ephemeral=True):
            print(*sys.modules)
    except StartError as error:
        print(error)

anyio.run(main)
"""


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


def started_alone(folder: Path, *, http: str, before: str = "", properties: dict[str, str] | None = None) -> str:
    """What a broker in a process of its own says: the modules that it has imported, or why it does not start."""
    script = _START.format(folder=str(folder), http=http, before=before, more=properties or {})
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


def test_broker_without_http_imports_nothing_of_it(tmp_path: Path) -> None:
    imported = started_alone(tmp_path, http="").split()
    assert "pykbroker.server.listener" in imported
    assert not set(OF_HTTP) & set(imported)


@pytest.mark.slow
@pytest.mark.parallel
def test_broker_with_http_imports_what_the_test_above_looks_for(tmp_path: Path) -> None:
    imported = started_alone(tmp_path, http="0").split()
    assert {"starlette", "anycorn", "prometheus_client", "pykbroker.web", "pykbroker.server.metering"} <= set(imported)


def test_without_the_extra_the_broker_says_how_to_install_it(tmp_path: Path) -> None:
    said = started_alone(tmp_path, http="0", before="sys.modules['starlette'] = None")
    assert said == "pykbroker.http.listener needs starlette: pip install 'pykbroker[http]'"


@pytest.mark.slow
@pytest.mark.parallel
def test_broker_without_console_imports_nothing_of_it(tmp_path: Path) -> None:
    assert CONSOLE not in started_alone(tmp_path, http="0").split()
    with_console = started_alone(tmp_path, http="0", properties={"pykbroker.http.console.enable": "true"}).split()
    assert {CONSOLE, "pykbroker.client.client", "pykbroker.study.tracing"} <= set(with_console)


async def test_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=f"^cannot listen on 127.0.0.1:{port}: Address already in use$"):
            async with Broker(config_for(tmp_path, pykbroker_http_listener=f"127.0.0.1:{port}")):
                pass


async def test_port_alone_is_one_of_loopback(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker:
        assert broker.http_address is not None
        assert broker.http_address[0] == "127.0.0.1"
        assert broker.http_address[1] not in (0, broker.addresses[0][1])


async def test_unknown_path_is_not_found_and_other_methods_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(url(broker, "/nothing"))).status_code == 404
        assert (await client.post(url(broker, "/metrics"))).status_code == 405
        assert "server" not in (await client.get(url(broker, "/healthz"))).headers


async def test_stop_does_not_wait_for_an_idle_connection(tmp_path: Path) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        async with running(tmp_path, pykbroker_http_listener="0", pykbroker_http_timeout_ms="3600000") as broker:
            address = url(broker, "/healthz")
            assert (await client.get(address)).status_code == 200
        with pytest.raises(httpx.TransportError):
            await client.get(address)


async def test_body_of_an_answer_does_not_wait_until_the_head_is_acknowledged(tmp_path: Path) -> None:
    """Which took 40 ms, each time."""
    async with running(tmp_path, pykbroker_http_listener="0") as broker:
        assert broker.http_address is not None
        with socket.create_connection(broker.http_address) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            client.setblocking(False)
            await anyio.wait_readable(client)
            with accepted_from(client) as served:
                assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def accepted_from(client: socket.socket) -> socket.socket:
    """The other end of a connection, which is in this process."""
    for path in Path("/proc/self/fd").iterdir():
        if path.is_socket():
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(path.name))) as sock:
                if sock.getpeername() == client.getsockname():
                    return sock.dup()
    raise AssertionError("nobody has accepted it")


async def test_stop_cuts_a_client_that_does_not_read_its_answer(tmp_path: Path) -> None:
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with running(tmp_path, pykbroker_http_listener="0", pykbroker_http_timeout_ms="300") as broker:
            async with Client.connect(broker) as client:
                await create_topic(client, "t", partitions=300)  # long answers
            assert broker.http_address is not None
            stuck.connect(broker.http_address)
            stuck.sendall(ASKED * b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            stuck.setblocking(False)
            await anyio.wait_readable(stuck)
            assert (await get(broker, "/healthz")).status_code == 200  # nobody else is held up
        answer = b""
        stuck.setblocking(True)  # the end may be on its way still
        with contextlib.suppress(ConnectionResetError):
            while data := stuck.recv(65536):
                answer += data
        assert 0 < answer.count(b"HTTP/1.1 200") < ASKED


@pytest.mark.parametrize(
    "said", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01", b"\0" * 64]
)
async def test_client_that_vanishes_ends_nothing_but_its_connection(tmp_path: Path, said: bytes) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker:
        assert broker.http_address is not None
        for linger in (False, True):
            with socket.socket() as vanishing:
                vanishing.connect(broker.http_address)
                vanishing.sendall(said)
                if linger:  # closing it resets the connection
                    vanishing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            assert (await get(broker, "/healthz")).status_code == 200
        async with Client.connect(broker) as client:
            assert (await client.ask(VERSIONS, 3)).error_code == 0


async def test_client_beyond_the_limit_waits_until_another_leaves(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0", pykbroker_http_max_connections="1") as broker:
        answers = []

        async def ask() -> None:
            answers.append(await get(broker, "/healthz"))

        with socket.socket() as first:
            assert broker.http_address is not None
            first.connect(broker.http_address)
            first.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            first.setblocking(False)
            await anyio.wait_readable(first)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                async with Client.connect(broker) as client:
                    for _ in range(20):
                        await client.ask(VERSIONS, 3)
                assert not answers
                first.close()
        await until(lambda: answers)
        assert answers[0].status_code == 200


async def test_bug_in_a_page_is_counted_and_answered(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0", bugs=1) as broker:
        sessions, broker.services.fetch_sessions = broker.services.fetch_sessions, None  # type: ignore[assignment]
        assert (await get(broker, "/metrics")).status_code == 500
        broker.services.fetch_sessions = sessions
        assert (await get(broker, "/metrics")).status_code == 200
