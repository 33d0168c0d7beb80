"""Where the time of a request goes, and what quotas and codecs do to it, as /metrics tells it."""

from pathlib import Path

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.study.tracing import Tracing
from tests.server.test_throttling import set_quota
from tests.support.client import Client, create_topic, fetch_of, produce_of, values_of
from tests.support.running import running, until
from tests.web.http import Scraped, scrape
from tests.web.loads import create_with
from wire.compression import Codec
from wire.errors import ErrorCode
from wire.messages.metadata import MetadataRequest
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.records import Record, build_batch

pytestmark = pytest.mark.anyio

REQUESTS = "kafka_network_requestmetrics"
TOPICS = "kafka_server_brokertopicmetrics"


def sums_of(scraped: Scraped, request: str) -> dict[str, float]:
    """The milliseconds of all requests of a kind, by what they went to."""
    names = ("total", "local", "remote", "requestqueue", "responsequeue", "responsesend", "throttle")
    return {name: scraped.value(f"{REQUESTS}_{name}timems_sum", request=request) for name in names}


async def test_answer_behind_one_that_waits_waits_in_the_response_queue(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        fetch, metadata = client.encode(fetch_of("t", max_wait_ms=500), 12), client.encode(MetadataRequest([]), 9)
        started = broker.metrics.requests_total
        await client.send_bytes(fetch + metadata)
        await until(lambda: broker.metrics.requests_total == started + 2)
        clock.advance(500)
        await client.receive()
        await client.receive()
        scraped = await scrape(broker)
        nothing = dict.fromkeys(sums_of(scraped, "Fetch"), 0)
        assert sums_of(scraped, "Fetch") == {**nothing, "total": 500, "remote": 500}
        assert sums_of(scraped, "FetchConsumer") == sums_of(scraped, "Fetch")
        assert sums_of(scraped, "Metadata") == {**nothing, "total": 500, "responsequeue": 500}
        for name in ("total", "remote", "responsequeue", "responsesend", "throttle"):
            assert scraped.value(f"{REQUESTS}_{name}timems_count", request="Metadata") == 1, name


async def test_answer_that_the_client_is_slow_to_take_is_being_sent(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock, pykbroker_http_listener="0") as broker,
        Client.connect(broker, receive_buffer=4096) as client,
        Client.connect(broker) as producer,
    ):
        await create_topic(producer, "t")
        for _ in range(16):
            await producer.ask(produce_of("t", b"x" * 900_000), 9)
        started = broker.metrics.requests_total
        await client.send(fetch_of("t"), version=12)
        await until(lambda: broker.metrics.requests_total == started + 1)
        assert (await scrape(broker)).value(f"{REQUESTS}_totaltimems_count", request="FetchConsumer") == 0
        clock.advance(300)
        await client.receive()
        scraped = await scrape(broker)
        nothing = dict.fromkeys(sums_of(scraped, "Fetch"), 0)
        assert sums_of(scraped, "FetchConsumer") == {**nothing, "total": 300, "responsesend": 300}


async def test_request_that_is_throttled_counts_once_with_the_time_that_it_was_told(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1"), 9)
        await set_quota(client, "producer_byte_rate", 100.0)
        throttle_ms = (await client.ask(produce_of("t", b"x" * 2000), 9)).throttle_time_ms
        assert throttle_ms > 0
        scraped = await scrape(broker)
        assert scraped.value(f"{REQUESTS}_throttletimems_sum", request="Produce") == throttle_ms
        assert scraped.value(f"{REQUESTS}_throttletimems_count", request="Produce") == 2
        assert scraped.value(f"{REQUESTS}_throttletimems", request="Produce", quantile="0.50") == 0
        assert scraped.value(f"{REQUESTS}_errors_total", request="Produce", error="NONE") == 2
        assert scraped.value(f"{REQUESTS}_totaltimems_count", request="Produce") == 2


async def test_fetch_under_a_quota_counts_as_any_other(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1"), 9)
        await set_quota(client, "consumer_byte_rate", 1e9)
        await client.ask(fetch_of("t"), 12)
        await client.ask(fetch_of("t", 99), 12)
        scraped = await scrape(broker)
        assert scraped.value(f"{TOPICS}_bytesout_total", topic="t") == len(build_batch([Record(value=b"1")]))
        assert scraped.value(f"{REQUESTS}_totaltimems_count", request="FetchConsumer") == 2
        assert scraped.value(f"{REQUESTS}_errors_total", request="Fetch", error="OFFSET_OUT_OF_RANGE") == 1


async def test_records_that_get_the_codec_of_their_topic_are_converted(tmp_path: Path) -> None:
    """Kafka 4.4 counts them so, too: its producemessageconversions is not about old formats alone."""
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_with(client, "lz4", compression_type="lz4")
        for codec in (Codec.GZIP, Codec.LZ4):
            batch = build_batch([Record(value=b"x" * 100) for _ in range(3)], codec=codec)
            data = [TopicProduceData("lz4", partition_data=[PartitionProduceData(0, batch)])]
            answer = await client.ask(ProduceRequest(acks=1, timeout_ms=1000, topic_data=data), 9)
            assert answer.responses[0].partition_responses[0].error_code == 0
        scraped = await scrape(broker)
        assert scraped.values(f"{TOPICS}_producemessageconversions_total") == {(): 3, ("lz4",): 3}
        assert scraped.value(f"{REQUESTS}_messageconversionstimems_count", request="Produce") == 2
        assert scraped.value(f"{REQUESTS}_messageconversionstimems_sum", request="Produce") > 0
        assert scraped.value(f"{REQUESTS}_messageconversionstimems", request="Produce", quantile="0.50") == 0


async def test_bytes_of_batches_that_are_too_large_are_rejected(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_with(client, "small", max_message_bytes="1000")
        answer = await client.ask(produce_of("small", b"x" * 5000), 9)
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.MESSAGE_TOO_LARGE
        await client.ask(produce_of("small", b"1"), 9)
        size = len(build_batch([Record(value=b"x" * 5000)]))
        assert (await scrape(broker)).values(f"{TOPICS}_bytesrejected_total") == {(): size, ("small",): size}


async def test_times_are_told_while_somebody_traces(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1"), 9)
        with Tracing(broker).frames.subscription() as seen:
            assert values_of(await client.ask(fetch_of("t"), 12)) == [b"1"]  # with a slice of a file
            await client.ask(MetadataRequest([]), 9)
            assert len(seen.take()) == 4
        scraped = await scrape(broker)
        for request in ("Fetch", "Metadata"):
            assert scraped.value(f"{REQUESTS}_totaltimems_count", request=request) == 1
            assert scraped.value(f"{REQUESTS}_responsesendtimems_sum", request=request) > 0
