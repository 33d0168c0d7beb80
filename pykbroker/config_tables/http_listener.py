"""Where HTTP is served: the forms of `pykbroker.http.listener`.

    (empty)        nowhere
    9644           a port of loopback; 0 takes any
    :9644          the same
    HOST:9644      an address or a name; 0.0.0.0 or [::] for all addresses

Not here: what is served there (web/server).
"""

import re

from pykbroker.config_tables.definition import ConfigError

LOOPBACK = "127.0.0.1"
_ADDRESS = re.compile(r"(?:(?:\[([0-9A-Fa-f:.%]+)\]|([0-9A-Za-z\-._%]*)):)?(\d{1,5})")


def parse_http_listener(text: str) -> tuple[str, int]:
    """Return host and port. Raises: ConfigError."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match[3]) > 65_535:
        raise ConfigError(f"{text!r} is not HOST:PORT")
    return match[1] or match[2] or LOOPBACK, int(match[3])


def problem_of_http_listener(text: str) -> str | None:
    """Return what is wrong with it."""
    try:
        parse_http_listener(text)
    except ConfigError as error:
        return str(error)
    return None
