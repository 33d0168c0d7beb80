"""Configurations of a client metrics subscription: which metrics which clients push, and how often.

Source: KIP-714, Kafka's ClientMetricsConfigs.
"""

from collections.abc import Mapping

from pykbroker.config_tables.definition import ConfigDef, definitions_of, integer, no_empty_items, strings
from pykbroker.errors import KafkaError
from pykbroker.pattern import Pattern
from wire.errors import ErrorCode

CLIENT_FACTS = (
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
)
MIN_INTERVAL_MS, MAX_INTERVAL_MS = 100, 3_600_000


class _Table:
    metrics = strings([], no_empty_items)
    interval_ms = integer(300_000)
    match = strings([], no_empty_items)


DEFINITIONS: Mapping[str, ConfigDef] = definitions_of(_Table)


def parse_match(match: list[str]) -> list[tuple[str, Pattern]]:
    """Return (fact, pattern that it has to match) for entries such as `client_id=app-.*`.

    Raises: KafkaError INVALID_CONFIG, with the entry that is none.
    """
    parsed = []
    for entry in match:
        fact, _, text = map(str.strip, entry.partition("="))
        try:
            if fact not in CLIENT_FACTS or not text or "=" in text:
                raise KafkaError(ErrorCode.INVALID_CONFIG, "it is not FACT=PATTERN")
            parsed.append((fact, Pattern(text)))
        except KafkaError as error:
            raise KafkaError(
                ErrorCode.INVALID_CONFIG, f"match cannot be understood: {entry}: {error.message}"
            ) from None
    return parsed
