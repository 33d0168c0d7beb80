"""The table of all API keys: what 4.4 serves, and where each message is declared.

Plain rows, so that ApiVersions and `--help` need no message; `request_class` and `response_class` import a family on
first use. Versions are those that Apache Kafka 4.4 serves; a declaration may know more (unstable ones), never fewer.
"""

import functools
import importlib
from typing import Any, NamedTuple


class Api(NamedTuple):
    """`min_version` > `max_version`: the key is not served any more. `flexible_from` is -1: no version is flexible."""

    key: int
    name: str
    min_version: int
    max_version: int
    flexible_from: int
    family: str

    def is_flexible(self, version: int) -> bool:
        return 0 <= self.flexible_from <= version


APIS: tuple[Api, ...] = tuple(
    Api(*row)
    for row in (
        (0, "Produce", 3, 13, 9, "produce"),
        (1, "Fetch", 4, 18, 12, "fetch"),
        (2, "ListOffsets", 1, 11, 6, "offsets"),
        (3, "Metadata", 0, 13, 9, "metadata"),
        (4, "LeaderAndIsr", 0, -1, -1, "brokers"),
        (5, "StopReplica", 0, -1, -1, "brokers"),
        (6, "UpdateMetadata", 0, -1, -1, "brokers"),
        (7, "ControlledShutdown", 0, -1, -1, "brokers"),
        (8, "OffsetCommit", 2, 10, 8, "group_offsets"),
        (9, "OffsetFetch", 1, 10, 6, "group_offsets"),
        (10, "FindCoordinator", 0, 6, 3, "metadata"),
        (11, "JoinGroup", 0, 9, 6, "classic_groups"),
        (12, "Heartbeat", 0, 4, 4, "classic_groups"),
        (13, "LeaveGroup", 0, 5, 4, "classic_groups"),
        (14, "SyncGroup", 0, 5, 4, "classic_groups"),
        (15, "DescribeGroups", 0, 6, 5, "classic_groups"),
        (16, "ListGroups", 0, 5, 3, "classic_groups"),
        (17, "SaslHandshake", 0, 1, -1, "authentication"),
        (18, "ApiVersions", 0, 5, 3, "brokers"),
        (19, "CreateTopics", 2, 7, 5, "topics"),
        (20, "DeleteTopics", 1, 6, 4, "topics"),
        (21, "DeleteRecords", 0, 2, 2, "offsets"),
        (22, "InitProducerId", 0, 5, 2, "transactions"),
        (23, "OffsetForLeaderEpoch", 2, 4, 4, "offsets"),
        (24, "AddPartitionsToTxn", 0, 5, 3, "transactions"),
        (25, "AddOffsetsToTxn", 0, 4, 3, "transactions"),
        (26, "EndTxn", 0, 5, 3, "transactions"),
        (27, "WriteTxnMarkers", 1, 2, 1, "transactions"),
        (28, "TxnOffsetCommit", 0, 6, 3, "transactions"),
        (29, "DescribeAcls", 1, 3, 2, "acls"),
        (30, "CreateAcls", 1, 3, 2, "acls"),
        (31, "DeleteAcls", 1, 3, 2, "acls"),
        (32, "DescribeConfigs", 1, 4, 4, "configs"),
        (33, "AlterConfigs", 0, 2, 2, "configs"),
        (34, "AlterReplicaLogDirs", 1, 2, 2, "placement"),
        (35, "DescribeLogDirs", 1, 5, 2, "placement"),
        (36, "SaslAuthenticate", 0, 2, 2, "authentication"),
        (37, "CreatePartitions", 0, 3, 2, "topics"),
        (38, "CreateDelegationToken", 1, 3, 2, "authentication"),
        (39, "RenewDelegationToken", 1, 2, 2, "authentication"),
        (40, "ExpireDelegationToken", 1, 2, 2, "authentication"),
        (41, "DescribeDelegationToken", 1, 3, 2, "authentication"),
        (42, "DeleteGroups", 0, 3, 2, "classic_groups"),
        (43, "ElectLeaders", 0, 2, 2, "placement"),
        (44, "IncrementalAlterConfigs", 0, 1, 1, "configs"),
        (45, "AlterPartitionReassignments", 0, 1, 0, "placement"),
        (46, "ListPartitionReassignments", 0, 0, 0, "placement"),
        (47, "OffsetDelete", 0, 0, -1, "group_offsets"),
        (48, "DescribeClientQuotas", 0, 1, 1, "quotas"),
        (49, "AlterClientQuotas", 0, 1, 1, "quotas"),
        (50, "DescribeUserScramCredentials", 0, 0, 0, "authentication"),
        (51, "AlterUserScramCredentials", 0, 0, 0, "authentication"),
        (52, "Vote", 0, 2, 0, "raft"),
        (53, "BeginQuorumEpoch", 0, 1, 1, "raft"),
        (54, "EndQuorumEpoch", 0, 1, 1, "raft"),
        (55, "DescribeQuorum", 0, 2, 0, "raft"),
        (56, "AlterPartition", 2, 3, 0, "placement"),
        (57, "UpdateFeatures", 0, 2, 0, "brokers"),
        (58, "Envelope", 0, 0, 0, "raft"),
        (59, "FetchSnapshot", 0, 1, 0, "raft"),
        (60, "DescribeCluster", 0, 2, 0, "brokers"),
        (61, "DescribeProducers", 0, 0, 0, "transactions"),
        (62, "BrokerRegistration", 0, 4, 0, "brokers"),
        (63, "BrokerHeartbeat", 0, 2, 0, "brokers"),
        (64, "UnregisterBroker", 0, 0, 0, "brokers"),
        (65, "DescribeTransactions", 0, 0, 0, "transactions"),
        (66, "ListTransactions", 0, 2, 0, "transactions"),
        (67, "AllocateProducerIds", 0, 0, 0, "transactions"),
        (68, "ConsumerGroupHeartbeat", 0, 1, 0, "consumer_groups"),
        (69, "ConsumerGroupDescribe", 0, 1, 0, "consumer_groups"),
        (70, "ControllerRegistration", 0, 0, 0, "brokers"),
        (71, "GetTelemetrySubscriptions", 0, 0, 0, "telemetry"),
        (72, "PushTelemetry", 0, 0, 0, "telemetry"),
        (73, "AssignReplicasToDirs", 0, 0, 0, "placement"),
        (74, "ListConfigResources", 0, 1, 0, "configs"),
        (75, "DescribeTopicPartitions", 0, 0, 0, "metadata"),
        (76, "ShareGroupHeartbeat", 1, 1, 0, "share_groups"),
        (77, "ShareGroupDescribe", 1, 1, 0, "share_groups"),
        (78, "ShareFetch", 1, 2, 0, "share_fetch"),
        (79, "ShareAcknowledge", 1, 2, 0, "share_fetch"),
        (80, "AddRaftVoter", 0, 1, 0, "raft"),
        (81, "RemoveRaftVoter", 0, 0, 0, "raft"),
        (82, "UpdateRaftVoter", 0, 0, 0, "raft"),
        (83, "InitializeShareGroupState", 0, 0, 0, "share_state"),
        (84, "ReadShareGroupState", 0, 0, 0, "share_state"),
        (85, "WriteShareGroupState", 0, 1, 0, "share_state"),
        (86, "DeleteShareGroupState", 0, 0, 0, "share_state"),
        (87, "ReadShareGroupStateSummary", 0, 1, 0, "share_state"),
        (88, "StreamsGroupHeartbeat", 0, 1, 0, "streams_groups"),
        (89, "StreamsGroupDescribe", 0, 1, 0, "streams_groups"),
        (90, "DescribeShareGroupOffsets", 0, 1, 0, "share_groups"),
        (91, "AlterShareGroupOffsets", 0, 0, 0, "share_groups"),
        (92, "DeleteShareGroupOffsets", 0, 0, 0, "share_groups"),
        (93, "StreamsGroupTopologyDescriptionUpdate", 0, 0, 0, "streams_groups"),
        (94, "UnregisterController", 0, 0, 0, "brokers"),
    )
)

API_BY_KEY = {api.key: api for api in APIS}
API_BY_NAME = {api.name: api for api in APIS}


@functools.cache
def request_class(key: int) -> type[Any]:
    return _message_class(key, "Request")


@functools.cache
def response_class(key: int) -> type[Any]:
    return _message_class(key, "Response")


def _message_class(key: int, suffix: str) -> type[Any]:
    api = API_BY_KEY[key]
    family = importlib.import_module(f"wire.messages.{api.family}")
    found = getattr(family, api.name + suffix)
    assert isinstance(found, type)
    return found
