from typing import Any

import pytest

from tests.handlers.cluster_rig import ClusterRig
from tests.handlers.conftest import StartRig
from wire.errors import ErrorCode
from wire.messages.topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreatePartitionsAssignment,
    CreatePartitionsTopic,
    DeleteTopicState,
)
from wire.schema import ZERO_UUID

pytestmark = pytest.mark.anyio

UNKNOWN_ID = bytes(range(16))


def new(
    name: str,
    partitions: int = 1,
    factor: int = 1,
    assignments: list[tuple[int, list[int]]] | None = None,
    **configs: str | None,
) -> CreatableTopic:
    if assignments is not None:
        partitions = factor = -1
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=factor,
        assignments=[CreatableReplicaAssignment(partition_index=p, broker_ids=b) for p, b in assignments or []],
        configs=[CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()],
    )


async def create(rig: ClusterRig, *topics: CreatableTopic, version: int = 7, validate_only: bool = False) -> Any:
    answer = await rig.call("CreateTopics", version, topics=list(topics), validate_only=validate_only)
    return {result.name: result for result in answer.topics}


async def error_of(rig: ClusterRig, topic: CreatableTopic) -> tuple[ErrorCode, str]:
    result = (await create(rig, topic))[topic.name]
    return ErrorCode(result.error_code), result.error_message or ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        (".", ". means"),
        ("..", ".. means"),
        ("a" * 250, "249"),
        ("a/b", "ASCII letters, digits, '.', '_' and '-'"),
        ("a\0b", "ASCII"),
        ("\u00e9", "ASCII"),
        ("a\n", "ASCII"),
    ],
)
async def test_name_that_is_no_topic_name_is_an_invalid_topic(rig: ClusterRig, name: str, reason: str) -> None:
    code, message = await error_of(rig, new(name))
    assert code is ErrorCode.INVALID_TOPIC_EXCEPTION
    assert reason in message


async def test_longest_name_is_created(rig: ClusterRig) -> None:
    assert await error_of(rig, new("a" * 249)) == (ErrorCode.NONE, "")


async def test_existing_topic_is_not_created_again(rig: ClusterRig) -> None:
    await create(rig, new("a.b"))
    assert await error_of(rig, new("a.b", 0, 0)) == (ErrorCode.TOPIC_ALREADY_EXISTS, "there is a topic a.b already")


async def test_name_that_collides_is_an_invalid_topic(rig: ClusterRig) -> None:
    results = await create(rig, new("a.b"), new("a_b"))
    assert [result.error_code for result in results.values()] == [0, ErrorCode.INVALID_TOPIC_EXCEPTION]
    assert await error_of(rig, new("a_b")) == (
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        "a_b is too much like the topic a.b",
    )


@pytest.mark.parametrize(
    ("topic", "code", "reason"),
    [
        (new("t", 0), ErrorCode.INVALID_PARTITIONS, "0 partitions"),
        (new("t", -2), ErrorCode.INVALID_PARTITIONS, "-2 partitions"),
        (new("t", 1, 0), ErrorCode.INVALID_REPLICATION_FACTOR, "a replication factor of 0"),
        (new("t", 0, 0), ErrorCode.INVALID_REPLICATION_FACTOR, "a replication factor of"),
        (new("t", 1, 2), ErrorCode.INVALID_REPLICATION_FACTOR, "the cluster has 1"),
        (new("t", 0, 0, nope="1"), ErrorCode.INVALID_CONFIG, "nope"),
        (new("t", retention_ms=None), ErrorCode.INVALID_CONFIG, "no value"),
        (new("t", assignments=[(1, [1])]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "from 0"),
        (new("t", assignments=[(0, [1]), (0, [1])]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "twice"),
        (new("t", assignments=[(0, [1, 1])]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "broker 1 twice"),
        (new("t", assignments=[(0, [7])]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "broker 7"),
        (new("t", assignments=[(0, [])]), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "no broker"),
        (new("__cluster_metadata"), ErrorCode.INVALID_REQUEST, "not for clients"),
    ],
)
async def test_topic_that_cannot_be_created_is_refused_with_the_reason(
    rig: ClusterRig, topic: CreatableTopic, code: ErrorCode, reason: str
) -> None:
    found, message = await error_of(rig, topic)
    assert found is code
    assert reason in message
    assert not rig.cluster.image.topics


async def test_assignment_together_with_counts_is_an_invalid_request(rig: ClusterRig) -> None:
    for partitions, factor, reason in ((1, -1, "has to be -1"), (-1, 1, "replication factor has to be -1")):
        topic = new("t", assignments=[(0, [1])])
        topic.num_partitions, topic.replication_factor = partitions, factor
        code, message = await error_of(rig, topic)
        assert code is ErrorCode.INVALID_REQUEST
        assert reason in message


async def test_assignments_of_different_sizes_are_refused(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    code, message = await error_of(rig, new("t", assignments=[(0, [1]), (1, [1, 2])]))
    assert code is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert "a partition is assigned to" in message


async def test_assignment_decides_replicas_and_leaders(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await rig.add_broker(3, fenced=True)
    results = await create(rig, new("t", assignments=[(1, [3, 2]), (0, [2, 1])]))
    assert (results["t"].num_partitions, results["t"].replication_factor) == (2, 2)
    first, second = rig.cluster.image.topics["t"].partitions
    assert (first.replicas, first.leader, first.isr) == ((2, 1), 2, (2, 1))
    assert (second.replicas, second.leader, second.isr) == ((3, 2), 2, (2,))


async def test_defaults_of_the_broker_stand_in_for_minus_one(start_rig: StartRig) -> None:
    rig = await start_rig(num_partitions="4", default_replication_factor="2")
    await rig.add_broker(2)
    result = (await create(rig, new("t", -1, -1)))["t"]
    assert (result.num_partitions, result.replication_factor) == (4, 2)


async def test_name_that_is_twice_in_a_request_is_refused_once(rig: ClusterRig) -> None:
    answer = await rig.call("CreateTopics", 7, topics=[new("twice"), new("once"), new("twice", 2)])
    assert [(result.name, result.error_code, result.error_message) for result in answer.topics] == [
        ("once", 0, None),
        ("twice", ErrorCode.INVALID_REQUEST, "the topic is named more than once"),
    ]
    assert set(rig.cluster.image.topics) == {"once"}


async def test_more_partitions_than_a_request_may_create_are_a_policy_violation(rig: ClusterRig) -> None:
    results = await create(rig, new("a", 5001), new("b", 5000), new("c", -5))
    assert {result.error_code for result in results.values()} == {ErrorCode.POLICY_VIOLATION}
    assert not rig.cluster.image.topics


async def test_ten_thousand_topics_are_created_by_one_request(rig: ClusterRig) -> None:
    answer = await rig.call("CreateTopics", 4, topics=[new(f"t{number}") for number in range(10_000)])
    assert all(result.error_code == 0 for result in answer.topics)
    assert len(rig.cluster.image.topics) == 10_000


async def test_validate_only_answers_the_same_and_creates_nothing(rig: ClusterRig) -> None:
    results = await create(rig, new("t", 3), new("", 3), validate_only=True)
    assert (results["t"].error_code, results["t"].num_partitions) == (0, 3)
    assert results[""].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert not rig.cluster.image.topics


async def test_answer_tells_id_and_configs_from_their_versions_on(rig: ClusterRig) -> None:
    for version in range(2, 8):
        name = f"v{version}"
        result = (await create(rig, new(name, 2, retention_ms="5"), version=version))[name]
        assert (result.topic_id == rig.cluster.image.topics[name].id) is (version >= 7)
        assert result.num_partitions == (2 if version >= 5 else -1)
        configs = {config.name: (config.value, config.config_source) for config in result.configs or []}
        assert configs.get("retention.ms") == (("5", 1) if version >= 5 else None)
        assert len(configs) == (37 if version >= 5 else 0)


async def delete(rig: ClusterRig, *topics: DeleteTopicState) -> list[tuple[str | None, ErrorCode]]:
    answer = await rig.call("DeleteTopics", 6, topics=list(topics))
    return [(result.name, ErrorCode(result.error_code)) for result in answer.responses]


async def test_topics_are_deleted_by_name_and_by_id(rig: ClusterRig) -> None:
    await create(rig, new("a", retention_ms="1"), new("b"), new("c"))
    b = rig.cluster.image.topics["b"].id
    assert await delete(rig, DeleteTopicState(name="a"), DeleteTopicState(topic_id=b)) == [
        ("a", ErrorCode.NONE),
        ("b", ErrorCode.NONE),
    ]
    assert set(rig.cluster.image.topics) == {"c"}
    assert not [name for _, name in rig.cluster.image.configs if name == "a"]


async def test_deletion_by_name_is_what_old_versions_ask_for(rig: ClusterRig) -> None:
    for version in range(1, 6):
        await create(rig, new("t"))
        answer = await rig.call("DeleteTopics", version, topic_names=["t", "nope"])
        assert [(result.name, result.error_code) for result in answer.responses] == [
            ("t", 0),
            ("nope", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ]
        assert not rig.cluster.image.topics


async def test_deletion_that_is_asked_for_wrongly_deletes_nothing(rig: ClusterRig) -> None:
    await create(rig, new("t"), new("u"))
    t, u = (rig.cluster.image.topics[name].id for name in "tu")
    invalid = ErrorCode.INVALID_REQUEST
    for asked, expected in (
        ([DeleteTopicState(name="t"), DeleteTopicState(name="t")], [("t", invalid)]),
        ([DeleteTopicState(topic_id=u), DeleteTopicState(topic_id=u)], [(None, invalid)]),
        ([DeleteTopicState(name="t"), DeleteTopicState(topic_id=t)], [("t", invalid)]),
        ([DeleteTopicState(name="t", topic_id=t)], [("t", invalid)]),
        ([DeleteTopicState()], [(None, invalid)]),
        ([DeleteTopicState(topic_id=UNKNOWN_ID)], [(None, ErrorCode.UNKNOWN_TOPIC_ID)]),
        ([DeleteTopicState(name="")], [("", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]),
        ([], []),
    ):
        assert await delete(rig, *asked) == expected
    assert set(rig.cluster.image.topics) == {"t", "u"}


async def test_deletion_can_be_switched_off(start_rig: StartRig) -> None:
    rig = await start_rig(delete_topic_enable="false")
    await create(rig, new("t"))
    assert await delete(rig, DeleteTopicState(name="t")) == [("t", ErrorCode.TOPIC_DELETION_DISABLED)]
    assert "t" in rig.cluster.image.topics


async def test_topic_that_is_created_again_has_another_id(rig: ClusterRig) -> None:
    first = (await create(rig, new("t")))["t"].topic_id
    await delete(rig, DeleteTopicState(name="t"))
    second = (await create(rig, new("t")))["t"].topic_id
    assert ZERO_UUID not in (first, second)
    assert first != second


async def grow(
    rig: ClusterRig,
    *topics: tuple[str, int, list[list[int]] | None],
    version: int = 3,
    validate_only: bool = False,
) -> list[tuple[str, ErrorCode, str]]:
    answer = await rig.call(
        "CreatePartitions",
        version,
        topics=[
            CreatePartitionsTopic(
                name=name,
                count=count,
                assignments=None
                if assignments is None
                else [CreatePartitionsAssignment(broker_ids=ids) for ids in assignments],
            )
            for name, count, assignments in topics
        ],
        validate_only=validate_only,
    )
    return [(result.name, ErrorCode(result.error_code), result.error_message or "") for result in answer.results]


async def test_partition_count_grows(rig: ClusterRig) -> None:
    await create(rig, new("t", 2))
    for version in range(4):
        assert await grow(rig, ("t", 3 + version, None), version=version) == [("t", ErrorCode.NONE, "")]
        assert len(rig.cluster.image.topics["t"].partitions) == 3 + version


async def test_new_partitions_go_where_they_are_assigned(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await create(rig, new("t", 1, 1))
    assert await grow(rig, ("t", 3, [[2], [1]])) == [("t", ErrorCode.NONE, "")]
    assert [partition.replicas for partition in rig.cluster.image.topics["t"].partitions[1:]] == [(2,), (1,)]


@pytest.mark.parametrize(
    ("count", "assignments", "code", "reason"),
    [
        (2, None, ErrorCode.INVALID_PARTITIONS, "2 partitions already"),
        (1, None, ErrorCode.INVALID_PARTITIONS, "1 would be fewer"),
        (-1, None, ErrorCode.INVALID_PARTITIONS, "-1 would be fewer"),
        (100_000, None, ErrorCode.POLICY_VIOLATION, "partitions are too many"),
        (4, [[1]], ErrorCode.INVALID_REPLICA_ASSIGNMENT, "1 are assigned"),
        (3, [], ErrorCode.INVALID_REPLICA_ASSIGNMENT, "0 are assigned"),
        (3, [[7]], ErrorCode.INVALID_REPLICA_ASSIGNMENT, "broker 7"),
        (3, [[1, 1]], ErrorCode.INVALID_REPLICA_ASSIGNMENT, "broker 1 twice"),
        (3, [[]], ErrorCode.INVALID_REPLICA_ASSIGNMENT, "no broker"),
    ],
)
async def test_growth_that_makes_no_sense_is_refused_with_the_reason(
    rig: ClusterRig, count: int, assignments: list[list[int]] | None, code: ErrorCode, reason: str
) -> None:
    await create(rig, new("t", 2))
    ((_, found, message),) = await grow(rig, ("t", count, assignments))
    assert found is code
    assert reason in message
    assert len(rig.cluster.image.topics["t"].partitions) == 2


async def test_growth_of_unknown_and_repeated_topics_leaves_the_others_growing(rig: ClusterRig) -> None:
    await create(rig, new("t"), new("u"))
    asked: tuple[tuple[str, int, None], ...] = (("nope", 2, None), ("t", 2, None), ("u", 2, None), ("u", 3, None))
    assert [result[:2] for result in await grow(rig, *asked)] == [
        ("nope", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("t", ErrorCode.NONE),
        ("u", ErrorCode.INVALID_REQUEST),
    ]
    assert [len(rig.cluster.image.topics[name].partitions) for name in "tu"] == [2, 1]


async def test_growth_that_is_only_validated_changes_nothing(rig: ClusterRig) -> None:
    await create(rig, new("t"))
    assert await grow(rig, ("t", 5, None), validate_only=True) == [("t", ErrorCode.NONE, "")]
    assert len(rig.cluster.image.topics["t"].partitions) == 1
