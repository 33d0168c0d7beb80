"""The name of a partition: what almost everything in the broker is keyed by."""

from typing import NamedTuple


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        """Kafka's form, which is also the name of the partition's directory."""
        return f"{self.topic}-{self.partition}"
