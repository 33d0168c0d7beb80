"""One node of Apache Kafka with a listener of each kind: plain, TLS, TLS both ways, SASL, SASL over TLS.

    PLAINTEXT, SSL, MUTUAL (TLS that wants a certificate of the client), SASL_PLAINTEXT, SASL_SSL

Rules: its certificate is one for 127.0.0.1, not for localhost. Who is let in is `USER` with `PASSWORD`, by each
mechanism; the SCRAM credentials are made by our own client.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

import anyio
import attrs
import trustme
from apache_kafka import KafkaCluster, start_cluster
from cluster import LOOPBACK, free_ports
from cryptography.hazmat.primitives import serialization

from pykbroker.client import Client, Question
from pykbroker.client.client import check
from wire.messages.authentication import AlterUserScramCredentialsRequest, ScramCredentialUpsertion

LISTENERS = {"SSL": "SSL", "MUTUAL": "SSL", "SASL_PLAINTEXT": "SASL_PLAINTEXT", "SASL_SSL": "SASL_SSL"}
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
USER, PASSWORD = "me", "it is a secret"
REAUTH_MS = 2_000  # Kafka takes no second reauthentication within a second
_ITERATIONS = 4096


@attrs.frozen
class SecuredKafka:
    cluster: KafkaCluster
    ports: dict[str, int]  # of each listener but the plain one
    folder: Path  # of ca.pem, other.pem (another CA's) and me.pem, a client's key and certificate

    @property
    def bootstrap(self) -> str:
        """The address of the plain listener."""
        return self.cluster.bootstrap

    def address(self, listener: str, host: str = LOOPBACK) -> str:
        return self.bootstrap if listener == "PLAINTEXT" else f"{host}:{self.ports[listener]}"


def started(folder: Path) -> SecuredKafka:
    """Raises: Unavailable."""
    ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
    _write_certificates(folder)
    cluster = start_cluster(folder / "kafka", listeners=ports, properties=_properties(folder))
    try:
        anyio.run(_add_user, cluster.bootstrap)
    except BaseException:
        cluster.stop()
        raise
    return SecuredKafka(cluster, ports, folder)


def _write_certificates(folder: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    for name, certificate in (("broker", ca.issue_cert(LOOPBACK)), ("me", ca.issue_cert("me@example.org"))):
        key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
        pkcs8 = key.private_bytes(  # Kafka reads no other kind
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
        (folder / f"{name}.pem").write_bytes(pkcs8 + chain)


def _properties(folder: Path) -> dict[str, str]:
    protocols = {"CONTROLLER": "PLAINTEXT", "PLAINTEXT": "PLAINTEXT", **LISTENERS}
    jaas = "org.apache.kafka.common.security"
    properties = {
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "listener.name.mutual.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.num.partitions": "1",
    }
    for listener in ("sasl_plaintext", "sasl_ssl"):
        prefix = f"listener.name.{listener}"
        properties |= {
            f"{prefix}.plain.sasl.jaas.config": f'{jaas}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
            **{
                f"{prefix}.{mechanism.lower()}.sasl.jaas.config": f"{jaas}.scram.ScramLoginModule required;"
                for mechanism in MECHANISMS[1:]
            },
        }
        # By the prefix of one mechanism: the others hold for good.
    properties["listener.name.sasl_plaintext.scram-sha-256.connections.max.reauth.ms"] = str(REAUTH_MS)
    return properties


async def _add_user(bootstrap: str) -> None:
    def check_answer(answer: Any) -> None:
        check(answer.results[0].error_code, answer.results[0].error_message)

    async with Client(bootstrap) as client:
        for mechanism, digest in enumerate(("sha256", "sha512"), start=1):  # Kafka takes one of a user at a time
            salt = secrets.token_bytes(16)
            salted = hashlib.pbkdf2_hmac(digest, PASSWORD.encode(), salt, _ITERATIONS)
            credential = ScramCredentialUpsertion(USER, mechanism, _ITERATIONS, salt, salted)
            request = AlterUserScramCredentialsRequest(upsertions=[credential])
            await client.ask_controller(Question.of(request), check_answer)
