"""Settings of a client under Kafka's own names, as in the files that Kafka's tools take as --command-config.

    security.protocol=SASL_SSL
    sasl.mechanism=SCRAM-SHA-512
    sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="me" password="secret";
    ssl.truststore.location=ca.pem

Rules
- Names are those of the Java client; where librdkafka (kcat) has others for the same, both are known.
- A name that means nothing here is returned, so that the caller can say so: files hold what others need, too.
- What does not make sense is a ValueError that names the property.

Sources: the configuration tables of Kafka's clients and of librdkafka.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from pykbroker.client.sasl import MECHANISMS
from pykbroker.client.security import Pem, SaslSettings, Security, SecurityProtocol, SslSettings
from pykbroker.client.settings import ClientSettings, OffsetReset

_JAAS = re.compile(
    r"\s*(?P<module>[\w.$]+)\s+required(?P<options>(?:\s+[\w.]+\s*=\s*(?:\"(?:[^\"\\]|\\.)*\"|[^\s;\"]+))*)\s*;\s*"
)
_JAAS_OPTION = re.compile(r"([\w.]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"]+))")
_PEM_MARK = "-----BEGIN"
_NUMBERS = {
    name.replace("_", "."): name
    for name in (
        "request_timeout_ms",
        "default_api_timeout_ms",
        "socket_connection_setup_timeout_ms",
        "retry_backoff_ms",
        "retry_backoff_max_ms",
        "metadata_max_age_ms",
        "batch_size",
        "buffer_memory",
        "max_request_size",
        "fetch_min_bytes",
        "fetch_max_wait_ms",
        "fetch_max_bytes",
        "max_partition_fetch_bytes",
        "session_timeout_ms",
        "heartbeat_interval_ms",
    )
} | {"max.poll.interval.ms": "rebalance_timeout_ms"}
# librdkafka's names, and ours for the same
_ALIASES = {
    "sasl.mechanisms": "sasl.mechanism",
    "ssl.ca.location": "ssl.truststore.location",
    "ssl.ca.pem": "ssl.truststore.certificates",
    "ssl.certificate.pem": "ssl.keystore.certificate.chain",
    "ssl.key.pem": "ssl.keystore.key",
    "message.max.bytes": "max.request.size",
}
_LIBRDKAFKA_RESETS = {
    "smallest": "earliest",
    "beginning": "earliest",
    "largest": "latest",
    "end": "latest",
    "error": "none",
}
_SSL = {
    "ssl.truststore.location",
    "ssl.truststore.certificates",
    "ssl.truststore.type",
    "ssl.keystore.location",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.type",
    "ssl.key.password",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "ssl.cipher.suites",
}
_SASL = {"sasl.mechanism", "sasl.jaas.config", "sasl.username", "sasl.password"}


def settings_from(properties: Mapping[str, str], defaults: ClientSettings) -> tuple[ClientSettings, list[str]]:
    """Return the settings, and the names that mean nothing here. Raises: ValueError."""
    given = {_ALIASES.get(name, name): value.strip() for name, value in properties.items()}
    changes: dict[str, Any] = {
        attribute: _number(name, given[name]) for name, attribute in _NUMBERS.items() if name in given
    }
    if "client.id" in given:
        changes["client_id"] = given["client.id"]
    if "auto.offset.reset" in given:
        changes["auto_offset_reset"] = _offset_reset(given["auto.offset.reset"])
    changes["security"] = _security(given)
    known = {"bootstrap.servers", "client.id", "auto.offset.reset", "security.protocol", *_NUMBERS, *_SSL, *_SASL}
    return attrs.evolve(defaults, **changes), sorted(name for name in given if name not in known)


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ValueError(f"{name}: {text!r} is not a number")
    return int(text)


def _offset_reset(text: str) -> OffsetReset:
    text = _LIBRDKAFKA_RESETS.get(text.lower(), text.lower())
    try:
        return OffsetReset(text)
    except ValueError:
        names = ", ".join(each.value for each in OffsetReset)
        raise ValueError(f"auto.offset.reset: {text} is none of {names}") from None


def _security(given: Mapping[str, str]) -> Security:
    text = given.get("security.protocol", "PLAINTEXT").upper()
    try:
        protocol = SecurityProtocol(text)
    except ValueError:
        names = ", ".join(each.value for each in SecurityProtocol)
        raise ValueError(f"security.protocol: {text} is none of {names}") from None
    return Security(
        protocol, _ssl(given) if protocol.has_tls else SslSettings(), _sasl(given) if protocol.has_sasl else None
    )


# TLS


def _ssl(given: Mapping[str, str]) -> SslSettings:
    for kind in ("truststore", "keystore"):
        stated = given.get(f"ssl.{kind}.type", "PEM")
        if stated.upper() != "PEM":
            raise ValueError(f"ssl.{kind}.type: {stated} is not read here, only PEM")
    certificate = _pem(given, "ssl.keystore.location", "ssl.certificate.location", "ssl.keystore.certificate.chain")
    key = _pem(given, "ssl.key.location", "ssl.keystore.key")
    if key is not None and certificate is None:
        raise ValueError("a key without its certificate: ssl.keystore.certificate.chain or ssl.certificate.location")
    algorithm = given.get("ssl.endpoint.identification.algorithm", "https").lower()
    if algorithm not in ("https", "none", ""):
        raise ValueError(f"ssl.endpoint.identification.algorithm: {algorithm} is neither https nor empty")
    return SslSettings(
        trusted=_pem(given, "ssl.truststore.location", "ssl.truststore.certificates"),
        certificate=certificate,
        key=key,
        key_password=given.get("ssl.key.password"),
        checks_host_name=algorithm == "https",
        checks_certificate=_bool(given, "enable.ssl.certificate.verification"),
        ciphers=given["ssl.cipher.suites"].replace(",", ":") if given.get("ssl.cipher.suites") else None,
    )


def _pem(given: Mapping[str, str], *names: str) -> Pem | None:
    """Return what one of these says: a file (`...location`), or the text."""
    found = [name for name in names if given.get(name)]
    if len(found) > 1:
        raise ValueError(f"{found[0]} and {found[1]} exclude each other")
    if not found:
        return None
    value = given[found[0]]
    if found[0].endswith(".location"):
        return Pem(path=Path(value))
    if _PEM_MARK not in value:
        raise ValueError(f"{found[0]}: that is not PEM")
    return Pem(text=value.replace("\\n", "\n"))


def _bool(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "true").lower()
    if text not in ("true", "false"):
        raise ValueError(f"{name}: {text} is neither true nor false")
    return text == "true"


# SASL


def _sasl(given: Mapping[str, str]) -> SaslSettings:
    mechanism = given.get("sasl.mechanism", "")
    if mechanism not in MECHANISMS:
        raise ValueError(f"sasl.mechanism: {mechanism or 'nothing'} is none of {', '.join(MECHANISMS)}")
    options = _jaas_options(given["sasl.jaas.config"]) if "sasl.jaas.config" in given else {}
    username = given.get("sasl.username", options.get("username"))
    password = given.get("sasl.password", options.get("password"))
    if username is None or password is None:
        raise ValueError("sasl.jaas.config: username and password are missing (or sasl.username and sasl.password)")
    return SaslSettings(mechanism, username, password)


def _jaas_options(text: str) -> dict[str, str]:
    match = _JAAS.fullmatch(text)
    if match is None:
        raise ValueError('sasl.jaas.config: it is not `module required username="..." password="...";`')
    unescape: Callable[[str], str] = lambda quoted: re.sub(r"\\(.)", r"\1", quoted)  # noqa: E731
    return {name: bare or unescape(quoted) for name, quoted, bare in _JAAS_OPTION.findall(match["options"])}
