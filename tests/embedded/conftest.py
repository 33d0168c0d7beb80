import pytest

from tests.support.running import BACKENDS


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """A test's own event loop may be any of them."""
    return request.param
