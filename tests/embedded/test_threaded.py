"""Brokers in a thread beside the test, with stock clients."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import anyio
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

import pykbroker
from pykbroker.broker import StartError
from pykbroker.config import ConfigError
from pykbroker.embedded import ThreadedCluster
from pykbroker.errors import KafkaError
from pykbroker.faults.rules import Fault, FaultError

BENCH = Path(__file__).parents[2] / "scripts" / "bench_embedded"


def read_all(kafka: ThreadedCluster, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    try:
        return [next(consumer).value for _ in range(count)]
    finally:
        consumer.close()


def test_broker_serves_stock_clients_and_is_gone_with_the_block() -> None:
    with pykbroker.Broker() as kafka:
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
        producer.send("t", b"hello").get(10)
        producer.close()
        assert read_all(kafka, "t", 1) == [b"hello"]
        assert kafka.data_dir.exists()
        assert kafka.bugs == 0
    assert not kafka.data_dir.exists()
    host, port = kafka.bootstrap.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_properties_are_kafkas_and_topics_are_created_with_configs() -> None:
    with pykbroker.Broker(properties={"num.partitions": 3}) as kafka:
        kafka.create_topic("by-default")
        kafka.create_topic("t", 2, configs={"retention.ms": 1000})
        with pytest.raises(KafkaError, match="TOPIC_ALREADY_EXISTS"):
            kafka.create_topic("t")
        admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        described = admin.describe_topics(["by-default", "t"])
        admin.close()
        assert sorted(len(topic["partitions"]) for topic in described) == [2, 3]


def test_data_in_a_folder_of_the_callers_is_found_again(tmp_path: Path) -> None:
    for expected in ([b"1"], [b"1", b"2"]):
        with pykbroker.Broker(data_dir=tmp_path) as kafka:
            producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
            producer.send("t", expected[-1]).get(10)
            producer.close()
            assert read_all(kafka, "t", len(expected)) == expected


def test_order_that_cannot_be_is_raised_where_it_is_given() -> None:
    with pykbroker.Broker() as kafka:
        with pytest.raises(FaultError, match="no API 'Prodce'"):
            kafka.faults(api="Prodce", drop=True)
        with pytest.raises(FaultError, match="no broker 9") as found:
            kafka.stop(9)
        assert [entry.path.name for entry in found.traceback.filter(found)] == [Path(__file__).name, "threaded.py"]
        with pytest.raises(FaultError, match="no client has used a group yet"):
            kafka.faults.move_coordinator("billing")


def test_cluster_without_brokers_does_not_start() -> None:
    with pytest.raises(StartError, match="one broker or more"):
        pykbroker.Cluster(0).__enter__()


def test_end_does_not_wait_for_a_call_whose_caller_was_interrupted() -> None:
    outcomes: list[BaseException] = []

    def wait() -> None:
        try:
            fault.wait(timeout_s=30)
        except (CancelledError, TimeoutError) as error:
            outcomes.append(error)

    with pykbroker.Broker() as kafka:
        fault = kafka.faults.add(Fault(api="Produce", drop=True))
        tasks = len(kafka._call(anyio.get_running_tasks))
        waiting = threading.Thread(target=wait)
        waiting.start()
        while len(kafka._call(anyio.get_running_tasks)) == tasks:
            pass
    waiting.join()
    assert isinstance(outcomes[0], CancelledError)


@pytest.mark.parametrize(
    ("properties", "error"),
    [({"listeners": "PLAINTEXT://127.0.0.1:{taken}"}, StartError), ({"num.partitions": "many"}, ConfigError)],
)
def test_error_of_the_start_is_raised_in_the_caller(properties: dict[str, str], error: type[Exception]) -> None:
    threads = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        filled = {name: value.format(taken=taken.getsockname()[1]) for name, value in properties.items()}
        with pytest.raises(error):
            pykbroker.Broker(properties=filled).__enter__()
    assert set(threading.enumerate()) <= threads


def test_package_has_what_its_users_name() -> None:
    assert all(getattr(pykbroker, name).__name__ == name for name in pykbroker.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Brokers'"):
        _ = pykbroker.Brokers


def test_what_the_body_raises_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), pykbroker.Broker():
        _ = 1 / 0


@pytest.mark.slow
@pytest.mark.parallel
def test_a_hundred_starts_leak_no_thread_no_descriptor_and_no_memory() -> None:
    """In a process of its own, where nobody else's threads come and go meanwhile."""
    done = subprocess.run([sys.executable, BENCH, "leaks"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.count("100 starts"), "MISSED" in done.stdout) == (0, 4, False), done


def test_broker_in_a_thread_serves_a_test_that_runs_an_event_loop() -> None:
    aiokafka = pytest.importorskip("aiokafka")

    async def use(kafka: ThreadedCluster) -> bytes:
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            await producer.send_and_wait("t", b"hello")
        kafka.reset()
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            await producer.send_and_wait("t", b"again")
        consumer = aiokafka.AIOKafkaConsumer("t", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        async with consumer:
            value: bytes = (await consumer.getone()).value
            return value

    async def main() -> bytes:
        with pykbroker.Broker() as kafka:
            return await use(kafka)

    assert asyncio.run(main()) == b"again"


# reset


def test_reset_leaves_nothing_and_clients_that_are_connected_go_on() -> None:
    # Else the consumer, which still wants its topic, creates it again.
    with pykbroker.Broker(properties={"auto.create.topics.enable": False}) as kafka, contextlib.ExitStack() as clients:
        kafka.create_topic("t")
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
        clients.callback(producer.close)
        consumer = KafkaConsumer(
            "t",
            bootstrap_servers=kafka.bootstrap,
            group_id="g",
            auto_offset_reset="earliest",
            metadata_max_age_ms=100,
            heartbeat_interval_ms=50,
            allow_auto_create_topics=False,  # it asks for the topic while that is away
        )
        clients.callback(consumer.close)
        producer.send("t", b"before").get(10)
        assert next(consumer).value == b"before"
        consumer.commit({TopicPartition("t", 0): OffsetAndMetadata(1, "", -1)})
        admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        clients.callback(admin.close)
        assert admin.list_topics() != []
        kafka.reset()
        assert set(admin.list_topics()) <= {"__consumer_offsets"}, "which the consumer asks for again"
        kafka.create_topic("t")
        assert producer.send("t", b"after").get(10).offset == 0
        assert next(consumer).value == b"after"
        assert kafka.bugs == 0


def test_reset_ends_faults_and_starts_brokers_that_are_down() -> None:
    with pykbroker.Cluster(2) as kafka:
        fault = kafka.faults.add(Fault(api="Produce", drop=True))
        kafka.faults.jump_clock(3_600_000)
        kafka.faults.freeze(1)
        kafka.kill(2)
        kafka.reset()
        assert kafka.brokers == [1, 2]
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
        kafka.create_topic("t", 1, replication_factor=2)
        producer.send("t", b"v").get(10)
        producer.close()
        assert fault.hits == 0


# Several brokers


def confluent_producer(kafka: ThreadedCluster) -> Callable[..., None]:
    """Return what sends a record and waits until it is acknowledged.

    By librdkafka: kafka-python forgets to close sockets whose connect is refused, which the tests do not let pass.
    """
    confluent_kafka = pytest.importorskip("confluent_kafka")
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap, "acks": "all"})

    def send(topic: str, value: bytes, partition: int = 0) -> None:
        outcomes: list[object] = []
        producer.produce(topic, value, partition=partition, on_delivery=lambda error, _: outcomes.append(error))
        assert producer.flush(30) == 0
        assert outcomes == [None]

    return send


def test_brokers_of_a_cluster_are_stopped_killed_and_started_alone_on_their_ports() -> None:
    with pykbroker.Cluster(brokers=3) as kafka:
        bootstrap = kafka.bootstrap
        assert len(bootstrap.split(",")) == 3
        kafka.create_topic("t", 3)
        send = confluent_producer(kafka)
        for down in (kafka.stop, kafka.kill):
            down(2)
            assert kafka.brokers == [1, 3]
            for partition in range(3):
                send("t", b"v", partition)
            kafka.start(2)
            assert kafka.brokers == [1, 2, 3]
        assert kafka.bootstrap == bootstrap
        with pytest.raises(FaultError, match="no broker 7"):
            kafka.stop(7)
        assert kafka.bugs == 0


def test_a_single_broker_can_be_restarted_with_its_data() -> None:
    with pykbroker.Broker() as kafka:
        kafka.create_topic("t", 1)
        send = confluent_producer(kafka)
        send("t", b"1")
        down: list[Callable[[], None]] = [kafka.stop, kafka.kill]
        for stop in down:
            stop()
            assert kafka.brokers == []
            kafka.start()
        send("t", b"2")
        assert read_all(kafka, "t", 2) == [b"1", b"2"]
