"""The commands that start brokers, in short: they start, say where, stop, and say in one line why they cannot.

Not here: all the rest of it (test_cli, test_supervisor), which takes a hundred processes.
"""

import signal
import socket
from pathlib import Path

import pytest

from tests.test_cli import only_broker, refused, started
from tests.test_supervisor import cluster, free_port, is_there, until_all_know_all


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_start_names_folder_and_address_and_stops_on_a_signal(tmp_path: Path, signal_number: int) -> None:
    folder = tmp_path / "new" / "folder"
    with started("--port", "0", "--data-dir", folder, cwd=tmp_path) as broker:
        assert broker.data_dir == folder
        assert broker.address[0] == "127.0.0.1"
        told = only_broker(broker.address)
        assert (told.host, told.port) == broker.address
        status, lines, err = broker.stop(signal_number)
    assert status == 0
    assert lines[-1] == "pykbroker stopped bugs_total=0"
    assert "Traceback" not in err
    assert (folder / "meta.properties").exists()


def test_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused("--port", str(port), "--data-dir", tmp_path / "data", cwd=tmp_path)
    assert line == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_cluster_names_its_folder_and_each_address_and_stops_cleanly(tmp_path: Path) -> None:
    first = free_port(3)
    with cluster("--data-dir", tmp_path / "d", "--port", str(first), cwd=tmp_path) as running:
        assert running.first_line == f"pykbroker keeps its data in {tmp_path / 'd'}"
        assert running.addresses == {number: ("127.0.0.1", first + number - 1) for number in (1, 2, 3)}
        until_all_know_all(running)
        pids = running.pids()
        status, lines, err = running.stop()
    assert status == 0, err
    assert sorted(line for line in lines if "stopped" in line) == [
        f"pykbroker {number} stopped bugs_total=0" for number in (1, 2, 3)
    ]
    assert not any(is_there(pid) for pid in pids.values())
    names = {path.name for path in (tmp_path / "d").iterdir() if not path.name.endswith(("-wal", "-shm"))}
    assert names == {"broker-1", "broker-2", "broker-3", "metadata.sqlite"}
