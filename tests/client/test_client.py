"""Who is asked, and when again: bootstrap addresses, leaders that move, coordinators, the controller."""

import itertools
import socket
from pathlib import Path

import anyio
import anyio.lowlevel
import attrs
import pytest

from pykbroker.client import (
    Client,
    ClientSettings,
    CoordinatorType,
    NoBrokerError,
    Question,
    groups,
    offsets,
    topics,
    transactions,
)
from pykbroker.client.brokers import active_controller, log_dirs
from pykbroker.client.client import check
from pykbroker.client.configs import (
    ConfigChange,
    ConfigSource,
    Operation,
    Resource,
    ResourceType,
    alter_configs,
    describe_configs,
    topic_configs,
)
from pykbroker.client.producer import Producer
from pykbroker.clock import SimulatedClock
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from tests.client.support import QUICK, Deaf, create, passing
from tests.support.cluster import cluster_of
from tests.support.running import running
from wire.errors import ErrorCode
from wire.messages.transactions import InitProducerIdRequest

pytestmark = pytest.mark.anyio
TP = TopicPartition("t", 0)


async def test_first_address_that_answers_is_enough(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    async with running(tmp_path) as broker, Client(f"127.0.0.1:{closed},{broker.bootstrap}") as client:
        assert list((await client.metadata()).brokers) == [broker.config.node_id]


async def test_nobody_at_any_address_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with Client(f"127.0.0.1:{port}") as client:
        with pytest.raises(NoBrokerError, match=rf"127\.0\.0\.1:{port} \(connection refused\)"):
            await client.metadata()


async def test_what_the_body_raises_is_not_wrapped(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        with pytest.raises(ZeroDivisionError):
            async with Client(broker.bootstrap):
                raise ZeroDivisionError


async def test_unknown_topic_is_an_error_once_it_has_had_its_time(tmp_path: Path) -> None:
    settings = ClientSettings(retry_backoff_ms=1, unknown_topic_timeout_ms=20)
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=settings) as client:
        with pytest.raises(KafkaError) as raised:
            await client.topic("nope")
        assert raised.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_retriable_errors_are_tried_again_with_longer_pauses_until_time_is_up() -> None:
    settings = ClientSettings(retry_backoff_ms=10, retry_backoff_max_ms=40, default_api_timeout_ms=130)
    clock = SimulatedClock()
    attempts: list[float] = []

    async def attempt() -> None:
        attempts.append(clock.monotonic_ms())
        raise KafkaError(ErrorCode.NOT_COORDINATOR)

    async with Client("127.0.0.1:1", settings=settings, clock=clock) as client, passing(clock, 1):
        with pytest.raises(KafkaError):
            await client.retry(attempt)
    pauses = [after - before for before, after in itertools.pairwise(attempts)]
    assert [round(pause, -1) for pause in pauses] == [10, 20, 40, 40]


async def test_retry_within_another_one_is_one_attempt() -> None:
    settings = ClientSettings(retry_backoff_ms=10, retry_backoff_max_ms=40, default_api_timeout_ms=130)
    clock = SimulatedClock()
    attempts = []

    async def attempt() -> None:
        attempts.append(1)
        raise KafkaError(ErrorCode.NOT_COORDINATOR)

    async with Client("127.0.0.1:1", settings=settings, clock=clock) as client, passing(clock, 1):
        with pytest.raises(KafkaError):
            await client.retry(lambda: client.retry(attempt))
    assert len(attempts) == 5


async def test_brokers_that_do_not_answer_leave_time_for_the_others(tmp_path: Path) -> None:
    """They accept connections, and that is all."""
    settings = ClientSettings(request_timeout_ms=30_000, default_api_timeout_ms=15_000)
    clock = SimulatedClock()
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        frozen = [f"127.0.0.1:{each.getsockname()[1]}" for each in (first, second)]
        async with running(tmp_path) as broker, passing(clock):
            bootstrap = ",".join([*frozen, broker.bootstrap])
            async with Client(bootstrap, settings=settings, clock=clock) as client:
                assert list((await client.metadata()).brokers) == [broker.config.node_id]
            assert 10_000 <= clock.monotonic_ms() < 15_000
            started_ms = clock.monotonic_ms()
            async with Client(frozen[0], settings=settings, clock=clock) as client:
                with pytest.raises(NoBrokerError, match="no answer in time"):
                    await client.metadata()
            assert clock.monotonic_ms() - started_ms < 16_000


async def test_deadline_of_the_caller_holds_for_all_that_is_asked(tmp_path: Path) -> None:
    clock = SimulatedClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with Client([server.getsockname()], clock=clock) as client, passing(clock):
            with client.deadline(2_000):
                for _ in range(3):
                    with pytest.raises(NoBrokerError):
                        await client.metadata()
            assert clock.monotonic_ms() < 3_000


async def test_topic_that_is_gone_is_waited_for_once_not_for_each_partition(tmp_path: Path) -> None:
    settings = ClientSettings(unknown_topic_timeout_ms=1_500)
    clock = SimulatedClock()
    async with (
        running(tmp_path) as broker,
        Client(broker.bootstrap, settings=settings, clock=clock) as client,
        passing(clock),
    ):
        await create(client, "t")
        started_ms = clock.monotonic_ms()
        tps = [TP, *(TopicPartition("gone", index) for index in range(12))]
        results = await offsets.list_offsets_or_errors(client, dict.fromkeys(tps, offsets.END))
        assert results.pop(TP) == 0
        assert {result.code for result in results.values() if isinstance(result, KafkaError)} == {
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        }
        assert len(results) == 12
        assert clock.monotonic_ms() - started_ms < 3_000


async def test_leader_that_does_not_answer_costs_only_what_it_leads(tmp_path: Path) -> None:
    settings = attrs.evolve(QUICK, default_api_timeout_ms=2_000)
    clock = SimulatedClock()
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("t", [(1,), (2,)])
        network = Deaf(cluster.brokers[2].addresses[0])
        async with (
            Client(cluster.brokers[1].bootstrap, settings=settings, clock=clock, network=network) as client,
            passing(clock),
        ):
            tps = [TP, TopicPartition("t", 1)]
            results = await offsets.list_offsets_or_errors(client, dict.fromkeys(tps, offsets.END))
        failure = results.pop(tps[1])
        assert isinstance(failure, KafkaError)
        assert (results, failure.code) == ({TP: 0}, ErrorCode.NETWORK_EXCEPTION)


async def test_errors_that_stay_are_not_tried_again(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        attempts = []

        async def attempt() -> None:
            attempts.append(1)
            raise KafkaError(ErrorCode.INVALID_REQUEST)

        with pytest.raises(KafkaError):
            await client.retry(attempt)
        assert attempts == [1]


async def test_leader_that_moved_is_found(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("t", [(1, 2)])
        async with Client(cluster.brokers[2].bootstrap, settings=QUICK) as client:
            assert await offsets.ends(client, [TP]) == {TP: 0}
            await cluster.elect("t", 2)
            assert await client.leader_of(TP) == 1  # so much the client knows
            await cluster.produce(2, "t", b"value")
            assert await offsets.ends(client, [TP]) == {TP: 1}
            assert await client.leader_of(TP) == 2


async def test_broker_that_is_gone_is_not_needed(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path) as cluster:
        await cluster.create_topic("t", [(1, 2)])
        async with Client(cluster.brokers[1].bootstrap, settings=QUICK) as client:
            async with Producer(client) as producer:
                await producer.send("t", b"a")
            await cluster.stop(1)
            async with Producer(client) as producer:
                sent = await producer.send("t", b"b")
            assert sent.offset == 1
            assert await topics.create_topics(client, [topics.NewTopic("another", 1, 1)]) == {"another": None}


async def test_each_broker_is_asked_for_its_groups(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, offsets_topic_num_partitions="8") as cluster:
        await cluster.create_topic("t", [(1, 2)])
        async with Client(cluster.brokers[1].bootstrap, settings=QUICK) as client:
            names = [f"g{number}" for number in range(8)]
            for name in names:
                await groups.commit_offsets(client, name, {TP: groups.CommittedOffset(0)})
            listed = await groups.list_groups(client)
        assert [group.id for group in listed] == names
        assert {group.coordinator for group in listed} == {1, 2}


async def test_partitions_are_asked_of_their_leaders(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("t", [(1, 2), (2, 1), (1, 2)])
        await cluster.produce(2, "t", b"value", index=1)
        async with Client(cluster.brokers[1].bootstrap, settings=QUICK) as client:
            tps = [TopicPartition("t", index) for index in range(3)]
            assert await offsets.ends(client, tps) == dict(zip(tps, (0, 1, 0), strict=True))


async def test_partition_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    settings = ClientSettings(retry_backoff_ms=1, unknown_topic_timeout_ms=20)
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=settings) as client:
        await create(client, "t")
        with pytest.raises(KafkaError, match="t has 1 partitions"):
            await offsets.ends(client, [TopicPartition("t", 1)])


async def test_topics_are_created_and_deleted_each_with_its_outcome(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        wanted = [
            topics.NewTopic("a", assignment=[[broker.config.node_id]]),
            topics.NewTopic("b", 2),
            topics.NewTopic("?"),
        ]
        made = await topics.create_topics(client, wanted)
        assert made["a"] is None
        assert made["b"] is None
        assert made["?"] is not None
        assert made["?"].code is ErrorCode.INVALID_TOPIC_EXCEPTION
        assert len((await client.metadata(["b"])).topics["b"].partitions) == 2
        gone = await topics.delete_topics(client, ["a", "nope"])
        assert gone["a"] is None
        assert gone["nope"] is not None
        assert list((await client.metadata()).topics) == ["b"]


async def test_configs_are_set_appended_subtracted_and_deleted(tmp_path: Path) -> None:
    topic = Resource(ResourceType.TOPIC, "t")
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")

        async def values() -> dict[str, str | None]:
            entries = await describe_configs(client, topic, ["cleanup.policy", "retention.ms"])
            return {entry.name: entry.value for entry in entries if entry.source is ConfigSource.DYNAMIC_TOPIC}

        await alter_configs(client, topic, [ConfigChange("retention.ms", Operation.SET, "1000")])
        await alter_configs(client, topic, [ConfigChange("cleanup.policy", Operation.APPEND, "compact")])
        assert await values() == {"cleanup.policy": "delete,compact", "retention.ms": "1000"}
        await alter_configs(client, topic, [ConfigChange("cleanup.policy", Operation.SUBTRACT, "delete")])
        await alter_configs(client, topic, [ConfigChange("retention.ms", Operation.DELETE)])
        assert await values() == {"cleanup.policy": "compact"}
        assert await topic_configs(client, ["t", "nope"], "cleanup.policy") == {"t": "compact"}
        with pytest.raises(KafkaError) as raised:
            await alter_configs(client, topic, [ConfigChange("retention.ms", Operation.SET, "x")], validate_only=True)
        assert raised.value.code is ErrorCode.INVALID_CONFIG


async def test_config_of_a_broker_is_asked_of_that_broker(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster, Client(cluster.brokers[1].bootstrap, settings=QUICK) as client:
        for node_id in (1, 2):
            (entry,) = await describe_configs(client, Resource(ResourceType.BROKER, str(node_id)), ["node.id"])
            assert entry.value == str(node_id)
        with pytest.raises(KafkaError, match="'x' is not the id of a broker"):
            await describe_configs(client, Resource(ResourceType.BROKER, "x"))


async def test_controller_and_log_dirs_are_told(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        node_id = broker.config.node_id
        assert await active_controller(client) == node_id
        assert [(each.path, each.error) for each in await log_dirs(client, node_id)] == [(str(tmp_path), 0)]


async def test_transactional_ids_are_listed_and_described(tmp_path: Path) -> None:
    async with (
        running(tmp_path, transaction_state_log_num_partitions="1") as broker,
        Client(broker.bootstrap, settings=QUICK) as client,
    ):
        question = Question.of(InitProducerIdRequest("id", 60_000))
        answer = await client.ask_coordinator(
            CoordinatorType.TRANSACTION, "id", question, lambda answer: check(answer.error_code)
        )
        producer = (answer.producer_id, answer.producer_epoch)
        (listed,) = await transactions.list_transactions(client)
        assert (listed.transactional_id, listed.producer_id, listed.state) == ("id", producer[0], "Empty")
        found = await transactions.describe_transaction(client, "id")
        assert (found.producer_id, found.producer_epoch, found.partitions) == (*producer, ())
        with pytest.raises(KafkaError) as raised:
            await transactions.describe_transaction(client, "nope")
        assert raised.value.code is ErrorCode.TRANSACTIONAL_ID_NOT_FOUND


async def test_two_tasks_use_one_client(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(create, client, f"t{number}")
        assert len((await client.metadata()).topics) == 5
