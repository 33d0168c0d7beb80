"""Where things are: Metadata (key 3), FindCoordinator (10), DescribeTopicPartitions (75).

The first question of every client after ApiVersions: which brokers there are, who leads which partition, who
coordinates a group or a transaction.
"""

from wire.schema import Kind, Uuid, array, boolean, int8, int16, int32, one, request, response, string, struct, uuid


@struct()
class MetadataRequestTopic:
    topic_id: Uuid = uuid("10+", ignorable=True)  # zero where the topic is asked for by name
    name: str | None = string(nullable="10+")  # null: asked for by id


@request(3, "0-13", flexible="9+")
class MetadataRequest:
    """Ask for the brokers of the cluster and for topics.

    - 4: whether a missing topic may be created; before, it always was
    - 6: only throttling differs: the answer comes before the pause (KIP-219)
    - 8: authorized operations on request (KIP-430)
    - 9: flexible
    - 10: topic ids (KIP-516), but brokers do not understand them yet
    - 11: authorized operations of the cluster moved to DescribeCluster (KIP-700)
    - 12: asking by topic id works (KIP-516)
    - 13: only the response differs (KIP-1102)
    """

    # null: all; empty: none, but in version 0 all
    topics: list[MetadataRequestTopic] | None = array(MetadataRequestTopic, nullable="1+")
    allow_auto_topic_creation: bool = boolean("4+", default=True)
    include_cluster_authorized_operations: bool = boolean("8-10")
    include_topic_authorized_operations: bool = boolean("8+")


@struct()
class MetadataResponseBroker:
    node_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string("1+", nullable="1+", default=None, ignorable=True)


@struct()
class MetadataResponsePartition:
    error_code: int = int16()
    partition_index: int = int32()
    leader_id: int = int32()  # -1: there is none
    leader_epoch: int = int32("7+", default=-1, ignorable=True)
    replica_nodes: list[int] = array(Kind.INT32)
    isr_nodes: list[int] = array(Kind.INT32)  # the replicas in sync with the leader
    offline_replicas: list[int] = array(Kind.INT32, "5+", ignorable=True)  # replicas on dead brokers or failed disks


@struct()
class MetadataResponseTopic:
    error_code: int = int16()
    name: str | None = string(nullable="12+")  # null where a topic id is unknown
    topic_id: Uuid = uuid("10+", ignorable=True)
    is_internal: bool = boolean("1+", ignorable=True)  # such as __consumer_offsets
    partitions: list[MetadataResponsePartition] = array(MetadataResponsePartition)
    # bit per AclOperation the client may do; the default: not asked for
    topic_authorized_operations: int = int32("8+", default=-2147483648)


@response(3, "0-13", flexible="9+")
class MetadataResponse:
    """Describe brokers and topics as the asked broker knows them.

    - 1: racks, the controller, internal topics
    - 2: cluster id (KIP-78)
    - 3: throttle time
    - 5: replicas that are offline (KIP-112)
    - 7: leader epochs (KIP-320)
    - 8: authorized operations (KIP-430)
    - 9: flexible
    - 10: topic ids (KIP-516)
    - 11: without authorized operations of the cluster (KIP-700)
    - 13: an error for the whole: REBOOTSTRAP_REQUIRED (KIP-1102)
    """

    throttle_time_ms: int = int32("3+", ignorable=True)
    brokers: list[MetadataResponseBroker] = array(MetadataResponseBroker)
    cluster_id: str | None = string("2+", nullable="2+", default=None, ignorable=True)
    # in KRaft any broker, chosen at random: it forwards what only the controller may do
    controller_id: int = int32("1+", default=-1, ignorable=True)
    topics: list[MetadataResponseTopic] = array(MetadataResponseTopic)
    # bit per AclOperation the client may do; the default: not asked for
    cluster_authorized_operations: int = int32("8-10", default=-2147483648)
    error_code: int = int16("13+", ignorable=True)  # of the whole request


@request(10, "0-6", flexible="3+")
class FindCoordinatorRequest:
    """Ask which broker coordinates a group, a transaction or a share partition.

    - 1: transactional ids too (KIP-98)
    - 2: only throttling differs: the answer comes before the pause (KIP-219)
    - 3: flexible
    - 4: several keys at once (KIP-699)
    - 5: the client copes with TRANSACTION_ABORTABLE (KIP-890)
    - 6: share partitions (KIP-932)
    """

    key: str = string("0-3")  # the group id or transactional id
    key_type: int = int8("1+")  # 0: group id; 1: transactional id; 2: share partition, as "group:topic id:partition"
    coordinator_keys: list[str] = array(Kind.STRING, "4+")


@struct()
class Coordinator:
    key: str = string("4+")  # which of the asked keys this is for
    node_id: int = int32("4+")
    host: str = string("4+")
    port: int = int32("4+")
    error_code: int = int16("4+")
    error_message: str | None = string("4+", nullable="4+", ignorable=True)


@response(10, "0-6", flexible="3+")
class FindCoordinatorResponse:
    """Name the coordinator's broker; until version 3 in the fields of the message itself, later in one entry per key.

    - 1: throttle time and error message
    - 3: flexible
    - 4: several answers (KIP-699)
    """

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16("0-3")
    error_message: str | None = string("1-3", nullable="1-3", ignorable=True)
    node_id: int = int32("0-3")
    host: str = string("0-3")
    port: int = int32("0-3")
    coordinators: list[Coordinator] = array(Coordinator, "4+")


@struct()
class TopicRequest:
    name: str = string()


@struct("Cursor")
class DescribeTopicPartitionsRequestCursor:
    topic_name: str = string()
    partition_index: int = int32()  # the first one to describe


@request(75, "0", flexible="0+")
class DescribeTopicPartitionsRequest:
    """Ask for the partitions of topics page by page, in the order of topic names (KIP-966)."""

    topics: list[TopicRequest] = array(TopicRequest)  # none: all
    # most partitions to describe; the broker has a limit of its own
    response_partition_limit: int = int32(default=2000)
    # where to begin; null: at the first topic
    cursor: DescribeTopicPartitionsRequestCursor | None = one(
        DescribeTopicPartitionsRequestCursor, nullable="0+", default=None
    )


@struct()
class DescribeTopicPartitionsResponsePartition:
    error_code: int = int16()
    partition_index: int = int32()
    leader_id: int = int32()  # -1: there is none
    leader_epoch: int = int32(default=-1, ignorable=True)
    replica_nodes: list[int] = array(Kind.INT32)
    isr_nodes: list[int] = array(Kind.INT32)  # the replicas in sync with the leader
    # out of sync, yet known to hold everything committed: may lead when the ISR is empty
    eligible_leader_replicas: list[int] | None = array(Kind.INT32, nullable="0+", default=None)
    # replicas that were eligible before an unclean stop
    last_known_elr: list[int] | None = array(Kind.INT32, nullable="0+", default=None)
    offline_replicas: list[int] = array(Kind.INT32, ignorable=True)  # replicas on dead brokers or failed disks


@struct()
class DescribeTopicPartitionsResponseTopic:
    error_code: int = int16()
    name: str | None = string(nullable="0+")
    topic_id: Uuid = uuid(ignorable=True)
    is_internal: bool = boolean(ignorable=True)  # such as __consumer_offsets
    partitions: list[DescribeTopicPartitionsResponsePartition] = array(DescribeTopicPartitionsResponsePartition)
    topic_authorized_operations: int = int32(default=-2147483648)  # bit per AclOperation the client may do


@struct("Cursor")
class DescribeTopicPartitionsResponseCursor:
    topic_name: str = string()
    partition_index: int = int32()  # the first one not described


@response(75, "0", flexible="0+")
class DescribeTopicPartitionsResponse:
    """Describe partitions with their eligible leader replicas, up to the limit (KIP-966)."""

    throttle_time_ms: int = int32(ignorable=True)
    topics: list[DescribeTopicPartitionsResponseTopic] = array(DescribeTopicPartitionsResponseTopic)
    # where the next request should begin; null: that was all
    next_cursor: DescribeTopicPartitionsResponseCursor | None = one(
        DescribeTopicPartitionsResponseCursor, nullable="0+", default=None
    )
