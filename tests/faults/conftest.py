from collections.abc import AsyncIterator

import pytest

import pykbroker
from pykbroker.embedded import AsyncCluster
from tests.faults.clusters import SHORT_SESSIONS
from tests.support.running import BACKENDS


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Everything about the server holds on all of them."""
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
