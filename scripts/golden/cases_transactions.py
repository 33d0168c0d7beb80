"""Transactions gone right and wrong, with each version of the protocol: fenced producers, batches outside of one, ends
that are repeated or contradict each other, offsets of unknown members, markers of zombies.

Every story has transactional ids and topics of its own. What follows the end of a transaction waits for its markers.
"""

from __future__ import annotations

import time
from typing import Any

from attrs import define

from golden.caller import Caller, Story, Values, batch

LOADING = (14, 15, 16)
COMMIT, ABORT = True, False
FIRST_TV2_END, LAST_TV1_END = 5, 4
NEEDS = ("EndTxn", "AddPartitionsToTxn", "TxnOffsetCommit")


@define
class Producer:
    """A transactional producer that says exactly what it is told to say."""

    caller: Caller
    transactional_id: str
    topic: str
    producer_id: int = -1
    epoch: int = -1

    def init(self, version: int = 4, **values: Any) -> Any:
        answer = self.caller.call(
            "InitProducerId",
            version,
            {"transactional_id": self.transactional_id, "transaction_timeout_ms": 60000, **values},
        )
        if answer.error_code == 0:
            self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch
        return answer

    @property
    def me(self) -> Values:
        return {
            "transactional_id": self.transactional_id,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
        }

    def add(self, *partitions: int, version: int = 3, **values: Any) -> Any:
        topics = [{"name": self.topic, "partitions": list(partitions)}]
        below = {f"v3_and_below_{name}": value for name, value in {**self.me, "topics": topics, **values}.items()}
        return self.caller.call("AddPartitionsToTxn", version, below)

    def add_as_broker(self, *partitions: int, version: int = 5, verify_only: bool = False, **values: Any) -> Any:
        topics = [{"name": self.topic, "partitions": list(partitions)}]
        transaction = {**self.me, "verify_only": verify_only, "topics": topics, **values}
        return self.caller.call("AddPartitionsToTxn", version, {"transactions": [transaction]})

    def produce(self, partition: int, sequence: int, version: int = 11, **values: Any) -> Any:
        told = {"producer_id": self.producer_id, "epoch": self.epoch, "transactional": True, **values}
        now_ms = time.time_ns() // 1_000_000  # records of long ago would begin a segment of their own with each marker
        records = batch(b"in transaction", sequence=sequence, timestamp=now_ms, **told)
        topic = {"name": self.topic, "partition_data": [{"index": partition, "records": records}]}
        sent = {"transactional_id": self.transactional_id, "acks": -1, "timeout_ms": 30000, "topic_data": [topic]}
        return self.caller.call("Produce", version, sent)

    def commit_offsets(self, version: int, group: str = "golden-txn", **values: Any) -> Any:
        offsets = [{"partition_index": 0, "committed_offset": 3, "committed_metadata": None}]
        commit = {**self.me, "group_id": group, "topics": [{"name": self.topic, "partitions": offsets}], **values}
        return self.caller.call("TxnOffsetCommit", version, commit)

    def end(self, committed: bool, version: int, *, follow: bool = True, **values: Any) -> Any:
        """End the transaction, and with `follow` take over the new epoch."""
        answer = self.caller.call("EndTxn", version, {**self.me, "committed": committed, **values})
        if answer.error_code == 0 and version >= FIRST_TV2_END and follow:
            self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch
        return answer

    def settle(self) -> None:
        """Wait until nothing is left to be done for the transactional id."""
        asked = {"transactional_ids": [self.transactional_id]}
        self.caller.settle(
            "DescribeTransactions",
            0,
            asked,
            lambda answer: (
                answer.transaction_states[0].error_code not in LOADING
                and not answer.transaction_states[0].transaction_state.startswith("Prepare")
            ),
        )

    def describe(self) -> Any:
        return self.caller.call("DescribeTransactions", 0, {"transactional_ids": [self.transactional_id]})

    def producers(self) -> Any:
        return self.caller.call(
            "DescribeProducers", 0, {"topics": [{"name": self.topic, "partition_indexes": [0, 1, 9]}]}
        )


def new_producer(caller: Caller, name: str) -> Producer:
    """Return a producer with a topic of its own whose coordinator is ready; it has not asked for an id yet."""
    topic = f"golden-{name}"
    wanted = {"name": topic, "num_partitions": 2, "replication_factor": 1}
    caller.call("CreateTopics", 5, {"topics": [wanted], "timeout_ms": 30000})
    led = {"topics": [{"name": topic, "partition_indexes": [0, 1]}]}
    caller.settle(
        "DescribeProducers", 0, led, lambda answer: not any(p.error_code for p in answer.topics[0].partitions)
    )
    found = {"key": topic, "key_type": 1}
    caller.settle("FindCoordinator", 2, found, lambda answer: answer.error_code not in LOADING)
    idempotent = {"transactional_id": None, "transaction_timeout_ms": 1000}
    caller.settle("InitProducerId", 4, idempotent, lambda answer: answer.error_code not in LOADING)
    producer = Producer(caller, topic, topic)
    producer.settle()
    return producer


def wait_for_group(caller: Caller, group: str) -> None:
    caller.settle("FindCoordinator", 2, {"key": group}, lambda answer: answer.error_code not in LOADING)
    caller.settle("OffsetFetch", 7, {"group_id": group, "topics": []}, lambda answer: not answer.error_code)


def fenced_producers(caller: Caller) -> None:
    producer = new_producer(caller, "fenced")
    producer.describe()
    producer.init()
    producer.describe()
    old = Producer(caller, producer.transactional_id, producer.topic, producer.producer_id, producer.epoch)
    producer.init()
    producer.describe()
    old.add(0, version=0)
    for version in range(4):
        old.add(0, version=version)
    for version in (4, 5):
        old.add_as_broker(0, version=version)
        old.add_as_broker(0, version=version, verify_only=True)
    for version in caller.versions("EndTxn"):
        old.end(COMMIT, version)
    for version in caller.versions("AddOffsetsToTxn"):
        caller.call("AddOffsetsToTxn", version, {**old.me, "group_id": "golden-txn"})
    for version in (9, 10, 11, 12):
        old.produce(0, 0, version)
    wait_for_group(caller, "golden-txn")
    for version in caller.versions("TxnOffsetCommit"):
        if version < 6:
            old.commit_offsets(version)
    for version in caller.versions("InitProducerId"):
        if version >= 3:
            old.init(version, producer_id=producer.producer_id, producer_epoch=producer.epoch + 5)
            old.init(version, producer_id=producer.producer_id + 100_000, producer_epoch=producer.epoch)
    producer.init(producer_id=producer.producer_id, producer_epoch=producer.epoch)
    producer.init(producer_id=producer.producer_id, producer_epoch=producer.epoch - 1)  # the same again
    producer.add(0)
    producer.produce(0, 0)
    producer.init()  # aborts what is open
    producer.settle()
    producer.describe()
    producer.producers()
    producer.init()
    producer.produce(0, 0, 12)
    producer.init()
    producer.settle()
    producer.describe()
    producer.producers()
    producer.init()
    producer.describe()
    producer.add(1)
    producer.init(producer_id=producer.producer_id, producer_epoch=producer.epoch)
    producer.settle()
    producer.describe()
    for values in ({"transactional_id": ""}, {"transaction_timeout_ms": 0}, {"transaction_timeout_ms": 900_001}):
        producer.init(**values)


def batches_outside(caller: Caller) -> None:
    producer = new_producer(caller, "outside")
    for version in (9, 11, 12):
        producer.produce(0, 0, version, producer_id=777, epoch=0)  # an id that nobody knows
    producer.init()
    for version in (9, 10, 11):
        producer.produce(0, 0, version)
    producer.produce(0, 3, 12)  # the first sequence is not 0
    producer.describe()
    producer.produce(0, 0, 12)
    producer.describe()
    producer.producers()
    producer.produce(0, 0, 12)  # the same again
    producer.produce(0, 1, 11)
    producer.produce(1, 0, 11)
    producer.produce(0, 2, 12, producer_id=producer.producer_id + 100_000)
    producer.produce(0, 2, 12, epoch=producer.epoch + 1)
    producer.produce(0, 2, 12, transactional=False)
    producer.produce(9, 0, 12)
    producer.end(COMMIT, 5, follow=False)
    producer.settle()
    producer.describe()
    producer.producers()
    producer.produce(0, 2, 12)  # late: the transaction is over
    producer.produce(0, 2, 11)
    producer.end(COMMIT, 5)  # a repetition: tells the new epoch
    producer.produce(0, 0, 12)
    producer.produce(1, 7, 12)
    producer.end(ABORT, 5)
    producer.settle()
    producer.producers()
    for isolation_level in (0, 1):
        asked = [{"name": producer.topic, "partitions": [{"partition_index": 0, "timestamp": -1}]}]
        caller.call("ListOffsets", 9, {"replica_id": -1, "isolation_level": isolation_level, "topics": asked})
    older = new_producer(caller, "outside-older")
    older.init()
    older.add(0)
    older.produce(0, 4)  # no state yet: any sequence does
    older.produce(0, 5)
    older.end(COMMIT, LAST_TV1_END)
    older.settle()
    older.producers()
    older.produce(0, 6)
    older.add(0)
    older.produce(0, 6)
    older.end(ABORT, LAST_TV1_END)
    older.settle()
    older.producers()
    older.describe()


def repeated_ends(caller: Caller) -> None:
    for version in (LAST_TV1_END, FIRST_TV2_END):
        producer = new_producer(caller, f"ends-{version}")
        producer.init()
        producer.end(COMMIT, version)
        for committed in (COMMIT, ABORT):
            producer.add(0)
            before = producer.epoch
            producer.end(committed, version)
            producer.settle()
            producer.describe()
            retried = Producer(caller, producer.transactional_id, producer.topic, producer.producer_id, before)
            retried.end(committed, version, follow=False)
            retried.end(not committed, version, follow=False)
            producer.end(COMMIT, version, producer_epoch=producer.epoch + 7)
            producer.end(COMMIT, version)
            producer.settle()
        producer.end(ABORT, version)
        producer.settle()
        producer.describe()
        producer.end(ABORT, version)
        producer.settle()
        producer.end(COMMIT, version, transactional_id="")
        producer.end(COMMIT, version, transactional_id="golden-absent")
        producer.end(COMMIT, version, producer_id=producer.producer_id + 100_000)
        empty = new_producer(caller, f"ends-empty-{version}")
        empty.init()
        empty.end(ABORT, version)
        empty.settle()
        empty.describe()
        empty.end(COMMIT, version)


def added_partitions(caller: Caller) -> None:
    producer = new_producer(caller, "added")
    producer.init()
    for version in (0, 3):
        producer.add(0, 9, version=version)
        producer.add(0, version=version, transactional_id="")
        producer.add(0, version=version, transactional_id="golden-absent")
        producer.add(0, version=version, producer_id=producer.producer_id + 100_000)
        producer.add(version=version, topics=[])
    for version in (4, 5):
        for verify_only in (True, False):
            producer.add_as_broker(0, 9, version=version, verify_only=verify_only)
            producer.add_as_broker(0, version=version, verify_only=verify_only, transactional_id="")
            producer.add_as_broker(0, version=version, verify_only=verify_only, transactional_id="golden-absent")
            producer.add_as_broker(0, version=version, verify_only=verify_only, producer_id=100_000)
        producer.add_as_broker(1, version=version, verify_only=True)
    producer.add_as_broker(0)
    producer.add_as_broker(0, 1, verify_only=True)
    producer.describe()
    for pattern in ("golden-add.*", "added", "(", "golden-(added|ends-4)"):
        caller.call("ListTransactions", 2, {"state_filters": [], "transactional_id_pattern": pattern})
    for filters in (["Ongoing"], ["ongoing"], ["Dead"], ["PrepareEpochFence"], ["Odd", "Ongoing"]):
        asked = {"state_filters": filters, "producer_id_filters": [producer.producer_id]}
        caller.every("ListTransactions", asked)
    caller.every("ListTransactions", {"duration_filter": 3_600_000, "producer_id_filters": [producer.producer_id]})
    caller.every("ListTransactions", {"producer_id_filters": [100_000]})
    caller.call("DescribeTransactions", 0, {"transactional_ids": ["", "golden-absent", producer.transactional_id]})
    caller.call("DescribeTransactions", 0, {"transactional_ids": []})
    caller.call("DescribeProducers", 0, {"topics": [{"name": "golden-absent", "partition_indexes": [0]}]})
    producer.end(ABORT, LAST_TV1_END)
    producer.settle()


def offsets_in_transactions(caller: Caller) -> None:
    producer = new_producer(caller, "offsets")
    producer.init()
    group = "golden-txn"
    wait_for_group(caller, group)
    for version in range(6):
        if version < 5:
            producer.commit_offsets(version)  # the group was not added
        producer.commit_offsets(version, transactional_id="golden-absent")
        producer.commit_offsets(version, transactional_id="")
        producer.commit_offsets(version, producer_id=producer.producer_id + 100_000)
        producer.commit_offsets(version, topics=[{"name": "golden-absent", "partitions": [
            {"partition_index": 0, "committed_offset": 1, "committed_metadata": ""}]}])  # fmt: skip
        producer.commit_offsets(version, topics=[{"name": producer.topic, "partitions": [
            {"partition_index": 9, "committed_offset": 1, "committed_metadata": ""}]}])  # fmt: skip
        if version >= 3:
            member = {"generation_id_or_member_epoch": 7, "member_id": "nobody"}
            producer.commit_offsets(version, group, **member)
    producer.commit_offsets(5, "")
    producer.commit_offsets(5)
    wanted = [{"name": producer.topic, "partition_indexes": [0, 1]}]
    for stable in (True, False):
        caller.call("OffsetFetch", 7, {"group_id": group, "topics": wanted, "require_stable": stable})
    for values in (
        {"generation_id_or_member_epoch": 7, "member_id": "nobody"},
        {"generation_id_or_member_epoch": -1, "member_id": "nobody"},
        {"generation_id_or_member_epoch": -1, "member_id": "", "group_instance_id": "static"},
    ):
        producer.commit_offsets(5, group, **values)
    producer.commit_offsets(5, topics=[{"name": producer.topic, "partitions": [
        {"partition_index": 1, "committed_offset": 1, "committed_metadata": "x" * 5000}]}])  # fmt: skip
    producer.end(COMMIT, FIRST_TV2_END)
    producer.settle()
    for stable in (True, False):
        caller.call("OffsetFetch", 7, {"group_id": group, "topics": wanted, "require_stable": stable})
    for version in caller.versions("AddOffsetsToTxn"):
        caller.call("AddOffsetsToTxn", version, {**producer.me, "group_id": ""})
        for values in ({"transactional_id": ""}, {"transactional_id": "golden-absent"}, {"producer_id": 100_000}):
            caller.call("AddOffsetsToTxn", version, {**producer.me, "group_id": group, **values})


def markers_of_zombies(caller: Caller) -> None:
    producer = new_producer(caller, "markers")
    producer.init()
    producer.add(0)
    producer.produce(0, 0)
    for version in caller.versions("WriteTxnMarkers"):
        for epoch, coordinator_epoch, partitions in ((-1, 0, [0]), (0, 0, [0, 9]), (0, 5, [0]), (0, 4, [0])):
            marker = {
                "producer_id": producer.producer_id,
                "producer_epoch": epoch,
                "transaction_result": ABORT,
                "coordinator_epoch": coordinator_epoch,
                "transaction_version": 0,
                "topics": [{"name": producer.topic, "partition_indexes": partitions}],
            }
            caller.call("WriteTxnMarkers", version, {"markers": [marker]})
    producer.producers()
    second = new_producer(caller, "markers-2")
    second.init()
    second.produce(0, 0, 12)
    for epoch in (0, 1, 1, 0):
        marker = {
            "producer_id": second.producer_id,
            "producer_epoch": epoch,
            "transaction_result": COMMIT,
            "coordinator_epoch": 0,
            "transaction_version": 2,
            "topics": [{"name": second.topic, "partition_indexes": [0]}],
        }
        caller.call("WriteTxnMarkers", 2, {"markers": [marker]})
    second.producers()
    caller.call("WriteTxnMarkers", 2, {"markers": []})


STORIES = tuple(
    Story(tell, needs=NEEDS)
    for tell in (
        fenced_producers,
        batches_outside,
        repeated_ends,
        added_partitions,
        offsets_in_transactions,
        markers_of_zombies,
    )
)
