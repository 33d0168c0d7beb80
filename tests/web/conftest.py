import pytest

from tests.support.running import BACKENDS


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """What is served by HTTP is so on all of them."""
    return request.param
