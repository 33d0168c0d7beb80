"""The fetchers of a broker: one for each leader that it follows, and for each of `num.replica.fetchers`.

Owns: which fetcher has which replica; a fetcher comes with its first replica and goes with its last.

Not here: whom to follow (replica_manager), what a fetcher does (fetcher).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from pykbroker.clock import Clock
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig
from pykbroker.peer import Network
from pykbroker.replication.partition import Partition

if TYPE_CHECKING:
    from pykbroker.quotas.replication_quotas import ReplicationQuota
    from pykbroker.replication.fetcher import Fetcher, Followed


class Fetchers:
    """All fetchers of this broker; they come and go with what they follow."""

    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        cluster: Cluster,
        network: Network,
        *,
        quota: Callable[[], ReplicationQuota],
    ) -> None:
        self._config = config
        self._quota = quota
        self._clock = clock
        self._cluster = cluster
        self._network = network
        self._fetchers: dict[tuple[int, int], Fetcher] = {}  # by leader and number
        self._tasks: TaskGroup | None = None

    def keys(self) -> Collection[tuple[int, int]]:
        return self._fetchers.keys()

    def follow(self, partition: Partition) -> None:
        """Follow the partition's leader, from now on and in its present epoch."""
        from pykbroker.replication.fetcher import Fetcher, Followed  # a broker that follows nobody starts without

        self.unfollow(partition)
        topic_id = partition.log.topic_id
        assert topic_id is not None
        leader_id, number = partition.leader_id, self._number_of(partition)
        fetcher = self._fetchers.get((leader_id, number))
        if fetcher is None:
            fetcher = Fetcher(
                self._config,
                self._clock,
                self._cluster,
                self._network,
                leader_id=leader_id,
                number=number,
                quota=self._quota,
            )
            self._fetchers[leader_id, number] = fetcher
            if self._tasks is not None:
                self._tasks.start_soon(fetcher.run)
        fetcher.add(Followed(partition, topic_id, partition.leader_epoch))

    def unfollow(self, partition: Partition) -> None:
        for key, fetcher in list(self._fetchers.items()):
            if fetcher.remove(partition) and not fetcher.followed:
                fetcher.stop()
                del self._fetchers[key]

    def resize(self) -> None:
        """Spread the replicas anew where `num.replica.fetchers` is another one now."""
        moving = [
            followed.partition
            for (_, number), fetcher in self._fetchers.items()
            for followed in fetcher.followed.values()
            if number != self._number_of(followed.partition)
        ]
        for partition in moving:
            self.follow(partition)

    def _number_of(self, partition: Partition) -> int:
        return zlib.crc32(str(partition.topic_partition).encode()) % self._config.num_replica_fetchers

    def followed(self) -> Iterator[tuple[int, int, Followed]]:
        """Yield what is followed, after the leader's id and the fetcher's number."""
        for (leader_id, number), fetcher in self._fetchers.items():
            for followed in fetcher.followed.values():
                yield leader_id, number, followed

    async def run(self) -> None:
        """Run the fetchers, until cancelled."""
        try:
            async with anyio.create_task_group() as self._tasks:
                for fetcher in self._fetchers.values():
                    self._tasks.start_soon(fetcher.run)
                await anyio.sleep_forever()
        finally:
            self._tasks = None  # the metadata goes on changing while a broker stops: no fetcher begins then
