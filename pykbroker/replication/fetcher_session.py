"""The fetch session of a fetcher with its leader.

Owns: id and epoch of the session, which partitions the leader knows of, and what it has yet to be told of them.

Not here: what the leader keeps (fetch_session, follower_session). Source: KIP-227; Kafka's FetchSessionHandler.
"""

from collections.abc import Iterable

from wire.schema import Uuid

FIRST_EPOCH, MAX_EPOCH = 0, 2**31 - 1

Key = tuple[Uuid, int]


class FetcherSession:
    """What the leader remembers of our partitions, and what it has yet to be told."""

    def __init__(self) -> None:
        self.id = 0
        self.epoch = FIRST_EPOCH
        self._known: set[Key] = set()  # to the leader
        self._changed: dict[Key, None] = {}  # in the order in which they are to be asked for
        self._forgotten: dict[Key, None] = {}

    def add(self, key: Key) -> None:
        self._changed[key] = None
        self._forgotten.pop(key, None)

    changed = add

    def remove(self, key: Key) -> None:
        self._changed.pop(key, None)
        if key in self._known:
            self._forgotten[key] = None

    def take_changed(self) -> Iterable[Key]:
        changed, self._changed = self._changed, {}
        self._known.update(changed)
        return changed

    def take_forgotten(self) -> Iterable[Key]:
        forgotten, self._forgotten = self._forgotten, {}
        self._known.difference_update(forgotten)
        return forgotten

    def answered(self, session_id: int, followed: Iterable[Key], put_aside: Iterable[Key]) -> None:
        """The leader answered: within the session that it names, or without one."""
        if session_id == 0:
            self.reset(followed, put_aside)
            return
        self.epoch = 1 if self.id != session_id or self.epoch == MAX_EPOCH else self.epoch + 1
        self.id = session_id

    def reset(self, followed: Iterable[Key], put_aside: Iterable[Key]) -> None:
        """Begin anew: the next request names everything, and ends the session that there was."""
        self.epoch = FIRST_EPOCH
        self._known.clear()
        self._forgotten.clear()
        aside = set(put_aside)
        self._changed = {key: None for key in followed if key not in aside}
