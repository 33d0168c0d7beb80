from typing import Any

import pytest

from pykbroker.cluster.changes import create_topic
from pykbroker.cluster.hashing import partition_for_key
from pykbroker.cluster.image import PartitionImage
from pykbroker.cluster.partition_changes import Circumstances, next_state, put_partition
from tests.handlers.cluster_rig import PORT, ClusterRig
from tests.handlers.conftest import StartRig
from tests.support.partitions import set_partition
from wire.errors import ErrorCode
from wire.messages.metadata import DescribeTopicPartitionsRequestCursor, MetadataRequestTopic, TopicRequest

pytestmark = pytest.mark.anyio

NOT_ASKED = -(2**31)
UNKNOWN_ID = bytes(range(16))


async def create(rig: ClusterRig, name: str, *replicas: tuple[int, ...]) -> bytes:
    topic_id = name.encode().ljust(16, b".")
    await rig.cluster.propose(lambda image: create_topic(image, name, topic_id, replicas or [(1,)], {}))
    return topic_id


async def ask(rig: ClusterRig, version: int, *names: str, auto_create: bool = False, **fields: object) -> Any:
    fields.setdefault("topics", [MetadataRequestTopic(name=name) for name in names])
    if version >= 4:
        fields["allow_auto_topic_creation"] = auto_create
    return await rig.call("Metadata", version, **fields)


def by_name(answer: Any) -> dict[str, ErrorCode]:
    return {topic.name: ErrorCode(topic.error_code) for topic in answer.topics}


async def test_brokers_cluster_and_controller_are_told_in_every_version(rig: ClusterRig) -> None:
    for version in range(14):
        answer = await ask(rig, version)
        assert [(each.node_id, each.host, each.port) for each in answer.brokers] == [(1, "127.0.0.1", PORT)]
        assert answer.cluster_id == (rig.cluster.image.cluster_id if version >= 2 else None)
        assert answer.controller_id == (1 if version >= 1 else -1)


async def test_null_topics_are_all_and_empty_topics_are_none_but_in_version_zero(rig: ClusterRig) -> None:
    await create(rig, "a")
    await create(rig, "b")
    assert set(by_name(await ask(rig, 0))) == {"a", "b"}
    for version in range(1, 14):
        assert by_name(await ask(rig, version)) == {}
        assert set(by_name(await ask(rig, version, topics=None))) == {"a", "b"}


async def test_topic_is_told_with_its_partitions(rig: ClusterRig) -> None:
    await rig.add_broker(2, rack="r")
    topic_id = await create(rig, "t", (1, 2), (2, 1))
    await rig.cluster.propose(lambda image: set_partition(image, "t", 1, leader=1, isr=[1]))
    (topic,) = (await ask(rig, 13, "t")).topics
    assert (topic.error_code, topic.topic_id, topic.is_internal) == (0, topic_id, False)
    second = topic.partitions[1]
    assert (second.partition_index, second.leader_id, second.leader_epoch) == (1, 1, 1)
    assert (second.replica_nodes, second.isr_nodes, second.offline_replicas) == ([2, 1], [1], [])
    assert topic.topic_authorized_operations == NOT_ASKED


async def test_topic_that_is_asked_for_twice_is_told_once(rig: ClusterRig) -> None:
    await create(rig, "t")
    assert len((await ask(rig, 5, "t", "t", "nope", "nope")).topics) == 2


async def test_topic_is_found_by_its_id(rig: ClusterRig) -> None:
    topic_id = await create(rig, "t")
    asked = [MetadataRequestTopic(name=None, topic_id=each) for each in (topic_id, UNKNOWN_ID)]
    for version in (12, 13):
        answer = await ask(rig, version, topics=asked)
        assert [(topic.name, topic.topic_id, topic.error_code) for topic in answer.topics] == [
            ("t", topic_id, 0),
            (None, UNKNOWN_ID, ErrorCode.UNKNOWN_TOPIC_ID),
        ]


async def test_id_decides_when_a_name_is_given_too(rig: ClusterRig) -> None:
    topic_id = await create(rig, "t")
    answer = await ask(rig, 12, topics=[MetadataRequestTopic(name="other", topic_id=topic_id)])
    assert by_name(answer) == {"t": ErrorCode.NONE}


async def test_ids_in_versions_that_have_none_are_an_invalid_request(rig: ClusterRig) -> None:
    topic_id = await create(rig, "t")
    for version in (10, 11):
        for topic in (MetadataRequestTopic(name="t", topic_id=topic_id), MetadataRequestTopic(topic_id=topic_id)):
            (told,) = (await ask(rig, version, topics=[topic])).topics
            assert (told.error_code, told.topic_id) == (ErrorCode.INVALID_REQUEST, topic_id)


async def test_unknown_topic_is_not_created_unless_allowed(rig: ClusterRig) -> None:
    assert by_name(await ask(rig, 13, "nope", "a b", "")) == {
        "nope": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "a b": ErrorCode.INVALID_TOPIC_EXCEPTION,
        "": ErrorCode.INVALID_TOPIC_EXCEPTION,
    }
    assert not rig.cluster.image.topics


async def test_unknown_topic_is_created_and_there_the_next_time(start_rig: StartRig) -> None:
    rig = await start_rig(num_partitions="3")
    answer = await ask(rig, 13, "new", "a b", auto_create=True)
    assert by_name(answer) == {
        "new": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "a b": ErrorCode.INVALID_TOPIC_EXCEPTION,
    }
    (topic,) = (await ask(rig, 13, "new", auto_create=True)).topics
    assert (topic.error_code, len(topic.partitions)) == (0, 3)
    assert set(rig.cluster.image.topics) == {"new"}


async def test_versions_before_four_always_allow_creation(rig: ClusterRig) -> None:
    for version in range(4):
        await ask(rig, version, f"v{version}")
    assert set(rig.cluster.image.topics) == {"v0", "v1", "v2", "v3"}


async def test_broker_can_forbid_creation(start_rig: StartRig) -> None:
    rig = await start_rig(auto_create_topics_enable="false")
    await ask(rig, 13, "new", auto_create=True)
    assert not rig.cluster.image.topics


async def test_name_that_collides_stays_unknown(rig: ClusterRig) -> None:
    await ask(rig, 13, "a.b", "a_b", auto_create=True)
    answer = await ask(rig, 13, "a.b", "a_b", auto_create=True)
    assert by_name(answer) == {"a.b": ErrorCode.NONE, "a_b": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}


async def test_internal_topic_gets_its_own_settings(rig: ClusterRig) -> None:
    answer = await ask(rig, 13, "__consumer_offsets", auto_create=True)
    assert answer.topics[0].is_internal
    (topic,) = (await ask(rig, 13, "__consumer_offsets")).topics
    assert topic.is_internal
    assert len(topic.partitions) == 50
    config = rig.cluster.topic_config("__consumer_offsets")
    assert (config.cleanup_policy, config.segment_bytes) == (("compact",), 104_857_600)


@pytest.mark.parametrize(
    ("brokers", "replicas", "min_isr"), [((), 1, 1), ((2,), 2, 1), ((2, 3), 3, 2), ((2, 3, 4), 3, 2)]
)
async def test_internal_topics_are_replicated_as_far_as_brokers_reach(
    rig: ClusterRig, brokers: tuple[int, ...], replicas: int, min_isr: int
) -> None:
    for broker_id in brokers:
        # One that is away for a while counts, too: the factor is for good.
        await rig.add_broker(broker_id, fenced=broker_id == 3)
    await ask(rig, 13, "__transaction_state", auto_create=True)
    topic = rig.cluster.image.topics["__transaction_state"]
    assert {len(partition.replicas) for partition in topic.partitions} == {replicas}
    assert rig.cluster.topic_config("__transaction_state").min_insync_replicas == min_isr
    assert all(partition.leader != 3 and 3 not in partition.isr for partition in topic.partitions)


async def test_replication_factor_that_was_set_is_kept(start_rig: StartRig) -> None:
    rig = await start_rig(offsets_topic_replication_factor="3")
    await ask(rig, 13, "__consumer_offsets", auto_create=True)
    assert not rig.cluster.image.topics  # one broker cannot hold three replicas


async def test_operations_are_told_when_asked_for(rig: ClusterRig) -> None:
    await create(rig, "t")
    for version in (8, 9, 10):
        answer = await ask(
            rig,
            version,
            "t",
            "nope",
            include_cluster_authorized_operations=True,
            include_topic_authorized_operations=True,
        )
        assert answer.cluster_authorized_operations == 8096
        assert [topic.topic_authorized_operations for topic in answer.topics] == [3576, 3576]
    answer = await ask(rig, 11, "t", include_topic_authorized_operations=True)
    assert answer.topics[0].topic_authorized_operations == 3576


async def test_partition_whose_leader_is_gone_says_so(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await create(rig, "t", (2, 1))
    await rig.fence(2)
    for version in range(14):
        (partition,) = (await ask(rig, version, "t")).topics[0].partitions
        assert (partition.error_code, partition.leader_id) == (ErrorCode.LEADER_NOT_AVAILABLE, -1)
        assert partition.replica_nodes == ([2, 1] if version >= 1 else [1])
        assert partition.offline_replicas == ([2] if version >= 5 else [])


async def test_leader_without_the_clients_listener_is_told_from_version_six(rig: ClusterRig) -> None:
    await rig.add_broker(2, listener="OTHER")
    await create(rig, "t", (2, 1))
    for version in range(14):
        answer = await ask(rig, version, "t")
        expected = ErrorCode.LISTENER_NOT_FOUND if version >= 6 else ErrorCode.LEADER_NOT_AVAILABLE
        assert answer.topics[0].partitions[0].error_code == expected
        assert [broker.node_id for broker in answer.brokers] == [1]


async def test_version_zero_leaves_unreachable_replicas_out(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await create(rig, "t", (1, 2))
    await rig.fence(2)
    (partition,) = (await ask(rig, 0, "t")).topics[0].partitions
    assert (partition.error_code, partition.leader_id) == (ErrorCode.REPLICA_NOT_AVAILABLE, 1)
    assert (partition.replica_nodes, partition.isr_nodes) == ([1], [1])


# DescribeTopicPartitions


async def describe(
    rig: ClusterRig, *names: str, limit: int = 2000, cursor: tuple[str, int] | None = None
) -> tuple[list[tuple[str, list[int]]], tuple[str, int] | None]:
    answer = await describe_raw(rig, *names, limit=limit, cursor=cursor)
    found = [(topic.name, [partition.partition_index for partition in topic.partitions]) for topic in answer.topics]
    following = answer.next_cursor
    return found, None if following is None else (following.topic_name, following.partition_index)


async def describe_raw(rig: ClusterRig, *names: str, limit: int = 2000, cursor: tuple[str, int] | None = None) -> Any:
    return await rig.call(
        "DescribeTopicPartitions",
        0,
        topics=[TopicRequest(name=name) for name in names],
        response_partition_limit=limit,
        cursor=None
        if cursor is None
        else DescribeTopicPartitionsRequestCursor(topic_name=cursor[0], partition_index=cursor[1]),
    )


async def test_topics_are_described_in_the_order_of_their_names(rig: ClusterRig) -> None:
    await create(rig, "b", (1,), (1,))
    await create(rig, "a")
    assert await describe(rig) == ([("a", [0]), ("b", [0, 1])], None)
    assert await describe(rig, "b", "a", "b") == ([("a", [0]), ("b", [0, 1])], None)
    partition = (await describe_raw(rig, "a")).topics[0].partitions[0]
    assert (partition.leader_id, partition.eligible_leader_replicas, partition.last_known_elr) == (1, [], [])


async def test_limit_gives_a_cursor_from_which_the_rest_follows(rig: ClusterRig) -> None:
    await create(rig, "a", *[(1,)] * 3)
    await create(rig, "b", *[(1,)] * 2)
    seen: list[tuple[str, int]] = []
    cursor: tuple[str, int] | None = None
    for _ in range(10):
        found, cursor = await describe(rig, limit=2, cursor=cursor)
        seen += [(name, index) for name, indexes in found for index in indexes]
        if cursor is None:
            break
    assert seen == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]


async def test_limit_at_the_end_of_a_topic_goes_on_with_the_next(rig: ClusterRig) -> None:
    await create(rig, "a", *[(1,)] * 2)
    await create(rig, "b")
    assert await describe(rig, limit=2) == ([("a", [0, 1])], ("b", 0))


async def test_limit_below_one_still_describes_a_partition(rig: ClusterRig) -> None:
    await create(rig, "a", (1,), (1,))
    for limit in (0, -5):
        assert await describe(rig, limit=limit) == ([("a", [0])], ("a", 1))


async def test_broker_limits_the_answer_too(start_rig: StartRig) -> None:
    rig = await start_rig(max_request_partition_size_limit="1")
    await create(rig, "a", (1,), (1,))
    assert await describe(rig) == ([("a", [0])], ("a", 1))


async def test_unknown_and_invalid_names_are_told_with_their_errors(rig: ClusterRig) -> None:
    answer = await describe_raw(rig, "nope", "a b")
    assert by_name(answer) == {
        "a b": ErrorCode.INVALID_TOPIC_EXCEPTION,
        "nope": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }


@pytest.mark.parametrize("cursor", [("other", 0), ("a", -1)])
async def test_cursor_that_does_not_fit_is_an_invalid_request(rig: ClusterRig, cursor: tuple[str, int]) -> None:
    await create(rig, "a")
    assert by_name(await describe_raw(rig, "a", cursor=cursor)) == {"a": ErrorCode.INVALID_REQUEST}


async def test_cursor_beyond_the_last_partition_tells_an_empty_topic(rig: ClusterRig) -> None:
    await create(rig, "a")
    assert await describe(rig, "a", cursor=("a", 99)) == ([("a", [])], None)


# FindCoordinator


async def find(rig: ClusterRig, version: int, *keys: str, key_type: int = 0) -> list[tuple[ErrorCode, int, str, int]]:
    fields: dict[str, object] = {"coordinator_keys": list(keys)} if version >= 4 else {"key": keys[0]}
    if version >= 1:
        fields["key_type"] = key_type
    answer = await rig.call("FindCoordinator", version, **fields)
    found = answer.coordinators if version >= 4 else [answer]
    assert version < 4 or [each.key for each in found] == list(keys)
    return [(ErrorCode(each.error_code), each.node_id, each.host, each.port) for each in found]


NOWHERE = (ErrorCode.COORDINATOR_NOT_AVAILABLE, -1, "", -1)
HERE = (ErrorCode.NONE, 1, "127.0.0.1", PORT)


@pytest.mark.parametrize("version", range(7))
async def test_group_coordinator_is_found_once_its_topic_was_created(rig: ClusterRig, version: int) -> None:
    assert await find(rig, version, "g") == [NOWHERE]
    assert len(rig.cluster.image.topics["__consumer_offsets"].partitions) == 50
    assert await find(rig, version, "g") == [HERE]


async def test_transaction_coordinator_has_a_topic_of_its_own(rig: ClusterRig) -> None:
    assert await find(rig, 4, "a", "b", key_type=1) == [NOWHERE, NOWHERE]
    assert set(rig.cluster.image.topics) == {"__transaction_state"}
    assert await find(rig, 4, "a", "b", "a", key_type=1) == [HERE, HERE, HERE]


async def test_coordinator_is_the_leader_of_the_keys_partition(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await create(rig, "__consumer_offsets", *[(1, 2) if index % 2 else (2, 1) for index in range(50)])
    for group in ("g", "other", "\u00fcber"):
        leader = 1 if partition_for_key(group, 50) % 2 else 2
        assert [found[1] for found in await find(rig, 6, group)] == [leader]


async def test_coordinator_that_is_fenced_is_not_available(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await create(rig, "__consumer_offsets", (2, 1))
    await rig.fence(2)
    assert await find(rig, 6, "g") == [NOWHERE]


async def test_share_coordinator_takes_keys_of_three_parts_from_version_six(rig: ClusterRig) -> None:
    good, invalid = "g:AAAAAAAAAAAAAAAAAAAAAQ:0", (ErrorCode.INVALID_REQUEST, -1, "", -1)
    assert await find(rig, 6, "g", good, "g:abc:0", "::0", key_type=2) == [invalid, NOWHERE, invalid, invalid]
    assert await find(rig, 6, good, key_type=2) == [HERE]
    assert await find(rig, 5, good, key_type=2) == [invalid]


async def test_unknown_key_type_is_an_invalid_request(rig: ClusterRig) -> None:
    for version in (1, 3, 4, 6):
        assert await find(rig, version, "g", key_type=9) == [(ErrorCode.INVALID_REQUEST, -1, "", -1)]
    assert not rig.cluster.image.topics


async def test_no_keys_find_no_coordinators(rig: ClusterRig) -> None:
    assert await find(rig, 4) == []
    assert not rig.cluster.image.topics


async def test_partition_without_a_leader_is_told_with_who_may_lead_it(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await create(rig, "t", (2, 1))
    for isr in ((2,), ()):
        await rig.cluster.propose(
            lambda image, isr=isr: put_partition(  # type: ignore[misc]
                image, image.topics["t"], 0, with_isr(image.topics["t"].partitions[0], isr)
            )
        )
    await rig.fence(2)
    answer = await rig.call("DescribeTopicPartitions", 0, topics=[TopicRequest("t")], response_partition_limit=9)
    (partition,) = answer.topics[0].partitions
    assert (partition.error_code, partition.leader_id, partition.leader_epoch) == (0, -1, 1)
    assert (partition.isr_nodes, partition.eligible_leader_replicas, partition.last_known_elr) == ([], [2], [2])
    assert partition.offline_replicas == [2]
    (topic,) = (await ask(rig, 13, "t")).topics
    assert topic.partitions[0].error_code == ErrorCode.LEADER_NOT_AVAILABLE
    assert topic.partitions[0].leader_id == -1


def with_isr(state: PartitionImage, isr: tuple[int, ...]) -> PartitionImage:
    return next_state(state, Circumstances(active=frozenset(isr)), isr=isr)
