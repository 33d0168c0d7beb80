"""Where partitions that others lead end: asked of their leaders, and remembered for as long as a scrape is recent.

Owns: a connection to each leader that was asked. Rules
- All leaders are asked at the same time, each for MAX_AT_ONCE partitions at a time, and no more than
  `pykbroker.http.leader.timeout.ms` for all of it: what a leader does not tell in time is left out.
- An answer is good for `pykbroker.http.end.offsets.max.age.ms`.
- One call at a time; whoever calls sees to that.

Not here: the end of what this broker leads (Partition.high_watermark).
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

import anyio

from pykbroker.clock import Clock
from pykbroker.cluster.image import NO_BROKER
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig
from pykbroker.peer import Network, Peer
from pykbroker.replication.addresses import address_of
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode

logger = logging.getLogger("pykbroker.web")

LIST_OFFSETS_VERSION = 10
LATEST = -1
MAX_AT_ONCE = 1000  # partitions in one request
CONSUMER = -1  # asks for the high watermark, not for the log end offset


class EndOffsets:
    def __init__(self, config: BrokerConfig, clock: Clock, cluster: Cluster, network: Network) -> None:
        self._config = config
        self._clock = clock
        self._cluster = cluster
        self._network = network
        self._peers: dict[int, Peer] = {}
        self._known: dict[TopicPartition, tuple[int, float]] = {}  # offset, and when it was told

    async def of(
        self, wanted: Iterable[TopicPartition], pause: Callable[[], Awaitable[None]]
    ) -> dict[TopicPartition, int]:
        """Return the high watermark of each partition whose leader tells it; `pause` gives others a turn."""
        now_ms = self._clock.monotonic_ms()
        oldest_ms = now_ms - self._config.pykbroker_http_end_offsets_max_age_ms
        self._known = {key: known for key, known in self._known.items() if known[1] > oldest_ms}
        asked: dict[int, list[TopicPartition]] = {}
        partitions = list(wanted)
        for number, topic_partition in enumerate(partitions):
            if number % MAX_AT_ONCE == 0:
                await pause()
            image = self._cluster.image.partition(*topic_partition)
            if topic_partition not in self._known and image is not None and image.leader != NO_BROKER:
                asked.setdefault(image.leader, []).append(topic_partition)
        await self._close(self._peers.keys() - self._cluster.image.brokers.keys())
        with anyio.move_on_after(self._config.pykbroker_http_leader_timeout_ms / 1000):
            async with anyio.create_task_group() as tasks:
                for leader_id, of_leader in asked.items():
                    tasks.start_soon(self._ask_for_all, leader_id, of_leader)
        return {key: self._known[key][0] for key in partitions if key in self._known}

    async def aclose(self) -> None:
        await self._close(set(self._peers))

    async def _close(self, broker_ids: Iterable[int]) -> None:
        for broker_id in broker_ids:
            await self._peers.pop(broker_id).aclose()

    async def _ask_for_all(self, leader_id: int, partitions: list[TopicPartition]) -> None:
        for first in range(0, len(partitions), MAX_AT_ONCE):
            await self._ask(leader_id, partitions[first : first + MAX_AT_ONCE])

    async def _ask(self, leader_id: int, partitions: Iterable[TopicPartition]) -> None:
        from wire.messages.offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic

        topics: dict[str, ListOffsetsTopic] = {}
        for topic, index in partitions:
            entry = topics.setdefault(topic, ListOffsetsTopic(topic))
            entry.partitions.append(ListOffsetsPartition(index, -1, LATEST))
        request = ListOffsetsRequest(replica_id=CONSUMER, topics=list(topics.values()))
        try:
            response = await self._peer(leader_id).call(
                request, LIST_OFFSETS_VERSION, timeout_ms=self._config.pykbroker_http_leader_timeout_ms
            )
        except OSError as error:
            logger.info("broker %d does not tell where its partitions end: %s", leader_id, error)
            return
        now_ms = self._clock.monotonic_ms()
        for topic in response.topics:
            for answer in topic.partitions:
                if answer.error_code == ErrorCode.NONE:
                    self._known[TopicPartition(topic.name, answer.partition_index)] = answer.offset, now_ms

    def _peer(self, leader_id: int) -> Peer:
        peer = self._peers.get(leader_id)
        if peer is None:
            config, cluster = self._config, self._cluster
            peer = self._peers[leader_id] = Peer(
                self._network,
                self._clock,
                config,
                lambda: address_of(leader_id, config, cluster),
                client_id=f"broker-{config.node_id}-end-offsets",
                max_backoff_ms=lambda: config.replica_fetch_backoff_ms,
            )
        return peer
