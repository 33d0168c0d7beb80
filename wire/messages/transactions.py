"""Idempotent and transactional producers: InitProducerId (key 22), AddPartitionsToTxn (24), AddOffsetsToTxn (25),
EndTxn (26), WriteTxnMarkers (27), TxnOffsetCommit (28), DescribeProducers (61), DescribeTransactions (65),
ListTransactions (66), AllocateProducerIds (67).

A producer gets an id and an epoch, which number its batches and fence its predecessors (KIP-98). Transactions version 2
(KIP-890) raises the epoch at the end of each transaction and lets Produce and TxnOffsetCommit join it by themselves.
"""

from wire.schema import Kind, Uuid, array, boolean, int8, int16, int32, int64, request, response, string, struct, uuid


@request(22, "0-6", flexible="2+")
class InitProducerIdRequest:
    """Ask for a producer id; with a transactional id also end what an earlier producer of that id left open.

    - 1: only throttling differs: the answer comes before the pause (KIP-219)
    - 2: flexible
    - 3: go on with an id and epoch, after an error (KIP-360)
    - 4: the client copes with PRODUCER_FENCED (KIP-588)
    - 5: the client copes with TRANSACTION_ABORTABLE (KIP-890)
    - 6: two-phase commit, not served yet (KIP-939)
    """

    transactional_id: str | None = string(nullable="0+")  # null: idempotent only
    transaction_timeout_ms: int = int32()  # after so long the coordinator aborts an open transaction
    producer_id: int = int64("3+", default=-1)  # -1: a new one
    producer_epoch: int = int16("3+", default=-1)  # -1: a new one
    enable2_pc: bool = boolean("6+")  # transactions end only by the producer's word, never by timeout
    keep_prepared_txn: bool = boolean("6+")  # leave a prepared transaction open


@response(22, "0-6", flexible="2+")
class InitProducerIdResponse:
    """Hand the producer its id and epoch.

    - 2: flexible
    - 4: PRODUCER_FENCED (KIP-588)
    - 5: TRANSACTION_ABORTABLE (KIP-890)
    - 6: the transaction that was left prepared (KIP-939)
    """

    throttle_time_ms: int = int32(ignorable=True)
    error_code: int = int16()
    producer_id: int = int64(default=-1)
    producer_epoch: int = int16()  # producers with a smaller one are fenced
    ongoing_txn_producer_id: int = int64("6+", default=-1)  # -1: nothing is prepared
    ongoing_txn_producer_epoch: int = int16("6+", default=-1)  # -1: nothing is prepared


@struct()
class AddPartitionsToTxnTopic:
    name: str = string()
    partitions: list[int] = array(Kind.INT32)


@struct()
class AddPartitionsToTxnTransaction:
    transactional_id: str = string("4+")
    producer_id: int = int64("4+")
    producer_epoch: int = int16("4+")
    verify_only: bool = boolean("4+")  # ask whether the partitions are in the transaction, add none
    topics: list[AddPartitionsToTxnTopic] = array(AddPartitionsToTxnTopic, "4+")


@request(24, "0-5", flexible="3+")
class AddPartitionsToTxnRequest:
    """Add partitions to a transaction before writing to them.

    Clients use versions up to 3, with the fields of the message itself; brokers use 4 and later, with a list.

    - 1: only throttling differs: the answer comes before the pause (KIP-219)
    - 2: the client copes with PRODUCER_FENCED (KIP-588)
    - 3: flexible
    - 4: from brokers: several transactions, verification (KIP-890)
    - 5: TRANSACTION_ABORTABLE (KIP-890)
    """

    transactions: list[AddPartitionsToTxnTransaction] = array(AddPartitionsToTxnTransaction, "4+")
    v3_and_below_transactional_id: str = string("0-3")
    v3_and_below_producer_id: int = int64("0-3")
    v3_and_below_producer_epoch: int = int16("0-3")
    v3_and_below_topics: list[AddPartitionsToTxnTopic] = array(AddPartitionsToTxnTopic, "0-3")


@struct()
class AddPartitionsToTxnPartitionResult:
    partition_index: int = int32()
    partition_error_code: int = int16()


@struct()
class AddPartitionsToTxnTopicResult:
    name: str = string()
    results_by_partition: list[AddPartitionsToTxnPartitionResult] = array(AddPartitionsToTxnPartitionResult)


@struct()
class AddPartitionsToTxnResult:
    transactional_id: str = string("4+")
    topic_results: list[AddPartitionsToTxnTopicResult] = array(AddPartitionsToTxnTopicResult, "4+")


@response(24, "0-5", flexible="3+")
class AddPartitionsToTxnResponse:
    """Say of each partition whether it is in the transaction: all or none.

    - 2: PRODUCER_FENCED (KIP-588)
    - 3: flexible
    - 4: several transactions, an error for the whole (KIP-890)
    - 5: TRANSACTION_ABORTABLE (KIP-890)
    """

    throttle_time_ms: int = int32()
    error_code: int = int16("4+", ignorable=True)
    results_by_transaction: list[AddPartitionsToTxnResult] = array(AddPartitionsToTxnResult, "4+")
    results_by_topic_v3_and_below: list[AddPartitionsToTxnTopicResult] = array(AddPartitionsToTxnTopicResult, "0-3")


@request(25, "0-4", flexible="3+")
class AddOffsetsToTxnRequest:
    """Add a group's offsets to a transaction: the partition of `__consumer_offsets` that holds them.

    - 1: only throttling differs: the answer comes before the pause (KIP-219)
    - 2: the client copes with PRODUCER_FENCED (KIP-588)
    - 3: flexible
    - 4: the client copes with TRANSACTION_ABORTABLE (KIP-890)
    """

    transactional_id: str = string()
    producer_id: int = int64()
    producer_epoch: int = int16()
    group_id: str = string()


@response(25, "0-4", flexible="3+")
class AddOffsetsToTxnResponse:
    """Say whether the transaction covers the group's offsets.

    - 2: PRODUCER_FENCED (KIP-588)
    - 3: flexible
    - 4: TRANSACTION_ABORTABLE (KIP-890)
    """

    throttle_time_ms: int = int32()
    error_code: int = int16()


@request(26, "0-5", flexible="3+")
class EndTxnRequest:
    """Commit or abort the open transaction.

    - 1: only throttling differs: the answer comes before the pause (KIP-219)
    - 2: the client copes with PRODUCER_FENCED (KIP-588)
    - 3: flexible
    - 4: the client copes with TRANSACTION_ABORTABLE (KIP-890)
    - 5: the epoch grows with each transaction (KIP-890, second part)
    """

    transactional_id: str = string()
    producer_id: int = int64()
    producer_epoch: int = int16()
    committed: bool = boolean()  # false: abort


@response(26, "0-5", flexible="3+")
class EndTxnResponse:
    """Say that the outcome is decided; the markers may follow later.

    - 2: PRODUCER_FENCED (KIP-588)
    - 3: flexible
    - 4: TRANSACTION_ABORTABLE (KIP-890)
    - 5: id and epoch for the next transaction (KIP-890, second part)
    """

    throttle_time_ms: int = int32()
    error_code: int = int16()
    producer_id: int = int64("5+", default=-1, ignorable=True)  # for the next transaction; -1: unchanged
    producer_epoch: int = int16("5+", default=-1, ignorable=True)  # for the next transaction


@struct()
class WritableTxnMarkerTopic:
    name: str = string()
    partition_indexes: list[int] = array(Kind.INT32)


@struct()
class WritableTxnMarker:
    producer_id: int = int64()
    producer_epoch: int = int16()
    transaction_result: bool = boolean()  # true: commit; false: abort
    topics: list[WritableTxnMarkerTopic] = array(WritableTxnMarkerTopic)
    coordinator_epoch: int = int32()  # of the transaction coordinator; an older one is refused
    transaction_version: int = int8("2+", ignorable=True)  # 2: the producer's epoch must be the transaction's


@request(27, "1-2", flexible="1+")
class WriteTxnMarkersRequest:
    """The transaction coordinator has the partitions' leaders write the end of transactions.

    - 1: flexible; version 0 is gone (KIP-896)
    - 2: transaction version (KIP-1228)
    """

    markers: list[WritableTxnMarker] = array(WritableTxnMarker)


@struct()
class WritableTxnMarkerPartitionResult:
    partition_index: int = int32()
    error_code: int = int16()


@struct()
class WritableTxnMarkerTopicResult:
    name: str = string()
    partitions: list[WritableTxnMarkerPartitionResult] = array(WritableTxnMarkerPartitionResult)


@struct()
class WritableTxnMarkerResult:
    producer_id: int = int64()
    topics: list[WritableTxnMarkerTopicResult] = array(WritableTxnMarkerTopicResult)


@response(27, "1-2", flexible="1+")
class WriteTxnMarkersResponse:
    """Say of each partition whether the marker is written.

    - 1: flexible
    """

    markers: list[WritableTxnMarkerResult] = array(WritableTxnMarkerResult)


@struct()
class TxnOffsetCommitRequestPartition:
    partition_index: int = int32()
    committed_offset: int = int64()  # of the next record to read
    committed_leader_epoch: int = int32("2+", default=-1, ignorable=True)  # of the last record read; -1: not known
    committed_metadata: str | None = string(nullable="0+")  # the consumer's own note


@struct()
class TxnOffsetCommitRequestTopic:
    name: str = string("0-5", ignorable=True)
    topic_id: Uuid = uuid("6+", ignorable=True)
    partitions: list[TxnOffsetCommitRequestPartition] = array(TxnOffsetCommitRequestPartition)


@request(28, "0-6", flexible="3+")
class TxnOffsetCommitRequest:
    """Store a group's offsets that count when the transaction commits.

    - 1: only throttling differs: the answer comes before the pause (KIP-219)
    - 2: leader epoch (KIP-320)
    - 3: flexible; member and generation, to fence dead members (KIP-447)
    - 4: the client copes with TRANSACTION_ABORTABLE (KIP-890)
    - 5: also adds the group to the transaction (KIP-890, second part)
    - 6: topic ids instead of names (KIP-1319)
    """

    transactional_id: str = string()
    group_id: str = string()
    producer_id: int = int64()
    producer_epoch: int = int16()
    generation_id_or_member_epoch: int = int32("3+", default=-1)  # -1: not checked
    member_id: str = string("3+")
    group_instance_id: str | None = string("3+", nullable="3+", default=None)
    topics: list[TxnOffsetCommitRequestTopic] = array(TxnOffsetCommitRequestTopic)


@struct()
class TxnOffsetCommitResponsePartition:
    partition_index: int = int32()
    error_code: int = int16()


@struct()
class TxnOffsetCommitResponseTopic:
    name: str = string("0-5", ignorable=True)
    topic_id: Uuid = uuid("6+", ignorable=True)
    partitions: list[TxnOffsetCommitResponsePartition] = array(TxnOffsetCommitResponsePartition)


@response(28, "0-6", flexible="3+")
class TxnOffsetCommitResponse:
    """Say of each partition whether its offset is stored.

    - 3: flexible; ILLEGAL_GENERATION, FENCED_INSTANCE_ID, UNKNOWN_MEMBER_ID (KIP-447)
    - 4: TRANSACTION_ABORTABLE (KIP-890)
    - 6: topic ids instead of names; GROUP_ID_NOT_FOUND, STALE_MEMBER_EPOCH, UNKNOWN_TOPIC_ID (KIP-1319)
    """

    throttle_time_ms: int = int32()
    topics: list[TxnOffsetCommitResponseTopic] = array(TxnOffsetCommitResponseTopic)


@struct()
class TopicRequest:
    name: str = string()
    partition_indexes: list[int] = array(Kind.INT32)


@request(61, "0", flexible="0+")
class DescribeProducersRequest:
    """Ask which producers are active in partitions (KIP-664)."""

    topics: list[TopicRequest] = array(TopicRequest)


@struct()
class ProducerState:
    producer_id: int = int64()
    producer_epoch: int = int32()
    last_sequence: int = int32(default=-1)  # -1: nothing but markers
    last_timestamp: int = int64(default=-1)  # ms, of its last batch
    coordinator_epoch: int = int32()  # of the coordinator that wrote its last marker
    current_txn_start_offset: int = int64(default=-1)  # -1: no open transaction


@struct()
class PartitionResponse:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    active_producers: list[ProducerState] = array(ProducerState)


@struct()
class TopicResponse:
    name: str = string()
    partitions: list[PartitionResponse] = array(PartitionResponse)


@response(61, "0", flexible="0+")
class DescribeProducersResponse:
    """Describe the producers whose state the partitions' leaders keep (KIP-664)."""

    throttle_time_ms: int = int32()
    topics: list[TopicResponse] = array(TopicResponse)


@request(65, "0", flexible="0+")
class DescribeTransactionsRequest:
    """Ask a coordinator about transactions (KIP-664)."""

    transactional_ids: list[str] = array(Kind.STRING)


@struct()
class TopicData:
    topic: str = string()
    partitions: list[int] = array(Kind.INT32)


@struct("TransactionState")
class DescribeTransactionsResponseTransactionState:
    error_code: int = int16()
    transactional_id: str = string()
    transaction_state: str = string()  # Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort
    transaction_timeout_ms: int = int32()
    transaction_start_time_ms: int = int64()  # -1: none is open
    producer_id: int = int64()
    producer_epoch: int = int16()
    topics: list[TopicData] = array(TopicData)  # the partitions of the open transaction


@response(65, "0", flexible="0+")
class DescribeTransactionsResponse:
    """Describe transactions (KIP-664)."""

    throttle_time_ms: int = int32()
    transaction_states: list[DescribeTransactionsResponseTransactionState] = array(
        DescribeTransactionsResponseTransactionState
    )


@request(66, "0-2", flexible="0+")
class ListTransactionsRequest:
    """Ask which transactional ids the broker coordinates (KIP-664).

    - 1: only those open for some time (KIP-994)
    - 2: only ids that match a pattern (KIP-1152)
    """

    state_filters: list[str] = array(Kind.STRING)  # empty: any
    producer_id_filters: list[int] = array(Kind.INT64)  # empty: any
    duration_filter: int = int64("1+", default=-1)  # only transactions open for more than so many ms; -1: any
    transactional_id_pattern: str | None = string("2+", nullable="2+", default=None)  # a regular expression; null: any


@struct("TransactionState")
class ListTransactionsResponseTransactionState:
    transactional_id: str = string()
    producer_id: int = int64()
    transaction_state: str = string()  # as in DescribeTransactions


@response(66, "0-2", flexible="0+")
class ListTransactionsResponse:
    """List transactional ids."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    unknown_state_filters: list[str] = array(Kind.STRING)  # those of the request that are no states
    transaction_states: list[ListTransactionsResponseTransactionState] = array(ListTransactionsResponseTransactionState)


@request(67, "0", flexible="0+")
class AllocateProducerIdsRequest:
    """A broker asks the controller for a block of producer ids (KIP-730)."""

    broker_id: int = int32()
    broker_epoch: int = int64(default=-1)


@response(67, "0", flexible="0+")
class AllocateProducerIdsResponse:
    """Hand a broker a block of producer ids (KIP-730)."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    producer_id_start: int = int64()
    producer_id_len: int = int32()
