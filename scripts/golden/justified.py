"""Differences from Apache Kafka's answers that are right: (API, part of the field's path, the reason)."""

JUSTIFIED: tuple[tuple[str, str, str], ...] = ()
