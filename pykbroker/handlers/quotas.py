"""Quotas of clients.

DescribeClientQuotas (48), versions 0-1
- The quotas of the entities that the filter finds; without components all, or none if it is strict.
- Errors, for the whole request: INVALID_REQUEST, UNSUPPORTED_VERSION (another type of entity).

AlterClientQuotas (49), versions 0-1
- Each entity succeeds or fails by itself, and those that succeed are written in one transaction. An entity that is in
  the request twice, or a quota twice in one entry, is INVALID_REQUEST.
- Errors of an entity: INVALID_REQUEST.

Rules: where a request names one type twice in an entity, the last counts, as in Kafka.
Not here: what is valid (cluster/quota_changes), what quotas do (quotas, server/throttling).
Sources: KIP-546, KIP-612; Kafka's ClientQuotaControlManager.
"""

import socket
from collections.abc import Mapping

import anyio.to_thread

from pykbroker.cluster.changes import Change
from pykbroker.cluster.image import MetadataImage, QuotaEntity
from pykbroker.cluster.quota_changes import (
    IP,
    QuotaFilter,
    QuotaOp,
    alter_quotas,
    entity_of,
    is_host_name,
    no_such_host,
)
from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from wire.errors import ErrorCode
from wire.messages.quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    AlterClientQuotasResponseEntityData,
    AlterClientQuotasResponseEntryData,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    DescribeClientQuotasResponseEntityData,
    DescribeClientQuotasResponseEntryData,
    ValueData,
)


def describe_client_quotas(ctx: RequestContext, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse:
    components = [(each.entity_type, each.match_type, each.match) for each in request.components]
    try:
        wanted = QuotaFilter.build(components, is_strict=request.strict)
    except KafkaError as error:
        return DescribeClientQuotasResponse(error_code=error.code, error_message=error.message, entries=None)
    return DescribeClientQuotasResponse(
        error_message="",
        entries=[
            DescribeClientQuotasResponseEntryData(
                [DescribeClientQuotasResponseEntityData(kind, name) for kind, name in _in_kafkas_order(entity)],
                [ValueData(key, value) for key, value in values.items()],
            )
            for entity, values in ctx.services.cluster.image.client_quotas.items()
            if wanted.finds(entity)
        ],
    )


async def alter_client_quotas(ctx: RequestContext, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse:
    asked: dict[QuotaEntity, list[QuotaOp]] = {}
    refused: dict[QuotaEntity, KafkaError] = {}
    for entry in request.entries:
        entity = entity_of({each.entity_type: each.entity_name for each in entry.entity})
        ops = [QuotaOp(op.key, None if op.remove else op.value) for op in entry.ops]
        if entity in asked or len({op.key for op in ops}) < len(ops):
            refused[entity] = KafkaError(ErrorCode.INVALID_REQUEST, "the request has the entity or a quota of it twice")
        asked[entity] = ops
    await _look_up_hosts(asked, refused)
    outcomes: dict[QuotaEntity, KafkaError | None] = {}

    def change(image: MetadataImage) -> Change:
        change = Change()
        for entity, ops in asked.items():
            outcomes[entity] = refused.get(entity)
            if entity not in refused:
                try:
                    change += alter_quotas(image, dict(entity), ops)
                except KafkaError as error:
                    outcomes[entity] = error
        return change

    await ctx.services.cluster.decide(change, validate_only=request.validate_only)
    return AlterClientQuotasResponse(entries=[_outcome(entity, error) for entity, error in outcomes.items()])


async def _look_up_hosts(asked: Mapping[QuotaEntity, object], refused: dict[QuotaEntity, KafkaError]) -> None:
    """Refuse quotas for the addresses of hosts that cannot be found."""
    for entity in asked:
        name = dict(entity).get(IP)
        if entity not in refused and len(entity) == 1 and name is not None and is_host_name(name):
            try:
                await anyio.to_thread.run_sync(socket.getaddrinfo, name, None)
            except OSError:
                refused[entity] = no_such_host(name)


def _outcome(entity: QuotaEntity, error: KafkaError | None) -> AlterClientQuotasResponseEntryData:
    parts = [AlterClientQuotasResponseEntityData(kind, name) for kind, name in _in_kafkas_order(entity)]
    if error is None:
        return AlterClientQuotasResponseEntryData(error_message=None, entity=parts)
    return AlterClientQuotasResponseEntryData(error.code, error.message, parts)


def _in_kafkas_order(entity: QuotaEntity) -> QuotaEntity:
    """A hash table's order, which clients see."""
    return tuple(sorted(entity, key=lambda part: part[0] == IP))
