"""What the parts of a request are about, and requests and responses cut up and put together along these parts.

    split = split_request(request, fault.is_about, name_of_topic)
    split.wanted        # the request with only the parts that a fault is about, or None
    split.rest          # the request without them, or None where nothing is left

A part is the smallest thing that has a place of its own for an error in the answer: a partition of a topic, a topic, a
group, a transactional id; a request without lists of such is one part as a whole. A list that is null (all topics)
names nothing: what its answer has to say is marked there.

Rules: requests and responses are not changed, but copied where they differ.

Not here: the answer to a request that fails as a whole (server/error_replies), Fetch, whose sessions remember what
requests leave out (fetch_faults).
"""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from pykbroker.cluster.image import ConfigResourceType
from pykbroker.faults.rules import Target
from pykbroker.server.error_replies import ERROR_CODES
from wire.errors import ErrorCode
from wire.schema import ZERO_UUID, FieldSpec, Kind, Uuid, spec_of

# Lists of the messages, by what their elements are: their own names for it stand in `_named`.
_TOPIC_LISTS = frozenset(
    ("topics", "topic_data", "topic_names", "topic_partitions", "v3_and_below_topics", "responses", "results",
     "replica_election_results", "results_by_topic_v3_and_below", "topic_results")
)  # fmt: skip
_PARTITION_LISTS = frozenset(
    ("partitions", "partition_data", "partition_indexes", "partition_responses", "partition_result",
     "results_by_partition")
)  # fmt: skip
_GROUP_LISTS = frozenset(("groups", "groups_names"))
_TRANSACTION_LISTS = frozenset(("transactions", "transactional_ids", "transaction_states", "results_by_transaction"))
_OTHER_LISTS = frozenset(("resources", "coordinator_keys", "coordinators", "dirs", "markers"))
_LISTS = _TOPIC_LISTS | _PARTITION_LISTS | _GROUP_LISTS | _TRANSACTION_LISTS | _OTHER_LISTS

# Heartbeats say which partitions a member has: they have no places of their own in the answer.
_ONE_PART = frozenset(("ConsumerGroupHeartbeat", "ShareGroupHeartbeat", "StreamsGroupHeartbeat"))

_GROUP_KEY, _TRANSACTION_KEY = 0, 1

T = TypeVar("T")
IsWanted = Callable[[Target], bool]
NameOfTopic = Callable[[Uuid], str | None]


@attrs.frozen
class Split:
    wanted: Any  # None: nothing
    rest: Any


def split_request(request: object, is_wanted: IsWanted, name_of_topic: NameOfTopic) -> Split:
    """Divide a request into the parts that are wanted and the others."""
    if spec_of(type(request)).name.removesuffix("Request") in _ONE_PART:
        return Split(request, None) if is_wanted(target_of(request)) else Split(None, request)
    return _split(request, target_of(request), is_wanted, name_of_topic)


def _split(item: Any, target: Target, is_wanted: IsWanted, name_of_topic: NameOfTopic) -> Split:
    wanted: dict[str, list[Any]] = {}
    rest: dict[str, list[Any]] = {}
    for field in _lists_of(item):
        wanted[field.name], rest[field.name] = [], []
        for element in getattr(item, field.name):
            of_element = _named(field, element, target, item, name_of_topic)
            if isinstance(field.element, type):
                split = _split(element, of_element, is_wanted, name_of_topic)
            else:
                split = Split(element, None) if is_wanted(of_element) else Split(None, element)
            if split.wanted is not None:
                wanted[field.name].append(split.wanted)
            if split.rest is not None:
                rest[field.name].append(split.rest)
    if not wanted:  # no lists: a part
        return Split(item, None) if is_wanted(target) else Split(None, item)
    if not any(rest.values()):
        return Split(item, None)
    if not any(wanted.values()):
        return Split(None, item)
    return Split(changed(item, **wanted), changed(item, **rest))


def mark(
    response: Any, failed: Callable[[Any], Any], is_wanted: IsWanted, name_of_topic: NameOfTopic
) -> tuple[Any, bool]:
    """Return a response in which each part that is wanted is what `failed` makes of it, and whether there was one."""
    return _mark(response, Target(), failed, is_wanted, name_of_topic)


def _mark(
    item: Any, target: Target, failed: Callable[[Any], Any], is_wanted: IsWanted, name_of_topic: NameOfTopic
) -> tuple[Any, bool]:
    lists: dict[str, list[Any]] = {}
    found = False
    for field in _lists_of(item):
        if not isinstance(field.element, type):
            continue
        lists[field.name] = []
        for element in getattr(item, field.name):
            of_element = _named(field, element, target, item, name_of_topic)
            if is_wanted(of_element) and _error_field(element) is not None:
                marked, is_marked = failed(element), True
            else:
                marked, is_marked = _mark(element, of_element, failed, is_wanted, name_of_topic)
            lists[field.name].append(marked)
            found |= is_marked
    return (changed(item, **lists) if found else item), found


def failed_part(part: Any, error: ErrorCode) -> Any:
    """Return a part of a response that says what it is of, and the error."""
    made = type(part)()
    for name in _IDENTITIES:
        if hasattr(part, name):
            setattr(made, name, getattr(part, name))
    field = _error_field(part)
    assert field is not None
    return changed(made, **{field: error})


def narrowed(response: Any, root: Target, is_wanted: IsWanted, name_of_topic: NameOfTopic) -> Any:
    """Return the answer to parts of a request that failed with the error where it belongs.

    It has the error at each level. Those around what a fault is about, an answer as a whole around a topic, say nothing
    of what is in them, unless nothing in them could.
    """
    return _narrowed(response, root, is_wanted, name_of_topic)[0]


def _narrowed(item: Any, target: Target, is_wanted: IsWanted, name_of_topic: NameOfTopic) -> tuple[Any, bool]:
    lists: dict[str, list[Any]] = {}
    has_error = False
    for field in _lists_of(item):
        if isinstance(field.element, type):
            inner = [
                _narrowed(element, _named(field, element, target, item, name_of_topic), is_wanted, name_of_topic)
                for element in getattr(item, field.name)
            ]
            lists[field.name] = [element for element, _ in inner]
            has_error |= any(element_has for _, element_has in inner)
    error_field = _error_field(item)
    if has_error and error_field is not None and not is_wanted(target):
        lists[error_field] = 0  # type: ignore[assignment]
        if hasattr(item, "error_message"):
            lists["error_message"] = None  # type: ignore[assignment]
    has_own = error_field is not None and getattr(item, error_field) != 0
    return changed(item, **lists), has_error or has_own


def _error_field(item: Any) -> str | None:
    return next((name for name in ERROR_CODES if hasattr(item, name)), None)


def merge(response: Any, other: Any) -> Any:
    """Return a response that has the parts of both; where both have the same, that of `other`."""
    lists: dict[str, list[Any]] = {}
    for field in _lists_of(other):
        if not isinstance(field.element, type):
            continue
        elements = list(getattr(response, field.name) or ())
        for added in getattr(other, field.name):
            identity = _identity(added)
            place = next((index for index, each in enumerate(elements) if _identity(each) == identity), None)
            if place is None:
                elements.append(added)
            else:
                elements[place] = merge(elements[place], added) if _lists_of(added) else added
        lists[field.name] = elements
    return changed(response, **lists)


def changed(message: T, **fields: object) -> T:
    """Return a copy of a message, or of a part of one, with these fields."""
    made = copy.copy(message)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _lists_of(item: Any) -> list[FieldSpec]:
    """Return the lists of a message that name parts of it and are not empty."""
    return [
        field
        for field in spec_of(type(item)).fields
        if field.kind is Kind.ARRAY and field.name in _LISTS and getattr(item, field.name)
    ]


def target_of(request: Any) -> Target:
    """Return what a request is about as a whole."""
    key_type, key = getattr(request, "key_type", None), getattr(request, "key", None)
    transactional_id = getattr(request, "transactional_id", None) or getattr(
        request, "v3_and_below_transactional_id", None
    )
    group = getattr(request, "group_id", None)
    if key:  # FindCoordinator of one key
        group = key if key_type == _GROUP_KEY else None
        transactional_id = key if key_type == _TRANSACTION_KEY else None
    return Target(group=group or None, transactional_id=transactional_id or None)


def _named(field: FieldSpec, element: Any, outer: Target, owner: Any, name_of_topic: NameOfTopic) -> Target:
    """Return what an element of a list is about."""
    name = field.name
    if name in _PARTITION_LISTS:
        return attrs.evolve(outer, partition=element if isinstance(element, int) else _first(element, _INDEXES))
    if name in _GROUP_LISTS:
        return attrs.evolve(outer, group=element if isinstance(element, str) else element.group_id)
    if name in _TRANSACTION_LISTS:
        return attrs.evolve(outer, transactional_id=element if isinstance(element, str) else element.transactional_id)
    if name == "coordinator_keys":
        kind = getattr(owner, "key_type", None)
        if kind == _GROUP_KEY:
            return attrs.evolve(outer, group=element)
        return attrs.evolve(outer, transactional_id=element) if kind == _TRANSACTION_KEY else outer
    if hasattr(element, "resource_type"):
        if element.resource_type == ConfigResourceType.GROUP:
            return attrs.evolve(outer, group=element.resource_name)
        return (
            attrs.evolve(outer, topic=element.resource_name)
            if element.resource_type == ConfigResourceType.TOPIC
            else outer
        )
    if name in _TOPIC_LISTS:
        topic = element if isinstance(element, str) else _first(element, _NAMES)
        if not topic and getattr(element, "topic_id", ZERO_UUID) != ZERO_UUID:
            topic = name_of_topic(element.topic_id)
        group = getattr(element, "group_id", None)  # DeleteGroups answers in `results`
        return attrs.evolve(outer, topic=topic, group=group or outer.group)
    return outer


_INDEXES = ("partition_index", "partition", "index", "partition_id")
_NAMES = ("name", "topic", "topic_name")
_IDENTITIES = (
    *_INDEXES,
    *_NAMES,
    "topic_id",
    "group_id",
    "transactional_id",
    "key",
    "resource_type",
    "resource_name",
    "producer_id",
)


def _first(element: Any, names: tuple[str, ...]) -> Any:
    return next((value for name in names if (value := getattr(element, name, None)) is not None), None)


def _identity(element: Any) -> tuple[Any, ...]:
    return tuple(getattr(element, name, None) for name in _IDENTITIES)
