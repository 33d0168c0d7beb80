"""The configurations of a broker that pykbroker acts on: their types, defaults and checks, and whether they can change.

Not here: the values in force (config), what pykbroker only understands and shows (broker_reported).
Sources: Kafka's KafkaConfig and the classes of its groups of configs, DynamicBrokerConfig; KIP-226.
"""

from pykbroker.config_tables.definition import (
    CLUSTER_WIDE,
    INT_MAX,
    LONG_MAX,
    PER_BROKER,
    at_least,
    between,
    boolean,
    distinct,
    double,
    host_counts,
    integer,
    long,
    minus_one_or_between,
    one_of,
    short,
    some_of,
    string,
    strings,
)
from wire.primitives import parse_uuid

NO_RATE = LONG_MAX  # of replication: it is not throttled
CODECS = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")


def _store_problem(text: str) -> str | None:
    if text == "sqlite":
        return None
    from pykbroker.config_tables.store_location import problem_of_store

    return problem_of_store(text)


def _http_listener_problem(text: str) -> str | None:
    if not text:
        return None
    from pykbroker.config_tables.http_listener import problem_of_http_listener

    return problem_of_http_listener(text)


def _cluster_id_problem(text: str) -> str | None:
    try:
        parse_uuid(text)
    except ValueError:
        return "a cluster's id is 16 bytes in base64, 22 characters"
    return None


class BrokerTable:
    """What pykbroker acts on, by Kafka's names with underscores for dots."""

    # Who we are
    process_roles: list[str] = strings(["broker", "controller"], some_of("broker", "controller"))
    node_id: int = integer(1, at_least(0))
    broker_id: int = integer(-1)
    broker_rack: str | None = string(None)
    broker_heartbeat_interval_ms: int = integer(2000)
    broker_session_timeout_ms: int = integer(9000)
    controlled_shutdown_enable: bool = boolean(True)

    # Listeners and connections
    listeners: list[str] = strings(["PLAINTEXT://:9092"], distinct, PER_BROKER)
    advertised_listeners: list[str] | None = strings(None, distinct)
    listener_security_protocol_map: str = string(
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", None, PER_BROKER
    )
    controller_listener_names: list[str] = strings([], distinct)
    inter_broker_listener_name: str | None = string(None)
    security_inter_broker_protocol: str = string("PLAINTEXT", one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"))
    socket_send_buffer_bytes: int = integer(102_400)
    socket_receive_buffer_bytes: int = integer(102_400)
    socket_request_max_bytes: int = integer(104_857_600, at_least(1))
    socket_listen_backlog_size: int = integer(50, at_least(1))
    socket_connection_setup_timeout_ms: int = long(10_000)
    socket_connection_setup_timeout_max_ms: int = long(30_000)
    max_connections: int = integer(INT_MAX, at_least(0), CLUSTER_WIDE)
    max_connections_per_ip: int = integer(INT_MAX, at_least(0), CLUSTER_WIDE)
    max_connections_per_ip_overrides: str = string("", host_counts, CLUSTER_WIDE)
    max_connection_creation_rate: int = integer(INT_MAX, at_least(0), CLUSTER_WIDE)
    connections_max_idle_ms: int = long(600_000)
    queued_max_request_bytes: int = long(-1)
    request_timeout_ms: int = integer(30_000)

    # Topics
    auto_create_topics_enable: bool = boolean(True)
    delete_topic_enable: bool = boolean(True)
    num_partitions: int = integer(1, at_least(1))
    default_replication_factor: int = integer(1)
    min_insync_replicas: int = integer(1, at_least(1), CLUSTER_WIDE)
    max_request_partition_size_limit: int = integer(2000, at_least(1))
    unclean_leader_election_enable: bool = boolean(False, CLUSTER_WIDE)
    auto_leader_rebalance_enable: bool = boolean(True)
    leader_imbalance_check_interval_seconds: int = long(300, at_least(1))

    # Messages
    message_max_bytes: int = integer(1_048_588, at_least(0), CLUSTER_WIDE)
    max_decompressed_message_bytes: int = integer(2_147_483_639, between(1, 2_147_483_639), CLUSTER_WIDE)
    compression_type: str = string("producer", one_of(*CODECS), CLUSTER_WIDE)
    compression_gzip_level: int = integer(-1, minus_one_or_between(1, 9), CLUSTER_WIDE)
    compression_lz4_level: int = integer(9, between(1, 17), CLUSTER_WIDE)
    compression_zstd_level: int = integer(3, between(-131_072, 22), CLUSTER_WIDE)
    fetch_max_bytes: int = integer(57_671_680, at_least(1024))
    telemetry_max_bytes: int = integer(1_048_576, at_least(1))
    max_incremental_fetch_session_cache_slots: int = integer(1000, at_least(0))

    # The log
    log_dir: list[str] = strings(["/tmp/kafka-logs"])
    log_dirs: list[str] = strings(None)
    cordoned_log_dirs: list[str] = strings([], distinct, PER_BROKER)
    log_segment_bytes: int = integer(1_073_741_824, at_least(1_048_576), CLUSTER_WIDE)
    log_roll_ms: int | None = long(None, at_least(1), CLUSTER_WIDE)
    log_roll_hours: int = integer(168, at_least(1))
    log_roll_jitter_ms: int | None = long(None, at_least(0), CLUSTER_WIDE)
    log_roll_jitter_hours: int = integer(0, at_least(0))
    log_retention_ms: int | None = long(None, None, CLUSTER_WIDE)
    log_retention_minutes: int | None = integer(None)
    log_retention_hours: int = integer(168)
    log_retention_bytes: int = long(-1, None, CLUSTER_WIDE)
    log_retention_check_interval_ms: int = long(300_000, at_least(1))
    log_initial_task_delay_ms: int = long(30_000, at_least(0), internal=True)
    log_cleanup_policy: list[str] = strings(["delete"], some_of("compact", "delete", empty=True), CLUSTER_WIDE)
    log_index_size_max_bytes: int = integer(10_485_760, at_least(4), CLUSTER_WIDE)
    log_index_interval_bytes: int = integer(4096, at_least(0), CLUSTER_WIDE)
    log_flush_interval_messages: int = long(LONG_MAX, at_least(1), CLUSTER_WIDE)
    log_flush_interval_ms: int | None = long(None, None, CLUSTER_WIDE)
    log_flush_scheduler_interval_ms: int = long(LONG_MAX)
    log_flush_offset_checkpoint_interval_ms: int = integer(60_000, at_least(0))
    log_flush_start_offset_checkpoint_interval_ms: int = integer(60_000, at_least(0))
    log_segment_delete_delay_ms: int = long(60_000, at_least(0), CLUSTER_WIDE)
    log_preallocate: bool = boolean(False, CLUSTER_WIDE)
    log_message_timestamp_type: str = string("CreateTime", one_of("CreateTime", "LogAppendTime"), CLUSTER_WIDE)
    log_message_timestamp_before_max_ms: int = long(LONG_MAX, at_least(0), CLUSTER_WIDE)
    log_message_timestamp_after_max_ms: int = long(3_600_000, at_least(0), CLUSTER_WIDE)
    log_local_retention_ms: int = long(-2, at_least(-2), CLUSTER_WIDE)
    log_local_retention_bytes: int = long(-2, at_least(-2), CLUSTER_WIDE)
    log_remote_copy_lag_ms: int = long(0, at_least(-1), CLUSTER_WIDE)
    log_remote_copy_lag_bytes: int = long(-1, at_least(-1), CLUSTER_WIDE)
    log_cleaner_enable: bool = boolean(True)
    log_cleaner_threads: int = integer(1, at_least(0), CLUSTER_WIDE)
    log_cleaner_io_max_bytes_per_second: float = double(1.7976931348623157e308, None, CLUSTER_WIDE)
    log_cleaner_dedupe_buffer_size: int = long(134_217_728, None, CLUSTER_WIDE)
    log_cleaner_io_buffer_size: int = integer(524_288, at_least(0), CLUSTER_WIDE)
    log_cleaner_io_buffer_load_factor: float = double(0.9, None, CLUSTER_WIDE)
    log_cleaner_backoff_ms: int = long(15_000, at_least(0), CLUSTER_WIDE)
    log_cleaner_min_cleanable_ratio: float = double(0.5, between(0, 1), CLUSTER_WIDE)
    log_cleaner_delete_retention_ms: int = long(86_400_000, at_least(0), CLUSTER_WIDE)
    log_cleaner_min_compaction_lag_ms: int = long(0, at_least(0), CLUSTER_WIDE)
    log_cleaner_max_compaction_lag_ms: int = long(LONG_MAX, at_least(1), CLUSTER_WIDE)

    # Replication
    replica_lag_time_max_ms: int = long(30_000)
    replica_socket_timeout_ms: int = integer(30_000)
    replica_socket_receive_buffer_bytes: int = integer(65_536)
    replica_fetch_max_bytes: int = integer(1_048_576, at_least(0))
    replica_fetch_wait_max_ms: int = integer(500)
    replica_fetch_backoff_ms: int = integer(1000, at_least(0))
    replica_fetch_min_bytes: int = integer(1)
    replica_fetch_response_max_bytes: int = integer(10_485_760, at_least(0))
    num_replica_fetchers: int = integer(1, at_least(1), CLUSTER_WIDE)
    replica_high_watermark_checkpoint_interval_ms: int = long(5000)
    replica_selector_class: str | None = string(None)

    # Groups and committed offsets
    group_min_session_timeout_ms: int = integer(6000)
    group_max_session_timeout_ms: int = integer(1_800_000)
    group_initial_rebalance_delay_ms: int = integer(3000)
    group_max_size: int = integer(INT_MAX, at_least(1))
    offset_metadata_max_bytes: int = integer(4096)
    offsets_commit_timeout_ms: int = integer(5000, at_least(1))
    offsets_load_buffer_size: int = integer(5_242_880, at_least(1))
    offsets_topic_replication_factor: int = short(3, at_least(1))
    offsets_topic_num_partitions: int = integer(50, at_least(1))
    offsets_topic_segment_bytes: int = integer(104_857_600, at_least(1))
    offsets_topic_compression_codec: int = integer(0)
    offsets_retention_minutes: int = integer(10_080, at_least(1))
    offsets_retention_check_interval_ms: int = long(600_000, at_least(1))

    # Producers and transactions
    producer_id_expiration_ms: int = integer(86_400_000, at_least(1), CLUSTER_WIDE)
    producer_id_expiration_check_interval_ms: int = integer(600_000, at_least(1), internal=True)
    transaction_state_log_min_isr: int = integer(2, at_least(1))
    transaction_state_log_load_buffer_size: int = integer(5_242_880, at_least(1))
    transaction_state_log_replication_factor: int = short(3, at_least(1))
    transaction_state_log_num_partitions: int = integer(50, at_least(1))
    transaction_state_log_segment_bytes: int = integer(104_857_600, at_least(1))
    transaction_partition_verification_enable: bool = boolean(True, CLUSTER_WIDE)
    add_partitions_to_txn_retry_backoff_ms: int = integer(20, at_least(1))
    add_partitions_to_txn_retry_backoff_max_ms: int = integer(100, at_least(0))
    transactional_id_expiration_ms: int = integer(604_800_000, at_least(1))
    transaction_max_timeout_ms: int = integer(900_000, at_least(1))
    transaction_abort_timed_out_transaction_cleanup_interval_ms: int = integer(10_000, at_least(1))
    transaction_remove_expired_transaction_cleanup_interval_ms: int = integer(3_600_000, at_least(1))
    share_coordinator_state_topic_num_partitions: int = integer(50, at_least(1))
    share_coordinator_state_topic_replication_factor: int = short(3, at_least(1))
    share_coordinator_state_topic_min_isr: int = short(2, at_least(1))
    share_coordinator_state_topic_segment_bytes: int = integer(104_857_600, at_least(1))

    # Quotas
    quota_window_num: int = integer(11, at_least(1))
    quota_window_size_seconds: int = integer(1, at_least(1))
    controller_quota_window_num: int = integer(11, at_least(1))
    controller_quota_window_size_seconds: int = integer(1, at_least(1))
    replication_quota_window_num: int = integer(11, at_least(1))
    replication_quota_window_size_seconds: int = integer(1, at_least(1))
    alter_log_dirs_replication_quota_window_num: int = integer(11, at_least(1))
    alter_log_dirs_replication_quota_window_size_seconds: int = integer(1, at_least(1))
    # Those of `DYNAMIC_ONLY`
    leader_replication_throttled_rate: int = NO_RATE
    follower_replication_throttled_rate: int = NO_RATE
    replica_alter_log_dirs_io_max_bytes_per_second: int = NO_RATE

    # Our own. Where the cluster's metadata is, and how long the broker waits for an etcd before it asks the next one.
    pykbroker_store: str = string("sqlite", _store_problem, internal=True)
    pykbroker_cluster_id: str | None = string(None, _cluster_id_problem, internal=True)  # of one that is founded now
    pykbroker_store_timeout_ms: int = integer(2000, at_least(1), internal=True)
    # Whether every client's batch is checked record by record, also where Kafka looks at its header only; and
    # how much of one batch is looked at where the topic needs its records checked or compressed anew: a batch with more
    # decompressed bytes is refused as MESSAGE_TOO_LARGE, so that nobody waits for it. A record counts as 256 bytes at
    # least, and so does each of its headers; compressing anew counts four times.
    pykbroker_strict_records: bool = boolean(False, internal=True)
    pykbroker_transaction_marker_retry_ms: int = integer(100, at_least(1), internal=True)
    pykbroker_max_waiting_transaction_checks: int = integer(16, at_least(1), internal=True)
    pykbroker_max_queued_broker_requests: int = integer(10_000, at_least(1), internal=True)
    pykbroker_max_quota_measures: int = integer(100_000, at_least(1), internal=True)
    # Whether clients' metrics are wanted; of how many clients is known what they were asked for; how much is kept.
    pykbroker_telemetry_enable: bool = boolean(False, internal=True)
    pykbroker_telemetry_max_clients: int = integer(16_384, at_least(1), internal=True)
    pykbroker_telemetry_max_kept_bytes: int = long(16_777_216, at_least(0), internal=True)
    pykbroker_max_walked_batch_bytes: int = integer(67_108_864, at_least(1_048_576), internal=True)

    # Whether faults may be ordered over HTTP.
    pykbroker_http_faults_enable: bool = boolean(False, internal=True)

    # Our own, of the cluster. How many partitions are written in one transaction of the store; how often a broker looks
    # whether the processes it watches still listen; how long one that stops waits for others to take over.
    pykbroker_partitions_per_transaction: int = integer(500, at_least(1), internal=True)
    pykbroker_liveness_probe_interval_ms: int = integer(250, at_least(1), internal=True)
    pykbroker_controlled_shutdown_timeout_ms: int = integer(5000, at_least(0), internal=True)

    # Our own, of HTTP. Where metrics and health are served, if at all; how long a client may take to send a request or
    # to read an answer, and a stop may wait for it; how many clients may be connected. A consumer's lag needs offsets
    # of other leaders: how long these are waited for, and how old what they said may be.
    pykbroker_http_listener: str = string("", _http_listener_problem, internal=True)
    pykbroker_http_timeout_ms: int = integer(10_000, at_least(1), internal=True)
    pykbroker_http_max_connections: int = integer(100, at_least(1), internal=True)
    pykbroker_http_leader_timeout_ms: int = integer(2000, at_least(1), internal=True)
    pykbroker_http_end_offsets_max_age_ms: int = integer(5000, at_least(0), internal=True)
    # The web console: whether it is served; to others than this machine, and by which names these may call it; whether
    # it may change anything; and how many live traces may be looked at.
    pykbroker_http_console_enable: bool = boolean(False, internal=True)
    pykbroker_http_console_remote_enable: bool = boolean(False, internal=True)
    pykbroker_http_console_hosts: list[str] = strings([], internal=True)
    pykbroker_http_console_write_enable: bool = boolean(False, internal=True)
    pykbroker_http_console_max_traces: int = integer(4, at_least(1), internal=True)


class DynamicOnlyTable:
    """What a broker starts without, whatever its properties say, and shows only while it is set."""

    leader_replication_throttled_rate = long(NO_RATE, at_least(0), CLUSTER_WIDE)
    follower_replication_throttled_rate = long(NO_RATE, at_least(0), CLUSTER_WIDE)
    replica_alter_log_dirs_io_max_bytes_per_second = long(NO_RATE, at_least(0), CLUSTER_WIDE)
