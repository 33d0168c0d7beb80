import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from pykbroker.clock import SystemClock
from tests.cluster.worlds import ENGINES, SHARED_ENGINES, EtcdWorld, MemoryWorld, SqliteWorld, World


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(params=ENGINES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with opened_world(request, tmp_path) as world:
        yield world


@pytest.fixture(params=SHARED_ENGINES)
async def shared_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with opened_world(request, tmp_path) as world:
        yield world


@contextlib.asynccontextmanager
async def opened_world(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[World]:
    if request.param != "etcd":
        in_memory = request.param == "memory"
        world: World = MemoryWorld() if in_memory else SqliteWorld(folder, shared=request.param == "sqlite shared")
        yield world
        await world.close()
        return
    etcd = request.getfixturevalue("etcd")
    clock = SystemClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.run)
        world = EtcdWorld(etcd, clock)
        yield world
        await world.close()
        tasks.cancel_scope.cancel()
