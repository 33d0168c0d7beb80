"""A real etcd for tests: processes of their own on free loopback ports, with their data in a folder of the test.

    with Etcd(tmp_path) as etcd:
        etcd.store_url("/prefix")       # etcd://127.0.0.1:40123/prefix
        etcd.kill(); etcd.start()       # on the same data and ports

`Etcd(folder, members=3)` is a cluster; `kill`, `freeze` and `go_on` then name a member. The timings are short, so that
the shortest lease is of one second.

The fixture `etcd`, which tests/conftest.py makes known to all tests, is one for all tests of a pytest process: each
takes a root of its own (`etcd.fresh_root()`). Tests that harm an etcd start their own, and skip where there is none.
"""

import contextlib
import http.client
import itertools
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

ETCD = shutil.which("etcd")
NO_ETCD = "there is no etcd here (Debian: apt-get install etcd-server)"
DEADLINE_S = 30.0


class Etcd:
    def __init__(self, folder: Path, members: int = 1) -> None:
        self._folder = folder
        ports = free_ports(2 * members)
        self.endpoints = [("127.0.0.1", port) for port in ports[:members]]
        self._peers = [f"http://127.0.0.1:{port}" for port in ports[members:]]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._roots = itertools.count(1)

    def __enter__(self) -> "Etcd":
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def store_url(self, root: str) -> str:
        return "etcd://" + ",".join(f"{host}:{port}" for host, port in self.endpoints) + root

    def fresh_root(self) -> str:
        """A root that nobody has used yet."""
        return f"/test-{next(self._roots)}"

    def data_dir(self, member: int = 0) -> Path:
        return self._folder / f"member-{member}"

    def start(self) -> None:
        """Start the members that do not run, and return when all serve requests."""
        assert ETCD is not None, NO_ETCD
        alone = len(self.endpoints) == 1  # its election, for which a start waits, can disturb nobody
        heartbeat_ms, election_ms = ("20", "100") if alone else ("50", "300")
        for member, (host, port) in enumerate(self.endpoints):
            if member in self._processes:
                continue
            client = f"http://{host}:{port}"
            peer = self._peers[member]
            command = [ETCD, "--name", f"m{member}", "--data-dir", str(self.data_dir(member))]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--initial-cluster", ",".join(f"m{index}={url}" for index, url in enumerate(self._peers))]
            command += ["--heartbeat-interval", heartbeat_ms, "--election-timeout", election_ms]
            with (self._folder / f"member-{member}.log").open("ab") as log:
                self._processes[member] = subprocess.Popen(
                    command, cwd=self._folder, env={"PATH": "/usr/bin:/bin"}, stdout=log, stderr=log
                )
        for member in range(len(self.endpoints)):
            self._until_healthy(member)

    def kill(self, member: int | None = None) -> None:
        """kill -9 one member, or all."""
        for index in list(self._processes) if member is None else [member]:
            process = self._processes.pop(index)
            process.kill()
            process.wait(DEADLINE_S)

    def freeze(self, member: int = 0) -> None:
        self._processes[member].send_signal(signal.SIGSTOP)

    def go_on(self, member: int = 0) -> None:
        self._processes[member].send_signal(signal.SIGCONT)

    def compact(self) -> None:
        """Forget the history up to now."""
        header = self.post("/v3/kv/range", {"key": "AA=="})["header"]
        self.post("/v3/kv/compaction", {"revision": header["revision"], "physical": True})

    def post(self, path: str, body: object, member: int = 0) -> dict[str, dict[str, str]]:
        connection = http.client.HTTPConnection(*self.endpoints[member], timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body))
            answer: dict[str, dict[str, str]] = json.loads(connection.getresponse().read())
        return answer

    def _until_healthy(self, member: int) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if self._processes[member].poll() is not None:
                raise AssertionError((self._folder / f"member-{member}.log").read_text())
            connection = http.client.HTTPConnection(*self.endpoints[member], timeout=1)
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/health")
                if json.loads(connection.getresponse().read()).get("health") == "true":
                    return
            time.sleep(0.02)  # another process has nothing to wait on
        raise AssertionError(f"etcd did not start: {(self._folder / f'member-{member}.log').read_text()}")


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        opened = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in opened]


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    if ETCD is None:
        pytest.skip(NO_ETCD)
    with Etcd(tmp_path_factory.mktemp("etcd")) as etcd:
        yield etcd
