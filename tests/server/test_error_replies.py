"""Every API that is served can answer "the whole request failed", at each of its versions, and every code is set."""

from typing import Any

import pytest

from pykbroker.errors import KafkaError
from pykbroker.server.dispatch import HANDLERS
from pykbroker.server.error_replies import error_response
from tests.support.filled import error_codes, filled
from wire import codec
from wire.catalog import API_BY_KEY, request_class, response_class
from wire.errors import ErrorCode

ERROR = KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "why")
VERSIONS = [
    pytest.param(key, version, id=f"{API_BY_KEY[key].name}-{version}")
    for key in HANDLERS
    for version in range(API_BY_KEY[key].min_version, API_BY_KEY[key].max_version + 1)
]


@pytest.mark.parametrize(("key", "version"), VERSIONS)
def test_error_response_carries_the_code_at_every_version(key: int, version: int) -> None:
    request = filled(request_class(key), version)
    response = error_response(key, version, request, ERROR)
    frame = codec.encode_bytes(response, version)
    decoded, _ = codec.decode(response_class(key), version, frame)
    codes = error_codes(decoded)
    assert codes
    assert set(codes) <= {ErrorCode.UNKNOWN_SERVER_ERROR, ErrorCode.NONE}
    assert ErrorCode.UNKNOWN_SERVER_ERROR in codes


def test_error_response_of_produce_names_each_partition() -> None:
    request = filled(request_class(0), 9)
    response: Any = error_response(0, 9, request, ERROR)
    (topic,) = response.responses
    (partition,) = topic.partition_responses
    assert (topic.name, partition.index, partition.error_code) == ("named", 7, ErrorCode.UNKNOWN_SERVER_ERROR)
    assert partition.error_message == "why"


def test_error_response_of_list_of_names_fills_in_the_name() -> None:
    response: Any = error_response(15, 6, filled(request_class(15), 6), ERROR)
    assert [group.group_id for group in response.groups] == ["named"]
