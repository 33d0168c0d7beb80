"""The command: what it prints, how it ends, and one line for what a person did wrong."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pykbroker import cli
from wire import codec
from wire.frame import RequestHeader, decode_response_header, encode_request
from wire.messages.metadata import MetadataRequest, MetadataResponse, MetadataResponseBroker
from wire.study.exchanges import TracedFrame
from wire.study.trace import TraceDecoder

pytestmark = [pytest.mark.slow, pytest.mark.parallel]  # the quickest are in test_processes

DEADLINE_S = 30.0


class Running:
    """A broker in a process of its own, which has said that it accepts clients."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.first_line = process.stdout.readline().rstrip("\n")
        self.second_line = process.stdout.readline().rstrip("\n")
        if "accepts clients on" not in self.second_line:
            raise AssertionError(process.communicate(timeout=DEADLINE_S))

    @property
    def data_dir(self) -> Path:
        assert self.first_line.startswith("pykbroker keeps its data in ")
        return Path(self.first_line.removeprefix("pykbroker keeps its data in "))

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.second_line.removeprefix("pykbroker accepts clients on ").rpartition(":")
        return host, int(port)

    def stop(self, signal_number: int = signal.SIGTERM) -> tuple[int, list[str], str]:
        """Return the exit status, the lines that came since the start, and stderr."""
        self.process.send_signal(signal_number)
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out.splitlines(), err


def command(*arguments: str | Path, name: str = "start") -> list[str]:
    return [sys.executable, "-m", "pykbroker", name, *map(str, arguments)]


@contextlib.contextmanager
def started(*arguments: str | Path, cwd: Path) -> Iterator[Running]:
    process = subprocess.Popen(
        command(*arguments), cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield Running(process)
        finally:
            if process.poll() is None:
                process.kill()


def refused(*arguments: str | Path, cwd: Path) -> str:
    """Run a broker that does not start, and return the line that says why."""
    done = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("pykbroker: ")
    assert "accepts clients" not in done.stdout
    return line.removeprefix("pykbroker: ")


def environment() -> dict[str, str]:
    repository = str(Path(__file__).resolve().parent.parent)
    return os.environ | {"PYTHONPATH": repository, "PYTHONUNBUFFERED": ""}


def only_broker(address: tuple[str, int]) -> MetadataResponseBroker:
    (broker,) = brokers_of(address)
    return broker


def brokers_of(address: tuple[str, int]) -> list[MetadataResponseBroker]:
    """Ask for metadata: which brokers are clients told of?"""
    with socket.create_connection(address, timeout=DEADLINE_S) as sock, sock.makefile("rb") as answers:
        sock.sendall(encode_request(RequestHeader(3, 9, 1, "test"), MetadataRequest([])))
        frame = answers.read(int.from_bytes(answers.read(4), "big"))
    _, pos = decode_response_header(3, 9, frame)
    response, _ = codec.decode(MetadataResponse, 9, frame, pos)
    return list(response.brokers)


def test_stop_while_a_client_waits_for_an_answer_is_clean(tmp_path: Path) -> None:
    asked = encode_request(RequestHeader(3, 9, 1, "test"), MetadataRequest([]))
    with (
        started("--port", "0", "--ephemeral", cwd=tmp_path) as broker,
        socket.create_connection(broker.address, timeout=DEADLINE_S) as sock,
        sock.makefile("rb") as answers,
    ):
        sock.sendall(asked)
        answers.read(int.from_bytes(answers.read(4), "big"))
        sock.sendall(asked[:-1])
        status, lines, err = broker.stop()
        with contextlib.suppress(ConnectionResetError):
            assert answers.read() == b""
    assert (status, lines[-1]) == (0, "pykbroker stopped bugs_total=0")
    assert "Traceback" not in err


def test_ephemeral_folder_is_gone_at_exit(tmp_path: Path) -> None:
    with started("--port", "0", "--ephemeral", cwd=tmp_path) as broker:
        folder = broker.data_dir
        assert (folder / "meta.properties").exists()
        status, _, _ = broker.stop()
    assert status == 0
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_properties_of_file_and_set_and_advertised_listener_are_followed(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_text(
        "# a file of Kafka's\n"
        "process.roles=broker,controller\n"
        "node.id=3\n"
        "controller.quorum.voters=3@localhost:9093\n"
        "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:9093\n"
        "inter.broker.listener.name=PLAINTEXT\n"
        "controller.listener.names=CONTROLLER\n"
        "broker.rack=of the file\n"
        f"log.dirs={tmp_path}/logs\n"
    )
    options = ("--config", file, "--set", "broker.rack=of the option", "--advertised-listener", "kafka.example:19092")
    with started(*options, cwd=tmp_path) as broker:
        assert broker.data_dir == tmp_path / "logs"
        assert broker.second_line == "pykbroker accepts clients on kafka.example:19092"
        (port,) = listening_ports(broker.process.pid)
        told = only_broker(("127.0.0.1", port))
        assert (told.node_id, told.host, told.port) == (3, "kafka.example", 19092)
        assert told.rack == "of the option"
        assert broker.stop()[0] == 0


def test_variables_go_before_the_file_and_options_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "server.properties"
    file.write_text(f"log.dirs={tmp_path}/logs\nbroker.rack=of the file\nnode.id=3\n")
    monkeypatch.setenv("KAFKA_LISTENERS", "PLAINTEXT://127.0.0.1:0")
    monkeypatch.setenv("KAFKA_BROKER_RACK", "of the variable")
    monkeypatch.setenv("KAFKA_NODE_ID", "4")
    with started("--from-env", "--config", file, "--node-id", "5", cwd=tmp_path) as broker:
        told = only_broker(broker.address)
        assert (told.node_id, told.rack) == (5, "of the variable")
        assert broker.stop()[0] == 0
    monkeypatch.setenv("KAFKA_PROCESS_ROLES", "broker")
    assert refused("--from-env", cwd=tmp_path).startswith("process.roles=broker expects others")


def test_data_folder_by_default_is_in_the_current_one(tmp_path: Path) -> None:
    with started("--port", "0", cwd=tmp_path) as broker:
        assert broker.data_dir == tmp_path / "pykbroker-data"
        with started("--ephemeral", "--port", "0", cwd=tmp_path) as another:  # beside one that runs
            assert another.address != broker.address
            assert another.stop()[0] == 0
        in_use = refused("--port", "0", cwd=tmp_path)
        assert str(tmp_path / "pykbroker-data") in in_use
        assert "use" in in_use or "lock" in in_use
        assert broker.stop()[0] == 0


def test_data_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert str(file) in refused("--port", "0", "--data-dir", file, cwd=tmp_path)
    assert "/proc/no-such-folder" in refused("--port", "0", "--data-dir", "/proc/no-such-folder", cwd=tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_data_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    assert str(folder) in refused("--port", "0", "--data-dir", folder, cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "num.partitions=many"], ["num.partitions", "many"]),
        (["--set", "num.partitions=0"], ["num.partitions", "0"]),
        (["--set", "num.partitions"], ["--set num.partitions", "NAME=VALUE"]),
        (["--set", "=3"], ["--set =3", "NAME=VALUE"]),
        (["--set", "listeners=PLAINTEXT//nowhere"], ["listeners", "PLAINTEXT//nowhere"]),
        (["--config", "missing.properties"], ["missing.properties", "No such file or directory"]),
        (["--config", "."], ["Is a directory"]),
        (["--host", "192.0.2.1"], ["cannot listen on 192.0.2.1:0"]),
        (["--set", "listeners=SSL://127.0.0.1:0"], ["SSL", "PLAINTEXT"]),
        (["--advertised-listener", "nowhere"], ["advertised.listeners", "nowhere"]),
        (["--ephemeral"], ["--ephemeral", "--data-dir"]),
        (["--store", "mysql://h/d"], ["pykbroker.store", "mysql://h/d", "etcd://host:port/prefix"]),
        (["--store", "etcd://127.0.0.1/p"], ["pykbroker.store", "'127.0.0.1' is not host:port"]),
        (["--store", "etcd://127.0.0.1:1/p"], ["no etcd answers at 127.0.0.1:1"]),
        (["--store", "sqlite:/proc/no-such-folder/s"], ["/proc/no-such-folder/s"]),
        (["--node-id", "-1"], ["node.id", "-1"]),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else None,
)
def test_what_a_person_did_wrong_is_one_line(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    line = refused("--port", "0", "--data-dir", tmp_path / "data", *arguments, cwd=tmp_path)
    for word in words:
        assert word in line


def test_etcd_without_the_client_is_one_line(tmp_path: Path) -> None:
    without_httpx = "import sys; sys.modules['httpx'] = None; from pykbroker.cli import main; main()"
    arguments = ["start", "--port", "0", "--data-dir", str(tmp_path / "data"), "--store", "etcd://127.0.0.1:1"]
    done = subprocess.run(
        [sys.executable, "-c", without_httpx, *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    expected = "pykbroker: the store etcd://127.0.0.1:1 needs httpx: pip install 'pykbroker[cluster]'"
    assert done.stderr.splitlines() == [expected]


@pytest.mark.parametrize("kind", ["sqlite", "etcd"])
def test_brokers_that_share_a_store_are_one_cluster(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    if kind == "etcd":
        etcd = request.getfixturevalue("etcd")
        store = etcd.store_url(etcd.fresh_root())
    else:
        store = f"sqlite:{tmp_path / 'shared'}"
    options = ("--port", "0", "--store", store)
    with (
        started(*options, "--node-id", "7", "--data-dir", tmp_path / "7", cwd=tmp_path) as first,
        started(*options, "--node-id", "8", "--data-dir", tmp_path / "8", cwd=tmp_path) as second,
    ):
        expected = {7: first.address, 8: second.address}
        assert {broker.node_id: (broker.host, broker.port) for broker in brokers_of(second.address)} == expected
        assert second.stop()[0] == 0
        assert first.stop()[0] == 0


def test_data_of_another_cluster_than_the_stores_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store = f"sqlite:{tmp_path / name}.sqlite"
        with started("--port", "0", "--store", store, "--data-dir", tmp_path / name, cwd=tmp_path) as broker:
            assert broker.stop()[0] == 0
    line = refused("--port", "0", "--store", f"sqlite:{tmp_path}/a.sqlite", "--data-dir", tmp_path / "b", cwd=tmp_path)
    assert line.startswith("the data belongs to cluster ")


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_wrong_port_is_told_with_the_usage(tmp_path: Path, port: str) -> None:
    done = subprocess.run(
        command(f"--port={port}"),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage: pykbroker start")
    assert done.stderr.splitlines()[-1].endswith(f"argument --port: {port} is not a port (0 to 65535)")


def test_configuration_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_bytes(b"\xff\xfe\0listeners")
    assert str(file) in refused("--config", file, cwd=tmp_path)


def listening_ports(pid: int) -> list[int]:
    """The IPv4 ports that a process listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            inodes.add(os.readlink(link).removeprefix("socket:[").rstrip("]"))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return [int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes]


def test_http_is_served_where_told_and_said_before_clients_are_accepted(tmp_path: Path) -> None:
    lines = lines_of("start", "--port", "0", "--ephemeral", "--http", "127.0.0.1:0", cwd=tmp_path)
    assert [line.rpartition(" ")[0] for line in lines[1:3]] == [
        "pykbroker serves HTTP on",
        "pykbroker accepts clients on",
    ]
    assert lines[1].startswith("pykbroker serves HTTP on http://127.0.0.1:")


def test_console_is_served_where_http_is_and_implies_it(tmp_path: Path) -> None:
    lines = lines_of("start", "--port", "0", "--ephemeral", "--http", "0", "--console", cwd=tmp_path)
    address = lines[1].rpartition(" ")[2]
    assert lines[2] == f"pykbroker has its console at {address}/console/"
    options = cli.parser().parse_args(["start", "--console"], namespace=cli.Options())
    properties = cli._properties(options, None)
    assert properties["pykbroker.http.listener"] == "9644"
    assert properties["pykbroker.http.console.enable"] == "true"
    assert "pykbroker.http.console.write.enable" not in properties


def test_each_broker_of_a_cluster_serves_http_on_a_port_of_its_own(tmp_path: Path) -> None:
    lines = lines_of(
        "cluster", "--port", "0", "--ephemeral", "--brokers", "2", "--http", "0", "--console", cwd=tmp_path
    )
    urls = {line for line in lines if " serves HTTP on " in line}
    assert {line.split()[1] for line in urls} == {"1", "2"}
    assert {line.split()[1] for line in lines if " has its console at " in line} == {"1", "2"}
    assert len({line.rpartition(":")[2] for line in urls}) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("start", "--http", "nonsense"), "pykbroker.http.listener cannot be nonsense: 'nonsense' is not HOST:PORT"),
        (("cluster", "--http", "nonsense"), "--http 'nonsense' is not HOST:PORT"),
        (("cluster", "--brokers", "3", "--http", "65534"), "--http 65534 leaves no ports for 3 brokers"),
    ],
)
def test_wrong_address_for_http_is_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    name, *rest = arguments
    done = subprocess.run(
        command("--ephemeral", "--port", "0", *rest, name=name),
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, f"pykbroker: {message}\n")


def lines_of(name: str, *arguments: str, cwd: Path) -> list[str]:
    """Start, stop when all have said that they accept clients, and return what was printed."""
    process = subprocess.Popen(
        command(*arguments, name=name), cwd=cwd, env=environment(), stdout=subprocess.PIPE, text=True
    )
    expected = 2 if name == "cluster" else 1
    lines: list[str] = []
    with process:
        assert process.stdout is not None
        while sum(" accepts clients on " in line for line in lines) < expected:
            line = process.stdout.readline()
            assert line, lines
            lines.append(line.rstrip())
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    return lines


def test_start_with_trace_writes_what_was_said_to_a_file(tmp_path: Path) -> None:
    with started("--port", "0", "--ephemeral", "--trace", cwd=tmp_path) as broker:
        brokers_of(broker.address)
        assert broker.stop()[0] == 0
    frames = TraceDecoder().feed((tmp_path / "pykbroker.trace").read_bytes())
    assert [(frame.api_key, frame.direction.name) for frame in frames if isinstance(frame, TracedFrame)] == [
        (3, "REQUEST"),
        (3, "RESPONSE"),
    ]


def test_start_with_trace_to_the_terminal_shows_lines_and_trees(tmp_path: Path) -> None:
    for options in (["--trace", "-", "--trace-tree", "Metadata"], ["--trace-tree", "all"]):
        with started("--port", "0", "--ephemeral", *options, cwd=tmp_path) as broker:
            brokers_of(broker.address)
            _, lines, _ = broker.stop()
        assert [line for line in lines if " > Metadata v9 " in line]
        assert any(line.endswith("api_key: int16 = 3  Metadata") for line in lines)
    assert not list(tmp_path.iterdir())


def test_trace_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    where = tmp_path / "missing" / "file"
    complaint = refused("--port", "0", "--ephemeral", "--trace", where, cwd=tmp_path)
    assert complaint == f"--trace {where}: No such file or directory"
    options = ("--port", "0", "--ephemeral", "--trace", "-", "--trace-tree", "Fetsch")
    assert refused(*options, cwd=tmp_path) == "--trace -: no API is called Fetsch"
    options = ("--port", "0", "--ephemeral", "--trace", "-", "--trace-max-bytes", "100000000")
    assert refused(*options, cwd=tmp_path) == "--trace -: only a file can have a limit"
    options = ("--port", "0", "--ephemeral", "--trace-max-bytes", "100000000")
    assert refused(*options, cwd=tmp_path) == "--trace-max-bytes needs --trace"
    options = ("--port", "0", "--ephemeral", "--trace", "--trace-max-bytes", "100")
    assert refused(*options, cwd=tmp_path) == "--trace pykbroker.trace: a limit of less than 4194304 bytes"
    for options in (("--trace", "--trace-tree", "all"), ("--trace", "file", "--trace-tree", "all")):
        assert "--trace-tree is about what --trace - shows" in refused("--ephemeral", *options, cwd=tmp_path)
    assert not list(tmp_path.iterdir())
