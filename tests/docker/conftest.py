"""The image that the Dockerfile makes, once for all tests of one process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dockerfile import Dockerfile, Image, Unavailable, Workshop

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    try:
        with Workshop(tmp_path_factory.mktemp("docker")) as workshop:
            yield workshop.build(Dockerfile.read(REPOSITORY / "Dockerfile"), REPOSITORY)
    except Unavailable as why:
        pytest.skip(str(why))
