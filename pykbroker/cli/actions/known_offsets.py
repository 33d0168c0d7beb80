"""Where partitions begin and end, for commands that show what they can: one leader in trouble hides only its own."""

from collections.abc import Iterable, Mapping

from pykbroker.client import Client
from pykbroker.client.offsets import BEGINNING, END, list_offsets_or_errors
from pykbroker.topic_partition import TopicPartition

TIMEOUT_MS = 2_500  # for a leader to answer; a person waits


async def known_offsets(
    client: Client, partitions: Iterable[TopicPartition]
) -> tuple[Mapping[TopicPartition, int], Mapping[TopicPartition, int]]:
    """Return log start offsets and high watermarks, without those of leaders that do not answer soon."""
    starts = await _answered(client, partitions, BEGINNING)
    return starts, await _answered(client, starts, END)


async def _answered(client: Client, partitions: Iterable[TopicPartition], which: int) -> dict[TopicPartition, int]:
    with client.deadline(TIMEOUT_MS):
        results = await list_offsets_or_errors(client, dict.fromkeys(partitions, which))
    return {tp: offset for tp, offset in results.items() if isinstance(offset, int)}
