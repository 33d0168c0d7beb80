from wire.schema import (
    Kind,
    Records,
    Uuid,
    array,
    boolean,
    int8,
    int16,
    int32,
    int64,
    one,
    records,
    request,
    response,
    string,
    struct,
    uuid,
)


@struct("AcknowledgementBatch")
class ShareFetchRequestAcknowledgementBatch:
    first_offset: int = int64()
    last_offset: int = int64()
    acknowledge_types: list[int] = array(Kind.INT8)


@struct()
class FetchPartition:
    partition_index: int = int32()
    partition_max_bytes: int = int32("0")
    acknowledgement_batches: list[ShareFetchRequestAcknowledgementBatch] = array(ShareFetchRequestAcknowledgementBatch)


@struct()
class FetchTopic:
    topic_id: Uuid = uuid()
    partitions: list[FetchPartition] = array(FetchPartition)


@struct()
class ForgottenTopic:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@request(78, "1-2", flexible="0+")
class ShareFetchRequest:
    group_id: str | None = string(nullable="0+", default=None)
    member_id: str | None = string(nullable="0+")
    share_session_epoch: int = int32()
    max_wait_ms: int = int32()
    min_bytes: int = int32()
    max_bytes: int = int32(default=2147483647)
    max_records: int = int32("1+")
    batch_size: int = int32("1+")
    share_acquire_mode: int = int8("2+", ignorable=True)
    is_renew_ack: bool = boolean("2+")
    topics: list[FetchTopic] = array(FetchTopic)
    forgotten_topics_data: list[ForgottenTopic] = array(ForgottenTopic)


@struct("LeaderIdAndEpoch")
class ShareFetchResponseLeaderIdAndEpoch:
    leader_id: int = int32()
    leader_epoch: int = int32()


@struct()
class AcquiredRecords:
    first_offset: int = int64()
    last_offset: int = int64()
    delivery_count: int = int16()


@struct("PartitionData")
class ShareFetchResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    acknowledge_error_code: int = int16()
    acknowledge_error_message: str | None = string(nullable="0+", default=None)
    current_leader: ShareFetchResponseLeaderIdAndEpoch = one(ShareFetchResponseLeaderIdAndEpoch)
    records: Records | None = records(nullable="0")
    acquired_records: list[AcquiredRecords] = array(AcquiredRecords)


@struct()
class ShareFetchableTopicResponse:
    topic_id: Uuid = uuid()
    partitions: list[ShareFetchResponsePartitionData] = array(ShareFetchResponsePartitionData)


@struct("NodeEndpoint")
class ShareFetchResponseNodeEndpoint:
    node_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string(nullable="0+", default=None)


@response(78, "1-2", flexible="0+")
class ShareFetchResponse:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    acquisition_lock_timeout_ms: int = int32("1+")
    responses: list[ShareFetchableTopicResponse] = array(ShareFetchableTopicResponse)
    node_endpoints: list[ShareFetchResponseNodeEndpoint] = array(ShareFetchResponseNodeEndpoint)


@struct("AcknowledgementBatch")
class ShareAcknowledgeRequestAcknowledgementBatch:
    first_offset: int = int64()
    last_offset: int = int64()
    acknowledge_types: list[int] = array(Kind.INT8)


@struct()
class AcknowledgePartition:
    partition_index: int = int32()
    acknowledgement_batches: list[ShareAcknowledgeRequestAcknowledgementBatch] = array(
        ShareAcknowledgeRequestAcknowledgementBatch
    )


@struct()
class AcknowledgeTopic:
    topic_id: Uuid = uuid()
    partitions: list[AcknowledgePartition] = array(AcknowledgePartition)


@request(79, "1-2", flexible="0+")
class ShareAcknowledgeRequest:
    group_id: str | None = string(nullable="0+", default=None)
    member_id: str | None = string(nullable="0+")
    share_session_epoch: int = int32()
    is_renew_ack: bool = boolean("2+")
    topics: list[AcknowledgeTopic] = array(AcknowledgeTopic)


@struct("LeaderIdAndEpoch")
class ShareAcknowledgeResponseLeaderIdAndEpoch:
    leader_id: int = int32()
    leader_epoch: int = int32()


@struct("PartitionData")
class ShareAcknowledgeResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    current_leader: ShareAcknowledgeResponseLeaderIdAndEpoch = one(ShareAcknowledgeResponseLeaderIdAndEpoch)


@struct()
class ShareAcknowledgeTopicResponse:
    topic_id: Uuid = uuid()
    partitions: list[ShareAcknowledgeResponsePartitionData] = array(ShareAcknowledgeResponsePartitionData)


@struct("NodeEndpoint")
class ShareAcknowledgeResponseNodeEndpoint:
    node_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string(nullable="0+", default=None)


@response(79, "1-2", flexible="0+")
class ShareAcknowledgeResponse:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    acquisition_lock_timeout_ms: int = int32("2+", ignorable=True)
    responses: list[ShareAcknowledgeTopicResponse] = array(ShareAcknowledgeTopicResponse)
    node_endpoints: list[ShareAcknowledgeResponseNodeEndpoint] = array(ShareAcknowledgeResponseNodeEndpoint)
