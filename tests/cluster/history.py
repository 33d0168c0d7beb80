"""Changes applied one after the other as a store would: conditions checked, operations told, the image made.

Not here: concurrency and engines (test_store), who proposes (test_controller).
"""

from collections.abc import Iterable, Sequence

from pykbroker.cluster.apply import apply
from pykbroker.cluster.changes import Change, create_topic, fence_broker, found_cluster, register_broker
from pykbroker.cluster.image import EMPTY, ImageDelta, MetadataImage, PartitionImage
from pykbroker.cluster.store import Batch, Delete, DeletePrefix, Event, Put
from pykbroker.config import Endpoint

LISTENER = Endpoint("PLAINTEXT", "PLAINTEXT", "h", 1)


class History:
    def __init__(self) -> None:
        self.image: MetadataImage = EMPTY
        self.delta = ImageDelta()
        self.stored: dict[str, Event] = {}

    def write(self, change: Change) -> ImageDelta:
        assert self.holds(change)
        revision = self.image.revision + 1
        events: dict[str, Event] = {}
        for operation in change.operations:
            match operation:
                case Put(key, value, _):
                    events[key] = Event(key, value, revision)
                case Delete(key):
                    events[key] = Event(key, None, revision)
                case DeletePrefix(prefix):
                    events.update({key: Event(key, None, revision) for key in self.stored if key.startswith(prefix)})
        for key, event in events.items():
            if event.value is None:
                self.stored.pop(key, None)
            else:
                self.stored[key] = event
        self.image, self.delta = apply(self.image, Batch(revision, list(events.values())))
        return self.delta

    def holds(self, change: Change) -> bool:
        """Tell whether a store would commit the change now."""
        return all(
            (self.stored[key].revision if key in self.stored else 0) == expected for key, expected in change.conditions
        )

    def reset(self) -> tuple[MetadataImage, ImageDelta]:
        """Return what a broker makes of the same keys that starts now."""
        events = [self.stored[key] for key in sorted(self.stored)]
        return apply(EMPTY, Batch(self.image.revision, events, is_reset=True))

    # What brokers do

    def found(self, features: dict[str, int], min_isr: int = 1) -> None:
        self.write(found_cluster(self.image, "c", features, {"min.insync.replicas": str(min_isr)}))

    def register(self, *broker_ids: int) -> None:
        for broker_id in broker_ids:
            self.write(register_broker(self.image, broker_id, None, [LISTENER], 0))

    def fence(self, broker_id: int) -> None:
        self.write(fence_broker(self.image, broker_id, self.image.brokers[broker_id].epoch))

    def create(self, name: str, replicas: Iterable[Sequence[int]], configs: dict[str, str] | None = None) -> ImageDelta:
        assigned = [tuple(each) for each in replicas]
        return self.write(create_topic(self.image, name, topic_id(name), assigned, configs or {}))

    def partition(self, name: str = "t", index: int = 0) -> PartitionImage:
        return self.image.topics[name].partitions[index]


def with_brokers(*broker_ids: int) -> History:
    history = History()
    history.register(*broker_ids)
    return history


def topic_id(name: str) -> bytes:
    return name.encode().ljust(16, b".")
