"""Offsets of groups: OffsetCommit (key 8), OffsetFetch (9), OffsetDelete (47).

They live in `__consumer_offsets`, in the partition of the group's coordinator. Members of groups commit with their
generation or member epoch; a consumer without a group management commits with -1.
"""

from wire.schema import Kind, Uuid, array, boolean, int16, int32, int64, request, response, string, struct, uuid


@struct()
class OffsetCommitRequestPartition:
    partition_index: int = int32()
    committed_offset: int = int64()  # of the next record to read
    committed_leader_epoch: int = int32("6+", default=-1, ignorable=True)  # of the last record read; -1: not known
    committed_metadata: str | None = string(nullable="0+")  # the consumer's own note


@struct()
class OffsetCommitRequestTopic:
    name: str = string("0-9", ignorable=True)
    topic_id: Uuid = uuid("10+", ignorable=True)
    partitions: list[OffsetCommitRequestPartition] = array(OffsetCommitRequestPartition)


@request(8, "2-10", flexible="8+")
class OffsetCommitRequest:
    """Store how far a group has read.

    - 2: how long to keep the offsets; older versions are gone (KIP-896)
    - 3: only the response differs
    - 4: only throttling differs: the answer comes before the pause (KIP-219)
    - 5: no retention time any more: the broker's configuration rules (KIP-211)
    - 6: leader epoch (KIP-320)
    - 7: static membership (KIP-345)
    - 8: flexible
    - 9: members of consumer groups commit with their member epoch (KIP-848)
    - 10: topic ids instead of names (KIP-848)
    """

    group_id: str = string()
    generation_id_or_member_epoch: int = int32("1+", default=-1, ignorable=True)  # -1 outside group management
    member_id: str = string("1+", ignorable=True)  # empty outside group management
    group_instance_id: str | None = string("7+", nullable="7+", default=None)
    retention_time_ms: int = int64("2-4", default=-1, ignorable=True)  # -1: as the broker is configured
    topics: list[OffsetCommitRequestTopic] = array(OffsetCommitRequestTopic)


@struct()
class OffsetCommitResponsePartition:
    partition_index: int = int32()
    error_code: int = int16()


@struct()
class OffsetCommitResponseTopic:
    name: str = string("0-9", ignorable=True)
    topic_id: Uuid = uuid("10+", ignorable=True)
    partitions: list[OffsetCommitResponsePartition] = array(OffsetCommitResponsePartition)


@response(8, "2-10", flexible="8+")
class OffsetCommitResponse:
    """Say of each partition whether its offset is stored.

    - 3: throttle time
    - 8: flexible
    - 9: GROUP_ID_NOT_FOUND and STALE_MEMBER_EPOCH (KIP-848)
    - 10: topic ids instead of names; UNKNOWN_TOPIC_ID (KIP-848)
    """

    throttle_time_ms: int = int32("3+", ignorable=True)
    topics: list[OffsetCommitResponseTopic] = array(OffsetCommitResponseTopic)


@struct()
class OffsetFetchRequestTopic:
    name: str = string("0-7")
    partition_indexes: list[int] = array(Kind.INT32, "0-7")


@struct()
class OffsetFetchRequestTopics:
    name: str = string("8-9", ignorable=True)
    topic_id: Uuid = uuid("10+", ignorable=True)
    partition_indexes: list[int] = array(Kind.INT32, "8+")


@struct()
class OffsetFetchRequestGroup:
    group_id: str = string("8+")
    # of a consumer group's member; null: not checked
    member_id: str | None = string("9+", nullable="9+", default=None, ignorable=True)
    member_epoch: int = int32("9+", default=-1, ignorable=True)  # -1: not checked
    # null: all that have offsets
    topics: list[OffsetFetchRequestTopics] | None = array(OffsetFetchRequestTopics, "8+", nullable="8+")


@request(9, "1-10", flexible="6+")
class OffsetFetchRequest:
    """Ask how far groups have read; until version 7 one group in the fields of the message itself, later a list.

    - 1: offsets from `__consumer_offsets`; version 0 is gone (KIP-896)
    - 2: null topics ask for all (KIP-88)
    - 3: only the response differs
    - 4: only throttling differs: the answer comes before the pause (KIP-219)
    - 5: only the response differs
    - 6: flexible
    - 7: only offsets that no open transaction may still change (KIP-447)
    - 8: several groups at once (KIP-709)
    - 9: members of consumer groups give their epoch (KIP-848)
    - 10: topic ids instead of names (KIP-848)
    """

    group_id: str = string("0-7")
    # null: all that have offsets
    topics: list[OffsetFetchRequestTopic] | None = array(OffsetFetchRequestTopic, "0-7", nullable="2-7")
    groups: list[OffsetFetchRequestGroup] = array(OffsetFetchRequestGroup, "8+")
    require_stable: bool = boolean("7+")  # answer UNSTABLE_OFFSET_COMMIT while a transaction has offsets pending


@struct()
class OffsetFetchResponsePartition:
    partition_index: int = int32("0-7")
    committed_offset: int = int64("0-7")  # -1: none is stored
    committed_leader_epoch: int = int32("5-7", default=-1, ignorable=True)
    metadata: str | None = string("0-7", nullable="0-7")
    error_code: int = int16("0-7")


@struct()
class OffsetFetchResponseTopic:
    name: str = string("0-7")
    partitions: list[OffsetFetchResponsePartition] = array(OffsetFetchResponsePartition, "0-7")


@struct()
class OffsetFetchResponsePartitions:
    partition_index: int = int32("8+")
    committed_offset: int = int64("8+")  # -1: none is stored
    committed_leader_epoch: int = int32("8+", default=-1, ignorable=True)
    metadata: str | None = string("8+", nullable="8+")
    error_code: int = int16("8+")


@struct()
class OffsetFetchResponseTopics:
    name: str = string("8-9", ignorable=True)
    topic_id: Uuid = uuid("10+", ignorable=True)
    partitions: list[OffsetFetchResponsePartitions] = array(OffsetFetchResponsePartitions, "8+")


@struct()
class OffsetFetchResponseGroup:
    group_id: str = string("8+")
    topics: list[OffsetFetchResponseTopics] = array(OffsetFetchResponseTopics, "8+")
    error_code: int = int16("8+")


@response(9, "1-10", flexible="6+")
class OffsetFetchResponse:
    """Answer the stored offsets.

    - 2: an error for the group (KIP-88)
    - 3: throttle time
    - 5: leader epoch (KIP-320)
    - 6: flexible
    - 7: UNSTABLE_OFFSET_COMMIT (KIP-447)
    - 8: several groups (KIP-709)
    - 9: STALE_MEMBER_EPOCH and UNKNOWN_MEMBER_ID (KIP-848)
    - 10: topic ids instead of names; UNKNOWN_TOPIC_ID (KIP-848)
    """

    throttle_time_ms: int = int32("3+", ignorable=True)
    topics: list[OffsetFetchResponseTopic] = array(OffsetFetchResponseTopic, "0-7")
    error_code: int = int16("2-7", ignorable=True)
    groups: list[OffsetFetchResponseGroup] = array(OffsetFetchResponseGroup, "8+")


@struct()
class OffsetDeleteRequestPartition:
    partition_index: int = int32()


@struct()
class OffsetDeleteRequestTopic:
    name: str = string()
    partitions: list[OffsetDeleteRequestPartition] = array(OffsetDeleteRequestPartition)


@request(47, "0")
class OffsetDeleteRequest:
    """Forget offsets of topics that no live member of the group subscribes to (KIP-496)."""

    group_id: str = string()
    topics: list[OffsetDeleteRequestTopic] = array(OffsetDeleteRequestTopic)


@struct()
class OffsetDeleteResponsePartition:
    partition_index: int = int32()
    error_code: int = int16()


@struct()
class OffsetDeleteResponseTopic:
    name: str = string()
    partitions: list[OffsetDeleteResponsePartition] = array(OffsetDeleteResponsePartition)


@response(47, "0")
class OffsetDeleteResponse:
    """Say of each partition whether its offset is gone (KIP-496)."""

    error_code: int = int16()  # of the group as a whole
    throttle_time_ms: int = int32(ignorable=True)
    topics: list[OffsetDeleteResponseTopic] = array(OffsetDeleteResponseTopic)
