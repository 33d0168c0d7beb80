"""Producer ids: numbers given out once in the life of a cluster.

Owns: the block that this broker has claimed in the store. Rules: ids of a block that is not used up when the broker
stops are lost, never given out again. Sources: KIP-730, Kafka's ProducerIdManager.
"""

import anyio

from pykbroker.cluster.changes import PRODUCER_ID_BLOCK, Change, claim_producer_ids
from pykbroker.cluster.image import MetadataImage
from pykbroker.cluster.membership import Cluster


class ProducerIds:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = anyio.Lock()
        self._next = 0
        self._end = 0  # exclusive

    async def next(self) -> int:
        async with self._lock:
            if self._next == self._end:
                claimed = 0

                def claim(image: MetadataImage) -> Change:
                    nonlocal claimed
                    claimed = image.next_producer_id
                    return claim_producer_ids(image)

                await self._cluster.propose(claim)
                self._next, self._end = claimed, claimed + PRODUCER_ID_BLOCK
            self._next += 1
            return self._next - 1
