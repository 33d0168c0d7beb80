import pytest

from tests.support.running import BACKENDS


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Everything about the server holds on all of them."""
    return request.param
