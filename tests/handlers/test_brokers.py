import struct

import pytest

from tests.handlers.cluster_rig import PORT, ClusterRig
from tests.handlers.conftest import StartRig
from wire.catalog import API_BY_KEY
from wire.errors import ErrorCode
from wire.messages.brokers import FeatureUpdateKey

pytestmark = pytest.mark.anyio


async def test_api_versions_lists_what_is_served_with_its_ranges(rig: ClusterRig) -> None:
    for version in range(6):
        answer = await rig.call("ApiVersions", version, **software(version))
        assert answer.error_code == ErrorCode.NONE
        served = {key.api_key: (key.min_version, key.max_version) for key in answer.api_keys}
        assert served[18] == (0, 5)
        assert served[3] == (0, 13)
        assert served.pop(0) == (0, 13)  # Produce is listed from 0 as by Kafka, which refuses 0 to 2
        assert all((API_BY_KEY[key].min_version, API_BY_KEY[key].max_version) == served[key] for key in served)
        assert 4 not in served  # LeaderAndIsr left Kafka with version 4


def software(version: int) -> dict[str, object]:
    return {"client_software_name": "test", "client_software_version": "1.0"} if version >= 3 else {}


async def test_unknown_version_of_api_versions_is_answered_in_version_zero(rig: ClusterRig) -> None:
    request = struct.pack(">hhih", 18, 99, 7, 1) + b"a\0" + b"\xff\xff\xff"  # a body that nobody can read
    answer = await rig.ask_raw(request)
    assert answer == struct.pack(">ihihhh", 7, ErrorCode.UNSUPPORTED_VERSION, 1, 18, 0, 5)


@pytest.mark.parametrize(
    ("name", "version"), [("", "1"), ("a b", "1"), ("-a", "1"), ("a-", "1"), ("a", "1\n"), ("a", "")]
)
async def test_software_that_is_no_plain_word_is_an_invalid_request(rig: ClusterRig, name: str, version: str) -> None:
    answer = await rig.call("ApiVersions", 3, client_software_name=name, client_software_version=version)
    assert answer.error_code == ErrorCode.INVALID_REQUEST
    assert answer.api_keys == []
    assert rig.connection.software_name == "unknown"


async def test_software_is_remembered_for_the_connection(rig: ClusterRig) -> None:
    await rig.call("ApiVersions", 3, client_software_name="lib.kafka-x", client_software_version="2.0")
    assert (rig.connection.software_name, rig.connection.software_version) == ("lib.kafka-x", "2.0")


async def test_features_of_a_new_cluster_are_those_of_kafka_4_4(rig: ClusterRig) -> None:
    answer = await rig.call("ApiVersions", 4, **software(4))
    assert {(key.name, key.max_version_level) for key in answer.finalized_features} == {
        ("group.version", 1),
        ("kraft.version", 1),
        ("share.version", 2),
        ("metadata.version", 33),
        ("streams.version", 1),
        ("transaction.version", 2),
        ("eligible.leader.replicas.version", 1),
    }
    assert answer.finalized_features_epoch == rig.cluster.image.revision
    assert len(answer.supported_features) == 7


async def test_features_that_start_at_zero_are_hidden_from_version_three(rig: ClusterRig) -> None:
    answer = await rig.call("ApiVersions", 3, **software(3))
    assert [(key.name, key.min_version) for key in answer.supported_features] == [("metadata.version", 7)]


async def test_client_that_looks_for_another_cluster_is_sent_away(rig: ClusterRig) -> None:
    cluster_id = rig.cluster.image.cluster_id
    for believed, error in (
        ({"cluster_id": cluster_id, "node_id": 1}, ErrorCode.NONE),
        ({"cluster_id": "other", "node_id": 1}, ErrorCode.REBOOTSTRAP_REQUIRED),
        ({"cluster_id": cluster_id, "node_id": 2}, ErrorCode.REBOOTSTRAP_REQUIRED),
        ({"cluster_id": cluster_id}, ErrorCode.INVALID_REQUEST),
        ({"node_id": 1}, ErrorCode.INVALID_REQUEST),
    ):
        answer = await rig.call("ApiVersions", 5, **software(5), **believed)
        assert answer.error_code == error, believed


async def test_describe_cluster_tells_brokers_with_the_clients_listener(start_rig: StartRig) -> None:
    rig = await start_rig(broker_rack="r1")
    await rig.add_broker(2, fenced=True)
    await rig.add_broker(3, listener="OTHER")
    answer = await rig.call("DescribeCluster", 1)
    assert answer.cluster_id == rig.cluster.image.cluster_id
    assert answer.controller_id == 1
    assert [(each.broker_id, each.host, each.port, each.rack) for each in answer.brokers] == [
        (1, "127.0.0.1", PORT, "r1")
    ]
    assert answer.cluster_authorized_operations == -(2**31)
    answer = await rig.call("DescribeCluster", 2, include_fenced_brokers=True)
    assert [(each.broker_id, each.is_fenced) for each in answer.brokers] == [(1, False), (2, True)]


async def test_describe_cluster_with_operations_tells_all_of_them(rig: ClusterRig) -> None:
    answer = await rig.call("DescribeCluster", 0, include_cluster_authorized_operations=True)
    assert answer.cluster_authorized_operations == 8096


@pytest.mark.parametrize(
    ("endpoint_type", "error"), [(2, ErrorCode.MISMATCHED_ENDPOINT_TYPE), (3, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)]
)
async def test_describe_cluster_of_controllers_is_refused(
    rig: ClusterRig, endpoint_type: int, error: ErrorCode
) -> None:
    answer = await rig.call("DescribeCluster", 1, endpoint_type=endpoint_type)
    assert (answer.error_code, answer.brokers) == (error, [])
    assert answer.error_message


async def finalized(rig: ClusterRig) -> dict[str, int]:
    answer = await rig.call("ApiVersions", 5, **software(5))
    return {feature.name: feature.max_version_level for feature in answer.finalized_features}


def lowered(version: int, level: int = 0) -> dict[str, object]:
    key = FeatureUpdateKey("share.version", level)
    if version:
        key.upgrade_type = 2 if level == 0 else 1
    else:
        key.allow_downgrade = level == 0
    return {"feature_updates": [key]}


async def test_features_are_lowered_and_raised_as_api_versions_tells(rig: ClusterRig) -> None:
    for version in range(3):
        for level in (0, 2):
            answer = await rig.call("UpdateFeatures", version, **lowered(version, level))
            assert answer.error_code == ErrorCode.NONE
            assert [result.feature for result in answer.results] == (["share.version"] if version < 2 else [])
            assert (await finalized(rig)).get("share.version", 0) == level


async def test_features_are_all_updated_or_none(rig: ClusterRig) -> None:
    before = await finalized(rig)
    updates = [FeatureUpdateKey("share.version", 0, upgrade_type=2), FeatureUpdateKey("absent.version", 1)]
    answer = await rig.call("UpdateFeatures", 1, feature_updates=updates)
    assert answer.error_code == ErrorCode.INVALID_UPDATE_VERSION
    assert "absent.version" in answer.error_message
    answer = await rig.call("UpdateFeatures", 1, feature_updates=updates[:1], validate_only=True)
    assert answer.error_code == ErrorCode.NONE
    assert await finalized(rig) == before


async def test_unregistered_broker_is_forgotten(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await rig.add_broker(3, fenced=True)
    for broker_id in (2, 3):
        assert (await rig.call("UnregisterBroker", 0, broker_id=broker_id)).error_code == ErrorCode.NONE
        assert broker_id not in rig.cluster.image.brokers
    answer = await rig.call("UnregisterBroker", 0, broker_id=2)
    assert answer.error_code == ErrorCode.BROKER_ID_NOT_REGISTERED
    await rig.add_broker(2)
    assert not rig.cluster.image.brokers[2].fenced


async def test_describe_cluster_tells_fenced_brokers_only_if_asked(rig: ClusterRig) -> None:
    await rig.add_broker(2, fenced=True)
    for wanted, told in ((False, [(1, False)]), (True, [(1, False), (2, True)])):
        answer = await rig.call("DescribeCluster", 2, include_fenced_brokers=wanted)
        assert [(broker.broker_id, broker.is_fenced) for broker in answer.brokers] == told
