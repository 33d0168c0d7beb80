"""Making and deleting topics: CreateTopics (key 19), DeleteTopics (20), CreatePartitions (37)."""

from wire.schema import Kind, Uuid, array, boolean, int8, int16, int32, request, response, string, struct, uuid


@struct()
class CreatableReplicaAssignment:
    partition_index: int = int32()
    broker_ids: list[int] = array(Kind.INT32)  # the first one is the preferred leader


@struct()
class CreatableTopicConfig:
    name: str = string()
    value: str | None = string(nullable="0+")  # null: the default


@struct()
class CreatableTopic:
    name: str = string()
    num_partitions: int = int32()  # -1: the broker's default, or as `assignments` say
    replication_factor: int = int16()  # -1: the broker's default, or as `assignments` say
    # empty: the broker places the replicas
    assignments: list[CreatableReplicaAssignment] = array(CreatableReplicaAssignment)
    configs: list[CreatableTopicConfig] = array(CreatableTopicConfig)


@request(19, "2-7", flexible="5+")
class CreateTopicsRequest:
    """Create topics (KIP-4).

    - 2: only the response differs; older versions are gone (KIP-896)
    - 3: only throttling differs: the answer comes before the pause (KIP-219)
    - 4: partitions and replication factor may be left to the broker (KIP-464)
    - 5: flexible; only the response differs otherwise (KIP-525)
    - 6: the client copes with THROTTLING_QUOTA_EXCEEDED (KIP-599)
    - 7: only the response differs (KIP-516)
    """

    topics: list[CreatableTopic] = array(CreatableTopic)
    timeout_ms: int = int32(default=60000)  # how long to wait until the topics exist everywhere
    validate_only: bool = boolean("1+")  # check everything, create nothing


@struct()
class CreatableTopicConfigs:
    name: str = string("5+")
    value: str | None = string("5+", nullable="5+")
    read_only: bool = boolean("5+")
    # 1 topic, 4 static broker, 5 default; as in DescribeConfigs
    config_source: int = int8("5+", default=-1, ignorable=True)
    is_sensitive: bool = boolean("5+")  # the value is withheld


@struct()
class CreatableTopicResult:
    name: str = string()
    topic_id: Uuid = uuid("7+", ignorable=True)
    error_code: int = int16()
    error_message: str | None = string("1+", nullable="0+", ignorable=True)
    topic_config_error_code: int = int16("5+", tag=0, ignorable=True)  # set where the client may not see the configs
    num_partitions: int = int32("5+", default=-1, ignorable=True)  # -1 on failure
    replication_factor: int = int16("5+", default=-1, ignorable=True)  # -1 on failure
    # null where the client may not see them
    configs: list[CreatableTopicConfigs] | None = array(CreatableTopicConfigs, "5+", nullable="5+", ignorable=True)


@response(19, "2-7", flexible="5+")
class CreateTopicsResponse:
    """Say of each topic whether it was created, and how.

    - 5: flexible; what the topic looks like, with its configs (KIP-525)
    - 6: THROTTLING_QUOTA_EXCEEDED (KIP-599)
    - 7: topic ids (KIP-516)
    """

    throttle_time_ms: int = int32("2+", ignorable=True)
    topics: list[CreatableTopicResult] = array(CreatableTopicResult)


@struct()
class DeleteTopicState:
    name: str | None = string("6+", nullable="6+", default=None)  # null: by id
    topic_id: Uuid = uuid("6+")  # zero: by name


@request(20, "1-6", flexible="4+")
class DeleteTopicsRequest:
    """Delete topics (KIP-4).

    - 1: only the response differs; version 0 is gone (KIP-896)
    - 2: only throttling differs: the answer comes before the pause (KIP-219)
    - 4: flexible
    - 5: the client copes with THROTTLING_QUOTA_EXCEEDED (KIP-599)
    - 6: by topic id too (KIP-516)
    """

    topics: list[DeleteTopicState] = array(DeleteTopicState, "6+")
    topic_names: list[str] = array(Kind.STRING, "0-5", ignorable=True)
    timeout_ms: int = int32()  # how long to wait until the topics are gone


@struct()
class DeletableTopicResult:
    name: str | None = string(nullable="6+")  # null: the id is unknown
    topic_id: Uuid = uuid("6+", ignorable=True)
    error_code: int = int16()
    error_message: str | None = string("5+", nullable="5+", default=None, ignorable=True)


@response(20, "1-6", flexible="4+")
class DeleteTopicsResponse:
    """Say of each topic whether it is deleted.

    - 3: TOPIC_DELETION_DISABLED (KIP-322)
    - 4: flexible
    - 5: error message; THROTTLING_QUOTA_EXCEEDED (KIP-599)
    - 6: topic ids (KIP-516)
    """

    throttle_time_ms: int = int32("1+", ignorable=True)
    responses: list[DeletableTopicResult] = array(DeletableTopicResult)


@struct()
class CreatePartitionsAssignment:
    broker_ids: list[int] = array(Kind.INT32)  # of one new partition; the first one is the preferred leader


@struct()
class CreatePartitionsTopic:
    name: str = string()
    count: int = int32()  # how many partitions the topic shall have in all
    # one per new partition; null: the broker places the replicas
    assignments: list[CreatePartitionsAssignment] | None = array(CreatePartitionsAssignment, nullable="0+")


@request(37, "0-3", flexible="2+")
class CreatePartitionsRequest:
    """Give topics more partitions (KIP-195).

    - 1: only throttling differs: the answer comes before the pause (KIP-219)
    - 2: flexible
    - 3: the client copes with THROTTLING_QUOTA_EXCEEDED (KIP-599)
    """

    topics: list[CreatePartitionsTopic] = array(CreatePartitionsTopic)
    timeout_ms: int = int32()  # how long to wait until the partitions exist
    validate_only: bool = boolean()  # check everything, create nothing


@struct()
class CreatePartitionsTopicResult:
    name: str = string()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)


@response(37, "0-3", flexible="2+")
class CreatePartitionsResponse:
    """Say of each topic whether it grew.

    - 2: flexible
    - 3: THROTTLING_QUOTA_EXCEEDED (KIP-599)
    """

    throttle_time_ms: int = int32()
    results: list[CreatePartitionsTopicResult] = array(CreatePartitionsTopicResult)
