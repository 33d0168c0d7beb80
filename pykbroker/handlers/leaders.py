"""Where a partition is led now: what the answer to a client that asked the wrong broker says.

Source: KIP-951.
"""

from collections.abc import Iterable, Iterator

from pykbroker.handlers.context import RequestContext
from wire.schema import Uuid


def leader_of(ctx: RequestContext, name: str, topic_id: Uuid, index: int) -> tuple[int, int] | None:
    """Return the leader and its epoch as the metadata has them; the topic is given by name or by id."""
    image = ctx.services.cluster.image
    topic = image.topics.get(name or image.topic_names_by_id.get(topic_id, ""))
    if topic is None or not 0 <= index < len(topic.partitions):
        return None
    partition = topic.partitions[index]
    return partition.leader, partition.leader_epoch


def endpoints(ctx: RequestContext, broker_ids: Iterable[int]) -> Iterator[tuple[int, str, int, str | None]]:
    """Yield (id, host, port, rack) of the brokers that have the listener the client is connected to."""
    brokers = ctx.services.cluster.image.brokers
    for broker_id in sorted(broker_ids):
        broker = brokers.get(broker_id)
        if broker is not None and ctx.connection.listener in broker.listeners:
            listener = broker.listeners[ctx.connection.listener]
            yield broker_id, listener.host, listener.port, broker.rack
