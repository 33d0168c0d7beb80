from collections.abc import AsyncIterator

import pytest

import pykbroker
from pykbroker.embedded import AsyncCluster
from tests.faults.clusters import SHORT_SESSIONS
from tests.support.running import LIBRARIES


@pytest.fixture(params=LIBRARIES)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Faults are the same with both."""
    return request.param


@pytest.fixture
async def alone() -> AsyncIterator[AsyncCluster]:
    async with pykbroker.Broker() as kafka:
        yield kafka
        assert kafka.bugs == 0


@pytest.fixture
async def three() -> AsyncIterator[AsyncCluster]:
    async with pykbroker.Cluster(3, properties=SHORT_SESSIONS) as kafka:
        yield kafka
        assert kafka.bugs == 0
