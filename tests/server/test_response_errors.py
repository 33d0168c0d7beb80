from collections import Counter

import pytest

from pykbroker.server.response_errors import ResponseErrors, error_name
from wire.errors import ErrorCode
from wire.messages.brokers import ApiVersionsResponse
from wire.messages.classic_groups import ListedGroup, ListGroupsResponse
from wire.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from wire.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse

NONE, NOT_LEADER = ErrorCode.NONE, ErrorCode.NOT_LEADER_OR_FOLLOWER


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (ApiVersionsResponse(error_code=35), {ErrorCode.UNSUPPORTED_VERSION: 1}),
        (ProduceResponse(), {}),
        (
            ProduceResponse(
                responses=[
                    TopicProduceResponse(
                        "a", partition_responses=[PartitionProduceResponse(0), PartitionProduceResponse(1, 6)]
                    ),
                    TopicProduceResponse("b", partition_responses=[PartitionProduceResponse(0, 6)]),
                ]
            ),
            {NONE: 1, NOT_LEADER: 2},
        ),
        (
            FetchResponse(responses=[FetchableTopicResponse("a", partitions=[PartitionData(0, error_code=6)])]),
            {NONE: 1, NOT_LEADER: 1},  # the response as a whole has one, too
        ),
        (ListGroupsResponse(groups=[ListedGroup("g")]), {NONE: 1}),
        (ApiVersionsResponse(error_code=12_345), {12_345: 1}),
    ],
)
def test_all_error_codes_of_a_response_are_counted(response: object, expected: dict[int, int]) -> None:
    errors = ResponseErrors()
    assert Counter(errors.codes(response)) == Counter(expected)
    assert Counter(errors.codes(response)) == Counter(expected)  # with what it knows of the class by now


def test_code_that_nobody_knows_has_the_name_of_an_unknown_error() -> None:
    assert [error_name(code) for code in (0, 6, 12_345)] == ["NONE", "NOT_LEADER_OR_FOLLOWER", "UNKNOWN_SERVER_ERROR"]
