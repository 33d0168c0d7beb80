"""Errors of partitions in a Fetch: what is asked for is in the session, not in the request, and what was told is, too.

Rules
- The fetch is done really, without waiting for data, and the partitions that a fault is about get the error in place of
  what was read. As after a real error, the session tells everything of them again.
- An error of the session is one of the whole answer.

Not here: other requests (targets), sessions (replication/fetch_session).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pykbroker.faults.rules import Fault, Target
from pykbroker.faults.targets import IsWanted, NameOfTopic, changed
from pykbroker.replication.fetch_session import FetchSessions, Key
from wire.errors import ErrorCode
from wire.schema import ZERO_UUID

if TYPE_CHECKING:
    from wire.messages.fetch import FetchRequest, FetchResponse

FETCH = 1
OF_THE_SESSION = frozenset(
    (
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
        ErrorCode.UNKNOWN_SERVER_ERROR,
    )
)


def is_of_partitions(fault: Fault) -> bool:
    """Tell whether a fault is about partitions of a fetch, rather than about the fetch as a whole."""
    return fault.topic is not None or (fault.error is not None and fault.error not in OF_THE_SESSION)


def wanted_partitions(
    request: "FetchRequest", sessions: FetchSessions, is_wanted: IsWanted, name_of_topic: NameOfTopic
) -> list[Key]:
    """Return which of the partitions that the request is about, by itself or by its session, are wanted."""
    keys = dict.fromkeys(sessions.partitions_of(request.session_id))
    keys |= dict.fromkeys(
        (topic.topic, topic.topic_id, each.partition) for topic in request.topics for each in topic.partitions
    )
    for topic in request.forgotten_topics_data:
        for index in topic.partitions:
            keys.pop((topic.topic, topic.topic_id, index), None)
    return [key for key in keys if is_wanted(_target(key, name_of_topic))]


def without_waiting(request: "FetchRequest") -> "FetchRequest":
    return changed(request, max_wait_ms=0)


def with_errors(
    response: "FetchResponse", failed: Iterable[tuple[Key, ErrorCode]], sessions: FetchSessions
) -> "FetchResponse":
    """Return the response in which these partitions have these errors."""
    from wire.messages.fetch import FetchableTopicResponse, PartitionData

    errors = dict(failed)
    sessions.tell_again(response.session_id, errors)
    kept = []
    for topic in response.responses:
        partitions = [
            each for each in topic.partitions if (topic.topic, topic.topic_id, each.partition_index) not in errors
        ]
        if partitions:
            kept.append(changed(topic, partitions=partitions))
    for (name, topic_id, index), error in errors.items():
        data = PartitionData(partition_index=index, error_code=error, high_watermark=-1, records=b"")
        kept.append(FetchableTopicResponse(topic=name, topic_id=topic_id, partitions=[data]))
    return changed(response, responses=kept)


def _target(key: Key, name_of_topic: NameOfTopic) -> Target:
    name, topic_id, index = key
    return Target(topic=name_of_topic(topic_id) if topic_id != ZERO_UUID else name, partition=index)
