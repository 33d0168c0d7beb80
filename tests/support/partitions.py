"""States of partitions as a test wants them, written as the broker writes what it decided."""

from collections.abc import Sequence

import attrs

from pykbroker.cluster.changes import Change
from pykbroker.cluster.image import MetadataImage
from pykbroker.cluster.partition_changes import put_partition


def set_partition(
    image: MetadataImage,
    name: str,
    index: int = 0,
    *,
    leader: int | None = None,
    isr: Sequence[int] | None = None,
    new_leader_epoch: bool = False,
) -> Change:
    """Give a partition another leader or ISR; another leader has another epoch."""
    topic = image.topics[name]
    old = topic.partitions[index]
    state = attrs.evolve(
        old,
        leader=old.leader if leader is None else leader,
        isr=old.isr if isr is None else tuple(isr),
        leader_epoch=old.leader_epoch + (new_leader_epoch or leader not in (None, old.leader)),
        partition_epoch=old.partition_epoch + 1,
    )
    return put_partition(image, topic, index, state)
