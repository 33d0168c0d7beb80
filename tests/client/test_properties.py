"""Kafka's names of a client's settings."""

from pathlib import Path

import attrs
import pytest

from pykbroker.client import ClientSettings
from pykbroker.client.properties import settings_from
from pykbroker.client.security import Pem, SaslSettings, Security, SecurityProtocol, SslSettings
from pykbroker.client.settings import OffsetReset

DEFAULTS = ClientSettings()
PEM = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"


def read(**properties: str) -> ClientSettings:
    found, unknown = settings_from({name.replace("_", "."): value for name, value in properties.items()}, DEFAULTS)
    assert unknown == []
    return found


def test_nothing_changes_nothing() -> None:
    assert read() == DEFAULTS


def test_numbers_and_names_are_taken() -> None:
    found = read(request_timeout_ms="5000", max_request_size="10", client_id="me", max_poll_interval_ms="7")
    expected = attrs.evolve(
        DEFAULTS, request_timeout_ms=5000, max_request_size=10, client_id="me", rebalance_timeout_ms=7
    )
    assert found == expected
    assert read(message_max_bytes="10") == read(max_request_size="10")


@pytest.mark.parametrize("name", ["earliest", "smallest", "Beginning"])
def test_offset_reset_has_the_names_of_either_client(name: str) -> None:
    assert read(auto_offset_reset=name) == attrs.evolve(DEFAULTS, auto_offset_reset=OffsetReset.EARLIEST)


def test_names_that_mean_nothing_are_told() -> None:
    assert settings_from({"key.serializer": "x", "acks": "1"}, DEFAULTS) == (DEFAULTS, ["acks", "key.serializer"])


@pytest.mark.parametrize(
    "names",
    [
        ("ssl.truststore.location", "ssl.keystore.location", "ssl.key.location"),
        ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location"),
    ],
)
def test_files_of_tls_have_the_names_of_either_client(names: tuple[str, str, str]) -> None:
    properties = {"security.protocol": "ssl", **dict(zip(names, ("ca", "chain", "key"), strict=True))}
    properties |= {"ssl.key.password": "secret", "ssl.cipher.suites": "A,B", "ssl.truststore.type": "PEM"}
    found, unknown = settings_from(properties, DEFAULTS)
    ca, chain, key = (Pem(Path(name)) for name in ("ca", "chain", "key"))
    expected = SslSettings(trusted=ca, certificate=chain, key=key, key_password="secret", ciphers="A:B")
    assert (found.security, unknown) == (Security(SecurityProtocol.SSL, expected), [])


def test_tls_may_be_in_the_properties_themselves() -> None:
    found = read(security_protocol="SSL", ssl_truststore_certificates=PEM.replace("\n", "\\n")).security.ssl
    assert found.trusted == Pem(text=PEM)


@pytest.mark.parametrize("algorithm", ["", "none"])
def test_names_of_hosts_need_not_be_checked(algorithm: str) -> None:
    assert read(security_protocol="SSL").security.ssl.checks_host_name
    found = read(security_protocol="SSL", ssl_endpoint_identification_algorithm=algorithm)
    assert not found.security.ssl.checks_host_name


@pytest.mark.parametrize(
    ("jaas", "username", "password"),
    [
        ('a.b.PlainLoginModule required username="me" password="p";', "me", "p"),
        ("  a.Module  required\n username=me\n password = p ; ", "me", "p"),
        (r'a required password="p;\"\\ q" username="" other=1;', "", 'p;"\\ q'),
    ],
)
def test_credentials_are_those_of_jaas(jaas: str, username: str, password: str) -> None:
    found = read(security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_jaas_config=jaas)
    assert found.security.sasl == SaslSettings("SCRAM-SHA-512", username, password)


def test_credentials_may_have_the_names_of_librdkafka() -> None:
    found = read(security_protocol="SASL_PLAINTEXT", sasl_mechanisms="PLAIN", sasl_username="me", sasl_password="p")
    assert found.security == Security(SecurityProtocol.SASL_PLAINTEXT, sasl=SaslSettings("PLAIN", "me", "p"))


def test_secrets_are_not_shown() -> None:
    found = read(
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="me",
        sasl_password="hush",
        ssl_keystore_certificate_chain=PEM + "hush",
        ssl_key_password="hush",
    )
    assert "hush" not in repr(found)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"request.timeout.ms": "x"}, "request.timeout.ms: 'x' is not a number"),
        ({"security.protocol": "TLS"}, "security.protocol: TLS is none of PLAINTEXT, SSL"),
        ({"security.protocol": "SSL", "ssl.truststore.type": "JKS"}, "only PEM"),
        ({"security.protocol": "SSL", "ssl.ca.pem": "x"}, "ssl.truststore.certificates: that is not PEM"),
        ({"security.protocol": "SSL", "ssl.key.location": "x"}, "a key without its certificate"),
        ({"security.protocol": "SSL", "ssl.ca.pem": "x", "ssl.ca.location": "x"}, "exclude each other"),
        ({"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "x"}, "neither https nor empty"),
        ({"security.protocol": "SSL", "enable.ssl.certificate.verification": "x"}, "neither true nor false"),
        ({"security.protocol": "SASL_SSL"}, "nothing is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"}, "GSSAPI is none of"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}, "username and password are missing"),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.jaas.config": "a required x"},
            "sasl.jaas.config",
        ),
    ],
)
def test_what_makes_no_sense_is_said_with_its_name(properties: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from(properties, DEFAULTS)
