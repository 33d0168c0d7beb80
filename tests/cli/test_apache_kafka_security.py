"""TLS and SASL of the commands against a real Apache Kafka: who is let in, and what is said where nobody is.

Slow: it is a JVM, the one of test_apache_kafka; skipped where there is no Java or no jars.
"""

from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from pykbroker.client import Client, ClientSettings
from pykbroker.client.member import GroupConsumer
from pykbroker.client.producer import Producer
from pykbroker.client.properties import settings_from
from pykbroker.config import BrokerConfig
from pykbroker.peer import Channel, Network, SocketNetwork
from tests.cli.secured_kafka import MECHANISMS, PASSWORD, USER, SecuredKafka
from tests.cli.support import Commands, Done
from tests.client.support import create
from tests.support.cluster import until

pytestmark = [pytest.mark.slow, pytest.mark.parallel, pytest.mark.anyio, pytest.mark.xdist_group("maven")]

PATIENT = {"default.api.timeout.ms": "600000"}  # what is tried again, is tried for longer than anyone would wait


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def tls(kafka: SecuredKafka, trusted: str = "ca.pem") -> dict[str, str]:
    return {"security.protocol": "SSL", "ssl.truststore.location": str(kafka.folder / trusted)}


def sasl(mechanism: str, password: str = PASSWORD) -> dict[str, str]:
    module = "plain.Plain" if mechanism == "PLAIN" else "scram.Scram"
    jaas = f'org.apache.kafka.common.security.{module}LoginModule required username="{USER}" password="{password}";'
    return {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.jaas.config": jaas}


def config_file(folder: Path, properties: Mapping[str, str]) -> str:
    file = folder / "client.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    return str(file)


WAYS = ["SSL", "MUTUAL", *(f"{name} {each}" for name in ("SASL_PLAINTEXT", "SASL_SSL") for each in MECHANISMS)]


@pytest.mark.parametrize("way", WAYS)
async def test_records_go_in_and_out(secured_kafka: SecuredKafka, tmp_path: Path, way: str) -> None:
    listener, _, mechanism = way.partition(" ")
    properties = sasl(mechanism) if mechanism else {}
    if listener != "SASL_PLAINTEXT":
        properties |= tls(secured_kafka)
    if listener == "SASL_SSL":
        properties["security.protocol"] = "SASL_SSL"
    if listener == "MUTUAL":
        properties["ssl.keystore.location"] = str(secured_kafka.folder / "me.pem")
    run, config = Commands(secured_kafka.address(listener)), config_file(tmp_path, properties)
    topic = way.replace(" ", "-")
    assert (await run("topics", "create", topic, "--command-config", config)).out == f"{topic}: created\n"
    assert [topic, "1", "1"] in (await run("topics", "list", "--command-config", config)).lines
    await run("produce", topic, "-v", "value", "--command-config", config)
    assert (await run("consume", topic, "-n", "1", "--command-config", config)).out == "value\n"
    assert (await run("consume", topic, "-g", topic, "-n", "1", "--command-config", config)).out == "value\n"


async def refused(kafka: SecuredKafka, folder: Path, address: str, properties: Mapping[str, str]) -> str:
    """Return the one line that is said."""
    run = Commands(address)
    config = config_file(folder, PATIENT | properties)
    said = set()
    for words in (("topics", "list"), ("produce", "t", "-v", "value"), ("consume", "t", "-e")):
        done: Done = await run(*words, "--command-config", config, status=1)
        assert done.out == ""
        assert PASSWORD not in done.err
        assert str(kafka.folder) not in done.err
        assert done.err.startswith("pykbroker: ")
        assert done.err.count("\n") == 1
        said.add(done.err)
    (line,) = said
    return line


@pytest.mark.parametrize(
    ("listener", "mechanism"), [*(("SASL_PLAINTEXT", each) for each in MECHANISMS), ("SASL_SSL", "PLAIN")]
)
async def test_wrong_password(secured_kafka: SecuredKafka, tmp_path: Path, listener: str, mechanism: str) -> None:
    properties = sasl(mechanism, "not " + PASSWORD)
    if listener == "SASL_SSL":
        properties = tls(secured_kafka) | properties | {"security.protocol": "SASL_SSL"}
    line = await refused(secured_kafka, tmp_path, secured_kafka.address(listener), properties)
    assert "SASL_AUTHENTICATION_FAILED: Authentication failed" in line


@pytest.mark.parametrize(
    ("listener", "host", "trusted", "reason"),
    [
        ("SSL", "127.0.0.1", "other.pem", "its certificate is not trusted: unable to get local issuer certificate"),
        ("SSL", "localhost", "ca.pem", "its certificate is not trusted: Hostname mismatch"),
        (
            "MUTUAL",
            "127.0.0.1",
            "ca.pem",
            "it may want a certificate of the client, or another one (ssl.keystore.location)",
        ),
        (
            "PLAINTEXT",
            "127.0.0.1",
            "ca.pem",
            "the broker ended the TLS handshake: perhaps it is none of a TLS listener",
        ),
        ("SASL_SSL", "127.0.0.1", "ca.pem", "it may want SASL (security.protocol)"),
    ],
)
async def test_tls_that_does_not_fit(
    secured_kafka: SecuredKafka, tmp_path: Path, *, listener: str, host: str, trusted: str, reason: str
) -> None:
    address = secured_kafka.address(listener, host)
    line = await refused(secured_kafka, tmp_path, address, tls(secured_kafka, trusted))
    assert line.startswith(f"pykbroker: no broker answers at {address} (")
    assert reason in line


@pytest.mark.parametrize(
    ("listener", "reason"),
    [
        ("SSL", "that is a listener of TLS (security.protocol)"),
        ("MUTUAL", "that is a listener of TLS (security.protocol)"),
        ("SASL_SSL", "that is a listener of TLS (security.protocol)"),
        ("SASL_PLAINTEXT", "it may want SASL (security.protocol)"),
    ],
)
async def test_client_without_any(secured_kafka: SecuredKafka, tmp_path: Path, listener: str, reason: str) -> None:
    assert reason in await refused(secured_kafka, tmp_path, secured_kafka.address(listener), {})


async def test_password_is_not_told_to_a_listener_without_sasl(secured_kafka: SecuredKafka, tmp_path: Path) -> None:
    line = await refused(secured_kafka, tmp_path, secured_kafka.bootstrap, sasl("PLAIN"))
    assert "ILLEGAL_SASL_STATE: this listener has no SASL (security.protocol)" in line


# Reauthentication

FETCH, HEARTBEAT, SASL_HANDSHAKE = 1, 12, 17


@attrs.define(eq=False)
class Watched(Network):
    """Notes the API keys that each connection was used for."""

    used: list[list[int]] = attrs.field(factory=list)
    _sockets: SocketNetwork = attrs.field(factory=lambda: SocketNetwork(BrokerConfig.from_properties({})))

    async def connect(self, host: str, port: int) -> Channel:
        keys: list[int] = []
        self.used.append(keys)
        return _WatchedChannel(await self._sockets.connect(host, port), keys)


@attrs.define(eq=False)
class _WatchedChannel(Channel):
    channel: Channel
    keys: list[int]

    async def exchange(self, frame: bytes) -> memoryview:
        self.keys.append(int.from_bytes(frame[4:6]))
        return await self.channel.exchange(frame)

    async def send(self, frame: bytes) -> None:
        await self.channel.send(frame)

    async def aclose(self) -> None:
        await self.channel.aclose()


async def test_member_authenticates_again_on_the_connections_it_has(secured_kafka: SecuredKafka) -> None:
    """The sessions of this mechanism hold two seconds: each of its connections outlives two of them."""
    settings, _ = settings_from(sasl("SCRAM-SHA-256"), ClientSettings(heartbeat_interval_ms=100))
    network = Watched()

    def have_authenticated(times: int) -> bool:
        return all(
            any(key in keys and keys.count(SASL_HANDSHAKE) >= times for keys in network.used)
            for key in (FETCH, HEARTBEAT)
        )

    async with (
        Client(secured_kafka.bootstrap) as other,
        Client(secured_kafka.address("SASL_PLAINTEXT"), settings=settings, network=network) as client,
    ):
        await create(client, "long")
        async with GroupConsumer(client, "long", ["long"], auto_commit_interval_ms=0) as member:
            for times in (1, 2, 3):
                await until(lambda times=times: have_authenticated(times))  # type: ignore[misc]
                async with Producer(other) as producer:
                    await producer.send("long", b"%d" % times)
                assert (await anext(member)).value == b"%d" % times
