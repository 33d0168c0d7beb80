"""The command `pykbroker cluster`: several brokers, each a process of its own, under one that speaks for them."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_cli import DEADLINE_S, brokers_of, command, environment

pytestmark = [pytest.mark.slow, pytest.mark.parallel]  # the quickest one is in test_processes


class RunningCluster:
    """A cluster whose brokers have all said that they accept clients."""

    def __init__(self, process: subprocess.Popen[str], brokers: int) -> None:
        self.process = process
        self.addresses: dict[int, tuple[str, int]] = {}
        assert process.stdout is not None
        self.first_line = process.stdout.readline().rstrip("\n")
        for _ in range(brokers):
            line = process.stdout.readline().rstrip("\n")
            if " accepts clients on " not in line:
                raise AssertionError((line, process.communicate(timeout=DEADLINE_S)))
            words = line.split(" ")
            host, _, port = words[-1].rpartition(":")
            self.addresses[int(words[1])] = (host, int(port))

    def pids(self) -> dict[int, int]:
        """The brokers' processes by broker id."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = {}
        for pid in children:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            found[int(words[words.index("--node-id") + 1])] = int(pid)
        return found

    def stop(self, signal_number: int = signal.SIGTERM) -> tuple[int, list[str], list[str]]:
        """Return the exit status, the lines that came since the start, and those of stderr."""
        self.process.send_signal(signal_number)
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out.splitlines(), err.splitlines()


def popen(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments, name="cluster"),
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def cluster(*arguments: str | Path, cwd: Path, brokers: int = 3) -> Iterator[RunningCluster]:
    with popen("--brokers", str(brokers), *arguments, cwd=cwd) as process:
        try:
            yield RunningCluster(process, brokers)
        finally:
            process.kill()  # the brokers end with it


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while is_there(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)  # another process has nothing to wait on


def is_there(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def until_all_know_all(running: RunningCluster) -> None:
    deadline = time.monotonic() + DEADLINE_S
    for address in running.addresses.values():
        while sorted(broker.node_id for broker in brokers_of(address)) != sorted(running.addresses):
            assert time.monotonic() < deadline


def free_port(count: int) -> int:
    """The first of some ports in a row that nobody listens on; other tests look for some, too."""
    for _ in range(1000):
        first = random.randrange(20_000, 30_000)
        with contextlib.ExitStack() as sockets, contextlib.suppress(OSError):
            for port in range(first, first + count):
                sockets.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise AssertionError("no ports")


def test_ephemeral_cluster_leaves_nothing_and_follows_set_and_ctrl_c(tmp_path: Path) -> None:
    options = ("--ephemeral", "--port", "0", "--set", "broker.rack=here")
    with cluster(*options, cwd=tmp_path, brokers=2) as running:
        folder = Path(running.first_line.removeprefix("pykbroker keeps its data in "))
        until_all_know_all(running)
        assert {broker.rack for broker in brokers_of(running.addresses[1])} == {"here"}
        assert folder.exists()
        assert running.stop(signal.SIGINT)[0] == 0
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_broker_that_cannot_start_takes_the_others_down_with_one_line(tmp_path: Path) -> None:
    first = free_port(3)
    options = ("--data-dir", tmp_path / "d", "--port", str(first))
    with socket.create_server(("127.0.0.1", first + 1)), popen(*options, cwd=tmp_path) as process:
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    expected = f"pykbroker: broker 2 did not start: cannot listen on 127.0.0.1:{first + 1}: Address already in use"
    assert [line for line in err.splitlines() if not line.startswith("[")] == [expected]


def test_broker_that_is_killed_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    # The lease ends with the process, long before its time.
    lease = ("--set", "broker.session.timeout.ms=600000")
    with cluster("--ephemeral", "--port", "0", *lease, cwd=tmp_path) as running:
        until_all_know_all(running)
        os.kill(running.pids()[2], signal.SIGKILL)
        assert running.process.stderr is not None
        line = next(line for line in running.process.stderr if not line.startswith("["))
        assert line == "pykbroker: broker 2 was killed by SIGKILL; the others go on\n"
        deadline = time.monotonic() + DEADLINE_S
        for number in (1, 3):
            while [broker.node_id for broker in brokers_of(running.addresses[number])] != [1, 3]:
                assert time.monotonic() < deadline
        status, lines, _ = running.stop()
    assert status == 1
    assert len([line for line in lines if "stopped bugs_total=0" in line]) == 2


def test_brokers_end_when_the_command_is_killed_and_start_again_at_once(tmp_path: Path) -> None:
    options = ("--data-dir", tmp_path / "d", "--port", "0")
    with cluster(*options, cwd=tmp_path) as running:
        pids = running.pids()
        assert len(pids) == 3
        running.process.kill()
        for pid in pids.values():
            until_gone(pid)
    with cluster(*options, cwd=tmp_path) as again:
        until_all_know_all(again)
        assert again.stop()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data-dir", "/proc/no-such-folder"], ["cannot create /proc/no-such-folder"]),
        (["--port", "65534"], ["--port 65534 leaves no ports for 3 brokers"]),
        (["--port", "0", "--set", "num.partitions=many"], ["num.partitions", "many"]),
    ],
    ids=["folder", "ports", "property"],
)
def test_what_a_person_did_wrong_is_one_line(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    with popen(*arguments, cwd=tmp_path) as process:
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    (line,) = err.splitlines()
    assert line.startswith("pykbroker: ")
    assert all(word in line for word in words)
