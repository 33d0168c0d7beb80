"""A real Apache Kafka for the commands: one node with a listener of each kind, for all tests of a worker."""

from collections.abc import Iterator

import pytest
from clients import Unavailable

from tests.cli.secured_kafka import SecuredKafka, started


@pytest.fixture(scope="session")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    try:
        kafka = started(tmp_path_factory.mktemp("kafka"))
    except Unavailable as reason:
        pytest.skip(str(reason))
    with kafka.cluster:
        yield kafka
