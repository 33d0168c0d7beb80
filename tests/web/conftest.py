import pytest

from tests.support.running import LIBRARIES


@pytest.fixture(params=LIBRARIES)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """What is served by HTTP is so with both; the server itself is tried on all loops (test_server)."""
    return request.param
