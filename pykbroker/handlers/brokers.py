"""What this broker can do and which brokers there are.

ApiVersions (18), versions 0-5
- Lists the keys that are served with their versions. From version 3 the client says what software it is; a name or
  version with characters outside [a-zA-Z0-9.-], or none, is INVALID_REQUEST (KIP-511).
- An unknown version is answered in version 0 with UNSUPPORTED_VERSION and the versions of ApiVersions itself.
- Version 3 hides supported features whose range starts at 0, which its clients cannot read (KIP-1022).
- From version 5 the client may say which cluster and node it believes this to be: REBOOTSTRAP_REQUIRED if it is
  another one (KIP-1242), INVALID_REQUEST if it gives only one of the two.

UpdateFeatures (57), versions 0-2
- All levels are set or none; the error is that of the request. Up to version 1 the answer names the features.
- INVALID_UPDATE_VERSION for a feature or a level that is not supported, a lower level without a type that says so, and
  what is never lowered.

DescribeCluster (60), versions 0-2
- Brokers with the client's listener; fenced ones only if asked for (version 2). Another type of endpoint than brokers
  is MISMATCHED_ENDPOINT_TYPE or UNSUPPORTED_ENDPOINT_TYPE.

UnregisterBroker (64), version 0
- Forgets a broker that is not to come back: BROKER_ID_NOT_REGISTERED if there is none. One that is alive is fenced, and
  registers again.
"""

import re

from pykbroker.cluster.changes import Change, set_features, unregister_broker
from pykbroker.cluster.features import SUPPORTED, FeatureUpdate, UpgradeType, updated
from pykbroker.cluster.image import MetadataImage
from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from pykbroker.handlers.operations import CLUSTER_OPERATIONS, NOT_ASKED
from wire.catalog import API_BY_KEY
from wire.errors import ErrorCode
from wire.frame import API_VERSIONS
from wire.messages.brokers import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
    FeatureUpdateKey,
    FinalizedFeatureKey,
    SupportedFeatureKey,
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
    UpdatableFeatureResult,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)

PRODUCE = 0
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?")
_ENDPOINT_BROKERS, _ENDPOINT_CONTROLLERS = 1, 2


def api_versions(ctx: RequestContext, request: ApiVersionsRequest) -> ApiVersionsResponse:
    own = API_BY_KEY[API_VERSIONS]
    if not own.min_version <= ctx.api_version <= own.max_version:
        return ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=[_served(API_VERSIONS)])
    if ctx.api_version >= 3:
        error = _wrong_client(ctx, request)
        if error:
            return ApiVersionsResponse(error_code=error)
        ctx.connection.software_name = request.client_software_name
        ctx.connection.software_version = request.client_software_version
    image = ctx.services.cluster.image
    return ApiVersionsResponse(
        api_keys=[_served(key) for key in sorted(ctx.services.served_api_keys)],
        supported_features=[
            SupportedFeatureKey(name=name, min_version=low, max_version=high)
            for name, (low, high) in SUPPORTED.items()
            if low or ctx.api_version >= 4
        ],
        finalized_features_epoch=image.revision,
        finalized_features=[
            FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
            for name, level in image.features.items()
        ],
    )


def _served(key: int) -> ApiVersion:
    api = API_BY_KEY[key]
    if key == PRODUCE:
        # Kafka says so for librdkafka's sake, which looks at Produce to tell what else a broker can; it refuses 0-2.
        return ApiVersion(api_key=key, min_version=0, max_version=api.max_version)
    return ApiVersion(api_key=key, min_version=api.min_version, max_version=api.max_version)


def _wrong_client(ctx: RequestContext, request: ApiVersionsRequest) -> ErrorCode:
    if not (_SOFTWARE.fullmatch(request.client_software_name) and _SOFTWARE.fullmatch(request.client_software_version)):
        return ErrorCode.INVALID_REQUEST
    if (request.cluster_id is None) != (request.node_id == -1):
        return ErrorCode.INVALID_REQUEST
    cluster = ctx.services.cluster
    if request.cluster_id is not None and (request.cluster_id, request.node_id) != (
        cluster.image.cluster_id,
        cluster.broker_id,
    ):
        return ErrorCode.REBOOTSTRAP_REQUIRED
    return ErrorCode.NONE


async def update_features(ctx: RequestContext, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse:
    def type_of(key: FeatureUpdateKey) -> int:
        return UpgradeType.SAFE_DOWNGRADE if ctx.api_version == 0 and key.allow_downgrade else key.upgrade_type

    updates = [FeatureUpdate(key.feature, key.max_version_level, type_of(key)) for key in request.feature_updates]

    def change(image: MetadataImage) -> Change:
        return set_features(image, updated(image.features, updates))

    cluster = ctx.services.cluster
    await cluster.decide(change, validate_only=request.validate_only)
    results = [UpdatableFeatureResult(feature=update.feature, error_message="NONE") for update in updates]
    return UpdateFeaturesResponse(error_message=None, results=results if ctx.api_version <= 1 else [])


async def unregister_broker_id(ctx: RequestContext, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse:
    await ctx.services.cluster.decide(lambda image: unregister_broker(image, request.broker_id))
    return UnregisterBrokerResponse(error_message="")


def describe_cluster(ctx: RequestContext, request: DescribeClusterRequest) -> DescribeClusterResponse:
    if request.endpoint_type == _ENDPOINT_CONTROLLERS:
        raise KafkaError(
            ErrorCode.MISMATCHED_ENDPOINT_TYPE,
            "controllers are asked for, but this is a listener of a broker",
        )
    if request.endpoint_type != _ENDPOINT_BROKERS:
        raise KafkaError(ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, f"{request.endpoint_type} is no type of endpoint")
    image = ctx.services.cluster.image
    return DescribeClusterResponse(
        cluster_id=image.cluster_id,
        controller_id=image.controller_id,
        brokers=[
            DescribeClusterBroker(
                broker_id=broker.id,
                host=endpoint.host,
                port=endpoint.port,
                rack=broker.rack,
                is_fenced=broker.fenced,
            )
            for _, broker in sorted(image.brokers.items())
            if (request.include_fenced_brokers or not broker.fenced)
            and (endpoint := broker.listeners.get(ctx.connection.listener)) is not None
        ],
        cluster_authorized_operations=(
            CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else NOT_ASKED
        ),
    )
