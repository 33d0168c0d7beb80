"""Brokers and their cluster: ApiVersions (key 18), UpdateFeatures (57), DescribeCluster (60), and what brokers and
controllers of a KRaft cluster tell each other: BrokerRegistration (62), BrokerHeartbeat (63), UnregisterBroker (64),
ControllerRegistration (70), UnregisterController (94).

LeaderAndIsr (4), StopReplica (5), UpdateMetadata (6) and ControlledShutdown (7) ended with ZooKeeper: their keys are
kept so that nobody takes them again, but no version of them exists.
"""

from wire.schema import (
    Kind,
    Uuid,
    array,
    boolean,
    int8,
    int16,
    int32,
    int64,
    request,
    response,
    string,
    struct,
    uint16,
    uuid,
)


@request(4, "none")
class LeaderAndIsrRequest:
    """Once: the controller telling a broker what to lead and follow."""


@response(4, "none")
class LeaderAndIsrResponse:
    """Once: the broker's answer to the controller."""


@request(5, "none")
class StopReplicaRequest:
    """Once: the controller telling a broker to give up replicas."""


@response(5, "none")
class StopReplicaResponse:
    """Once: the broker's answer to the controller."""


@request(6, "none")
class UpdateMetadataRequest:
    """Once: the controller telling brokers what clients ask for."""


@response(6, "none")
class UpdateMetadataResponse:
    """Once: the broker's answer to the controller."""


@request(7, "none")
class ControlledShutdownRequest:
    """Once: a broker asking the controller to be relieved of its leaderships."""


@response(7, "none")
class ControlledShutdownResponse:
    """Once: the controller's answer to the broker."""


@request(18, "0-5", flexible="3+")
class ApiVersionsRequest:
    """Ask which APIs and versions the broker serves; the first request on every connection (KIP-35).

    - 0: an empty body
    - 1: only the response differs
    - 2: only throttling differs: the answer comes before the pause (KIP-219)
    - 3: flexible; names the client's software (KIP-511)
    - 4: the client copes with features whose lowest version is 0
    - 5: which cluster and broker the client believes to talk to (KIP-1242)
    """

    client_software_name: str = string("3+", ignorable=True)  # letters, digits, - and . only
    client_software_version: str = string("3+", ignorable=True)  # letters, digits, - and . only
    cluster_id: str | None = string("5+", nullable="5+", default=None, ignorable=True)  # null: not checked
    node_id: int = int32("5+", default=-1, ignorable=True)  # -1: not checked


@struct()
class ApiVersion:
    api_key: int = int16()
    min_version: int = int16()
    max_version: int = int16()


@struct()
class SupportedFeatureKey:
    name: str = string("3+")
    min_version: int = int16("3+")
    max_version: int = int16("3+")


@struct()
class FinalizedFeatureKey:
    name: str = string("3+")
    max_version_level: int = int16("3+")  # the level in force
    min_version_level: int = int16("3+")


@response(18, "0-5", flexible="3+")
class ApiVersionsResponse:
    """List APIs and versions, and the features of the cluster (KIP-584).

    A version of the request that is not served is answered in version 0, with UNSUPPORTED_VERSION and the versions of
    ApiVersions itself (KIP-511). The header is always of version 0.

    - 1: throttle time
    - 3: flexible; features (KIP-584)
    - 4: features whose lowest version is 0; they are left out before
    - 5: REBOOTSTRAP_REQUIRED where cluster or broker are not those that the client meant (KIP-1242)
    """

    error_code: int = int16()
    api_keys: list[ApiVersion] = array(ApiVersion)
    throttle_time_ms: int = int32("1+", ignorable=True)
    # what this broker could do
    supported_features: list[SupportedFeatureKey] = array(SupportedFeatureKey, "3+", tag=0, ignorable=True)
    # grows with each change of features; -1: not known
    finalized_features_epoch: int = int64("3+", tag=1, default=-1, ignorable=True)
    # what the whole cluster does
    finalized_features: list[FinalizedFeatureKey] = array(FinalizedFeatureKey, "3+", tag=2, ignorable=True)
    zk_migration_ready: bool = boolean("3+", tag=3, ignorable=True)  # of no use since ZooKeeper is gone


@struct()
class FeatureUpdateKey:
    feature: str = string()
    max_version_level: int = int16()  # the new level; 0 removes the feature
    allow_downgrade: bool = boolean("0")
    # 1 upgrade only, 2 downgrade without loss, 3 downgrade even with loss of metadata
    upgrade_type: int = int8("1+", default=1)


@request(57, "0-2", flexible="0+")
class UpdateFeaturesRequest:
    """Set the level of features of the cluster (KIP-584).

    - 1: kind of change instead of a flag; only validate (KIP-778)
    - 2: only the response differs
    """

    timeout_ms: int = int32(default=60000)  # how long to wait for the change
    feature_updates: list[FeatureUpdateKey] = array(FeatureUpdateKey)
    validate_only: bool = boolean("1+")


@struct()
class UpdatableFeatureResult:
    feature: str = string()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")


@response(57, "0-2", flexible="0+")
class UpdateFeaturesResponse:
    """Say whether the features changed.

    - 2: no results per feature: all or none
    """

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    results: list[UpdatableFeatureResult] = array(UpdatableFeatureResult, "0-1", ignorable=True)


@request(60, "0-2", flexible="0+")
class DescribeClusterRequest:
    """Ask who the cluster is (KIP-700).

    - 1: brokers or controllers (KIP-919)
    - 2: fenced brokers too (KIP-1073)
    """

    include_cluster_authorized_operations: bool = boolean()
    endpoint_type: int = int8("1+", default=1)  # 1 brokers, 2 controllers
    include_fenced_brokers: bool = boolean("2+")


@struct()
class DescribeClusterBroker:
    broker_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string(nullable="0+", default=None)
    is_fenced: bool = boolean("2+")  # registered, but not yet or no longer allowed to serve


@response(60, "0-2", flexible="0+")
class DescribeClusterResponse:
    """Name the brokers, or the controllers, of the cluster (KIP-700).

    - 1: which of both they are (KIP-919)
    - 2: whether they are fenced (KIP-1073)
    """

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    endpoint_type: int = int8("1+", default=1)  # 1 brokers, 2 controllers
    cluster_id: str = string()
    controller_id: int = int32(default=-1)  # for brokers: a broker that forwards; for controllers: the active one
    brokers: list[DescribeClusterBroker] = array(DescribeClusterBroker)
    # bit per AclOperation the client may do; the default: not asked for
    cluster_authorized_operations: int = int32(default=-2147483648)


@struct("Listener")
class BrokerRegistrationRequestListener:
    name: str = string()
    host: str = string()
    port: int = uint16()
    security_protocol: int = int16()  # 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL


@struct("Feature")
class BrokerRegistrationRequestFeature:
    name: str = string()
    min_supported_version: int = int16()
    max_supported_version: int = int16()


@request(62, "0-4", flexible="0+")
class BrokerRegistrationRequest:
    """A broker that starts introduces itself to the active controller (KIP-631).

    - 1: migration from ZooKeeper (KIP-866)
    - 2: its log directories (KIP-858)
    - 3: its epoch before a clean stop (KIP-966)
    - 4: features whose lowest version is 0
    """

    broker_id: int = int32()
    cluster_id: str = string()
    incarnation_id: Uuid = uuid()  # new at each start
    listeners: list[BrokerRegistrationRequestListener] = array(BrokerRegistrationRequestListener)
    features: list[BrokerRegistrationRequestFeature] = array(BrokerRegistrationRequestFeature)
    rack: str | None = string(nullable="0+")
    is_migrating_zk_broker: bool = boolean("1+")
    log_dirs: list[Uuid] = array(Kind.UUID, "2+", ignorable=True)
    # from its clean shutdown marker; -1: the stop was not clean
    previous_broker_epoch: int = int64("3+", default=-1, ignorable=True)


@response(62, "0-4", flexible="0+")
class BrokerRegistrationResponse:
    """Hand the broker its epoch (KIP-631)."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    broker_epoch: int = int64(default=-1)  # proves in later requests which incarnation speaks


@request(63, "0-2", flexible="0+")
class BrokerHeartbeatRequest:
    """A broker tells the active controller that it lives (KIP-631).

    - 1: failed log directories (KIP-858)
    - 2: cordoned log directories (KIP-1066)
    """

    broker_id: int = int32()
    broker_epoch: int = int64(default=-1)
    current_metadata_offset: int = int64()  # how far it has read the metadata log
    want_fence: bool = boolean()  # it does not want to serve
    want_shut_down: bool = boolean()  # it wants to be relieved of its leaderships
    offline_log_dirs: list[Uuid] = array(Kind.UUID, "1+", tag=0)  # directory ids
    # directory ids that shall get no new partitions; null: not told
    cordoned_log_dirs: list[Uuid] | None = array(Kind.UUID, "2+", nullable="2+", tag=1, default=None)


@response(63, "0-2", flexible="0+")
class BrokerHeartbeatResponse:
    """Tell the broker its state (KIP-631)."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    is_caught_up: bool = boolean()  # it has nearly all of the metadata log
    is_fenced: bool = boolean(default=True)
    should_shut_down: bool = boolean()  # it leads nothing any more and may stop


@request(64, "0", flexible="0+")
class UnregisterBrokerRequest:
    """Forget a broker that will not come back (KIP-631)."""

    broker_id: int = int32()


@response(64, "0", flexible="0+")
class UnregisterBrokerResponse:
    """Say whether the broker is forgotten."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")


@struct("Listener")
class ControllerRegistrationRequestListener:
    name: str = string()
    host: str = string()
    port: int = uint16()
    security_protocol: int = int16()  # 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL


@struct("Feature")
class ControllerRegistrationRequestFeature:
    name: str = string()
    min_supported_version: int = int16()
    max_supported_version: int = int16()


@request(70, "0", flexible="0+")
class ControllerRegistrationRequest:
    """A controller introduces itself to the active one (KIP-919)."""

    controller_id: int = int32()
    incarnation_id: Uuid = uuid()  # new at each start
    zk_migration_ready: bool = boolean()  # of no use since ZooKeeper is gone
    listeners: list[ControllerRegistrationRequestListener] = array(ControllerRegistrationRequestListener)
    features: list[ControllerRegistrationRequestFeature] = array(ControllerRegistrationRequestFeature)


@response(70, "0", flexible="0+")
class ControllerRegistrationResponse:
    """Say whether the controller is registered."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")


@request(94, "0", flexible="0+")
class UnregisterControllerRequest:
    """Forget a controller that will not come back."""

    controller_id: int = int32()


@response(94, "0", flexible="0+")
class UnregisterControllerResponse:
    """Say whether the controller is forgotten."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
