"""Groups of kafka-python consumers, as their users run them, on a broker in this process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.structs import OffsetAndMetadata

from pykbroker.broker import Broker
from pykbroker.config import BrokerConfig

TOPIC = "lines"
PARTITIONS = 4
DEADLINE_S = 60.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    config = BrokerConfig.from_properties(
        {
            "listeners": "PLAINTEXT://127.0.0.1:0",
            "log.dirs": str(tmp_path),
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.num.partitions": "4",
        }
    )
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Broker(config)) as broker:
        with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
            admin.create_topics([NewTopic(TOPIC, num_partitions=PARTITIONS, replication_factor=1)])
        yield broker
        assert broker.metrics.bugs_total == 0


class Member:
    """A consumer in a thread of its own, which polls until it is told to stop."""

    polled = threading.Condition()  # some member may have got something

    def __init__(self, broker: Broker, group_id: str = "readers") -> None:
        self.consumer = KafkaConsumer(
            bootstrap_servers=broker.bootstrap,
            group_id=group_id,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=100,
            session_timeout_ms=60_000,
        )
        self.values: list[bytes] = []
        self.owned: frozenset[int] = frozenset()
        self._commits = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with closing(self.consumer):
            # A kafka-python leader that does not know the topic yet assigns nothing, and keeps to that.
            assert self.consumer.partitions_for_topic(TOPIC) is not None
            self.consumer.subscribe([TOPIC])
            while not self._stopped.is_set():
                polled = self.consumer.poll(timeout_ms=50)
                with self.polled:
                    self.values += [record.value for records in polled.values() for record in records]
                    self.owned = frozenset(each.partition for each in self.consumer.assignment())
                    self.polled.notify_all()
            if self._commits:
                self.consumer.commit()

    def stop(self, *, commits: bool = False) -> None:
        """Leave; where the group is stable, a commit before that succeeds."""
        self._commits = commits
        self._stopped.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


@pytest.fixture
def members() -> Iterator[list[Member]]:
    """Members to stop when the test is over, whatever became of it."""
    started: list[Member] = []
    yield started
    with ExitStack() as stack:
        for member in started:
            stack.callback(member.stop)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what the members bring about by polling."""
    with Member.polled:
        assert Member.polled.wait_for(condition, DEADLINE_S), "it did not happen"


def produce(broker: Broker, values: range) -> None:
    with closing(KafkaProducer(bootstrap_servers=broker.bootstrap)) as producer:
        for value in values:
            producer.send(TOPIC, str(value).encode(), partition=value % PARTITIONS)
        producer.flush()


def test_members_share_the_partitions_as_they_come_and_go(broker: Broker, members: list[Member]) -> None:
    everything = frozenset(range(PARTITIONS))
    members.append(Member(broker))
    eventually(lambda: members[0].owned == everything)
    members.append(Member(broker))
    eventually(lambda: [len(member.owned) for member in members] == [2, 2])
    assert members[0].owned | members[1].owned == everything
    members.append(Member(broker))
    eventually(lambda: sorted(len(member.owned) for member in members) == [1, 1, 2])
    members.pop(0).stop()
    eventually(lambda: [len(member.owned) for member in members] == [2, 2])
    members.pop(0).stop()
    eventually(lambda: members[0].owned == everything)


def test_each_value_is_read_once_across_a_change_of_members(broker: Broker, members: list[Member]) -> None:
    produce(broker, range(100))
    members.append(first := Member(broker))
    eventually(lambda: len(first.values) == 100)
    members.pop().stop(commits=True)
    produce(broker, range(100, 160))
    members.append(Member(broker))
    eventually(lambda: len(members[0].values) == 60)

    assert sorted(int(value) for value in first.values + members[0].values) == list(range(160))


def test_standalone_consumer_commits_and_fetches_its_offsets(broker: Broker) -> None:
    partition = TopicPartition(TOPIC, 1)
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, group_id="alone", enable_auto_commit=False)
    with closing(consumer):
        consumer.assign([partition])
        consumer.commit({partition: OffsetAndMetadata(17, "note", -1)})

        assert consumer.committed(partition, metadata=True) == OffsetAndMetadata(17, "note", -1)


def test_admin_sees_and_deletes_groups(broker: Broker, members: list[Member]) -> None:
    members.append(Member(broker))
    eventually(lambda: len(members[0].owned) == PARTITIONS)
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        described = admin.describe_groups(["readers"])["readers"]
        assert described["group_state"] == "Stable"
        assert len(described["members"]) == 1
        members.pop().stop()
        assert admin.describe_groups(["readers"])["readers"]["group_state"] == "Empty"

        admin.delete_groups(["readers"])
        assert "readers" not in {group["group_id"] for group in admin.list_groups()}
