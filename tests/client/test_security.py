"""TLS and SASL: against gates before a broker of ours, and message by message."""

import base64
import secrets
import ssl
from pathlib import Path

import anyio
import pytest
import trustme

from pykbroker.client import Client, ClientSettings, NoBrokerError, Question
from pykbroker.client.producer import Producer
from pykbroker.client.properties import settings_from
from pykbroker.client.sasl import scram
from pykbroker.client.security import Pem, SaslSettings, SslSettings, is_lasting, ssl_context
from pykbroker.clock import SimulatedClock
from pykbroker.errors import KafkaError
from tests.client.gates import SaslGate, TlsGate, alert_record
from tests.client.support import QUICK, create
from tests.support.running import running
from wire.errors import ErrorCode
from wire.messages.metadata import MetadataRequest

pytestmark = pytest.mark.anyio

CA = trustme.CA()
SERVER = CA.issue_cert("localhost")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, another CA's, and a client's certificate and key."""
    folder = tmp_path_factory.mktemp("pem")
    CA.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    mine = CA.issue_cert("me@example.org")
    mine.private_key_and_cert_chain_pem.write_to_path(folder / "me.pem")
    mine.private_key_pem.write_to_path(folder / "key.pem")
    for number, part in enumerate(mine.cert_chain_pems):
        part.write_to_path(folder / "chain.pem", append=number > 0)
    return folder


def server_context(certificate: trustme.LeafCert = SERVER, *, asks_for_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    if asks_for_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        CA.configure_trust(context)
    return context


def settings(**properties: object) -> ClientSettings:
    given = {name.replace("_", "."): str(value) for name, value in properties.items()}
    found, unknown = settings_from(given, QUICK)
    assert not unknown
    return found


def tls(trusted: Path, **properties: object) -> ClientSettings:
    return settings(security_protocol="SSL", ssl_truststore_location=trusted, **properties)


# TLS


async def test_records_go_through_tls(tmp_path: Path, pem: Path) -> None:
    """More than a TLS record, and than the buffer of a connection."""
    value = secrets.token_bytes(500_000)
    async with (
        TlsGate.before(tmp_path, server_context()) as gate,
        Client(gate.bootstrap, settings=tls(pem / "ca.pem")) as client,
    ):
        await create(client, "t")
        async with Producer(client) as producer:
            sent = await producer.send("t", value)
        assert sent.offset == 0
        answer = await client.ask_any(Question.of(MetadataRequest([])))
        assert answer.brokers[0].host == "localhost"
        assert gate.certificates[0] is None


async def test_client_shows_its_certificate_where_one_is_wanted(tmp_path: Path, pem: Path) -> None:
    async with TlsGate.before(tmp_path, server_context(asks_for_certificate=True)) as gate:
        async with Client(gate.bootstrap, settings=tls(pem / "ca.pem")) as client:
            with pytest.raises(NoBrokerError, match="it may want a certificate of the client"):
                await client.metadata()
        ways = (
            {"ssl_keystore_location": pem / "me.pem"},
            {"ssl_certificate_location": pem / "chain.pem", "ssl_key_location": pem / "key.pem"},
            {
                "ssl_keystore_certificate_chain": (pem / "chain.pem").read_text(),
                "ssl_keystore_key": (pem / "key.pem").read_text(),
            },
        )
        for number, way in enumerate(ways, start=1):
            async with Client(gate.bootstrap, settings=tls(pem / "ca.pem", **way)) as client:
                assert len((await client.metadata()).brokers) == 1
            assert len([each for each in gate.certificates if each]) == number


async def test_broker_that_is_not_trusted_is_not_spoken_to(tmp_path: Path, pem: Path) -> None:
    async with TlsGate.before(tmp_path, server_context()) as gate:
        async with Client(gate.bootstrap, settings=tls(pem / "other.pem")) as client:
            with pytest.raises(NoBrokerError, match="its certificate is not trusted"):
                await client.metadata()
        async with Client(gate.bootstrap, settings=settings(security_protocol="SSL")) as client:  # the system's
            with pytest.raises(NoBrokerError, match="its certificate is not trusted"):
                await client.metadata()
        blind = tls(pem / "other.pem", enable_ssl_certificate_verification="false")
        async with Client(gate.bootstrap, settings=blind) as client:
            assert len((await client.metadata()).brokers) == 1


async def test_certificate_of_another_host_is_refused_unless_that_is_not_looked_at(tmp_path: Path, pem: Path) -> None:
    async with TlsGate.before(tmp_path, server_context(CA.issue_cert("kafka.example.org"))) as gate:
        async with Client(gate.bootstrap, settings=tls(pem / "ca.pem")) as client:
            with pytest.raises(NoBrokerError, match="Hostname mismatch"):
                await client.metadata()
        careless = tls(pem / "ca.pem", ssl_endpoint_identification_algorithm="")
        async with Client(gate.bootstrap, settings=careless) as client:
            assert len((await client.metadata()).brokers) == 1


async def test_client_and_listener_that_do_not_agree_on_tls_say_so(tmp_path: Path, pem: Path) -> None:
    async with TlsGate.before(tmp_path / "tls", server_context()) as gate, Client(gate.bootstrap) as client:
        with pytest.raises(NoBrokerError, match=r"that is a listener of TLS|closed the connection"):
            await client.metadata()
    async with running(tmp_path / "plain") as broker, Client(broker.bootstrap, settings=tls(pem / "ca.pem")) as client:
        with pytest.raises(NoBrokerError, match="ended the TLS handshake"):
            await client.metadata()


async def test_alert_of_a_listener_of_tls_is_recognized() -> None:
    async def alert(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(bytes.fromhex("15030300020246"))

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, alert)
        async with Client([listener.extra(anyio.abc.SocketAttribute.local_address)]) as client:
            with pytest.raises(NoBrokerError, match="that is a listener of TLS"):
                await client.metadata()
        tasks.cancel_scope.cancel()


async def test_nobody_at_the_address_is_said_as_without_tls(pem: Path) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with Client(f"127.0.0.1:{port}", settings=tls(pem / "ca.pem")) as client:
        with pytest.raises(NoBrokerError, match="connection refused"):
            await client.metadata()


def test_what_is_no_certificate_is_said(pem: Path, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"\xfe\xed\xfe\xed")
    (tmp_path / "text").write_text("nothing")
    wrong = [
        SslSettings(trusted=Pem(tmp_path / "garbage")),
        SslSettings(trusted=Pem(tmp_path / "text")),
        SslSettings(certificate=Pem(tmp_path / "text")),
        SslSettings(certificate=Pem(pem / "chain.pem")),
        SslSettings(certificate=Pem(pem / "chain.pem"), key=Pem(tmp_path / "text")),
        SslSettings(ciphers="nope"),
    ]
    for each in wrong:
        with pytest.raises(ValueError):
            ssl_context(each)
    with pytest.raises(FileNotFoundError):
        ssl_context(SslSettings(trusted=Pem(tmp_path / "nothing")))


@pytest.mark.parametrize(
    ("alert", "is_final"),
    [
        (ssl.ALERT_DESCRIPTION_BAD_CERTIFICATE, True),
        (ssl.ALERT_DESCRIPTION_UNSUPPORTED_CERTIFICATE, True),
        (ssl.ALERT_DESCRIPTION_CERTIFICATE_REVOKED, True),
        (ssl.ALERT_DESCRIPTION_CERTIFICATE_EXPIRED, True),
        (ssl.ALERT_DESCRIPTION_CERTIFICATE_UNKNOWN, True),
        (ssl.ALERT_DESCRIPTION_UNKNOWN_CA, True),
        (ssl.ALERT_DESCRIPTION_ACCESS_DENIED, True),
        (ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME, True),
        (ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE, True),
        (ssl.ALERT_DESCRIPTION_PROTOCOL_VERSION, True),
        (ssl.ALERT_DESCRIPTION_INSUFFICIENT_SECURITY, True),
        (ssl.ALERT_DESCRIPTION_INTERNAL_ERROR, False),
        (ssl.ALERT_DESCRIPTION_BAD_RECORD_MAC, False),
    ],
)
def test_alert_that_does_not_change_by_itself_is_told_from_one_that_may(alert: int, *, is_final: bool) -> None:
    with pytest.raises(ssl.SSLError) as raised:
        shake_hands_with(alert_record(alert))
    assert is_lasting(raised.value) == is_final


def test_listener_that_speaks_no_tls_is_not_asked_again() -> None:
    with pytest.raises(ssl.SSLError) as raised:
        shake_hands_with(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert is_lasting(raised.value)


def shake_hands_with(answer: bytes) -> None:
    told = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(told, ssl.MemoryBIO(), server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    told.write(answer)
    client.do_handshake()


# SASL


def sasl(password: str = "secret", mechanism: str = "PLAIN") -> ClientSettings:
    return settings(
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=mechanism,
        sasl_jaas_config=f'org.apache.kafka.Module required username="me" password="{password}";',
    )


async def test_each_connection_authenticates_before_its_first_question(tmp_path: Path) -> None:
    async with SaslGate.before(tmp_path) as gate, Client(gate.bootstrap, settings=sasl()) as client:
        await create(client, "t")
        assert gate.authenticated == 1
        async with Producer(client) as producer:
            await producer.send("t", b"value")
        assert gate.authenticated == 1


async def test_password_that_is_wrong_is_said_and_not_tried_again(tmp_path: Path) -> None:
    async with SaslGate.before(tmp_path) as gate, Client(gate.bootstrap, settings=sasl("wrong")) as client:
        for _ in range(2):
            with pytest.raises(KafkaError, match="Authentication failed") as raised:
                await client.metadata()
            assert raised.value.code is ErrorCode.SASL_AUTHENTICATION_FAILED
        gate.password = b"wrong"
        assert len((await client.metadata()).brokers) == 1


async def test_mechanism_that_the_broker_does_not_know_is_said(tmp_path: Path) -> None:
    async with (
        SaslGate.before(tmp_path) as gate,
        Client(gate.bootstrap, settings=sasl(mechanism="SCRAM-SHA-256")) as client,
    ):
        with pytest.raises(KafkaError, match="SCRAM-SHA-256 is none of the broker's: PLAIN"):
            await client.metadata()


async def test_client_without_sasl_is_told_what_may_be_missing(tmp_path: Path) -> None:
    async with SaslGate.before(tmp_path) as gate, Client(gate.bootstrap, settings=QUICK) as client:
        with pytest.raises(NoBrokerError, match="it may want SASL"):
            await client.metadata()


async def test_connection_authenticates_again_before_its_time_is_over(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with SaslGate.before(tmp_path) as gate, Client(gate.bootstrap, settings=sasl(), clock=clock) as client:
        gate.lifetime_ms = 10_000
        await client.metadata()
        clock.advance(8_000)
        await client.metadata()
        assert gate.authenticated == 1
        clock.advance(1_000)
        await client.metadata()
        assert gate.authenticated == 2


ME = SaslSettings("SCRAM-SHA-256", "user", "pencil")
FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
LAST = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.fixture
def nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: "rOprNGfwEbeRWgbNEkqO")


@pytest.mark.usefixtures("nonce")
def test_scram_says_what_the_example_of_its_rfc_says() -> None:
    """RFC 7677, section 3."""
    exchange = scram("sha256")(ME)
    assert next(exchange) == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert exchange.send(FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    with pytest.raises(StopIteration):
        exchange.send(LAST)


@pytest.mark.usefixtures("nonce")
@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (b"", LAST, "nonce"),
        (b"r=other,s=W22Z,i=4096", LAST, "nonce"),
        (b"r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096", LAST, "nonce"),
        (FIRST.replace(b"4096", b"1"), LAST, "iterations"),
        (FIRST.replace(b"4096", b"999999999999"), LAST, "iterations"),
        (FIRST.replace(b"4096", b"x"), LAST, "iterations"),
        (FIRST.replace(b"W22Z", b"?"), LAST, "base64"),
        (FIRST, b"e=other-error", "other-error"),
        (FIRST, b"v=" + base64.b64encode(bytes(32)), "does not know the password"),
        (FIRST, b"", "does not know the password"),
    ],
)
def test_broker_that_does_not_know_the_password_is_refused(first: bytes, last: bytes, message: str) -> None:
    exchange = scram("sha256")(ME)
    next(exchange)

    def go_on() -> None:
        exchange.send(first)
        exchange.send(last)

    with pytest.raises(KafkaError, match=message) as raised:
        go_on()
    assert raised.value.code is ErrorCode.SASL_AUTHENTICATION_FAILED


def test_name_may_hold_what_separates() -> None:
    assert next(scram("sha512")(SaslSettings("SCRAM-SHA-512", "a=b,c", ""))).startswith(b"n,,n=a=3Db=2Cc,r=")
