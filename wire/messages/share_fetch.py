"""Consuming with a share group: ShareFetch (key 78), ShareAcknowledge (79) (KIP-932).

A share group's members read the same partitions side by side: the partition's leader lends each record to one member
for a time, counts how often it was delivered, and takes back what is not acknowledged. A share session remembers the
member's partitions, as a fetch session does. Version 0 was the early access of Kafka 4.0.
"""

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
    last_offset: int = int64()  # inclusive
    # one for all, or one per offset: 0 gap, 1 accept, 2 release, 3 reject, 4 renew
    acknowledge_types: list[int] = array(Kind.INT8)


@struct()
class FetchPartition:
    partition_index: int = int32()
    partition_max_bytes: int = int32("0")  # gone with version 0
    # of records from earlier answers
    acknowledgement_batches: list[ShareFetchRequestAcknowledgementBatch] = array(ShareFetchRequestAcknowledgementBatch)


@struct()
class FetchTopic:
    topic_id: Uuid = uuid()
    partitions: list[FetchPartition] = array(FetchPartition)  # in a session: what is new, or has acknowledgements


@struct()
class ForgottenTopic:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@request(78, "1-2", flexible="0+")
class ShareFetchRequest:
    """Borrow records, and acknowledge earlier ones on the way.

    - 1: the first stable version (KIP-932)
    - 2: how strictly `max_records` holds (KIP-1206), renewal of what is borrowed (KIP-1222)
    """

    group_id: str | None = string(nullable="0+", default=None)
    member_id: str | None = string(nullable="0+")  # as in the member's heartbeats
    share_session_epoch: int = int32()  # 0 opens a session, -1 closes it, else it counts the requests of the session
    max_wait_ms: int = int32()  # how long to wait for min_bytes
    min_bytes: int = int32()  # answer as soon as there is so much
    max_bytes: int = int32(default=2147483647)  # a soft limit: a first batch that is larger comes whole
    max_records: int = int32("1+")  # in acquire mode 0 a soft limit: batches are not cut
    batch_size: int = int32("1+")  # how many records a batch of borrowed ones should hold
    share_acquire_mode: int = int8("2+", ignorable=True)  # 0 whole batches, 1 no more than max_records
    # whether there are renewals: then nothing is fetched, and the limits on time, bytes and records must be 0
    is_renew_ack: bool = boolean("2+")
    topics: list[FetchTopic] = array(FetchTopic)
    forgotten_topics_data: list[ForgottenTopic] = array(ForgottenTopic)  # partitions that leave the session


@struct("LeaderIdAndEpoch")
class ShareFetchResponseLeaderIdAndEpoch:
    leader_id: int = int32()  # -1: not known
    leader_epoch: int = int32()


@struct()
class AcquiredRecords:
    first_offset: int = int64()
    last_offset: int = int64()  # inclusive
    delivery_count: int = int16()  # how often they were delivered, this time included


@struct("PartitionData")
class ShareFetchResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()  # of the fetch
    error_message: str | None = string(nullable="0+", default=None)
    acknowledge_error_code: int = int16()  # of the acknowledgements
    acknowledge_error_message: str | None = string(nullable="0+", default=None)
    # where to go after NOT_LEADER_OR_FOLLOWER
    current_leader: ShareFetchResponseLeaderIdAndEpoch = one(ShareFetchResponseLeaderIdAndEpoch)
    records: Records | None = records(nullable="0")  # whole batches; only what `acquired_records` names is the member's
    # the offsets that the member may process; it must skip all others
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
    """Lend records."""

    throttle_time_ms: int = int32()
    error_code: int = int16()  # of the whole request, such as SHARE_SESSION_NOT_FOUND
    error_message: str | None = string(nullable="0+", default=None)
    acquisition_lock_timeout_ms: int = int32("1+")  # after so long they are taken back
    responses: list[ShareFetchableTopicResponse] = array(ShareFetchableTopicResponse)
    # addresses of the brokers that `current_leader` names
    node_endpoints: list[ShareFetchResponseNodeEndpoint] = array(ShareFetchResponseNodeEndpoint)


@struct("AcknowledgementBatch")
class ShareAcknowledgeRequestAcknowledgementBatch:
    first_offset: int = int64()
    last_offset: int = int64()  # inclusive
    # one for all, or one per offset: 0 gap, 1 accept, 2 release, 3 reject, 4 renew
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
    """Acknowledge borrowed records.

    - 1: the first stable version (KIP-932)
    - 2: renewal (KIP-1222)
    """

    group_id: str | None = string(nullable="0+", default=None)
    member_id: str | None = string(nullable="0+")  # as in the member's heartbeats
    share_session_epoch: int = int32()  # -1 closes the session, else it counts the requests of the session
    is_renew_ack: bool = boolean("2+")  # whether some acknowledgements are renewals
    topics: list[AcknowledgeTopic] = array(AcknowledgeTopic)


@struct("LeaderIdAndEpoch")
class ShareAcknowledgeResponseLeaderIdAndEpoch:
    leader_id: int = int32()  # -1: not known
    leader_epoch: int = int32()


@struct("PartitionData")
class ShareAcknowledgeResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()  # INVALID_RECORD_STATE: the member no longer holds one of the records
    error_message: str | None = string(nullable="0+", default=None)
    # where to go after NOT_LEADER_OR_FOLLOWER
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
    """Say of each partition whether the acknowledgements hold.

    - 2: for how long renewed records are lent (KIP-1222)
    """

    throttle_time_ms: int = int32()
    error_code: int = int16()  # of the whole request, such as SHARE_SESSION_NOT_FOUND
    error_message: str | None = string(nullable="0+", default=None)
    acquisition_lock_timeout_ms: int = int32("2+", ignorable=True)  # after so long borrowed records are taken back
    responses: list[ShareAcknowledgeTopicResponse] = array(ShareAcknowledgeTopicResponse)
    # addresses of the brokers that `current_leader` names
    node_endpoints: list[ShareAcknowledgeResponseNodeEndpoint] = array(ShareAcknowledgeResponseNodeEndpoint)
