"""How a client makes sure of a broker, and a broker of it: TLS and SASL, as they are set.

Rules
- Without certificates of its own, TLS trusts those of the system. A broker's certificate has to be of the host that was
  asked for, unless `checks_host_name` is off.
- Certificates and keys are PEM: files, or the text itself. Files of Java's kinds (JKS, PKCS12) are not read.
- A password is in no text that is printed.

Not here: Kafka's names for all this (properties), the exchange of SASL (sasl), sockets (tls).
"""

import enum
import ssl
import tempfile
from pathlib import Path

import attrs

WANTS_CERTIFICATE = "it may want a certificate of the client, or another one (ssl.keystore.location)"
# Of OpenSSL's names of failures: who somebody is, or which TLS they speak.
_LASTING = (
    "CERTIFICATE",
    "UNKNOWN_CA",
    "ACCESS_DENIED",
    "UNRECOGNIZED_NAME",
    "HANDSHAKE_FAILURE",
    "INSUFFICIENT_SECURITY",
    "CIPHER",
    "VERSION",
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
    "HTTP_REQUEST",
)


class SecurityProtocol(enum.Enum):
    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def has_tls(self) -> bool:
        return self in (SecurityProtocol.SSL, SecurityProtocol.SASL_SSL)

    @property
    def has_sasl(self) -> bool:
        return self in (SecurityProtocol.SASL_PLAINTEXT, SecurityProtocol.SASL_SSL)


@attrs.frozen
class Pem:
    """A file, or the text of one."""

    path: Path | None = None
    text: str = attrs.field(default="", repr=False)

    def read(self) -> str:
        """Raises: OSError, UnicodeDecodeError."""
        return self.text if self.path is None else self.path.read_text()


@attrs.frozen
class SslSettings:
    trusted: Pem | None = None  # None: what the system trusts
    certificate: Pem | None = None  # the client's, with its chain; the key may be in it, too
    key: Pem | None = None
    key_password: str | None = attrs.field(default=None, repr=False)
    checks_host_name: bool = True
    checks_certificate: bool = True
    ciphers: str | None = None


@attrs.frozen
class SaslSettings:
    mechanism: str
    username: str
    password: str = attrs.field(repr=False)


@attrs.frozen
class Security:
    protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    ssl: SslSettings = SslSettings()
    sasl: SaslSettings | None = None


def ssl_context(settings: SslSettings) -> ssl.SSLContext:
    """Raises: OSError where a file cannot be read, ValueError where it is not what it should be."""
    context = ssl.create_default_context(cadata=None if settings.trusted is None else _trusted(settings.trusted))
    context.check_hostname = settings.checks_host_name and settings.checks_certificate
    if not settings.checks_certificate:
        context.verify_mode = ssl.CERT_NONE
    if settings.ciphers is not None:
        try:
            context.set_ciphers(settings.ciphers)
        except ssl.SSLError:
            raise ValueError(f"there is no cipher among {settings.ciphers}") from None
    if settings.certificate is not None:
        _load_own(context, settings.certificate, settings.key, settings.key_password)
    return context


def is_lasting(error: BaseException) -> bool:
    """Whether TLS failed for a reason that does not change by itself; a proxy that has no broker behind it may."""
    return isinstance(error, ssl.SSLError) and any(name in str(error) for name in _LASTING)


def _trusted(pem: Pem) -> str:
    text = _text(pem)
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError):
        raise ValueError(f"there is no certificate in {pem.path or 'the text'}: it has to be PEM") from None
    return text


def _load_own(context: ssl.SSLContext, certificate: Pem, key: Pem | None, password: str | None) -> None:
    """Load them by way of a file that only this user can read: there is no other."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(_text(certificate) + ("" if key is None else "\n" + _text(key)))
        file.flush()
        try:
            # Without a password OpenSSL would ask the terminal for one.
            context.load_cert_chain(file.name, password=password or "")
        except ssl.SSLError as error:
            where = (key or certificate).path or "the text"
            raise ValueError(f"no certificate with its key in {where}: {error.reason or error}") from None


def _text(pem: Pem) -> str:
    try:
        return pem.read()
    except UnicodeDecodeError:
        raise ValueError(f"{pem.path} is not PEM") from None
