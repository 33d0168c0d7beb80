from pathlib import Path

import pytest

from pykbroker.cluster.changes import set_configs
from pykbroker.cluster.image import ConfigResourceType
from tests.handlers.conftest import StartRig
from tests.support.client import Client
from tests.support.running import running
from wire.errors import ErrorCode
from wire.messages.brokers import ApiVersionsRequest
from wire.messages.telemetry import GetTelemetrySubscriptionsRequest
from wire.schema import ZERO_UUID

pytestmark = pytest.mark.anyio
GET, PUSH = 71, 72


async def test_client_is_told_what_is_wanted_and_pushes_it(start_rig: StartRig) -> None:
    rig = await start_rig(pykbroker_telemetry_enable="true")
    values = {"metrics": "a.,b", "interval.ms": "1000", "match": "client_id=test,client_software_name=soft"}
    resource = (ConfigResourceType.CLIENT_METRICS, "m")
    await rig.cluster.propose(lambda image: set_configs(image, resource, values))
    await rig.call("ApiVersions", 3, client_software_name="soft", client_software_version="1")
    told = await rig.call("GetTelemetrySubscriptions", 0)
    assert told.error_code == ErrorCode.NONE
    assert told.client_instance_id != ZERO_UUID
    assert (told.requested_metrics, told.push_interval_ms) == (["a.", "b"], 1000)
    assert (told.accepted_compression_types, told.telemetry_max_bytes) == ([4, 3, 1, 2], 1_048_576)
    assert told.delta_temporality
    ids = {"client_instance_id": told.client_instance_id, "subscription_id": told.subscription_id}
    for code in (ErrorCode.NONE, ErrorCode.THROTTLING_QUOTA_EXCEEDED):
        assert (await rig.call("PushTelemetry", 0, **ids, metrics=b"data")).error_code == code
    again = await rig.call("GetTelemetrySubscriptions", 0, client_instance_id=told.client_instance_id)
    assert (again.error_code, again.client_instance_id, again.push_interval_ms) == (
        ErrorCode.THROTTLING_QUOTA_EXCEEDED,
        ZERO_UUID,
        0,
    )


@pytest.mark.parametrize("wanted", ["false", "true"])
async def test_keys_are_listed_only_where_metrics_are_wanted_and_answered_anyway(tmp_path: Path, wanted: str) -> None:
    properties = {"pykbroker_telemetry_enable": wanted}
    async with running(tmp_path, **properties) as broker, Client.connect(broker) as client:
        listed = {each.api_key for each in (await client.ask(ApiVersionsRequest("soft", "1"), 3)).api_keys}
        assert ({GET, PUSH} <= listed) is (wanted == "true")
        assert (await client.ask(GetTelemetrySubscriptionsRequest(), 0)).error_code == ErrorCode.NONE
