"""Replaying recordings: what Apache Kafka answered is what we answer, and what is different is found."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from golden.compare import justification
from golden.frames import RECORDED_WITH

from pykbroker.broker import Broker
from pykbroker.config import BrokerConfig
from pykbroker.server.dispatch import HANDLERS
from pykbroker.study.replay import Call, Replay, ReplayError
from pykbroker.study.tracing import Tracing
from tests.support.client import Client
from tests.support.running import DEADLINE_S, running
from tests.wire.study.golden import golden_frames
from wire.catalog import API_BY_NAME
from wire.messages.classic_groups import JoinGroupRequest, JoinGroupRequestProtocol, SyncGroupRequest
from wire.messages.metadata import FindCoordinatorRequest, MetadataRequest, MetadataRequestTopic
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.transactions import InitProducerIdRequest
from wire.records import Record, batch_crc, build_batch, read_batch_header
from wire.study.compare import Pairing, compare_answers
from wire.study.exchanges import Direction, TracedFrame
from wire.study.inputs import Input
from wire.study.pcap import read_capture
from wire.study.pcapng import PcapngWriter
from wire.study.translate import translate

pytestmark = pytest.mark.anyio

INIT = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000, producer_id=-1, producer_epoch=-1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def replayed(frames: list[TracedFrame], broker: Broker) -> list[Call]:
    replay = Replay(frames, broker.addresses[0])
    await replay.run()
    return replay.calls


# What it tells was set by a request that is left out: its secrets are not in the recording.
WITHOUT_SECRETS = {"DescribeUserScramCredentials"}


async def test_recorded_session_of_apache_kafka_is_answered_alike(tmp_path: Path) -> None:
    """All frames that Apache Kafka 4.4 was recorded with, as a capture."""
    in_order = sorted(golden_frames(), key=lambda frame: (frame.correlation_id, frame.direction))
    frames = [frame._replace(time_us=number) for number, frame in enumerate(in_order)]
    writer = PcapngWriter()
    capture = Input(io.BytesIO(writer.header() + b"".join(map(writer.frame, frames))))
    captured = [event for event in read_capture(capture) if isinstance(event, TracedFrame)]
    properties = {**RECORDED_WITH, "listeners": "PLAINTEXT://127.0.0.1:0", "log.dirs": str(tmp_path)}
    with anyio.fail_after(3 * DEADLINE_S):
        async with Broker(BrokerConfig.from_properties(properties), is_ephemeral=True) as broker:
            calls = await replayed(captured, broker)
            assert broker.metrics.bugs_total == 0
    assert {call.left_out for call in calls} == {"", "not served", "its secrets are not in the recording"}
    assert sum(not call.left_out for call in calls) >= 2500
    compared = {call.name for call in calls if not call.left_out}
    assert compared >= {"Produce", "Fetch", "JoinGroup", "SyncGroup", "EndTxn", "CreateTopics", "OffsetCommit"}
    assert "GetTelemetrySubscriptions" in compared  # which Apache Kafka answered although it had not promised it
    assert {API_BY_NAME[name].key for name in compared} <= set(HANDLERS)
    unjustified = [
        f"#{call.number} {call.name} v{call.version} {difference}"
        for call in calls
        for difference in call.differences
        if justification(call.name, difference.path) is None and call.name not in WITHOUT_SECRETS
    ]
    assert not unjustified, "\n".join(unjustified[:30])


@pytest.mark.slow
def test_differential_finds_nothing_unjustified() -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "differential"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=3 * DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, "")
    compared, _, rest = done.stdout.splitlines()[-1].partition(" calls of ")
    assert int(compared) >= 3000
    assert rest.endswith("APIs compared, 0 differences unjustified")


async def test_frames_of_no_known_api_are_left_alone(tmp_path: Path) -> None:
    frames = [frame._replace(api_key=200) for frame in golden_frames()[:2]]
    async with running(tmp_path) as broker:
        assert await replayed(frames, broker) == []


# How often they were asked until the topic, the coordinator were there is another matter.
WAITED_FOR = {"Metadata", "FindCoordinator"}


async def record(tmp_path: Path) -> list[TracedFrame]:
    """A session with names that the broker makes up: a topic's id, a producer's, a member's."""
    async with running(tmp_path / "recorded", group_initial_rebalance_delay_ms="0") as broker:
        with Tracing(broker).frames.subscription() as seen:
            for _ in range(2):  # so that ids differ from those of a broker that hears it for the first time
                async with Client.connect(broker) as client:
                    await client.ask(INIT, 4)
            seen.take()
            async with Client.connect(broker) as client:
                await session(client)
            return seen.take()


async def session(client: Client) -> None:
    topics = [MetadataRequestTopic(name="t")]
    while (await client.ask(MetadataRequest(topics=topics), 12)).topics[0].error_code:
        pass
    producer = await client.ask(INIT, 4)
    batch = build_batch(
        [Record(timestamp=1, value=b"v")], producer_id=producer.producer_id, producer_epoch=0, base_sequence=0
    )
    partition = PartitionProduceData(records=bytes(batch))
    produce = ProduceRequest(
        acks=-1, timeout_ms=1000, topic_data=[TopicProduceData(name="t", partition_data=[partition])]
    )
    assert (await client.ask(produce, 9)).responses[0].partition_responses[0].error_code == 0
    join = JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="p")],
    )
    while (await client.ask(FindCoordinatorRequest(key="g"), 2)).error_code:
        pass
    while (joined := await client.ask(join, 5)).error_code:
        join.member_id = joined.member_id
    sync = SyncGroupRequest(group_id="g", generation_id=joined.generation_id, member_id=joined.member_id)
    assert (await client.ask(sync, 3)).error_code == 0


async def test_names_that_brokers_make_up_are_translated(tmp_path: Path) -> None:
    frames = await record(tmp_path)
    async with running(tmp_path / "other", group_initial_rebalance_delay_ms="0") as broker:
        calls = await replayed(frames, broker)
    assert [difference for call in calls for difference in call.differences if call.name not in WAITED_FOR] == []
    assert {call.name for call in calls} - WAITED_FOR == {"InitProducerId", "Produce", "JoinGroup", "SyncGroup"}
    assert not [call.left_out for call in calls if call.left_out]


async def test_answer_that_is_different_is_found_field_by_field(tmp_path: Path) -> None:
    frames = await record(tmp_path)
    changed = [
        frame._replace(data=frame.data.replace(bytes(14), bytes(13) + b"\7", 1))
        if frame.api_key == 0 and frame.direction is Direction.RESPONSE
        else frame
        for frame in frames
    ]
    async with running(tmp_path / "other", group_initial_rebalance_delay_ms="0") as broker:
        calls = await replayed(changed, broker)
    (found,) = (call for call in calls if call.name == "Produce")
    assert [difference.path for difference in found.differences] == ["responses[0].partition_responses[0].base_offset"]
    assert "7 was answered as 0" in str(found.differences[0])


async def test_broker_that_is_not_there_is_said(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        address = broker.addresses[0]
    with pytest.raises(ReplayError, match=f"127.0.0.1:{address[1]}"):
        await Replay([], address).run()


def test_batch_of_a_translated_producer_has_a_right_checksum() -> None:
    pairing = Pairing()
    assert pairing.corresponds("producer", 7, 4000)
    batches = b"".join(
        build_batch([Record(timestamp=1, value=b"v")], producer_id=producer_id, producer_epoch=0, base_sequence=0)
        for producer_id in (7, 8)
    )
    request = ProduceRequest(topic_data=[TopicProduceData(partition_data=[PartitionProduceData(records=batches)])])
    translate(request, pairing)
    changed: Any = request.topic_data[0].partition_data[0].records
    half = len(batches) // 2
    assert read_batch_header(changed).producer_id == 4000
    assert read_batch_header(changed).crc == batch_crc(changed[:half])
    assert changed[half:] == batches[half:]


def test_comparing_shows_no_secrets() -> None:
    from wire.messages.authentication import SaslAuthenticateResponse

    one, other = SaslAuthenticateResponse(auth_bytes=b"one"), SaslAuthenticateResponse(auth_bytes=b"other")
    assert list(compare_answers("SaslAuthenticate", 2, one, other, Pairing())) == []
