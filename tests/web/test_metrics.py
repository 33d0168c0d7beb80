"""What /metrics says after traffic that is known."""

import re
import struct
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics

from pykbroker.clock import SimulatedClock
from tests.support.client import Client, create_topic, fetch_of, produce_of
from tests.support.running import running, until
from tests.web.http import get, scrape
from wire.errors import ErrorCode
from wire.messages.brokers import ApiVersionsRequest
from wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from wire.messages.metadata import MetadataRequest
from wire.messages.offsets import DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic
from wire.messages.topics import DeleteTopicsRequest
from wire.records import Record, build_batch

pytestmark = pytest.mark.anyio

KAFKA_NAMES = Path(__file__).parent.parent / "data" / "jmx_exporter_names.tsv"
IN = "kafka_server_brokertopicmetrics"
REQUESTS = "kafka_network_requestmetrics"


def batch_bytes(*values: bytes) -> int:
    return len(build_batch([Record(value=value) for value in values]))


async def test_records_and_bytes_in_are_counted_by_topic_and_of_all(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "a", partitions=2)
        await create_topic(client, "b")
        await client.ask(produce_of("a", b"1", b"2", b"3"), 9)
        await client.ask(produce_of("a", b"4", partition=1), 9)
        await client.ask(produce_of("b", b"5" * 100), 9)
        scraped = await scrape(broker)
        a_bytes, b_bytes = batch_bytes(b"1", b"2", b"3") + batch_bytes(b"4"), batch_bytes(b"5" * 100)
        assert scraped.values(f"{IN}_messagesin_total") == {(): 5, ("a",): 4, ("b",): 1}
        assert scraped.values(f"{IN}_bytesin_total") == {(): a_bytes + b_bytes, ("a",): a_bytes, ("b",): b_bytes}
        assert scraped.values(f"{IN}_totalproducerequests_total") == {(): 3, ("a",): 2, ("b",): 1}
        await client.ask(produce_of("b", b"6"), 9)
        assert (await scrape(broker)).values(f"{IN}_messagesin_total") == {(): 6, ("a",): 4, ("b",): 2}


async def test_what_a_broker_finds_on_disk_did_not_come_in(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1"), 9)
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await client.ask(produce_of("t", b"2", b"3"), 9)
        scraped = await scrape(broker)
        assert scraped.value(f"{IN}_messagesin_total", topic="t") == 2
        assert scraped.value(f"{IN}_bytesin_total", topic="t") == batch_bytes(b"2", b"3")
        assert scraped.value("kafka_log_log_logendoffset", topic="t", partition="0") == 3


async def test_deleted_segments_leave_what_came_in_as_it_is(tmp_path: Path) -> None:
    clock = SimulatedClock()
    settings = {"log_segment_bytes": str(1024 * 1024), "log_retention_check_interval_ms": "1000"}
    async with (
        running(tmp_path, clock=clock, pykbroker_http_listener="0", **settings) as broker,
        Client.connect(broker) as client,
    ):
        await create_topic(client, "t")
        size = 0
        for _ in range(3):
            await client.ask(produce_of("t", b"x" * 800_000), 9)
            size += batch_bytes(b"x" * 800_000)
        deleted = DeleteRecordsTopic("t", [DeleteRecordsPartition(0, 2)])
        await client.ask(DeleteRecordsRequest([deleted], timeout_ms=1000), 2)
        clock.advance(60_000)
        scraped = await scrape(broker)
        assert scraped.value("kafka_log_log_logstartoffset", topic="t", partition="0") == 2
        assert scraped.value("kafka_log_log_size", topic="t", partition="0") == size // 3
        assert scraped.value("kafka_log_log_numlogsegments", topic="t", partition="0") == 1
        assert scraped.value(f"{IN}_bytesin_total", topic="t") == size


async def test_counters_of_a_deleted_topic_go_and_those_of_all_stay(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1"), 9)
        await client.ask(DeleteTopicsRequest(topic_names=["t"], timeout_ms=1000), 5)
        scraped = await scrape(broker)
        for name in ("messagesin", "bytesin", "totalproducerequests"):
            assert list(scraped.values(f"{IN}_{name}_total")) == [()], name
            assert scraped.value(f"{IN}_{name}_total") > 0
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1", b"2"), 9)
        assert (await scrape(broker)).values(f"{IN}_messagesin_total") == {(): 3, ("t",): 2}


async def test_bytes_out_are_those_that_consumers_got(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        topic_id = await create_topic(client, "t")
        await client.ask(produce_of("t", b"1"), 9)
        await client.ask(fetch_of("t"), 12)
        await client.ask(fetch_of("t", topic_id=topic_id), 13)
        await client.send(fetch_of("t", 1, max_wait_ms=20_000), version=12)
        async with Client.connect(broker) as producer:
            await producer.ask(produce_of("t", b"2"), 9)
        await client.receive()
        scraped = await scrape(broker)
        assert scraped.values(f"{IN}_bytesout_total") == {(): 3 * batch_bytes(b"1"), ("t",): 3 * batch_bytes(b"1")}
        assert scraped.values(f"{IN}_totalfetchrequests_total") == {(): 3, ("t",): 3}
        assert scraped.value(f"{IN}_replicationbytesout_total") == 0
        assert scraped.value(f"{REQUESTS}_requests_total", request="FetchConsumer", version="12") == 2
        assert scraped.value(f"{REQUESTS}_requests_total", request="Fetch", version="13") == 1
        assert not scraped.has(f"{REQUESTS}_totaltimems_count", request="FetchFollower")


async def test_fetches_within_a_session_count_all_that_it_remembers(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        topic_id = await create_topic(client, "t", partitions=3)
        wanted = [FetchTopic("", topic_id, [FetchPartition(index, partition_max_bytes=1000) for index in range(3)])]
        opened = await client.ask(FetchRequest(max_wait_ms=0, topics=wanted, session_epoch=0), 13)
        await client.ask(FetchRequest(max_wait_ms=0, session_id=opened.session_id, session_epoch=1), 13)
        scraped = await scrape(broker)
        assert scraped.value(f"{IN}_totalfetchrequests_total", topic="t") == 6
        # One partition less, and then a request that says nothing new.
        forgotten = [ForgottenTopic(topic_id=topic_id, partitions=[2])]
        for epoch, forgets in ((2, forgotten), (3, [])):
            again = FetchRequest(
                max_wait_ms=0,
                session_id=opened.session_id,
                session_epoch=epoch,
                forgotten_topics_data=forgets,
            )
            await client.ask(again, 13)
        assert (await scrape(broker)).value(f"{IN}_totalfetchrequests_total", topic="t") == 6 + 2 + 2
        assert scraped.value("kafka_server_fetchsessioncache_numincrementalfetchsessions") == 1
        assert scraped.value("kafka_server_fetchsessioncache_numincrementalfetchpartitionscached") == 3


async def test_failed_requests_are_those_that_clients_do_not_expect(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        torn = produce_of("t", b"1")
        torn.topic_data[0].partition_data[0].records = b"\0" * 61
        answers = [
            await client.ask(request, 9)
            for request in (
                torn,
                produce_of("t", b"1", partition=7),
                produce_of("nothing", b"1"),
                produce_of("t", b"1", acks=3),
            )
        ]
        codes = [ErrorCode(answer.responses[0].partition_responses[0].error_code).name for answer in answers]
        await client.ask(fetch_of("t", 99), 12)
        scraped = await scrape(broker)
        assert codes == [
            "CORRUPT_MESSAGE",
            "UNKNOWN_TOPIC_OR_PARTITION",
            "UNKNOWN_TOPIC_OR_PARTITION",
            "INVALID_REQUIRED_ACKS",
        ]
        assert scraped.values(f"{IN}_failedproducerequests_total") == {(): 1, ("t",): 1}
        assert scraped.values(f"{IN}_failedfetchrequests_total") == {(): 0, ("t",): 0}
        errors = scraped.values(f"{REQUESTS}_errors_total")
        assert errors["CORRUPT_MESSAGE", "Produce"] == errors["INVALID_REQUIRED_ACKS", "Produce"] == 1
        assert errors["UNKNOWN_TOPIC_OR_PARTITION", "Produce"] == 2
        assert errors["OFFSET_OUT_OF_RANGE", "Fetch"] == 1
        assert errors["NONE", "Fetch"] == 1  # of the response as a whole


async def test_requests_are_counted_by_version_with_times_and_sizes(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        for _ in range(3):
            await client.ask(MetadataRequest(topics=[]), 9)
        await client.ask(MetadataRequest(topics=[]), 12)
        await client.ask(ApiVersionsRequest("test", "1.0"), 3)
        scraped = await scrape(broker)
        assert scraped.values(f"{REQUESTS}_requests_total") == {
            ("Metadata", "9"): 3,
            ("Metadata", "12"): 1,
            ("ApiVersions", "3"): 1,
        }
        assert scraped.values(f"{REQUESTS}_errors_total") == {("NONE", "Metadata"): 4, ("NONE", "ApiVersions"): 1}
        for name in ("totaltimems", "localtimems", "remotetimems", "requestbytes"):
            assert scraped.value(f"{REQUESTS}_{name}_count", request="Metadata") == 4
        quantiles = [labels[0] for labels in scraped.values(f"{REQUESTS}_totaltimems") if labels[1] == "Metadata"]
        assert quantiles == ["0.50", "0.75", "0.95", "0.98", "0.99", "0.999"]
        size = len(client.encode(MetadataRequest(topics=[]), 9)) - 4
        assert scraped.value(f"{REQUESTS}_requestbytes", request="Metadata", quantile="0.50") == pytest.approx(
            size, rel=1 / 16
        )


async def test_versions_that_nobody_serves_are_no_labels(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        for version in (*range(100, 110), -1, 32767):
            await client.send_bytes(struct.pack(">ihhihb", 11, 18, version, 7, -1, 0))
            answer = await client.receive_frame()
            assert answer[:6] == struct.pack(">ih", 7, ErrorCode.UNSUPPORTED_VERSION)
        counted = (await scrape(broker)).values(f"{REQUESTS}_requests_total")
        assert counted == {("ApiVersions", "0"): 12}


async def test_connection_that_is_closed_for_an_answer_is_no_server_error(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await client.send(produce_of("nothing", b"1", acks=0), version=9)
        assert await client.is_closed()
        assert (await scrape(broker)).values(f"{REQUESTS}_errors_total") == {}


async def test_time_of_a_request_that_waited_is_remote_time(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        await client.send(fetch_of("t", max_wait_ms=500), version=12)
        purgatory = "kafka_server_delayedoperationpurgatory_numdelayedoperations"
        await until(lambda: broker.dispatcher.parked[1])  # type: ignore[attr-defined]
        assert (await scrape(broker)).value(purgatory, delayedOperation="Fetch") == 1
        clock.advance(500)
        await client.receive()
        scraped = await scrape(broker)
        assert scraped.value(purgatory, delayedOperation="Fetch") == 0
        for name, expected in (("totaltimems", 500), ("remotetimems", 500), ("localtimems", 0)):
            found = scraped.value(f"{REQUESTS}_{name}", request="FetchConsumer", quantile="0.99")
            assert found == pytest.approx(expected, rel=1 / 16), name
        assert scraped.value(f"{REQUESTS}_totaltimems_sum", request="Fetch") == 500
        # The client of a fetch that waits is gone: so is the fetch.
        async with Client.connect(broker) as leaving:
            await leaving.send(fetch_of("t", max_wait_ms=500), version=12)
            await until(lambda: broker.dispatcher.parked[1])  # type: ignore[attr-defined]
        await until(lambda: not broker.dispatcher.parked[1])  # type: ignore[attr-defined]


async def test_connections_are_told_by_listener_and_software(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker:
        async with Client.connect(broker) as client, Client.connect(broker) as other:
            await client.ask(ApiVersionsRequest("librdkafka", "2.8.0"), 3)
            await other.ask(ApiVersionsRequest("apache-kafka-java", "4.4.0"), 3)
            scraped = await scrape(broker)
        prefix = "kafka_server_socket_server_metrics"
        assert scraped.values(f"{prefix}_connection_count") == {("PLAINTEXT", "0"): 2}
        assert scraped.values(f"{prefix}_connections_software") == {
            ("librdkafka", "2.8.0", "PLAINTEXT", "0"): 1,
            ("apache-kafka-java", "4.4.0", "PLAINTEXT", "0"): 1,
        }
        assert scraped.value("pykbroker_connections") == scraped.value("pykbroker_connections_accepted_total") == 2
        await until(lambda: not broker.metrics.connections)
        assert (await scrape(broker)).values(f"{prefix}_connection_count") == {("PLAINTEXT", "0"): 0}


async def test_broker_and_its_place_in_the_cluster_are_told(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t", partitions=3)
        scraped = await scrape(broker)
        for name, value in {
            "kafka_server_kafkaserver_brokerstate": 3,
            "kafka_server_replicamanager_partitioncount": 3,
            "kafka_server_replicamanager_leadercount": 3,
            "kafka_server_replicamanager_offlinereplicacount": 0,
            "kafka_server_replicamanager_underreplicatedpartitions": 0,
            "kafka_server_replicamanager_underminisrpartitioncount": 0,
            "kafka_server_replicamanager_atminisrpartitioncount": 3,
            "kafka_controller_kafkacontroller_activecontrollercount": 1,
            "kafka_controller_kafkacontroller_activebrokercount": 1,
            "kafka_controller_kafkacontroller_fencedbrokercount": 0,
            "kafka_controller_kafkacontroller_globaltopiccount": 1,
            "kafka_controller_kafkacontroller_globalpartitioncount": 3,
            "kafka_controller_kafkacontroller_offlinepartitionscount": 0,
            "kafka_controller_kafkacontroller_preferredreplicaimbalancecount": 0,
            "kafka_log_logmanager_offlinelogdirectorycount": 0,
            "pykbroker_bugs_total": 0,
            "pykbroker_store_followed": 1,
        }.items():
            assert scraped.value(name) == value, name
        assert scraped.value("pykbroker_store_revision") == broker.services.cluster.image.revision
        assert 0 < scraped.value("pykbroker_lease_seconds") <= 9
        directory = {"logDirectory": str(tmp_path)}
        assert scraped.value("kafka_log_logmanager_logdirectoryoffline", **directory) == 0
        total, free = (
            scraped.value(f"pykbroker_log_directory_{name}", **directory) for name in ("bytes", "free_bytes")
        )
        assert 0 <= free <= total
        assert scraped.value("process_open_fds") > 0


async def test_failed_log_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    dirs = f"{tmp_path / 'a'},{tmp_path / 'b'}"
    async with (
        running(tmp_path, pykbroker_http_listener="0", log_dirs=dirs) as broker,
        Client.connect(broker) as client,
    ):
        await create_topic(client, "t", partitions=4)
        broker.services.log_dirs.directories[0].fail("by order of the test")
        await until(lambda: len(list(broker.services.replicas.partitions())) == 2)
        scraped = await scrape(broker)
        assert scraped.value("kafka_log_logmanager_logdirectoryoffline", logDirectory=str(tmp_path / "a")) == 1
        assert scraped.value("kafka_log_logmanager_logdirectoryoffline", logDirectory=str(tmp_path / "b")) == 0
        assert scraped.value("kafka_log_logmanager_offlinelogdirectorycount") == 1
        assert scraped.value("kafka_server_replicamanager_offlinereplicacount") == 2
        assert not scraped.has("pykbroker_log_directory_bytes", logDirectory=str(tmp_path / "a"))


async def test_open_metrics_is_served_to_whoever_asks_for_it(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1"), 9)
        response = await get(broker, "/metrics", accept="application/openmetrics-text;version=1.0.0")
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        names = {family.name for family in parse_open_metrics(response.text)}
        assert {"kafka_log_log_size", f"{IN}_messagesin", "kafka_consumergroup_lag"} <= names


async def test_kafkas_names_and_labels_are_those_of_kafka(tmp_path: Path) -> None:
    known = {}
    for line in KAFKA_NAMES.read_text().splitlines():
        if not line.startswith("#"):
            name, _, label_sets = line.partition("\t")
            known[name] = {frozenset(() if labels == "-" else labels.split(",")) for labels in label_sets.split()}
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1"), 9)
        await client.ask(fetch_of("t"), 12)
        samples = (await scrape(broker)).samples
    checked = 0
    for name, labels in samples:
        if re.match("kafka_(server|network|log|controller|cluster|coordinator)_", name) and not name.endswith("_sum"):
            assert name in known, f"Kafka has no {name}"
            assert frozenset(label for label, _ in labels) in known[name], (name, labels)
            checked += 1
    assert checked > 150
