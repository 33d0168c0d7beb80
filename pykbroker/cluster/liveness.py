"""Finds out that a broker's process is gone long before its session would end, and fences it.

The controller watches all other brokers, and each of them watches the controller: a connection to the broker's listener
is held open and used from time to time. When it breaks, or cannot be made, and the listener then refuses two connects
in a row, no process is there any more: the broker is fenced, and if it was the controller that role becomes free, by
compare-and-set on the registration that was watched.

Rules
- Only a refusal counts. A broker that is frozen, cut off or slow accepts or stays silent, and has its session's time.
- A wrong verdict costs a registration, never a record. The fenced broker sees that in the store and registers again.
  If it is cut off from the store, too, and still leads by its own image, it cannot acknowledge acks=all: the members of
  its ISR learn of the new leader epoch and fetch from it no more, so that its high watermark stays; and its ISR cannot
  shrink without the store, where a change is conditional on its being alive (partition_changes.alter_isr). Where its
  ISR had no one else, a leader comes from the ELR only if the ISR was below the min ISR, and then nothing was
  acknowledged; else nobody leads in its place.
- A process that was fenced and lives (it registered again as the same incarnation) is not fenced by refusals a second
  time, unless its listener was reached in between: something on the way refuses, not it.

Not here: leases and sessions (membership, store), what follows from a fenced broker (controller).
"""

import logging

import anyio
import attrs

from pykbroker.clock import Clock
from pykbroker.cluster.changes import fence_broker
from pykbroker.cluster.image import BrokerImage, ImageDelta, MetadataImage
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig, Endpoint
from pykbroker.errors import KafkaError
from pykbroker.peer import Channel, Network
from wire.frame import API_VERSIONS, RequestHeader, encode_request
from wire.messages.brokers import ApiVersionsRequest

logger = logging.getLogger("pykbroker.cluster")

REFUSALS = 2  # in a row
SOON = 5  # a fraction of the interval: how long to wait when it seems that a process is gone


@attrs.define(eq=False)
class _Watch:
    epoch: int
    scope: anyio.CancelScope


class Liveness:
    def __init__(self, cluster: Cluster, config: BrokerConfig, clock: Clock, network: Network) -> None:
        self._cluster = cluster
        self._config = config
        self._clock = clock
        self._network = network
        self._watches: dict[int, _Watch] = {}
        self._fenced: dict[int, str] = {}  # broker -> the incarnation of it that was found dead
        self._news = anyio.Event()
        version = 0
        self._question = encode_request(
            RequestHeader(API_VERSIONS, version, 0, f"broker-{config.node_id}-liveness"), ApiVersionsRequest()
        )

    def on_image(self, image: MetadataImage, delta: ImageDelta) -> None:
        if delta.brokers or delta.controller_changed:
            self._news.set()

    async def run(self) -> None:
        """Watch whom the image says is to be watched, until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                self._news = anyio.Event()
                wanted = self._to_watch(self._cluster.image)
                for broker_id, watch in list(self._watches.items()):
                    if broker_id not in wanted or wanted[broker_id].epoch != watch.epoch:
                        watch.scope.cancel()
                        del self._watches[broker_id]
                for broker_id in wanted.keys() - self._watches.keys():
                    watch = _Watch(wanted[broker_id].epoch, anyio.CancelScope())
                    self._watches[broker_id] = watch
                    tasks.start_soon(self._watch, wanted[broker_id], watch)
                await self._news.wait()

    def _to_watch(self, image: MetadataImage) -> dict[int, BrokerImage]:
        me = self._cluster.broker_id
        watched = image.brokers if self._cluster.is_controller else {image.controller_id}
        return {
            broker.id: broker
            for broker in image.alive_brokers()
            if broker.id != me and broker.id in watched and self._endpoint_of(broker) is not None
        }

    def _endpoint_of(self, broker: BrokerImage) -> Endpoint | None:
        return broker.endpoint_for_brokers(self._config.inter_broker_listener_effective)

    async def _watch(self, broker: BrokerImage, watch: _Watch) -> None:
        endpoint = self._endpoint_of(broker)
        assert endpoint is not None
        with watch.scope:
            refusals = 0
            while True:
                pause_ms = float(self._config.pykbroker_liveness_probe_interval_ms)
                try:
                    connect = self._network.connect(endpoint.host, endpoint.port)
                    channel = await self._clock.within(self._config.socket_connection_setup_timeout_ms, connect)
                except ConnectionRefusedError:
                    refusals += 1
                    if refusals < REFUSALS:
                        pause_ms /= SOON
                    else:
                        await self._found_dead(broker)
                except OSError:
                    refusals = 0
                else:
                    refusals = 0
                    self._fenced.pop(broker.id, None)
                    if await self._hold(channel):
                        pause_ms /= SOON
                await self._clock.sleep(pause_ms)

    async def _hold(self, channel: Channel) -> bool:
        """Return when the connection is lost, and whether it was of any use before."""
        has_answered = False
        try:
            while True:
                await channel.exchange(self._question)
                has_answered = True
                await self._clock.sleep(self._config.pykbroker_liveness_probe_interval_ms)
        except OSError:
            return has_answered
        finally:
            with anyio.CancelScope(shield=True):
                await channel.aclose()

    async def _found_dead(self, broker: BrokerImage) -> None:
        if broker.incarnation_id and self._fenced.get(broker.id) == broker.incarnation_id:
            return
        logger.warning("broker %d refuses connections and is fenced: its process is gone", broker.id)
        try:
            await self._cluster.propose(lambda image: fence_broker(image, broker.id, broker.epoch))
        except KafkaError as error:
            logger.warning("cannot fence broker %d: %s", broker.id, error)  # tried anew with the next refusal
        else:
            self._fenced[broker.id] = broker.incarnation_id
