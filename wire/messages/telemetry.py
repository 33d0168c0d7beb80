"""Metrics of clients: GetTelemetrySubscriptions (key 71), PushTelemetry (72) (KIP-714).

A broker that has a receiver for them lets its clients send their metrics, in OpenTelemetry's format. One that has none
does not list these keys in ApiVersions.
"""

from wire.schema import Kind, Uuid, array, boolean, bytes_, int8, int16, int32, request, response, uuid


@request(71, "0", flexible="0+")
class GetTelemetrySubscriptionsRequest:
    """Ask which metrics the broker wants."""

    client_instance_id: Uuid = uuid()  # zero on the first request; then what the broker gave


@response(71, "0", flexible="0+")
class GetTelemetrySubscriptionsResponse:
    """Say which metrics, and how often."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    client_instance_id: Uuid = uuid()  # identifies the client until it ends
    subscription_id: int = int32()  # changes with the subscription; goes back with each push
    accepted_compression_types: list[int] = array(Kind.INT8)  # 1 gzip, 2 snappy, 3 lz4, 4 zstd; preferred ones first
    push_interval_ms: int = int32()
    telemetry_max_bytes: int = int32()  # of one push
    delta_temporality: bool = boolean()  # counters since the last push, instead of since the start
    requested_metrics: list[str] = array(Kind.STRING)  # prefixes of names; empty: none; one "*": all


@request(72, "0", flexible="0+")
class PushTelemetryRequest:
    """Send metrics."""

    client_instance_id: Uuid = uuid()
    subscription_id: int = int32()
    terminating: bool = boolean()  # the last push of a client that closes
    compression_type: int = int8()  # 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd
    metrics: bytes = bytes_()  # OpenTelemetry's MetricsData, compressed


@response(72, "0", flexible="0+")
class PushTelemetryResponse:
    """Say whether the metrics were taken."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
