"""One etcd server, as Debian's etcd-server installs it, for clusters whose store it is.

Owns: the process and its data directory.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from attrs import define
from clients import Unavailable
from cluster import Place, free_ports, tail

START_TIMEOUT_S = 30.0


@define
class Etcd:
    """A started server. `url` is what `pykbroker start --store` takes."""

    process: subprocess.Popen[bytes]
    address: str

    @property
    def url(self) -> str:
        return f"etcd://{self.address}/pykbroker"

    @classmethod
    def start(cls, directory: Path, place: Place) -> Etcd:
        """Start a server with no data. Raises: Unavailable, where there is no etcd too."""
        if shutil.which("etcd") is None:
            raise Unavailable("there is no etcd here; Debian's package is etcd-server")
        directory.mkdir(parents=True)
        client, peer = (f"{place.host}:{port}" for port in free_ports(2))
        command = [*place.prefix, "etcd", "--data-dir", str(directory / "data"), "--name", "only"]
        command += ["--listen-client-urls", f"http://{client}", "--advertise-client-urls", f"http://{client}"]
        command += ["--listen-peer-urls", f"http://{peer}", "--initial-advertise-peer-urls", f"http://{peer}"]
        command += ["--initial-cluster", f"only=http://{peer}"]
        log = directory / "etcd.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        etcd = cls(process, client)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not etcd._is_healthy():
            if time.monotonic() > deadline or process.poll() is not None:
                etcd.stop()
                raise Unavailable(f"etcd did not start:\n{tail(log)}")
            time.sleep(0.05)
        return etcd

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
