"""Transactions, configurations, log directories, security and quotas."""

from __future__ import annotations

from golden.caller import Caller, Story, batch
from golden.cases_groups import LOADING
from golden.cases_records import TOPIC


def producer_ids(caller: Caller) -> None:
    asked = {"transactional_id": None, "transaction_timeout_ms": 60000}
    caller.settle("InitProducerId", 4, asked, lambda answer: not answer.error_code)
    caller.every("InitProducerId", asked)
    caller.every("InitProducerId", {**asked, "transactional_id": ""})
    for timeout_ms in (0, -1, 900_001):
        caller.every("InitProducerId", {"transactional_id": "transaction", "transaction_timeout_ms": timeout_ms})
        caller.every("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": timeout_ms})


def find_transaction_coordinator(caller: Caller) -> None:
    asked = {"key": "transaction-0", "coordinator_keys": ["transaction-0", "transaction-1"], "key_type": 1}
    caller.settle("FindCoordinator", 2, asked, lambda answer: answer.error_code not in LOADING)
    caller.every("FindCoordinator", lambda version: asked if version else {"key": "group"})


def transactions(caller: Caller) -> None:
    for version in caller.versions("EndTxn"):
        transactional_id = f"transaction-{version}"
        started = {"transactional_id": transactional_id, "transaction_timeout_ms": 60000}
        caller.settle("DescribeTransactions", 0, {"transactional_ids": [transactional_id]},
                      lambda answer: answer.transaction_states[0].error_code not in LOADING)  # fmt: skip
        producer = caller.call("InitProducerId", 4, started)
        me = {"producer_id": producer.producer_id, "producer_epoch": producer.producer_epoch}
        mine = {"transactional_id": transactional_id, **me}
        parts = [{"name": TOPIC, "partitions": [0, 1]}]
        if version <= 3:
            below = {f"v3_and_below_{name}": value for name, value in mine.items()}
            caller.call("AddPartitionsToTxn", version, {**below, "v3_and_below_topics": parts})
        else:
            caller.call("AddPartitionsToTxn", 3, {f"v3_and_below_{name}": value for name, value in mine.items()}
                        | {"v3_and_below_topics": parts})  # fmt: skip
            asked = [{**mine, "verify_only": True, "topics": parts}]
            caller.call("AddPartitionsToTxn", version, {"transactions": asked})
        partition = {
            "index": 0,
            "records": batch(b"in transaction", producer_id=me["producer_id"], transactional=True, sequence=0),
        }
        topic = {"name": TOPIC, "topic_id": caller.topic_id, "partition_data": [partition]}
        sent = {"transactional_id": transactional_id, "acks": -1, "timeout_ms": 30000, "topic_data": [topic]}
        caller.call("Produce", 11, sent)
        caller.call("AddOffsetsToTxn", min(version, 4), {**mine, "group_id": "txn-group"})
        offsets = [{"partition_index": 0, "committed_offset": 3, "committed_metadata": None}]
        commit = {**mine, "group_id": "txn-group", "generation_id_or_member_epoch": -1}
        commit["topics"] = [{"name": TOPIC, "topic_id": caller.topic_id, "partitions": offsets}]
        for offset_version in (version, 6) if version == 5 else (version,):
            caller.call("TxnOffsetCommit", offset_version, commit)
        if version == 4:
            described = {"transactional_ids": [transactional_id, "absent"]}
            caller.every("DescribeTransactions", described)
            caller.every(
                "ListTransactions", {"state_filters": ["Ongoing", "Odd"], "transactional_id_pattern": "transaction.*"}
            )
            caller.every("DescribeProducers", {"topics": [{"name": TOPIC, "partition_indexes": [0, 9]}]})
            partitions = [{"partition": 0, "fetch_offset": 1, "partition_max_bytes": 100000}]
            read = {"max_wait_ms": 10, "isolation_level": 1, "session_epoch": -1}
            caller.call("Fetch", 12, {**read, "topics": [{"topic": TOPIC, "partitions": partitions}]})
        caller.call("EndTxn", version, {**mine, "committed": version % 2 == 0})
        caller.settle("DescribeTransactions", 0, {"transactional_ids": [transactional_id]},
                      lambda answer: answer.transaction_states[0].transaction_state.startswith("Complete"))  # fmt: skip
    marker = {"producer_id": 999, "producer_epoch": 0, "transaction_result": True, "coordinator_epoch": 0}
    marker["topics"] = [{"name": "absent", "partition_indexes": [0]}]
    caller.every("WriteTxnMarkers", {"markers": [marker]})


def configs(caller: Caller) -> None:
    topic = {"resource_type": 2, "resource_name": "created-7"}
    few = ["retention.ms", "cleanup.policy", "segment.bytes"]
    changes = [{"name": "retention.ms", "value": "86400000", "config_operation": 0}]
    refused = {"resource_type": 2, "resource_name": "absent", "configs": changes}
    caller.every("IncrementalAlterConfigs", {"resources": [{**topic, "configs": changes}, refused]})
    changes = [{"name": "retention.ms", "value": "3600000"}]
    refused = {"resource_type": 2, "resource_name": "absent", "configs": changes}
    caller.every("AlterConfigs", {"resources": [{**topic, "configs": changes}, refused]})
    asked = [
        {**topic, "configuration_keys": few},
        {"resource_type": 2, "resource_name": "absent", "configuration_keys": None},
    ]
    asked.append(
        {"resource_type": 4, "resource_name": "1", "configuration_keys": ["log.retention.ms", "num.io.threads"]}
    )
    caller.every("DescribeConfigs", {"resources": asked, "include_synonyms": True})
    caller.every("ListConfigResources", lambda version: {"resource_types": [2, 4, 16] if version else []})


def log_dirs(caller: Caller) -> None:
    caller.every("DescribeLogDirs", {"topics": [{"topic": TOPIC, "partitions": [0]}]})
    caller.every("DescribeLogDirs", {"topics": [{"topic": "absent", "partitions": [0]}]})
    caller.every("AlterReplicaLogDirs", {"dirs": [{"path": "/absent", "topics": [{"name": TOPIC, "partitions": [0]}]}]})


def security(caller: Caller) -> None:
    acl = {
        "resource_type": 2,
        "resource_name": TOPIC,
        "principal": "User:a",
        "host": "*",
        "operation": 3,
        "permission_type": 3,
    }
    caller.every("CreateAcls", {"creations": [acl]})
    any_acl = {"resource_type_filter": 1, "operation": 1, "permission_type": 1, "pattern_type_filter": 3}
    nothing = {"resource_name_filter": None, "principal_filter": None, "host_filter": None}
    caller.every("DescribeAcls", any_acl | nothing)
    caller.every("DeleteAcls", {"filters": [any_acl | nothing]})
    caller.every("SaslHandshake", {"mechanism": "PLAIN"})
    caller.every("SaslAuthenticate", {"auth_bytes": b"\0user\0password"})
    caller.every("CreateDelegationToken", {"max_lifetime_ms": -1})
    caller.every("RenewDelegationToken", {"hmac": b"hmac", "renew_period_ms": 1})
    caller.every("ExpireDelegationToken", {"hmac": b"hmac", "expiry_time_period_ms": 1})
    caller.every("DescribeDelegationToken", {"owners": None})
    scram = {"name": "reader", "mechanism": 1, "iterations": 4096, "salt": b"salt", "salted_password": bytes(32)}
    caller.every(
        "AlterUserScramCredentials", {"upsertions": [scram], "deletions": [{"name": "absent", "mechanism": 1}]}
    )
    caller.settle("DescribeUserScramCredentials", 0, {"users": [{"name": "reader"}]},
                  lambda answer: not answer.results[0].error_code)  # fmt: skip
    caller.every("DescribeUserScramCredentials", {"users": [{"name": "reader"}, {"name": "absent"}]})


def quotas(caller: Caller) -> None:
    entity = [{"entity_type": "client-id", "entity_name": "capture"}]
    quota = {"entity": entity, "ops": [{"key": "producer_byte_rate", "value": 1e9}]}
    caller.every("AlterClientQuotas", {"entries": [quota]})
    wanted = [{"entity_type": "client-id", "match_type": 0, "match": "capture"}]
    caller.settle("DescribeClientQuotas", 1, {"components": wanted}, lambda answer: answer.entries)
    caller.every("DescribeClientQuotas", {"components": wanted})


CONFIGS = (Story(configs, needs=["DescribeConfigs"]), Story(producer_ids, needs=["InitProducerId"]))
TRANSACTIONS = (
    Story(find_transaction_coordinator, needs=["EndTxn"]),
    Story(transactions, needs=["AddPartitionsToTxn", "EndTxn", "TxnOffsetCommit", "DescribeTransactions"]),
)
OTHERS = (
    Story(log_dirs, needs=["DescribeLogDirs", "AlterReplicaLogDirs"]),
    Story(security, needs=["CreateAcls", "SaslHandshake", "CreateDelegationToken", "AlterUserScramCredentials"]),
    Story(quotas, needs=["AlterClientQuotas"]),
)
