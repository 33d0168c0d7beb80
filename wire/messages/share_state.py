"""The state of share partitions, kept by the share coordinator: InitializeShareGroupState (key 83), ReadShareGroupState
(84), WriteShareGroupState (85), DeleteShareGroupState (86), ReadShareGroupStateSummary (87) (KIP-932).

Between brokers: a partition's leader reads and writes what it lent and what was acknowledged, the group coordinator
creates, summarizes and deletes it. State epochs rise when the group coordinator sets a new start, leader epochs with
the partition's leader; requests with older ones are fenced.
"""

from wire.schema import Uuid, array, int8, int16, int32, int64, request, response, string, struct, uuid


@struct("PartitionData")
class InitializeShareGroupStateRequestPartitionData:
    partition: int = int32()
    state_epoch: int = int32()  # the group epoch
    start_offset: int = int64()  # -1: the leader finds it out by the group's configuration


@struct()
class InitializeStateData:
    topic_id: Uuid = uuid()
    partitions: list[InitializeShareGroupStateRequestPartitionData] = array(
        InitializeShareGroupStateRequestPartitionData
    )


@request(83, "0", flexible="0+")
class InitializeShareGroupStateRequest:
    """Create the state of share partitions, or set a new start."""

    group_id: str = string()
    topics: list[InitializeStateData] = array(InitializeStateData)


@struct("PartitionResult")
class InitializeShareGroupStateResponsePartitionResult:
    partition: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)


@struct()
class InitializeStateResult:
    topic_id: Uuid = uuid()
    partitions: list[InitializeShareGroupStateResponsePartitionResult] = array(
        InitializeShareGroupStateResponsePartitionResult
    )


@response(83, "0", flexible="0+")
class InitializeShareGroupStateResponse:
    """Say of each share partition whether it has that state now."""

    results: list[InitializeStateResult] = array(InitializeStateResult)


@struct("PartitionData")
class ReadShareGroupStateRequestPartitionData:
    partition: int = int32()
    leader_epoch: int = int32()  # of the asking leader; the coordinator remembers it and refuses older ones from now on


@struct()
class ReadStateData:
    topic_id: Uuid = uuid()
    partitions: list[ReadShareGroupStateRequestPartitionData] = array(ReadShareGroupStateRequestPartitionData)


@request(84, "0", flexible="0+")
class ReadShareGroupStateRequest:
    """A new leader reads the state of its share partitions, and fences the old one by its epoch."""

    group_id: str = string()
    topics: list[ReadStateData] = array(ReadStateData)


@struct("StateBatch")
class ReadShareGroupStateResponseStateBatch:
    first_offset: int = int64()
    last_offset: int = int64()  # inclusive
    delivery_state: int = int8()  # 0 available, 2 acknowledged, 4 archived
    delivery_count: int = int16()  # how often the records have been lent


@struct("PartitionResult")
class ReadShareGroupStateResponsePartitionResult:
    partition: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    state_epoch: int = int32()  # to be sent with writes
    start_offset: int = int64()  # -1: not known yet
    # what is known from the start offset on; offsets in no batch are available
    state_batches: list[ReadShareGroupStateResponseStateBatch] = array(ReadShareGroupStateResponseStateBatch)


@struct()
class ReadStateResult:
    topic_id: Uuid = uuid()
    partitions: list[ReadShareGroupStateResponsePartitionResult] = array(ReadShareGroupStateResponsePartitionResult)


@response(84, "0", flexible="0+")
class ReadShareGroupStateResponse:
    """Answer the state of share partitions."""

    results: list[ReadStateResult] = array(ReadStateResult)


@struct("StateBatch")
class WriteShareGroupStateRequestStateBatch:
    first_offset: int = int64()
    last_offset: int = int64()  # inclusive
    delivery_state: int = int8()  # 0 available, 2 acknowledged, 4 archived
    delivery_count: int = int16()  # how often the records have been lent


@struct("PartitionData")
class WriteShareGroupStateRequestPartitionData:
    partition: int = int32()
    state_epoch: int = int32()
    leader_epoch: int = int32()
    start_offset: int = int64()  # -1: unchanged
    # records from the start offset on that are done with; -1: not known
    delivery_complete_count: int = int32("1+", default=-1, ignorable=True)
    # what changed
    state_batches: list[WriteShareGroupStateRequestStateBatch] = array(WriteShareGroupStateRequestStateBatch)


@struct()
class WriteStateData:
    topic_id: Uuid = uuid()
    partitions: list[WriteShareGroupStateRequestPartitionData] = array(WriteShareGroupStateRequestPartitionData)


@request(85, "0-1", flexible="0+")
class WriteShareGroupStateRequest:
    """A leader stores what changed in its share partitions.

    - 1: how many records are done with (KIP-1226)
    """

    group_id: str = string()
    topics: list[WriteStateData] = array(WriteStateData)


@struct("PartitionResult")
class WriteShareGroupStateResponsePartitionResult:
    partition: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)


@struct()
class WriteStateResult:
    topic_id: Uuid = uuid()
    partitions: list[WriteShareGroupStateResponsePartitionResult] = array(WriteShareGroupStateResponsePartitionResult)


@response(85, "0-1", flexible="0+")
class WriteShareGroupStateResponse:
    """Say of each share partition whether its state is stored."""

    results: list[WriteStateResult] = array(WriteStateResult)


@struct("PartitionData")
class DeleteShareGroupStateRequestPartitionData:
    partition: int = int32()


@struct()
class DeleteStateData:
    topic_id: Uuid = uuid()
    partitions: list[DeleteShareGroupStateRequestPartitionData] = array(DeleteShareGroupStateRequestPartitionData)


@request(86, "0", flexible="0+")
class DeleteShareGroupStateRequest:
    """Delete the state of share partitions."""

    group_id: str = string()
    topics: list[DeleteStateData] = array(DeleteStateData)


@struct("PartitionResult")
class DeleteShareGroupStateResponsePartitionResult:
    partition: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)


@struct()
class DeleteStateResult:
    topic_id: Uuid = uuid()
    partitions: list[DeleteShareGroupStateResponsePartitionResult] = array(DeleteShareGroupStateResponsePartitionResult)


@response(86, "0", flexible="0+")
class DeleteShareGroupStateResponse:
    """Say of each share partition whether its state is gone."""

    results: list[DeleteStateResult] = array(DeleteStateResult)


@struct("PartitionData")
class ReadShareGroupStateSummaryRequestPartitionData:
    partition: int = int32()
    leader_epoch: int = int32()  # not looked at by Kafka 4.4


@struct()
class ReadStateSummaryData:
    topic_id: Uuid = uuid()
    partitions: list[ReadShareGroupStateSummaryRequestPartitionData] = array(
        ReadShareGroupStateSummaryRequestPartitionData
    )


@request(87, "0-1", flexible="0+")
class ReadShareGroupStateSummaryRequest:
    """Ask for the start offsets of share partitions, without their batches.

    - 1: only the response differs (KIP-1226)
    """

    group_id: str = string()
    topics: list[ReadStateSummaryData] = array(ReadStateSummaryData)


@struct("PartitionResult")
class ReadShareGroupStateSummaryResponsePartitionResult:
    partition: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    state_epoch: int = int32()
    leader_epoch: int = int32()  # of the leader that last read or wrote the state
    start_offset: int = int64()  # -1: not known yet
    # records from the start offset on that are done with; -1: not known
    delivery_complete_count: int = int32("1+", default=-1, ignorable=True)


@struct()
class ReadStateSummaryResult:
    topic_id: Uuid = uuid()
    partitions: list[ReadShareGroupStateSummaryResponsePartitionResult] = array(
        ReadShareGroupStateSummaryResponsePartitionResult
    )


@response(87, "0-1", flexible="0+")
class ReadShareGroupStateSummaryResponse:
    """Answer start offsets.

    - 1: how many records are done with (KIP-1226)
    """

    results: list[ReadStateSummaryResult] = array(ReadStateSummaryResult)
