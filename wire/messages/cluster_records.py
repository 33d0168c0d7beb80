"""Records of `__cluster_metadata`, the log of Kafka's controllers (KIP-631), and of its snapshots.

Keys are null. Three unsigned varints precede a value: the frame's version (1), the record's type, which is the key
number of the declarations here, and its version. They are declared so that such a log can be read: metadata here lives
in a store.

Not here: the control records of that log, such as snapshots' headers (control_records).
"""

from wire.schema import (
    Kind,
    Uuid,
    array,
    boolean,
    bytes_,
    data,
    float64,
    int8,
    int16,
    int32,
    int64,
    string,
    struct,
    uint16,
    uuid,
)


@struct()
class BrokerEndpoint:
    name: str = string()
    host: str = string()
    port: int = uint16()
    security_protocol: int = int16()  # 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL


@struct()
class BrokerFeature:
    name: str = string()
    min_supported_version: int = int16()
    max_supported_version: int = int16()


@data("0-4", flexible="0+", key=0)
class RegisterBrokerRecord:
    """A broker has registered with the controller.

    - 1: whether it is in controlled shutdown
    - 2: whether it is migrating from ZooKeeper
    - 3: its log directories (KIP-858)
    - 4: which of them are cordoned (KIP-1066)
    """

    broker_id: int = int32()
    is_migrating_zk_broker: bool = boolean("2+")  # of times before Apache Kafka 4
    incarnation_id: Uuid = uuid()  # another one at each start of the process
    broker_epoch: int = int64()  # the offset of its registration
    end_points: list[BrokerEndpoint] = array(BrokerEndpoint)
    features: list[BrokerFeature] = array(BrokerFeature)
    rack: str | None = string(nullable="0+")
    fenced: bool = boolean(default=True)  # it leads nothing, and is in no ISR
    in_controlled_shutdown: bool = boolean("1+")  # it gives up its leaderships
    log_dirs: list[Uuid] = array(Kind.UUID, "3+", tag=0)
    # which get no new partitions
    cordoned_log_dirs: list[Uuid] | None = array(Kind.UUID, "4+", nullable="4+", tag=1, default=None)


@data("0", flexible="0+", key=1)
class UnregisterBrokerRecord:
    """A broker has been taken out of the cluster."""

    broker_id: int = int32()
    broker_epoch: int = int64()  # the offset of its registration


@data("0", flexible="0+", key=2)
class TopicRecord:
    """A topic has been created."""

    name: str = string()
    topic_id: Uuid = uuid()


@data("0-2", flexible="0+", key=3)
class PartitionRecord:
    """A partition has been created, or in a snapshot: this is what it is like.

    - 1: the directories of its replicas (KIP-858)
    - 2: eligible leader replicas (KIP-966)
    """

    partition_id: int = int32(default=-1)
    topic_id: Uuid = uuid()
    replicas: list[int] = array(Kind.INT32)  # the preferred leader comes first
    isr: list[int] = array(Kind.INT32)  # the replicas in sync
    removing_replicas: list[int] = array(Kind.INT32)
    adding_replicas: list[int] = array(Kind.INT32)
    leader: int = int32(default=-1)  # -1: there is none
    leader_recovery_state: int = int8(tag=0)  # 1: after an unclean election it has not been recovered yet
    leader_epoch: int = int32(default=-1)
    partition_epoch: int = int32(default=-1)  # rises with every change of the partition
    directories: list[Uuid] = array(Kind.UUID, "1+")  # of the replicas, in their order
    eligible_leader_replicas: list[int] | None = array(Kind.INT32, "2+", nullable="2+", tag=1, default=None)
    last_known_elr: list[int] | None = array(Kind.INT32, "2+", nullable="2+", tag=2, default=None)


@data("0", flexible="0+", key=4)
class ConfigRecord:
    """A config of a topic, a broker, a group or client metrics has been set or removed."""

    resource_type: int = int8()  # 2 topic, 4 broker, 16 client metrics, 32 group
    resource_name: str = string()
    name: str = string()
    value: str | None = string(nullable="0+")  # null: the config has been removed


@data("0-2", flexible="0+", key=5)
class PartitionChangeRecord:
    """Something about a partition has changed; what is left out has not.

    - 1: the directories of its replicas (KIP-858)
    - 2: eligible leader replicas (KIP-966)
    """

    partition_id: int = int32(default=-1)
    topic_id: Uuid = uuid()
    isr: list[int] | None = array(Kind.INT32, nullable="0+", tag=0, default=None)
    leader: int = int32(tag=1, default=-2)  # -1: there is none any more; -2: as before
    replicas: list[int] | None = array(Kind.INT32, nullable="0+", tag=2, default=None)
    removing_replicas: list[int] | None = array(Kind.INT32, nullable="0+", tag=3, default=None)
    adding_replicas: list[int] | None = array(Kind.INT32, nullable="0+", tag=4, default=None)
    leader_recovery_state: int = int8(tag=5, default=-1)  # -1: as before; 0: recovered; 1: not yet
    directories: list[Uuid] | None = array(Kind.UUID, "1+", nullable="1+", tag=8, default=None)
    eligible_leader_replicas: list[int] | None = array(Kind.INT32, "2+", nullable="2+", tag=6, default=None)
    last_known_elr: list[int] | None = array(Kind.INT32, "2+", nullable="2+", tag=7, default=None)


@data("0", flexible="0+", key=7)
class FenceBrokerRecord:
    """A broker has been fenced: it leads nothing. Later versions write BrokerRegistrationChangeRecord instead."""

    id: int = int32()
    epoch: int = int64()


@data("0", flexible="0+", key=8)
class UnfenceBrokerRecord:
    """A broker may lead again. Later versions write BrokerRegistrationChangeRecord instead."""

    id: int = int32()
    epoch: int = int64()


@data("0", flexible="0+", key=9)
class RemoveTopicRecord:
    """A topic has been deleted."""

    topic_id: Uuid = uuid()


@data("0", flexible="0+", key=10)
class DelegationTokenRecord:
    """A delegation token has been made or renewed (KIP-900).

    Its HMAC is not in it: that is computed from the id and a secret of the cluster.
    """

    owner: str = string()
    requester: str = string()
    renewers: list[str] = array(Kind.STRING)
    issue_timestamp: int = int64()
    max_timestamp: int = int64()  # no renewing goes beyond it
    expiration_timestamp: int = int64()  # renewing moves it
    token_id: str = string()


@data("0", flexible="0+", key=11)
class UserScramCredentialRecord:
    """A user may log in by SCRAM with a password of which this is known (KIP-900)."""

    name: str = string()
    mechanism: int = int8()  # 1 SCRAM-SHA-256, 2 SCRAM-SHA-512
    salt: bytes = bytes_()
    stored_key: bytes = bytes_()
    server_key: bytes = bytes_()
    iterations: int = int32()


@data("0", flexible="0+", key=12)
class FeatureLevelRecord:
    """A feature of the cluster, such as metadata.version, has been raised or lowered (KIP-584)."""

    name: str = string()
    feature_level: int = int16()


@struct()
class EntityData:
    entity_type: str = string()
    entity_name: str | None = string(nullable="0+")  # null: the default of all


@data("0", flexible="0+", key=14)
class ClientQuotaRecord:
    """A quota has been set or removed (KIP-546)."""

    entity: list[EntityData] = array(EntityData)
    key: str = string()
    value: float = float64()  # where it is not removed
    remove: bool = boolean()


@data("0", flexible="0+", key=15)
class ProducerIdsRecord:
    """A broker has got a block of producer ids (KIP-730)."""

    broker_id: int = int32()
    broker_epoch: int = int64(default=-1)
    next_producer_id: int = int64()  # the first of the next block


@data("0-3", flexible="0+", key=17)
class BrokerRegistrationChangeRecord:
    """Something about a registered broker has changed; what is left out has not (KIP-841).

    - 1: controlled shutdown
    - 2: log directories (KIP-858)
    - 3: cordoned log directories (KIP-1066)
    """

    broker_id: int = int32()
    broker_epoch: int = int64()  # the offset of its registration
    fenced: int = int8(tag=0)  # -1: not any more; 0: as before; 1: fenced
    in_controlled_shutdown: int = int8("1+", tag=1)  # 0: as before; 1: it gives up its leaderships
    log_dirs: list[Uuid] = array(Kind.UUID, "2+", tag=2)
    cordoned_log_dirs: list[Uuid] | None = array(Kind.UUID, "3+", nullable="3+", tag=3, default=None)


@data("0", flexible="0+", key=18)
class AccessControlEntryRecord:
    """An ACL has been added (KIP-801)."""

    id: Uuid = uuid()
    resource_type: int = int8()
    resource_name: str = string()
    pattern_type: int = int8()
    principal: str = string()
    host: str = string()
    operation: int = int8()
    permission_type: int = int8()


@data("0", flexible="0+", key=19)
class RemoveAccessControlEntryRecord:
    """An ACL has been removed."""

    id: Uuid = uuid()


@data("0", flexible="0+", key=20)
class NoOpRecord:
    """Nothing, so that the end of the log moves on (KIP-835)."""


@data("0", flexible="0+", key=21)
class ZkMigrationStateRecord:
    """How far a migration from ZooKeeper has come (KIP-866)."""

    zk_migration_state: int = int8()  # 0 none, 1 migration, 2 before it, 3 after it


@data("0", flexible="0+", key=22)
class RemoveUserScramCredentialRecord:
    """A user may not log in by this SCRAM mechanism any more."""

    name: str = string()
    mechanism: int = int8()  # 1 SCRAM-SHA-256, 2 SCRAM-SHA-512


@data("0", flexible="0+", key=23)
class BeginTransactionRecord:
    """The records from here to the end belong together (KIP-868)."""

    name: str | None = string(nullable="0+", tag=0, default=None)


@data("0", flexible="0+", key=24)
class EndTransactionRecord:
    """All records since the beginning hold."""


@data("0", flexible="0+", key=25)
class AbortTransactionRecord:
    """None of the records since the beginning holds."""

    reason: str | None = string(nullable="0+", tag=0, default=None)


@data("0", flexible="0+", key=26)
class RemoveDelegationTokenRecord:
    """A delegation token has been revoked, or has expired."""

    token_id: str = string()


@struct()
class ControllerEndpoint:
    name: str = string()
    host: str = string()
    port: int = uint16()
    security_protocol: int = int16()  # 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL


@struct()
class ControllerFeature:
    name: str = string()
    min_supported_version: int = int16()
    max_supported_version: int = int16()


@data("0", flexible="0+", key=27)
class RegisterControllerRecord:
    """A controller has registered with the active one (KIP-919)."""

    controller_id: int = int32()
    incarnation_id: Uuid = uuid()  # another one at each start of the process
    zk_migration_ready: bool = boolean()
    end_points: list[ControllerEndpoint] = array(ControllerEndpoint)
    features: list[ControllerFeature] = array(ControllerFeature)


@data("0", flexible="0+", key=28)
class ClearElrRecord:
    """The eligible leader replicas of a topic, or of all, have been forgotten (KIP-966)."""

    topic_name: str = string()  # "": of all topics


@data("0", flexible="0+", key=29)
class UnregisterControllerRecord:
    """A controller has been taken out of the cluster."""

    controller_id: int = int32()
