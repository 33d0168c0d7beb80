from wire.schema import Kind, Uuid, array, boolean, bytes_, int8, int16, int32, request, response, uuid


@request(71, "0", flexible="0+")
class GetTelemetrySubscriptionsRequest:
    client_instance_id: Uuid = uuid()


@response(71, "0", flexible="0+")
class GetTelemetrySubscriptionsResponse:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    client_instance_id: Uuid = uuid()
    subscription_id: int = int32()
    accepted_compression_types: list[int] = array(Kind.INT8)
    push_interval_ms: int = int32()
    telemetry_max_bytes: int = int32()
    delta_temporality: bool = boolean()
    requested_metrics: list[str] = array(Kind.STRING)


@request(72, "0", flexible="0+")
class PushTelemetryRequest:
    client_instance_id: Uuid = uuid()
    subscription_id: int = int32()
    terminating: bool = boolean()
    compression_type: int = int8()
    metrics: bytes = bytes_()


@response(72, "0", flexible="0+")
class PushTelemetryResponse:
    throttle_time_ms: int = int32()
    error_code: int = int16()
