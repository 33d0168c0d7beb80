from typing import Any

import pytest

from pykbroker.cluster.keys import CONTROLLER_KEY
from tests.handlers.cluster_rig import PORT, ClusterRig
from wire.errors import ErrorCode
from wire.messages.raft import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
)

pytestmark = pytest.mark.anyio


async def describe(rig: ClusterRig, version: int, name: str = "__cluster_metadata", partition: int = 0) -> Any:
    topic = DescribeQuorumRequestTopicData(name, [DescribeQuorumRequestPartitionData(partition)])
    return await rig.ask(DescribeQuorumRequest([topic]), version)


async def test_controller_leads_and_living_brokers_vote(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await rig.add_broker(3, fenced=True)
    image = rig.cluster.image
    for version in range(3):
        answer = await describe(rig, version)
        partition = answer.topics[0].partitions[0]
        assert (partition.leader_id, partition.leader_epoch) == (1, image.key_revisions[CONTROLLER_KEY])
        assert partition.high_watermark == image.revision
        assert [voter.replica_id for voter in partition.current_voters] == [1, 2]
        assert {voter.log_end_offset for voter in partition.current_voters} == {image.revision}
        assert partition.observers == []
        assert [node.node_id for node in answer.nodes] == ([1, 2] if version >= 2 else [])
    assert [(each.host, each.port) for node in answer.nodes for each in node.listeners] == [
        ("127.0.0.1", PORT),
        ("host2", PORT),
    ]


@pytest.mark.parametrize(("name", "partition"), [("t", 0), ("__cluster_metadata", 1)])
async def test_other_partitions_have_no_quorum(rig: ClusterRig, name: str, partition: int) -> None:
    (topic,) = (await describe(rig, 2, name, partition)).topics
    assert [each.error_code for each in topic.partitions] == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
