import pytest

from tests.support.running import LIBRARIES


@pytest.fixture(params=LIBRARIES)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Faults are the same with both."""
    return request.param
