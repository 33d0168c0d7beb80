"""A real broker in the test's event loop, on a port of its own, with its data in a folder of the test.

    async with running(tmp_path, num_partitions="3") as broker, Client.connect(broker) as client:
        answer = await client.ask(MetadataRequest(), 9)

With a `SimulatedClock` the broker's time stands still until the test advances it. A test ends with no bug counted, or
with as many as it says.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pykbroker.broker import Broker
from pykbroker.clock import Clock
from pykbroker.config import BrokerConfig

# The parameters of a fixture `anyio_backend`: everything that the broker runs on.
BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    pytest.param(("trio", {}), id="trio"),
]
# Both libraries: enough for what leaves the sockets to others, since asyncio's two loops differ in nothing else.
LIBRARIES = BACKENDS[1:]
DEADLINE_S = 20.0  # for what takes milliseconds, on a machine that does other things


def config_for(data_dir: Path, **properties: str) -> BrokerConfig:
    """Kafka's names with underscores for dots."""
    return BrokerConfig.from_properties(
        {
            "listeners": "PLAINTEXT://127.0.0.1:0",
            "log.dirs": str(data_dir),
            "offsets.topic.num.partitions": "1",
            "message.max.bytes": str(64 * 1024 * 1024),
        }
        | {name.replace("_", "."): value for name, value in properties.items()}
    )


@contextlib.asynccontextmanager
async def running(
    data_dir: Path, *, clock: Clock | None = None, bugs: int = 0, **properties: str
) -> AsyncIterator[Broker]:
    with anyio.fail_after(DEADLINE_S):
        async with Broker(config_for(data_dir, **properties), is_ephemeral=True, clock=clock) as broker:
            yield broker
        assert broker.metrics.bugs_total == bugs
        assert broker.metrics.connections == 0


async def until(condition: Callable[[], Any]) -> None:
    """Let the others run until something is true."""
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await anyio.lowlevel.checkpoint()


def has_received(broker: Broker, total_bytes: int) -> Callable[[], bool]:
    """Ready for `until`: the broker has received so many bytes since it started."""
    return lambda: broker.metrics.bytes_in_total == total_bytes


def have_started(broker: Broker, requests: int) -> Callable[[], bool]:
    """Ready for `until`: the broker has started so many more requests than now."""
    goal = broker.metrics.requests_total + requests
    return lambda: broker.metrics.requests_total == goal
