"""Metrics of clients.

GetTelemetrySubscriptions (71), version 0
- Tells a client which metrics are wanted, how often, and in which codecs. One without an id gets one.
- Errors: THROTTLING_QUOTA_EXCEEDED (it asks too often).

PushTelemetry (72), version 0
- Takes what a client pushes. It is kept for a while if `pykbroker.telemetry.enable` is set, else dropped.
- Errors: INVALID_REQUEST, THROTTLING_QUOTA_EXCEEDED, UNKNOWN_SUBSCRIPTION_ID, UNSUPPORTED_COMPRESSION_TYPE,
  TELEMETRY_TOO_LARGE, INVALID_RECORD.

ApiVersions lists both keys only where `pykbroker.telemetry.enable` is set, as a Kafka without a receiver of metrics
hides them. They are answered all the same.

Sources: KIP-714; Kafka's ClientMetricsManager.
"""

from collections.abc import Mapping

from pykbroker.handlers.context import RequestContext
from pykbroker.telemetry import ACCEPTED_CODECS, Push
from wire.messages.telemetry import (
    GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse,
    PushTelemetryRequest,
    PushTelemetryResponse,
)


def get_telemetry_subscriptions(
    ctx: RequestContext, request: GetTelemetrySubscriptionsRequest
) -> GetTelemetrySubscriptionsResponse:
    services = ctx.services
    subscription = services.telemetry.subscribe(
        services.cluster.image, _client(ctx), request.client_instance_id, ctx.connection
    )
    return GetTelemetrySubscriptionsResponse(
        client_instance_id=subscription.client_instance_id,
        subscription_id=subscription.id,
        accepted_compression_types=list(ACCEPTED_CODECS),
        push_interval_ms=subscription.interval_ms,
        telemetry_max_bytes=services.config.telemetry_max_bytes,
        delta_temporality=True,
        requested_metrics=list(subscription.metrics),
    )


def push_telemetry(ctx: RequestContext, request: PushTelemetryRequest) -> PushTelemetryResponse:
    services = ctx.services
    push = Push(
        client_instance_id=request.client_instance_id,
        subscription_id=request.subscription_id,
        terminating=request.terminating,
        compression_type=request.compression_type,
        metrics=request.metrics,
    )
    services.telemetry.push(services.cluster.image, _client(ctx), push, ctx.connection)
    return PushTelemetryResponse()


def _client(ctx: RequestContext) -> Mapping[str, str | None]:
    """What a subscription may match."""
    connection = ctx.connection
    return {
        "client_id": ctx.client_id,
        "client_software_name": connection.software_name,
        "client_software_version": connection.software_version,
        "client_source_address": connection.host,
        "client_source_port": str(connection.port),
    }
