"""Records that are not the user's: transaction markers and other control records, `__transaction_state`, the aborted
transactions index and producer snapshots of a segment, and the default principal that a forwarded request carries.

A control record's key is a version and a type (ControlRecordTypeSchema); its value depends on the type: 0 abort and 1
commit (EndTxnMarker), 2 leader change, 3 and 4 snapshot header and footer, 5 KRaft version, 6 voters. All but the
markers occur in the metadata log only.
"""

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
    """An entry of a segment's transaction index, behind two bytes of version: a transaction that was aborted."""

    producer_id: int = int64()
    first_offset: int = int64()  # of its first record
    last_offset: int = int64()  # of its marker
    last_stable_offset: int = int64()  # of the partition after the marker


@data("0")
class ControlRecordTypeSchema:
    """The key of a control record, behind two bytes of version."""

    type: int = int16()


@data("0", flexible="0+")
class DefaultPrincipalData:
    """The principal inside an Envelope."""

    type: str = string()  # "User"
    name: str = string()
    token_authenticated: bool = boolean()  # by a delegation token


@data("0")
class EndTxnMarker:
    """The value of a transaction marker, behind two bytes of version."""

    coordinator_epoch: int = int32()


@data("0", flexible="0+")
class KRaftVersionRecord:
    """The version of the KRaft protocol in force (KIP-853)."""

    version: int = int16()  # of this record
    kraft_version: int = int16()


@struct("Voter")
class LeaderChangeMessageVoter:
    voter_id: int = int32()
    voter_directory_id: Uuid = uuid("1+")


@data("0-1", flexible="0+")
class LeaderChangeMessage:
    """The first record of a leader's epoch in the metadata log (KIP-595).

    - 1: directory ids of the voters (KIP-853)
    """

    version: int = int16()  # of this record
    leader_id: int = int32()
    voters: list[LeaderChangeMessageVoter] = array(LeaderChangeMessageVoter)
    granting_voters: list[LeaderChangeMessageVoter] = array(LeaderChangeMessageVoter)  # those who voted for the leader


@struct()
class ProducerEntry:
    producer_id: int = int64("1")
    epoch: int = int16("1")
    last_sequence: int = int32("1")  # of its last batch
    last_offset: int = int64("1")  # of its last batch; -1: nothing but markers
    offset_delta: int = int32("1")  # last offset of its last batch, less the first
    timestamp: int = int64("1")  # ms, of its last batch
    coordinator_epoch: int = int32("1")  # of its last marker
    current_txn_first_offset: int = int64("1")  # -1: no open transaction


@data("1")
class ProducerSnapshot:
    """The file `<offset>.snapshot`, behind two bytes of version: the producers whose state matters there."""

    crc: int = uint32("1")  # CRC-32C of everything behind it
    producer_entries: list[ProducerEntry] = array(ProducerEntry, "1")


@data("0", flexible="0+")
class SnapshotFooterRecord:
    """The last record of a metadata snapshot (KIP-630)."""

    version: int = int16()  # of this record


@data("0", flexible="0+")
class SnapshotHeaderRecord:
    """The first record of a metadata snapshot (KIP-630)."""

    version: int = int16()  # of this record
    last_contained_log_timestamp: int = int64()  # ms


@data("0", key=0)
class TransactionLogKey:
    """The key of a transactional id in `__transaction_state`."""

    transactional_id: str = string("0")


@struct()
class PartitionsSchema:
    topic: str = string()
    partition_ids: list[int] = array(Kind.INT32)


@data("0-1", flexible="1+", key=0)
class TransactionLogValue:
    """The state of a transactional id (KIP-98).

    - 1: flexible; what transactions version 2 needs (KIP-890)
    """

    producer_id: int = int64()
    previous_producer_id: int = int64("1+", tag=0, default=-1)  # with which the last transaction was committed
    # handed out already, when the epochs of the present one are used up
    next_producer_id: int = int64("1+", tag=1, default=-1)
    producer_epoch: int = int16()
    next_producer_epoch: int = int16("1+", tag=3, default=-1)
    transaction_timeout_ms: int = int32()
    # 0 empty, 1 ongoing, 2 preparing commit, 3 preparing abort, 4 committed, 5 aborted, 6 dead, 7 fencing
    transaction_status: int = int8()
    # null in the states without any
    transaction_partitions: list[PartitionsSchema] | None = array(PartitionsSchema, nullable="0+")
    transaction_last_update_timestamp_ms: int = int64()
    transaction_start_timestamp_ms: int = int64()  # -1: none is open
    client_transaction_version: int = int16("1+", tag=2)  # the feature level that the client used


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
    """The controllers that vote (KIP-853)."""

    version: int = int16()  # of this record
    voters: list[VotersRecordVoter] = array(VotersRecordVoter)
