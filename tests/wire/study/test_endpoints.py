"""Addresses of brokers in answers: found wherever they are, and written anew."""

from wire.catalog import API_BY_KEY, API_BY_NAME, APIS, response_class
from wire.messages.brokers import ApiVersion, ApiVersionsResponse
from wire.messages.fetch import FetchResponse, NodeEndpoint
from wire.messages.metadata import Coordinator, FindCoordinatorResponse, MetadataResponse, MetadataResponseBroker
from wire.study.endpoints import (
    endpoints,
    holds_endpoints,
    limit_versions,
    read_response,
    tells_endpoints,
    write_response,
)


def test_answers_with_addresses_are_those_that_are_known() -> None:
    told = {API_BY_KEY[api.key].name for api in APIS if tells_endpoints(api.key)}
    assert told == {
        "Produce", "Fetch", "Metadata", "FindCoordinator", "Vote", "BeginQuorumEpoch", "EndQuorumEpoch",
        "DescribeQuorum", "FetchSnapshot", "DescribeCluster", "ShareFetch", "ShareAcknowledge", "UpdateRaftVoter",
    }  # fmt: skip
    with_any = {api.name for api in APIS if holds_endpoints(response_class(api.key))}
    assert with_any - told == {"StreamsGroupHeartbeat", "StreamsGroupDescribe"}


def test_every_address_is_found_and_nobody_is_not_replaced() -> None:
    metadata = MetadataResponse(brokers=[MetadataResponseBroker(node_id=1, host="a", port=1)] * 2)
    assert [(found.host, found.port) for found in endpoints(metadata)] == [("a", 1)] * 2
    nobody = FindCoordinatorResponse(coordinators=[Coordinator(host="", port=-1), Coordinator(host="b", port=2)])
    assert [found.host for found in endpoints(nobody)] == ["b"]
    assert [found.port for found in endpoints(FetchResponse(node_endpoints=[NodeEndpoint(host="c", port=3)]))] == [3]


def test_answer_is_written_as_it_was_read_but_for_what_was_changed() -> None:
    key = API_BY_NAME["Fetch"].key
    frame = write_response(key, 16, 5, FetchResponse(node_endpoints=[NodeEndpoint(host="c", port=3)]))
    correlation_id, message = read_response(key, 16, frame)
    assert write_response(key, 16, correlation_id, message) == frame
    for found in endpoints(message):
        found.host, found.port = "proxy", 4
    _, changed = read_response(key, 16, write_response(key, 16, correlation_id, message))
    assert [(node.host, node.port) for node in changed.node_endpoints] == [("proxy", 4)]


def test_versions_that_we_cannot_read_are_not_promised() -> None:
    answer = ApiVersionsResponse(
        api_keys=[
            ApiVersion(api_key=3, max_version=99),
            ApiVersion(api_key=1, max_version=5),
            ApiVersion(api_key=999, max_version=7),
        ]
    )
    assert limit_versions(answer)
    assert [api.max_version for api in answer.api_keys] == [API_BY_KEY[3].max_version, 5, 7]
    assert not limit_versions(answer)
