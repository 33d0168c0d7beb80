"""Where the cluster's metadata is: the forms of `pykbroker.store`.

    sqlite                                    a file in the data folder, for this broker alone
    sqlite:PATH                               a file that several brokers of one machine share
    etcd://host:port[,host:port]/prefix       an etcd, for brokers of several machines; below /pykbroker if no prefix

Not here: what is opened there (cluster/engines).
"""

import re
from pathlib import Path

import attrs

from pykbroker.config_tables.definition import ConfigError

DEFAULT_ROOT = "/pykbroker"
_ENDPOINT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z\-._]+)):(\d{1,5})")


@attrs.frozen
class EtcdLocation:
    endpoints: tuple[tuple[str, int], ...]
    root: str


def parse_store(text: str) -> EtcdLocation | Path | None:
    """Return the etcd, the shared file, or None for the file of one broker. Raises: ConfigError."""
    if text == "sqlite":
        return None
    if text.startswith("sqlite:") and len(text) > len("sqlite:"):
        return Path(text.removeprefix("sqlite:"))
    if not text.startswith("etcd://"):
        raise ConfigError("sqlite, sqlite:PATH or etcd://host:port/prefix is possible")
    hosts, _, prefix = text.removeprefix("etcd://").partition("/")
    endpoints = []
    for host in hosts.split(","):
        match = _ENDPOINT.fullmatch(host)
        if match is None or not 0 < int(match[3]) <= 65_535:
            raise ConfigError(f"{host!r} is not host:port")
        endpoints.append((match[1] or match[2], int(match[3])))
    root = "/" + prefix.strip("/") if prefix.strip("/") else DEFAULT_ROOT
    return EtcdLocation(tuple(endpoints), root)


def problem_of_store(text: str) -> str | None:
    """Return what is wrong with it."""
    try:
        parse_store(text)
    except ConfigError as error:
        return str(error)
    return None
