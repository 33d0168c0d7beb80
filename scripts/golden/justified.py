"""Differences from Apache Kafka's answers that are right: (API, part of the field's path, the reason).

Not asked at all, since the answers would differ:
- Produce without records (null): Kafka never answers.
- Produce of a batch whose header and CRC are right, but whose records are not: Kafka walks the records of every batch,
  this broker those that its topic needs looked at (pykbroker/log/validate.py).
"""

JUSTIFIED: tuple[tuple[str, str, str], ...] = (
    (
        "DeleteShareGroupOffsets",
        "responses",
        "whether the share group's state has been set up by then is a matter of time, for Kafka too",
    ),
)
