"""Where to listen and where clients are told to connect: entries such as `NAME://host:port`."""

import re
from collections.abc import Mapping

import attrs

from pykbroker.config_tables.definition import ConfigError


@attrs.frozen
class Endpoint:
    """A listener: where to listen, or where clients are told to connect."""

    listener: str
    protocol: str  # PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL
    host: str  # "" listens on all addresses
    port: int


_ENDPOINT = re.compile(r"([^:/]+)://(?:\[([0-9A-Fa-f:.%]+)\]|([0-9A-Za-z\-%._]*)):(\d{1,5})")


def parse_endpoints(name: str, listeners: list[str], protocols: Mapping[str, str]) -> list[Endpoint]:
    """Parse `NAME://host:port` entries. Raises: ConfigError, naming the property `name`."""
    endpoints: list[Endpoint] = []
    for text in listeners:
        match = _ENDPOINT.fullmatch(text)
        if match is None or int(match[4]) > 65_535:
            raise ConfigError(f"{name}: {text!r} is not NAME://host:port")
        listener = match[1].upper()
        if listener not in protocols:
            raise ConfigError(f"{name}: {listener} has no entry in listener.security.protocol.map")
        if any(endpoint.listener == listener for endpoint in endpoints):
            raise ConfigError(f"{name}: the listener {listener} is there twice")
        port = int(match[4])
        if port and any((endpoint.host, endpoint.port) == (match[2] or match[3], port) for endpoint in endpoints):
            raise ConfigError(f"{name}: the port {port} is there twice")
        endpoints.append(Endpoint(listener, protocols[listener], match[2] or match[3], port))
    return endpoints
