"""Configurations of a client metrics subscription: which metrics which clients push, and how often.

Source: KIP-714, Kafka's ClientMetricsConfigs.
"""

import re
from collections.abc import Mapping

from pykbroker.config_tables.definition import ConfigDef, definitions_of, integer, strings

_CLIENT_FACTS = (
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
)
MIN_INTERVAL_MS, MAX_INTERVAL_MS = 100, 3_600_000


class _Table:
    metrics = strings([])
    interval_ms = integer(300_000)
    match = strings([])


DEFINITIONS: Mapping[str, ConfigDef] = definitions_of(_Table)


def wrong_pattern(match: list[str]) -> str | None:
    """Return the first entry that is not `fact=regular expression`."""
    for entry in match:
        fact, _, pattern = entry.partition("=")
        try:
            re.compile(pattern.strip())
        except re.error:
            return entry
        if fact.strip() not in _CLIENT_FACTS or not pattern.strip():
            return entry
    return None
