"""What /metrics says of logs: flushes, the cleaner, log directories."""

from pathlib import Path

import anyio
import pytest

from pykbroker.broker import Broker
from pykbroker.clock import SimulatedClock
from tests.support.client import Client, create_topic, partition_of, produce_of
from tests.support.running import DEADLINE_S, running, until
from tests.web.http import scrape
from tests.web.loads import create_with
from wire.messages.placement import AlterReplicaLogDir, AlterReplicaLogDirsRequest, AlterReplicaLogDirTopic
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.records import Record, build_batch

pytestmark = pytest.mark.anyio

FLUSHES = "kafka_log_logflushstats_logflushrateandtimems"
CLEANER = "kafka_log_logcleaner"
MANAGER = "kafka_log_logcleanermanager"
MB = 1024 * 1024


async def test_flushes_of_requests_and_of_the_thread_are_counted(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "usual")
        await client.ask(produce_of("usual", b"1"), 9)
        assert (await scrape(broker)).value(f"{FLUSHES}_count") == 0
        await create_with(client, "rolled", segment_bytes=str(MB))
        for _ in range(2):
            await client.ask(produce_of("rolled", b"x" * 600_000), 9)
        with anyio.fail_after(DEADLINE_S):
            while (await scrape(broker)).value(f"{FLUSHES}_count") == 0:
                pass  # until the thread has flushed the first segment
        await create_with(client, "t", flush_messages="1")
        for _ in range(3):
            await client.ask(produce_of("t", b"x"), 9)
        scraped = await scrape(broker)
        assert scraped.value(f"{FLUSHES}_count") == 4
        assert scraped.value(f"{FLUSHES}_sum") > 0
        assert scraped.value(FLUSHES, quantile="0.99") > 0


async def two_segments(client: Client, clock: SimulatedClock, **configs: str) -> None:
    """Make a compacted topic `t`, with a key twice in all but the last segment, and what fills that one."""
    await create_with(client, "t", cleanup_policy="compact", segment_bytes=str(MB), **configs)
    for key, size in ((b"a", 300_000), (b"a", 300_000), (b"b", 600_000)):
        batch = build_batch([Record(timestamp=clock.time_ms(), key=key, value=b"x" * size)])
        data = [TopicProduceData("t", partition_data=[PartitionProduceData(0, batch)])]
        answer = await client.ask(ProduceRequest(acks=1, timeout_ms=1000, topic_data=data), 9)
        assert answer.responses[0].partition_responses[0].error_code == 0, answer


def run_cleaner(broker: Broker, clock: SimulatedClock) -> None:
    clock.advance(broker.config.log_cleaner_backoff_ms)
    cleaner = broker.services.log_dirs.cleaner_in_use
    assert cleaner is not None
    while cleaner.is_busy:
        cleaner.join()
        clock.advance(20)


async def test_cleaner_tells_what_its_last_cleaning_did_and_when_it_looked(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        before = await scrape(broker)
        assert before.value(f"{CLEANER}_cleaner_recopy_percent") == before.value(f"{MANAGER}_max_dirty_percent") == 0
        await two_segments(client, clock, max_compaction_lag_ms="5000")
        log = partition_of(broker, "t").log
        read_bytes = sum(segment.size for segment in log.segments[:-1])
        run_cleaner(broker, clock)
        left_bytes = sum(segment.size for segment in log.segments[:-1])
        assert 0 < left_bytes < read_bytes
        scraped = await scrape(broker)
        assert scraped.value(f"{CLEANER}_cleaner_recopy_percent") == 100 * left_bytes // read_bytes
        assert scraped.value(f"{CLEANER}_max_compaction_delay_secs") == 10
        assert scraped.value(f"{MANAGER}_max_dirty_percent") == 0  # when it looked again
        assert scraped.value(f"{CLEANER}_deadthreadcount") == 0
        since_ms = scraped.value(f"{MANAGER}_time_since_last_run_ms")
        clock.advance(700)
        assert (await scrape(broker)).value(f"{MANAGER}_time_since_last_run_ms") == since_ms + 700
        clock.advance(broker.config.log_cleaner_backoff_ms)
        assert (await scrape(broker)).value(f"{MANAGER}_time_since_last_run_ms") < broker.config.log_cleaner_backoff_ms


async def test_log_that_cannot_be_cleaned_is_told_with_its_size(tmp_path: Path) -> None:
    clock = SimulatedClock()
    (tmp_path / "a").mkdir()
    dirs = {"log_dirs": f"{tmp_path / 'a'},{tmp_path / 'b'}"}
    async with (
        running(tmp_path, clock=clock, pykbroker_http_listener="0", **dirs) as broker,
        Client.connect(broker) as client,
    ):
        await two_segments(client, clock)
        log = partition_of(broker, "t").log
        path = log.directory / "00000000000000000000.log"
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
        run_cleaner(broker, clock)
        here, other = sorted(
            (each.absolute_path for each in broker.services.log_dirs.directories),
            key=lambda each: each != log.log_directory.absolute_path,
        )
        scraped = await scrape(broker)
        assert scraped.values(f"{MANAGER}_uncleanable_partitions_count") == {(here,): 1, (other,): 0}
        assert scraped.values(f"{MANAGER}_uncleanable_bytes") == {
            (here,): sum(segment.size for segment in log.segments[:-1]),
            (other,): 0,
        }


async def test_cleaner_that_is_switched_off_tells_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0", log_cleaner_enable="false") as broker:
        assert not any(name.startswith(CLEANER) for name in (await scrape(broker)).names)


async def test_replica_on_its_way_lags_until_it_is_there(tmp_path: Path) -> None:
    clock = SimulatedClock()
    for name in "ab":
        (tmp_path / name).mkdir()
    dirs = {"log_dirs": f"{tmp_path / 'a'},{tmp_path / 'b'}"}
    async with (
        running(tmp_path, clock=clock, pykbroker_http_listener="0", **dirs) as broker,
        Client.connect(broker) as client,
    ):
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1", b"2"), 9)
        lag = "kafka_server_replicaalterlogdirsmanager_maxlag"
        of_moves = {"clientId": "ReplicaAlterLogDirs"}
        assert (await scrape(broker)).value(lag, **of_moves) == 0
        there = AlterReplicaLogDir(str(tmp_path / "b"), [AlterReplicaLogDirTopic("t", [0])])
        answer = await client.ask(AlterReplicaLogDirsRequest([there]), 2)
        assert answer.results[0].partitions[0].error_code == 0
        assert (await scrape(broker)).value(lag, **of_moves) == 2

        def is_there() -> bool:
            clock.advance(2)
            return partition_of(broker, "t").log.directory.parent == tmp_path / "b"

        await until(is_there)
        assert (await scrape(broker)).value(lag, **of_moves) == 0


async def test_cordoned_log_directory_is_told(tmp_path: Path) -> None:
    dirs = {"log_dirs": f"{tmp_path / 'a'},{tmp_path / 'b'}", "cordoned_log_dirs": str(tmp_path / "b")}
    async with running(tmp_path, pykbroker_http_listener="0", **dirs) as broker:
        scraped = await scrape(broker)
        assert scraped.values("kafka_log_logmanager_logdirectorycordoned") == {
            (str(tmp_path / "a"),): 0,
            (str(tmp_path / "b"),): 1,
        }
        assert scraped.value("kafka_log_logmanager_cordonedlogdirectorycount") == 1
