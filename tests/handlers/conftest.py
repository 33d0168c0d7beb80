import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.handlers.cluster_rig import ClusterRig

StartRig = Callable[..., Awaitable[ClusterRig]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def start_rig(tmp_path: Path) -> AsyncIterator[StartRig]:
    """Start a rig with these properties; it is stopped after the test."""
    started: list[ClusterRig] = []

    async def start(**properties: str) -> ClusterRig:
        rig = ClusterRig(tmp_path, {name.replace("_", "."): value for name, value in properties.items()})
        started.append(rig)
        return await rig.start()

    yield functools.partial(start)
    for rig in started:
        await rig.stop()


@pytest.fixture
async def rig(start_rig: StartRig) -> ClusterRig:
    return await start_rig()
