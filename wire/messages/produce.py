"""Produce (key 0): append record batches to partitions.

Everything a producer writes arrives here, transactional or not. A request may name many partitions; each is answered
on its own, so one partition's failure does not fail the others. With `acks` 0 there is no answer at all.
"""

from wire.schema import (
    RecordBytes,
    Uuid,
    array,
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


@struct()
class PartitionProduceData:
    index: int = int32()
    records: RecordBytes | None = records(nullable="0+")  # exactly one batch of format v2, as the client built it


@struct()
class TopicProduceData:
    name: str = string("0-12", ignorable=True)  # until version 12; later the topic id says which topic
    topic_id: Uuid = uuid("13+", ignorable=True)
    partition_data: list[PartitionProduceData] = array(PartitionProduceData)


@request(0, "3-13", flexible="9+")
class ProduceRequest:
    """Ask the leaders of some partitions to append batches.

    - 3: transactions, record batches of format v2 (KIP-98); 0 to 2 are gone (KIP-896), yet listed in ApiVersions
      because librdkafka looks for them
    - 4: the client copes with KAFKA_STORAGE_ERROR (KIP-112)
    - 5: only the response differs
    - 6: only throttling differs: the answer comes before the pause (KIP-219)
    - 7: batches may be compressed with zstd (KIP-110)
    - 8: only the response differs (KIP-467)
    - 9: flexible
    - 10: only the response differs (KIP-951)
    - 11: the client copes with TRANSACTION_ABORTABLE (KIP-890)
    - 12: writing to a partition also adds it to the transaction (KIP-890, second part)
    - 13: topic ids instead of names (KIP-516)
    """

    transactional_id: str | None = string("3+", nullable="3+", default=None)  # null outside transactions
    acks: int = int16()  # 0: answer nothing; 1: when the leader has it; -1: when the in-sync replicas have it
    timeout_ms: int = int32()  # how long the broker may wait for the replicas that acks=-1 asks for
    topic_data: list[TopicProduceData] = array(TopicProduceData)


@struct()
class BatchIndexAndErrorMessage:
    batch_index: int = int32("8+")  # position of the bad record in its batch
    batch_index_error_message: str | None = string("8+", nullable="8+", default=None)  # what is wrong with it


@struct()
class LeaderIdAndEpoch:
    leader_id: int = int32("10+", default=-1)  # -1: not told
    leader_epoch: int = int32("10+", default=-1)


@struct()
class PartitionProduceResponse:
    index: int = int32()
    error_code: int = int16()
    base_offset: int = int64()  # offset of the first record, -1 on failure
    # set where the topic stamps records itself, else -1
    log_append_time_ms: int = int64("2+", default=-1, ignorable=True)
    # lets an idempotent producer tell lost records from deleted ones
    log_start_offset: int = int64("5+", default=-1, ignorable=True)
    # the records that made the batch fail
    record_errors: list[BatchIndexAndErrorMessage] = array(BatchIndexAndErrorMessage, "8+", ignorable=True)
    # what is common to all bad records
    error_message: str | None = string("8+", nullable="8+", default=None, ignorable=True)
    current_leader: LeaderIdAndEpoch = one(LeaderIdAndEpoch, "10+", tag=0)  # where to go after NOT_LEADER_OR_FOLLOWER


@struct()
class TopicProduceResponse:
    name: str = string("0-12", ignorable=True)
    topic_id: Uuid = uuid("13+", ignorable=True)
    partition_responses: list[PartitionProduceResponse] = array(PartitionProduceResponse)


@struct()
class NodeEndpoint:
    node_id: int = int32("10+")
    host: str = string("10+")
    port: int = int32("10+")
    rack: str | None = string("10+", nullable="10+", default=None)


@response(0, "3-13", flexible="9+")
class ProduceResponse:
    """Say for each partition at which offset the batch begins, or why it was refused.

    - 5: the log start offset
    - 8: the records that were refused, and why (KIP-467)
    - 9: flexible
    - 10: the new leader and its address, if the asked broker leads no longer (KIP-951)
    - 13: topic ids instead of names (KIP-516)
    """

    responses: list[TopicProduceResponse] = array(TopicProduceResponse)
    throttle_time_ms: int = int32("1+", ignorable=True)
    # addresses of the brokers that `current_leader` names
    node_endpoints: list[NodeEndpoint] = array(NodeEndpoint, "10+", tag=0)
