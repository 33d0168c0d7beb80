"""A real Prometheus for tests: a process on a free loopback port that scrapes what it is told, every two seconds.

    async with Prometheus.scraping(tmp_path, ["127.0.0.1:9644"]) as prometheus:
        await prometheus.query('up{job="pykbroker"}')       # a list of samples

It chooses its port itself, and says in its log which. `promtool` comes with it.
"""

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import httpx

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
NO_PROMETHEUS = "there is no Prometheus here (Debian: apt-get install prometheus)"
DEADLINE_S = 60.0  # for all that is waited for; it takes a second or two
JOB = "pykbroker"
POLL_INTERVAL_S = 0.05


class Prometheus:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    @staticmethod
    @contextlib.asynccontextmanager
    async def scraping(folder: Path, targets: Sequence[str]) -> AsyncIterator["Prometheus"]:
        """Start one, and return when it can be asked. Raises: TimeoutError."""
        assert PROMETHEUS is not None, NO_PROMETHEUS
        config, log = folder / "prometheus.json", folder / "prometheus.log"  # JSON is YAML, too
        scraped = {"job_name": JOB, "static_configs": [{"targets": list(targets)}]}
        times = {"scrape_interval": "2s", "scrape_timeout": "2s"}
        config.write_text(json.dumps({"global": times, "scrape_configs": [scraped]}))
        command = [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}"]
        command += ["--web.listen-address=127.0.0.1:0", "--log.format=json"]
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
            try:
                with anyio.fail_after(DEADLINE_S):
                    while (address := _address(log)) is None:
                        assert process.poll() is None, log.read_text()
                        await anyio.sleep(POLL_INTERVAL_S)
                async with httpx.AsyncClient(
                    trust_env=False, verify=False, base_url=f"http://{address}", timeout=DEADLINE_S
                ) as client:
                    yield Prometheus(client)
            finally:
                process.send_signal(signal.SIGKILL)

    async def query(self, promql: str) -> list[dict[str, Any]]:
        """Ask for the present value of an expression. Raises: AssertionError, if it is not accepted."""
        response = await self._client.post("/api/v1/query", data={"query": promql})
        answer = response.json()
        assert answer["status"] == "success", (promql, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    async def until_found(self, promql: str) -> list[dict[str, Any]]:
        """Ask until there is a value: a rate needs two scrapes. Raises: TimeoutError."""
        with anyio.fail_after(DEADLINE_S):
            while not (found := await self.query(promql)):
                await anyio.sleep(POLL_INTERVAL_S)
        return found

    async def unhealthy(self) -> list[str]:
        """Return what went wrong in the last scrape of each target, where something did."""
        targets = (await self._client.get("/api/v1/targets")).json()["data"]["activeTargets"]
        return [each["lastError"] for each in targets if each["lastError"]]


def _address(log: Path) -> str | None:
    """Find where it listens, once it does."""
    for line in log.read_text().splitlines(keepends=True):
        if line.endswith("\n") and '"Listening on"' in line:
            address: str = json.loads(line)["address"]
            return address
    return None
