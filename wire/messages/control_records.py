from wire.schema import (
    Kind,
    Uuid,
    array,
    boolean,
    data,
    int8,
    int16,
    int32,
    int64,
    one,
    string,
    struct,
    uint16,
    uint32,
    uuid,
)


@data("0")
class AbortedTxn:
    producer_id: int = int64()
    first_offset: int = int64()
    last_offset: int = int64()
    last_stable_offset: int = int64()


@data("0")
class ControlRecordTypeSchema:
    type: int = int16()


@data("0", flexible="0+")
class DefaultPrincipalData:
    type: str = string()
    name: str = string()
    token_authenticated: bool = boolean()


@data("0")
class EndTxnMarker:
    coordinator_epoch: int = int32()


@data("0", flexible="0+")
class KRaftVersionRecord:
    version: int = int16()
    kraft_version: int = int16()


@struct("Voter")
class LeaderChangeMessageVoter:
    voter_id: int = int32()
    voter_directory_id: Uuid = uuid("1+")


@data("0-1", flexible="0+")
class LeaderChangeMessage:
    version: int = int16()
    leader_id: int = int32()
    voters: list[LeaderChangeMessageVoter] = array(LeaderChangeMessageVoter)
    granting_voters: list[LeaderChangeMessageVoter] = array(LeaderChangeMessageVoter)


@struct()
class ProducerEntry:
    producer_id: int = int64("1")
    epoch: int = int16("1")
    last_sequence: int = int32("1")
    last_offset: int = int64("1")
    offset_delta: int = int32("1")
    timestamp: int = int64("1")
    coordinator_epoch: int = int32("1")
    current_txn_first_offset: int = int64("1")


@data("1")
class ProducerSnapshot:
    crc: int = uint32("1")
    producer_entries: list[ProducerEntry] = array(ProducerEntry, "1")


@data("0", flexible="0+")
class SnapshotFooterRecord:
    version: int = int16()


@data("0", flexible="0+")
class SnapshotHeaderRecord:
    version: int = int16()
    last_contained_log_timestamp: int = int64()


@data("0", key=0)
class TransactionLogKey:
    transactional_id: str = string("0")


@struct()
class PartitionsSchema:
    topic: str = string()
    partition_ids: list[int] = array(Kind.INT32)


@data("0-1", flexible="1+", key=0)
class TransactionLogValue:
    producer_id: int = int64()
    previous_producer_id: int = int64("1+", tag=0, default=-1)
    next_producer_id: int = int64("1+", tag=1, default=-1)
    producer_epoch: int = int16()
    next_producer_epoch: int = int16("1+", tag=3, default=-1)
    transaction_timeout_ms: int = int32()
    transaction_status: int = int8()
    transaction_partitions: list[PartitionsSchema] | None = array(PartitionsSchema, nullable="0+")
    transaction_last_update_timestamp_ms: int = int64()
    transaction_start_timestamp_ms: int = int64()
    client_transaction_version: int = int16("1+", tag=2)


@struct()
class Endpoint:
    name: str = string()
    host: str = string()
    port: int = uint16()


@struct()
class KRaftVersionFeature:
    min_supported_version: int = int16()
    max_supported_version: int = int16()


@struct("Voter")
class VotersRecordVoter:
    voter_id: int = int32()
    voter_directory_id: Uuid = uuid()
    endpoints: list[Endpoint] = array(Endpoint)
    kraft_version_feature: KRaftVersionFeature = one(KRaftVersionFeature)


@data("0", flexible="0+")
class VotersRecord:
    version: int = int16()
    voters: list[VotersRecordVoter] = array(VotersRecordVoter)
