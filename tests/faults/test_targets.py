import pytest

from pykbroker.errors import KafkaError
from pykbroker.faults.rules import Fault
from pykbroker.faults.targets import Split, failed_part, mark, merge, narrowed, split_request, target_of
from pykbroker.server.dispatch import HANDLERS
from pykbroker.server.error_replies import error_response
from tests.support.filled import error_codes, filled
from wire.catalog import API_BY_KEY, request_class
from wire.errors import ErrorCode
from wire.messages.classic_groups import DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest
from wire.messages.configs import DescribeConfigsRequest, DescribeConfigsResource
from wire.messages.group_offsets import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic
from wire.messages.metadata import (
    FindCoordinatorRequest,
    MetadataRequest,
    MetadataResponse,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from wire.schema import Uuid, spec_of

OFFSET_DELETE = 47
ID = bytes(15) + b"\1"


def name_of(topic_id: Uuid) -> str | None:
    return "by-id" if topic_id == ID else None


def split(request: object, **named: object) -> Split:
    return split_request(request, Fault.of({"drop": True, **named}).is_about, name_of)


def produce(*partitions: tuple[str, int]) -> ProduceRequest:
    names = dict.fromkeys(name for name, _ in partitions)
    return ProduceRequest(
        topic_data=[
            TopicProduceData(name, partition_data=[PartitionProduceData(i) for each, i in partitions if each == name])
            for name in names
        ],
        transactional_id="tx",
    )


def partitions_of(request: ProduceRequest | None) -> list[tuple[str, int]]:
    topics = [] if request is None else request.topic_data
    return [(topic.name, each.index) for topic in topics for each in topic.partition_data]


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        ({}, [("a", 0), ("a", 1), ("b", 0)]),
        ({"topic": "a"}, [("a", 0), ("a", 1)]),
        ({"topic": "a", "partition": 1}, [("a", 1)]),
        ({"topic": "c"}, []),
        ({"transactional_id": "tx", "topic": "b"}, [("b", 0)]),
        ({"transactional_id": "other"}, []),
        ({"group": "g"}, []),
    ],
)
def test_request_is_divided_into_what_a_fault_is_about_and_the_rest(
    named: dict[str, object], wanted: list[tuple[str, int]]
) -> None:
    everything = [("a", 0), ("a", 1), ("b", 0)]
    request = produce(*everything)
    found = split(request, **named)
    assert partitions_of(found.wanted) == wanted
    assert partitions_of(found.rest) == [each for each in everything if each not in wanted]
    assert partitions_of(request) == everything, "the request itself is as it was"
    assert found.wanted is None or found.wanted.transactional_id == "tx"


def test_topic_that_goes_by_its_id_is_found_by_name() -> None:
    request = ProduceRequest(topic_data=[TopicProduceData(topic_id=ID, partition_data=[PartitionProduceData(0)])])
    assert split(request, topic="by-id").rest is None
    assert split(request, topic="another").wanted is None


def test_parts_are_groups_transactional_ids_and_resources_too() -> None:
    assert split(DescribeGroupsRequest(groups=["g", "h"]), group="g").wanted.groups == ["g"]
    assert split(DeleteGroupsRequest(groups_names=["g", "h"]), group="g").rest.groups_names == ["h"]
    assert split(FindCoordinatorRequest(coordinator_keys=["g", "h"], key_type=0), group="h").rest is not None
    assert split(FindCoordinatorRequest(key="g", key_type=0), group="g").rest is None
    assert split(FindCoordinatorRequest(key="g", key_type=1), group="g").wanted is None
    assert split(FindCoordinatorRequest(key="g", key_type=1), transactional_id="g").rest is None
    resources = [DescribeConfigsResource(2, "t"), DescribeConfigsResource(4, "1"), DescribeConfigsResource(32, "g")]
    found = split(DescribeConfigsRequest(resources=resources), topic="t")
    assert [each.resource_name for each in found.rest.resources] == ["1", "g"]
    assert split(DescribeConfigsRequest(resources=resources), group="g").wanted.resources == resources[2:]


def test_request_without_lists_is_one_part() -> None:
    request = HeartbeatRequest(group_id="g")
    assert split(request, group="g") == Split(request, None)
    assert split(request, group="h") == Split(None, request)
    assert split(MetadataRequest(topics=None), topic="t").wanted is None


def test_commit_of_one_partition_fails_beside_one_that_is_done() -> None:
    partitions = [OffsetCommitRequestPartition(0), OffsetCommitRequestPartition(1)]
    request = OffsetCommitRequest(group_id="g", topics=[OffsetCommitRequestTopic("t", partitions=partitions)])
    found = split(request, group="g", topic="t", partition=1)
    failed = error_response(8, 8, found.wanted, KafkaError(ErrorCode.UNSTABLE_OFFSET_COMMIT))
    done = error_response(8, 8, found.rest, KafkaError(ErrorCode.NONE))
    (topic,) = merge(done, failed).topics
    assert [(each.partition_index, each.error_code) for each in topic.partitions] == [
        (0, ErrorCode.NONE),
        (1, ErrorCode.UNSTABLE_OFFSET_COMMIT),
    ]


def test_error_of_a_partition_is_not_one_of_what_is_around_it() -> None:
    """Of a group or of the answer as a whole it would end what a client tries again for one partition."""
    is_wanted = Fault(topic="named", partition=7, drop=True).is_about
    around = set()
    for api in (API_BY_KEY[key] for key in HANDLERS):
        for version in range(api.min_version, api.max_version + 1):
            part = split_request(filled(request_class(api.key), version), is_wanted, name_of).wanted
            if part is None:
                continue
            whole = error_response(api.key, version, part, KafkaError(ErrorCode.UNSTABLE_OFFSET_COMMIT, "why"))
            answer = narrowed(whole, target_of(part), is_wanted, name_of)
            assert [code for code in error_codes(answer) if code] == [ErrorCode.UNSTABLE_OFFSET_COMMIT], api.name
            if sum(code != 0 for code in error_codes(whole)) > 1:
                around.add((api.name, version))
                assert getattr(answer, "error_message", None) is None
    assert {
        ("AddPartitionsToTxn", 5), ("AlterPartitionReassignments", 1), ("ElectLeaders", 2), ("OffsetDelete", 0),
        ("OffsetFetch", 2), ("OffsetFetch", 7), ("OffsetFetch", 9),
    } <= around  # fmt: skip


def test_error_of_a_group_is_one_of_its_answer() -> None:
    part = filled(request_class(OFFSET_DELETE), 0)
    whole = error_response(OFFSET_DELETE, 0, part, KafkaError(ErrorCode.GROUP_AUTHORIZATION_FAILED))
    answer = narrowed(whole, target_of(part), Fault(group="named", drop=True).is_about, name_of)
    assert set(error_codes(answer)) == {ErrorCode.GROUP_AUTHORIZATION_FAILED}


def test_merge_replaces_the_same_part() -> None:
    def answered(*outcomes: tuple[int, int, int]) -> ProduceResponse:
        parts = [PartitionProduceResponse(index, error, base_offset=offset) for index, error, offset in outcomes]
        return ProduceResponse(responses=[TopicProduceResponse("t", partition_responses=parts)], throttle_time_ms=3)

    merged = merge(answered((0, 0, 5), (1, 0, 6)), answered((1, 7, -1)))
    assert merged == answered((0, 0, 5), (1, 7, -1))


def test_marked_topic_of_an_answer_says_only_the_error() -> None:
    topics = [MetadataResponseTopic(name=name, partitions=[MetadataResponsePartition()]) for name in ("a", "b")]
    response = MetadataResponse(topics=topics)
    fault = Fault(topic="b", error="LEADER_NOT_AVAILABLE")
    marked, found = mark(
        response, lambda part: failed_part(part, ErrorCode.LEADER_NOT_AVAILABLE), fault.is_about, name_of
    )
    assert found
    assert [(topic.name, topic.error_code, len(topic.partitions)) for topic in marked.topics] == [
        ("a", 0, 1),
        ("b", 5, 0),
    ]
    assert mark(response, lambda part: None, Fault(topic="c", drop=True).is_about, name_of) == (response, False)


def test_every_api_with_topics_can_be_divided() -> None:
    """Whatever lists topics in a request does so in a list that is known here."""
    from pykbroker.faults.targets import _LISTS, _ONE_PART

    unknown = {
        (api.name, field.name)
        for api in API_BY_KEY.values()
        if api.min_version <= api.max_version
        for field in spec_of(request_class(api.key)).fields
        if isinstance(field.element, type)
        and {each.name for each in spec_of(field.element).fields} & {"partitions", "topic", "topic_id", "group_id"}
        and field.name not in _LISTS
        and api.name not in _ONE_PART
    }
    assert unknown == {("Fetch", "forgotten_topics_data"), ("ShareFetch", "forgotten_topics_data")}
