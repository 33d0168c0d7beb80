"""Brokers that go away in the middle, move what they have elsewhere, or stand still."""

import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import attrs
import pytest
import trustme
from anyio.streams.tls import TLSListener

from pykbroker.client import Client, ClientSettings, CoordinatorType, Question, groups, offsets
from pykbroker.client.client import Lane, address_and_reason
from pykbroker.client.consumer import Consumer
from pykbroker.client.member import GroupConsumer
from pykbroker.client.offsets import list_offsets_or_errors
from pykbroker.client.producer import Producer
from pykbroker.client.security import Pem, Security, SecurityProtocol, SslSettings
from pykbroker.client.tls import TlsNetwork
from pykbroker.clock import SimulatedClock
from pykbroker.embedded import AsyncCluster
from pykbroker.errors import KafkaError
from pykbroker.peer import Channel
from pykbroker.topic_partition import TopicPartition
from tests.client.gates import TlsGate
from tests.client.support import QUICK, create, one_broker, passing
from tests.support.cluster import until
from tests.support.running import BACKENDS, DEADLINE_S
from wire.messages.classic_groups import DescribeGroupsRequest

pytestmark = pytest.mark.anyio
TP = TopicPartition("t", 0)


@pytest.fixture
async def kafka() -> AsyncIterator[AsyncCluster]:
    """Three brokers, and a topic that all of them have."""
    with anyio.fail_after(3 * DEADLINE_S):
        async with AsyncCluster(brokers=3) as kafka:
            await kafka.create_topic("t")
            yield kafka


async def produce(client: Client, *values: bytes) -> None:
    async with Producer(client) as producer:
        for value in values:
            await producer.send("t", value)


async def everything(client: Client) -> list[bytes | None]:
    ends = await offsets.ends(client, [TP])
    async with Consumer(client, {TP: 0}, until=ends) as consumer:
        return [record.value async for record in consumer]


async def leader_of(kafka: AsyncCluster) -> int:
    async with Client(kafka.bootstrap) as client:
        return await client.leader_of(TP)


async def test_records_are_there_once_and_in_order_whatever_happens_to_brokers(kafka: AsyncCluster) -> None:
    async with Client(kafka.bootstrap, settings=QUICK) as client:
        producer = Producer(client, is_idempotent=True)
        expected = []

        async def send() -> None:
            for _ in range(3):
                expected.append(b"%d" % len(expected))
                await producer.send("t", expected[-1])
            await producer.flush()

        await send()
        for when in ("before", "after"):
            with kafka.faults(api="Produce", drop=True, when=when, times=2) as fault:
                await send()
            assert fault.hits == 2
        with kafka.faults(api="Produce", error="NOT_LEADER_OR_FOLLOWER", when="after", times=1):
            await send()
        for end in (kafka.stop, kafka.kill):
            leader = await leader_of(kafka)
            await end(leader)
            await kafka.start(leader)
            await send()
        await kafka.faults.move_leader("t")
        await send()
        assert await everything(client) == expected


async def test_records_after_a_flush_that_was_cancelled_are_none_that_the_broker_has() -> None:
    """The batch is in, but nobody was told: the next one must not be taken for it."""
    async with one_broker() as kafka, Client(kafka.bootstrap, settings=QUICK) as client:
        await kafka.create_topic("t")
        producer = Producer(client, is_idempotent=True)
        with kafka.faults(api="Produce", delay_ms=60_000, when="after", times=1) as fault:
            async with anyio.create_task_group() as tasks:
                await producer.send("t", b"0")
                tasks.start_soon(producer.flush)
                await until(lambda: fault.hits and kafka.broker().services.replicas.partition("t", 0).high_watermark)
                tasks.cancel_scope.cancel()
        await producer.send("t", b"1")
        await producer.flush()
        assert await everything(client) == [b"0", b"1"]


async def test_consumer_reads_on_whatever_happens_to_brokers(kafka: AsyncCluster) -> None:
    async with (
        Client(kafka.bootstrap, settings=QUICK) as client,
        Client(kafka.bootstrap, settings=QUICK) as other,
        Consumer(client, {TP: 0}) as consumer,
    ):

        async def read_on(value: bytes) -> None:
            await produce(other, value)
            assert (await anext(consumer)).value == value

        await read_on(b"0")
        with kafka.faults(api="Fetch", client_id=client.settings.client_id, drop=True, times=2):
            await read_on(b"1")
        with kafka.faults(api="Fetch", client_id=client.settings.client_id, cut_bytes=20, times=1):
            await read_on(b"2")
        await kafka.stop(leader := await leader_of(kafka))
        await read_on(b"3")
        await kafka.start(leader)
        await kafka.kill(leader := await leader_of(kafka))
        await kafka.start(leader)
        await read_on(b"4")
        await kafka.faults.move_leader("t")
        await read_on(b"5")


async def test_member_stays_in_its_group_whatever_happens_to_the_coordinator(kafka: AsyncCluster) -> None:
    async with Client(kafka.bootstrap, settings=QUICK) as client, Client(kafka.bootstrap, settings=QUICK) as other:
        async with GroupConsumer(client, "g", ["t"], auto_commit_interval_ms=0) as member:

            async def read_on(value: bytes) -> str:
                await produce(other, value)
                while (await anext(member)).value != value:
                    pass  # what is not committed yet comes again
                return member.member_id

            first = await read_on(b"0")
            await kafka.faults.move_coordinator("g")
            assert await read_on(b"1") == first
            with kafka.faults(api="Heartbeat", error="ILLEGAL_GENERATION", times=1) as fault:
                await until(lambda: fault.hits)
                assert await read_on(b"2") == first  # under another id, it would wait for itself to come back
            with kafka.faults(api="JoinGroup", drop=True, when="after", times=1):
                await kafka.faults.rebalance("g")
                assert await read_on(b"3") == first
            await kafka.faults.expire_member("g")
            await until(lambda: member.member_id not in ("", first))
            await read_on(b"4")
        assert (await groups.committed_offsets(other, "g"))[TP].offset == 5
        assert (await groups.describe_group(other, "g")).is_empty


@pytest.fixture
async def bereft(kafka: AsyncCluster) -> AsyncIterator[Client]:
    """A client to whom the leader of t has left the cluster: it has been told of the brokers since, not of t."""
    async with Client(kafka.bootstrap, settings=QUICK) as client, Client(kafka.bootstrap, settings=QUICK) as other:
        await produce(other, b"0")
        leader = await client.leader_of(TP)
        await kafka.stop(leader)
        while leader in (await client.metadata(["another"])).brokers:
            await anyio.lowlevel.checkpoint()
        yield client


async def test_leader_that_has_left_the_cluster_does_not_end_a_consumer(bereft: Client) -> None:
    async with Consumer(bereft, {TP: 0}) as consumer:
        assert (await anext(consumer)).value == b"0"


async def test_leader_that_has_left_the_cluster_does_not_end_a_flush(bereft: Client) -> None:
    await produce(bereft, b"1")
    assert await everything(bereft) == [b"0", b"1"]


async def test_commit_that_failed_is_made_up_for(kafka: AsyncCluster) -> None:
    never = attrs.evolve(QUICK, heartbeat_interval_ms=60_000)
    async with Client(kafka.bootstrap, settings=never) as client, GroupConsumer(client, "g", ["t"]) as member:
        async with Client(kafka.bootstrap) as other:
            await produce(other, b"0", b"1")
        await anext(member)
        await anext(member)  # so the first one is done with
        with kafka.faults(api="OffsetCommit", error="REBALANCE_IN_PROGRESS", times=1), pytest.raises(KafkaError):
            await member.commit()
        await member.commit()
        assert (await groups.committed_offsets(client, "g"))[TP].offset == 1


async def test_commit_that_is_tried_again_does_not_undo_a_later_one() -> None:
    settings = attrs.evolve(QUICK, heartbeat_interval_ms=60_000, retry_backoff_ms=1_000, retry_backoff_max_ms=1_000)
    clock = SimulatedClock()
    async with one_broker() as kafka, Client(kafka.bootstrap, settings=settings, clock=clock) as client:
        await kafka.create_topic("t")
        async with Client(kafka.bootstrap, settings=QUICK) as other:
            await produce(other, b"0", b"1", b"2", b"3")
            async with GroupConsumer(client, "g", ["t"]) as member:
                async with passing(clock):
                    await anext(member)
                    await anext(member)  # so the first one is done with
                committed = []

                async def commit() -> None:
                    await member.commit()
                    committed.append(None)

                with kafka.faults(api="OffsetCommit", error="COORDINATOR_LOAD_IN_PROGRESS", times=1) as fault:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(commit)
                        await fault.wait()
                        await anext(member)
                        await anext(member)
                        tasks.start_soon(commit)
                        async with passing(clock):
                            await until(lambda: len(committed) == 2)
                assert (await groups.committed_offsets(other, "g"))[TP].offset == 3


async def test_what_has_no_answer_does_not_go_to_a_broker_that_is_gone() -> None:
    async with one_broker() as kafka, Client(kafka.bootstrap, settings=QUICK) as client:
        await kafka.create_topic("t")
        producer = Producer(client, acks=0)
        await producer.send("t", b"0")
        await producer.flush()
        await kafka.restart()
        await producer.send("t", b"1")
        await producer.flush()
        await until(lambda: kafka.broker().services.replicas.partition("t", 0).log.log_end_offset == 2)


async def test_silent_broker_is_named() -> None:
    settings, clock = ClientSettings(default_api_timeout_ms=100), SimulatedClock()
    async with one_broker() as kafka, Client(kafka.bootstrap, settings=settings, clock=clock) as client:
        await client.metadata()
        async with passing(clock):
            with kafka.faults(freeze=True), pytest.raises(TimeoutError) as raised:
                await groups.describe_group(client, "g")
        assert address_and_reason(raised.value) == f"{kafka.bootstrap}: no answer in time"


async def test_leader_that_is_silent_is_told_of_and_asked_again() -> None:
    notices: list[str] = []
    clock = SimulatedClock()
    async with one_broker() as kafka, Client(kafka.bootstrap, settings=QUICK, clock=clock) as client:
        await kafka.create_topic("t")
        async with Client(kafka.bootstrap) as other:
            await produce(other, b"value")
        with kafka.faults(api="Fetch", freeze=True, times=1) as fault:
            async with Consumer(client, {TP: 0}, on_notice=notices.append) as consumer:
                await until(lambda: fault.hits)
                clock.advance(QUICK.request_timeout_ms)
                await until(lambda: notices)
                async with passing(clock):
                    assert (await anext(consumer)).value == b"value"
        assert notices[0] == "broker 1 does not answer in time; it is asked again"


async def test_partitions_have_their_turn_where_an_answer_has_not_room_for_all() -> None:
    settings = attrs.evolve(QUICK, fetch_max_bytes=1)
    tps = [TopicPartition("t", index) for index in range(3)]
    async with one_broker() as kafka, Client(kafka.bootstrap, settings=settings) as client:
        await kafka.create_topic("t", 3)
        for _ in range(2):
            async with Producer(client) as producer:
                for tp in tps:
                    await producer.send("t", b"", partition=tp.partition)
        async with Consumer(client, dict.fromkeys(tps, 0), until=dict.fromkeys(tps, 2)) as consumer:
            assert [record.partition async for record in consumer] == [0, 1, 2, 0, 1, 2]


# TLS

CA = trustme.CA()


def trusting() -> ClientSettings:
    trusted = Pem(text=CA.cert_pem.bytes().decode())
    return attrs.evolve(QUICK, security=Security(SecurityProtocol.SSL, SslSettings(trusted=trusted)))


def context_for(*hosts: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(*hosts).configure_cert(context)
    return context


async def test_broker_that_is_not_who_it_says_is_not_asked_again(tmp_path: Path) -> None:
    """Who is bootstrapped from has a certificate of its address; the host that it names has none. Time stands still."""
    async with (
        TlsGate.before(tmp_path, context_for("127.0.0.1")) as gate,
        Client(gate.bootstrap.replace("localhost", "127.0.0.1"), settings=trusting(), clock=SimulatedClock()) as client,
    ):
        await client.metadata(["t"], allow_auto_topic_creation=True)
        ends = await list_offsets_or_errors(client, {TP: offsets.END})
        assert "Hostname mismatch" in str(ends[TP])
        with pytest.raises(ssl.SSLCertVerificationError):
            await create(client, "another")
        async with Consumer(client, {TP: 0}) as consumer:
            with pytest.raises(ssl.SSLCertVerificationError):
                await consumer.poll()


async def test_alert_of_a_proxy_that_has_no_broker_behind_it_for_a_while_is_lived_through(tmp_path: Path) -> None:
    async with (
        TlsGate.before(tmp_path, context_for("127.0.0.1", "localhost")) as gate,
        Client(gate.bootstrap.replace("localhost", "127.0.0.1"), settings=trusting()) as client,
    ):
        await client.metadata(["t"], allow_auto_topic_creation=True)

        async def one_alert(first: Awaitable[object]) -> None:
            """`first` opens a connection."""
            gate.alerts.append(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)
            await first
            assert not gate.alerts

        await one_alert(produce(client, b"0"))
        async with Consumer(client, {TP: 0}) as consumer:
            await one_alert(anext(consumer))
        question = Question.of(DescribeGroupsRequest(["g"]))
        await one_alert(client.ask_coordinator(CoordinatorType.GROUP, "g", question, lane=Lane.MEMBER))


@contextlib.asynccontextmanager
async def channel_through_tls(enough: anyio.Event) -> AsyncIterator[Channel]:
    """It has had one answer; the other side closes it when it is enough."""

    async def serve(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(struct.pack(">ii", 4, 0))
            await enough.wait()

    server, trusted = context_for("127.0.0.1"), ssl.create_default_context(cadata=CA.cert_pem.bytes().decode())
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as tcp, anyio.create_task_group() as tasks:
        tasks.start_soon(TLSListener(tcp, server, standard_compatible=False).serve, serve)
        port = tcp.extra(anyio.abc.SocketAttribute.local_port)
        channel = await TlsNetwork(trusted, 1000).connect("127.0.0.1", port)
        await channel.exchange(b"question")  # before it, what ends the handshake may not have been read
        yield channel
        await channel.aclose()
        tasks.cancel_scope.cancel()


async def until_it_has_ended(channel: Channel) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not await channel.has_ended():
            await anyio.lowlevel.checkpoint()


async def test_connection_through_tls_knows_that_it_has_ended() -> None:
    enough = anyio.Event()
    async with channel_through_tls(enough) as channel:
        assert not await channel.has_ended()
        enough.set()
        await until_it_has_ended(channel)


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_connection_through_tls_whose_socket_is_closed_has_ended() -> None:
    async with channel_through_tls(anyio.Event()) as channel:
        await channel.aclose()
        await until_it_has_ended(channel)
