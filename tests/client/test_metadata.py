"""What brokers tell of a cluster, as values."""

from pykbroker.client.metadata import cluster_metadata
from wire.errors import ErrorCode
from wire.messages.metadata import MetadataResponse, MetadataResponseTopic


def test_error_that_is_newer_than_the_client_is_some_failure() -> None:
    response = MetadataResponse(topics=[MetadataResponseTopic(error_code=9999, name="t")])
    assert cluster_metadata(response).topics["t"].error is ErrorCode.UNKNOWN_SERVER_ERROR
