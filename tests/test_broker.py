"""A whole broker: it starts, serves, stops quickly whatever clients do, leaves nothing behind, and starts again."""

import contextlib
import gc
import json
import os
import socket
import threading
from pathlib import Path

import anyio
import pytest

from pykbroker.broker import Broker, StartError
from pykbroker.clock import SimulatedClock, SystemClock
from tests.support.client import (
    Client,
    base_offset_of,
    create_topic,
    fetch_of,
    partition_of,
    produce_of,
    values_of,
)
from tests.support.running import BACKENDS, DEADLINE_S, config_for, have_started, running, until
from wire.errors import ErrorCode
from wire.messages.brokers import ApiVersionsRequest
from wire.messages.metadata import MetadataRequest, MetadataRequestTopic

pytestmark = pytest.mark.anyio

VERSIONS = ApiVersionsRequest("test", "1.0")
TOPIC = "lines"
STARTS = 40


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


async def test_metadata_leads_back_to_the_broker(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        answer = await client.ask(MetadataRequest([]), 9)
        (told,) = answer.brokers
        assert f"{told.host}:{told.port}" == broker.bootstrap
        assert broker.bootstrap != "127.0.0.1:0"
        assert answer.controller_id == told.node_id


async def test_cluster_that_is_founded_gets_the_id_that_was_told_and_keeps_it(tmp_path: Path) -> None:
    first, other = "4L6g3nShT-eMCtK--X86sw", "5L6g3nShT-eMCtK--X86sw"
    for told in (first, other):
        async with running(tmp_path, pykbroker_cluster_id=told) as broker, Client.connect(broker) as client:
            assert (await client.ask(MetadataRequest([]), 9)).cluster_id == first


async def test_each_of_several_listeners_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    listeners = {
        "listeners": "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0",
        "advertised_listeners": "INSIDE://127.0.0.1:1,OUTSIDE://kafka.example:2",
        "listener_security_protocol_map": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT",
        "inter_broker_listener_name": "INSIDE",
    }
    async with running(tmp_path, **listeners):
        told = [message for message in caplog.messages if "is advertised as" in message]
    assert told == ["listener INSIDE is advertised as 127.0.0.1:1", "listener OUTSIDE is advertised as kafka.example:2"]


async def test_advertised_listener_is_what_clients_are_told(tmp_path: Path) -> None:
    async with (
        running(tmp_path, advertised_listeners="PLAINTEXT://kafka.example:19092") as broker,
        Client.connect(broker) as client,
    ):
        assert broker.bootstrap == "kafka.example:19092"
        (told,) = (await client.ask(MetadataRequest([]), 9)).brokers
        assert (told.host, told.port) == ("kafka.example", 19092)


async def test_listener_on_all_addresses_needs_an_advertised_one(tmp_path: Path) -> None:
    listeners = "PLAINTEXT://0.0.0.0:0"
    with pytest.raises(StartError, match=r"advertised\.listeners"):
        async with Broker(config_for(tmp_path, listeners=listeners)):
            pass
    advertised = "PLAINTEXT://localhost:0"
    async with running(tmp_path, listeners=listeners, advertised_listeners=advertised) as broker:
        assert broker.bootstrap == f"localhost:{broker.addresses[0][1]}"


async def test_listener_on_ipv6_is_told_as_clients_write_it(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with running(tmp_path, listeners="PLAINTEXT://[::1]:0") as broker:
        assert broker.bootstrap == f"[::1]:{broker.addresses[0][1]}"


async def test_each_listener_tells_its_own_address(tmp_path: Path) -> None:
    async with running(
        tmp_path,
        listeners="INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0",
        listener_security_protocol_map="INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT",
        inter_broker_listener_name="INSIDE",
    ) as broker:
        told = []
        for listener in range(2):
            async with Client.connect(broker, listener=listener) as client:
                (node,) = (await client.ask(MetadataRequest([]), 9)).brokers
                told.append((node.host, node.port))
        assert told == broker.addresses
        assert len(set(told)) == 2


async def test_records_and_topics_survive_a_restart(tmp_path: Path) -> None:
    cluster_ids = set()
    for start in range(3):
        async with running(tmp_path) as broker, Client.connect(broker) as client:
            if not start:
                await create_topic(client, TOPIC, partitions=3)
            assert base_offset_of(await client.ask(produce_of(TOPIC, b"%d" % start, partition=2), 9)) == start
            answer = await client.ask(fetch_of(TOPIC, partition=2), 12)
            assert values_of(answer) == [b"%d" % number for number in range(start + 1)]
            metadata = await client.ask(MetadataRequest([MetadataRequestTopic(name=TOPIC)]), 9)
            assert len(metadata.topics[0].partitions) == 3
            cluster_ids.add(metadata.cluster_id)
    assert len(cluster_ids) == 1


async def test_records_are_written_and_read_by_topic_id(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        topic_id = await create_topic(client, TOPIC)
        assert base_offset_of(await client.ask(produce_of("", b"by id", topic_id=topic_id), 13)) == 0
        answer = await client.ask(fetch_of("", topic_id=topic_id), 18)
        assert answer.responses[0].topic_id == topic_id
        assert values_of(answer) == [b"by id"]
        assert values_of(await client.ask(fetch_of(TOPIC), 12)) == [b"by id"]
        unknown = bytes(15) + b"?"
        answer = await client.ask(produce_of("", b"lost", topic_id=unknown), 13)
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.UNKNOWN_TOPIC_ID
        answer = await client.ask(fetch_of("", topic_id=unknown), 18)
        assert answer.responses[0].partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_ID


async def test_metrics_count_what_happens(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        metrics = broker.metrics
        async with Client.connect(broker) as client, Client.connect(broker) as other:
            frame = client.encode(VERSIONS, 3)
            await client.send_bytes(frame)
            answer = await client.receive_frame()
            await other.send_bytes(b"\xff\xff\xff\xff")
            assert await other.is_closed()
            await until(lambda: metrics.connections == 1)
            assert metrics.connections_total == 2
            assert metrics.requests_total == 1
            assert metrics.bytes_in_total == len(frame) + 4
            assert metrics.bytes_out_total == len(answer) + 4
            assert metrics.protocol_errors_total == 1
            assert metrics.connections_refused_total == 0
        await until(lambda: metrics.connections == 0)


# Stopping


async def test_stop_does_not_wait_for_clients_that_wait_or_are_idle_or_do_not_read(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as clients:
        # Nothing moves the clock: a stop that waited for it, or for a client, would never end.
        async with running(tmp_path, clock=SimulatedClock()) as broker:
            waiting, idle, deaf = [
                await clients.enter_async_context(Client.connect(broker, receive_buffer=4096)) for _ in range(3)
            ]
            await create_topic(idle, TOPIC)
            await idle.ask(produce_of(TOPIC, bytes(8 * 1024 * 1024)), 9)
            signal = partition_of(broker, TOPIC).high_watermark_moved
            await waiting.send(*[fetch_of(TOPIC, 1, max_wait_ms=60_000)] * 10, version=12)
            before = broker.metrics.bytes_out_total
            await deaf.send(fetch_of(TOPIC), version=12)
            await until(lambda: signal.subscribers == 10 and broker.metrics.bytes_out_total > before)
            await idle.send_bytes(b"\0\0\1\0half a frame")
        assert signal.subscribers == 0
        assert await waiting.is_closed()
        assert await idle.is_closed()


async def test_stop_in_the_middle_of_a_topic_creation_is_clean(tmp_path: Path) -> None:
    for _ in range(5):
        async with running(tmp_path) as broker, Client.connect(broker) as client:
            started = have_started(broker, 1)
            await client.send(MetadataRequest([MetadataRequestTopic(name=os.urandom(4).hex())]), version=9)
            await until(started)
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        for topic in (await client.ask(MetadataRequest(None), 9)).topics:
            assert [partition.error_code for partition in topic.partitions] == [0]


async def test_error_of_the_body_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Broker(config_for(tmp_path), is_ephemeral=True):
            raise ZeroDivisionError


async def test_failing_part_ends_the_body_and_stops_the_rest(tmp_path: Path) -> None:
    class BrokenClock(SystemClock):
        async def run(self) -> None:
            raise ZeroDivisionError("a bug")

    with pytest.raises(ExceptionGroup) as raised:
        async with running(tmp_path, clock=BrokenClock()):
            await anyio.sleep_forever()
    assert raised.group_contains(ZeroDivisionError)
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        assert (await client.ask(VERSIONS, 3)).error_code == 0


async def test_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    before = descriptors()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with Broker(config_for(tmp_path), is_ephemeral=True):
            raise AssertionError("was to be cancelled")
    assert scope.cancelled_caught
    assert descriptors() == before
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        assert (await client.ask(VERSIONS, 3)).error_code == 0


async def test_many_starts_and_stops_leak_nothing(tmp_path: Path) -> None:
    async def start_and_stop() -> None:
        async with running(tmp_path) as broker, Client.connect(broker) as client:
            await client.send(VERSIONS, version=3)
            await client.send(MetadataRequest([]), version=3)
            await client.receive()

    await start_and_stop()
    gc.collect()
    before = descriptors(), len(anyio.get_running_tasks())
    threads = threading.active_count()
    for _ in range(STARTS):
        await start_and_stop()
    gc.collect()
    assert (descriptors(), len(anyio.get_running_tasks())) == before
    # Workers of the backend's pool come and go; what a broker leaked would be there STARTS times.
    assert threading.active_count() < threads + STARTS / 2


async def test_several_brokers_live_in_one_process(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for number in range(3):
            broker = await stack.enter_async_context(running(tmp_path / str(number)))
            client = await stack.enter_async_context(Client.connect(broker))
            await create_topic(client, TOPIC)
            assert base_offset_of(await client.ask(produce_of(TOPIC, b"own"), 9)) == 0


# Not starting


async def test_data_in_use_by_another_broker_refuses_to_start(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        before = descriptors()
        with pytest.raises(StartError, match=str(tmp_path)):
            async with Broker(config_for(tmp_path)):
                pass
        assert descriptors() == before
        assert (await client.ask(VERSIONS, 3)).error_code == 0


async def test_port_in_use_refuses_to_start_and_releases_the_data(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        before = descriptors()
        with pytest.raises(StartError, match=f"^cannot listen on 127.0.0.1:{port}: Address already in use$"):
            async with Broker(config_for(tmp_path, listeners=f"PLAINTEXT://127.0.0.1:{port}")):
                pass
        assert descriptors() == before
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        assert (await client.ask(VERSIONS, 3)).error_code == 0


async def test_data_folder_that_is_a_file_refuses_to_start(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("not a folder")
    with pytest.raises(StartError, match=str(path)):
        async with Broker(config_for(path)):
            pass
    assert path.read_text() == "not a folder"


async def test_broken_metadata_refuses_to_start(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    (tmp_path / "metadata.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(StartError, match=r"metadata\.sqlite"), anyio.fail_after(DEADLINE_S):
        async with Broker(config_for(tmp_path)):
            pass


async def test_store_of_another_cluster_refuses_to_start_and_the_logs_stay(tmp_path: Path) -> None:
    async with running(tmp_path / "ours") as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
    async with running(tmp_path / "theirs"):
        pass
    store = f"sqlite:{tmp_path / 'theirs' / 'metadata.sqlite'}"
    with pytest.raises(StartError, match="the data belongs to cluster"), anyio.fail_after(DEADLINE_S):
        async with Broker(config_for(tmp_path / "ours", pykbroker_store=store)):
            pass
    assert (tmp_path / "ours" / f"{TOPIC}-0").is_dir()


@pytest.mark.parametrize("is_kafkas", [False, True])
async def test_logs_without_their_metadata_refuse_to_start_and_stay(tmp_path: Path, is_kafkas: bool) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
    if is_kafkas:  # what lies in the folder of a Kafka that was both broker and controller
        (tmp_path / "__cluster_metadata-0").mkdir()
    kept = tmp_path / "elsewhere"
    (tmp_path / "metadata.sqlite").rename(kept)
    why = "has topics of Apache Kafka" if is_kafkas else "has logs, but the store of the metadata is empty"
    with pytest.raises(StartError, match=f"{tmp_path} {why}"), anyio.fail_after(DEADLINE_S):
        async with Broker(config_for(tmp_path)):
            pass
    assert (tmp_path / f"{TOPIC}-0").is_dir()
    kept.rename(tmp_path / "metadata.sqlite")
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        assert [topic.name for topic in (await client.ask(MetadataRequest(None), 9)).topics] == [TOPIC]


def descriptors() -> list[str]:
    """What is open: by name, since numbers may change hands."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f"/proc/self/fd/{number}")
            found.append(target.partition(":")[0])
    return sorted(found)


async def test_stop_in_order_is_known_by_its_broker_epoch(tmp_path: Path) -> None:
    async def leader_epoch_of_a_run() -> int:
        async with Broker(config_for(tmp_path)) as broker:
            cluster = broker.services.cluster
            if TOPIC not in cluster.image.topics:
                async with Client.connect(broker) as client:
                    await create_topic(client, TOPIC)
            epochs.append(cluster.broker_epoch)
            return cluster.image.topics[TOPIC].partitions[0].leader_epoch

    epochs: list[int] = []
    marker = tmp_path / ".kafka_cleanshutdown"
    assert await leader_epoch_of_a_run() == 0
    assert json.loads(marker.read_text()) == {"version": 0, "brokerEpoch": epochs[-1]}
    assert await leader_epoch_of_a_run() == 0
    # A disk from before the last run: it may lack what was acknowledged since.
    marker.write_text(json.dumps({"version": 0, "brokerEpoch": epochs[0]}))
    assert await leader_epoch_of_a_run() == 1
    assert len(set(epochs)) == 3


async def test_broker_that_does_not_listen_serves_the_sockets_that_it_is_given(tmp_path: Path) -> None:
    config = config_for(tmp_path, listeners="PLAINTEXT://nowhere.example:9092")
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        theirs.setblocking(False)
        async with Broker(config, is_ephemeral=True, listens=False) as broker:
            assert (broker.bootstrap, broker.addresses) == ("nowhere.example:9092", [])
            broker.serve(theirs, listener="PLAINTEXT", client_id="1", host="there")
            answer = await Client(ours).ask(MetadataRequest([]), 9)
            assert [each.host for each in answer.brokers] == ["nowhere.example"]
            assert broker.metrics.connections == 1
        assert broker.metrics.connections == 0


async def test_killed_broker_leaves_its_folder_as_a_crash_would(tmp_path: Path) -> None:
    async with Broker(config_for(tmp_path)) as broker:
        async with Client.connect(broker) as client:
            await create_topic(client, TOPIC)
            await client.ask(produce_of(TOPIC, b"kept"), 9)
        broker.kill()
    assert not (tmp_path / ".kafka_cleanshutdown").exists()
    async with running(tmp_path) as again, Client.connect(again) as client:
        assert again.services.log_dirs.was_unclean
        assert values_of(await client.ask(fetch_of(TOPIC), 11)) == [b"kept"]
