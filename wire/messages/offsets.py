"""Questions about offsets: ListOffsets (key 2), DeleteRecords (21), OffsetForLeaderEpoch (23).

Where a partition begins and ends, which offset belongs to a time, where a leader epoch ended; and moving the beginning
of a partition up.
"""

from wire.schema import array, int8, int16, int32, int64, request, response, string, struct


@struct()
class ListOffsetsPartition:
    partition_index: int = int32()
    # the leader epoch the client knows; -1: do not check
    current_leader_epoch: int = int32("4+", default=-1, ignorable=True)
    # ms; or -1 end, -2 begin, -3 record with the largest timestamp, -4 begin of the local log, -5 end of the tiered
    # part, -6 what is tiered next
    timestamp: int = int64()


@struct()
class ListOffsetsTopic:
    name: str = string()
    partitions: list[ListOffsetsPartition] = array(ListOffsetsPartition)


@request(2, "1-11", flexible="6+")
class ListOffsetsRequest:
    """Look up one offset in each partition: of the first record at or after a time, or of a special place.

    - 1: a single offset (KIP-79); version 0 is gone (KIP-896)
    - 2: isolation level (KIP-98)
    - 3: only throttling differs: the answer comes before the pause (KIP-219)
    - 4: the leader epoch that the client knows (KIP-320)
    - 6: flexible
    - 7: timestamp -3 (KIP-734)
    - 8: timestamp -4 (KIP-405)
    - 9: timestamp -5 (KIP-1005)
    - 10: a timeout for lookups in tiered storage (KIP-1075)
    - 11: timestamp -6 (KIP-1023)
    """

    replica_id: int = int32()  # broker id of a follower, -1 for a consumer
    isolation_level: int = int8("2+")  # 0: the end is the high watermark; 1: it is the last stable offset
    topics: list[ListOffsetsTopic] = array(ListOffsetsTopic)
    timeout_ms: int = int32("10+", ignorable=True)  # for lookups in tiered storage


@struct()
class ListOffsetsPartitionResponse:
    partition_index: int = int32()
    error_code: int = int16()
    # of the record found; -1 for none or where the request named a special place
    timestamp: int = int64("1+", default=-1)
    offset: int = int64("1+", default=-1)  # -1: no record is that young
    leader_epoch: int = int32("4+", default=-1)  # of the record found


@struct()
class ListOffsetsTopicResponse:
    name: str = string()
    partitions: list[ListOffsetsPartitionResponse] = array(ListOffsetsPartitionResponse)


@response(2, "1-11", flexible="6+")
class ListOffsetsResponse:
    """Answer one offset for each partition.

    - 2: throttle time
    - 4: leader epoch of the offset (KIP-320)
    - 5: OFFSET_NOT_AVAILABLE, while a new leader does not know its high watermark (KIP-207)
    - 6: flexible
    """

    throttle_time_ms: int = int32("2+", ignorable=True)
    topics: list[ListOffsetsTopicResponse] = array(ListOffsetsTopicResponse)


@struct()
class DeleteRecordsPartition:
    partition_index: int = int32()
    offset: int = int64()  # everything before it goes; -1 is the high watermark


@struct()
class DeleteRecordsTopic:
    name: str = string()
    partitions: list[DeleteRecordsPartition] = array(DeleteRecordsPartition)


@request(21, "0-2", flexible="2+")
class DeleteRecordsRequest:
    """Move the log start offset of partitions up (KIP-107).

    - 1: only throttling differs: the answer comes before the pause (KIP-219)
    - 2: flexible
    """

    topics: list[DeleteRecordsTopic] = array(DeleteRecordsTopic)
    timeout_ms: int = int32()  # how long to wait until all replicas did


@struct()
class DeleteRecordsPartitionResult:
    partition_index: int = int32()
    low_watermark: int = int64()  # the smallest log start offset among the replicas, -1 on failure
    error_code: int = int16()


@struct()
class DeleteRecordsTopicResult:
    name: str = string()
    partitions: list[DeleteRecordsPartitionResult] = array(DeleteRecordsPartitionResult)


@response(21, "0-2", flexible="2+")
class DeleteRecordsResponse:
    """Say how far each partition was cut (KIP-107).

    - 2: flexible
    """

    throttle_time_ms: int = int32()
    topics: list[DeleteRecordsTopicResult] = array(DeleteRecordsTopicResult)


@struct()
class OffsetForLeaderPartition:
    partition: int = int32()
    # the leader epoch the client knows; -1: do not check
    current_leader_epoch: int = int32("2+", default=-1, ignorable=True)
    leader_epoch: int = int32()  # the epoch whose end is asked for


@struct()
class OffsetForLeaderTopic:
    topic: str = string()
    partitions: list[OffsetForLeaderPartition] = array(OffsetForLeaderPartition)


@request(23, "2-4", flexible="4+")
class OffsetForLeaderEpochRequest:
    """Ask where the records of a leader epoch end, to find out whether a log was truncated (KIP-101, KIP-320).

    - 2: the leader epoch that the client knows (KIP-320); older versions are gone (KIP-896)
    - 3: who asks (KIP-392)
    - 4: flexible
    """

    # broker id of a follower; -1: a consumer; -2: a consumer that may see beyond the high watermark
    replica_id: int = int32("3+", default=-2, ignorable=True)
    topics: list[OffsetForLeaderTopic] = array(OffsetForLeaderTopic)


@struct()
class EpochEndOffset:
    error_code: int = int16()
    partition: int = int32()
    # the largest epoch up to the asked one that has records
    leader_epoch: int = int32("1+", default=-1, ignorable=True)
    end_offset: int = int64(default=-1)  # exclusive; -1: the leader knows nothing of that epoch


@struct()
class OffsetForLeaderTopicResult:
    topic: str = string()
    partitions: list[EpochEndOffset] = array(EpochEndOffset)


@response(23, "2-4", flexible="4+")
class OffsetForLeaderEpochResponse:
    """Answer the end of the epoch, or of the nearest earlier one.

    - 2: throttle time
    - 4: flexible
    """

    throttle_time_ms: int = int32("2+", ignorable=True)
    topics: list[OffsetForLeaderTopicResult] = array(OffsetForLeaderTopicResult)
