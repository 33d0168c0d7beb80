"""Which requests meet which fault: values that say so, and what is in force.

    rules.add(Fault(api="Produce", topic="orders", error="NOT_LEADER_OR_FOLLOWER", times=1))

Owns: the faults in force of one broker, or of all brokers of one process, and how often each was met.

Rules
- A `Fault` is a frozen value: whom it is about, what happens, how often. All that it names has to hold; what it does
  not name may be anything. It has one ending at most (error, drop, cut, freeze), and any delay and throttling besides.
- A request counts as one hit, whatever the number of its partitions that a fault is about. `skip` lets so many
  requests pass first; after `times` hits the fault is spent.
- What brokers ask one another meets a fault only if it names that client id.

Not here: what a request is about (targets), what happens then (dispatcher), faults that are no answer to a request
(control).
"""

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypedDict

import anyio
import attrs

from wire.catalog import APIS
from wire.errors import ErrorCode

MAX_FAULTS = 1000  # in force at a time
MAX_NUMBER = 2**31 - 1  # what the protocol says partitions, brokers and times to wait with

_BETWEEN_BROKERS = re.compile(r"broker-(\d+)-(?:fetcher|liveness|transaction)(?:-.*)?")
_API_NAMES = {api.name.lower(): api for api in APIS if api.max_version >= api.min_version}


class FaultError(ValueError):
    """A fault that cannot be; the message is fit for a person."""


@attrs.frozen
class Target:
    """What a request, or a part of it, is about; None where it does not say."""

    topic: str | None = None
    partition: int | None = None
    group: str | None = None
    transactional_id: str | None = None


class FaultFields(TypedDict, total=False):
    """The fields of a `Fault`, as they are given by name."""

    api: str | None
    topic: str | None
    partition: int | None
    group: str | None
    transactional_id: str | None
    client_id: str | None
    broker: int | None
    skip: int
    times: int | None
    error: ErrorCode | str | int | None
    drop: bool
    cut_bytes: int | None
    freeze: bool
    delay_ms: float
    throttle_ms: int
    when: Literal["before", "after"]


def sending_broker(client_id: str | None) -> int | None:
    """Return the broker that a request comes from; None: a client."""
    found = None if client_id is None else _BETWEEN_BROKERS.fullmatch(client_id)
    return None if found is None else int(found[1])


def _error(value: "ErrorCode | str | int | None") -> ErrorCode | None:
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return ErrorCode[value.upper()]
        if isinstance(value, int) and not isinstance(value, bool):
            return ErrorCode(value)
    except (KeyError, ValueError):
        pass
    raise FaultError(f"there is no error {value!r}: it is named as in Kafka, NOT_LEADER_OR_FOLLOWER")


def _api(value: str | None) -> str | None:
    if value is None:
        return None
    if value.lower() not in _API_NAMES:
        raise FaultError(f"there is no API {value!r}: it is named as in Kafka, Produce or JoinGroup")
    return _API_NAMES[value.lower()].name


@attrs.frozen(kw_only=True)
class Fault:
    """What happens to which requests. Raises: FaultError, where that cannot be."""

    # Which requests
    api: str | None = attrs.field(default=None, converter=_api)
    topic: str | None = None
    partition: int | None = None
    group: str | None = None
    transactional_id: str | None = None
    client_id: str | None = None  # a pattern as of file names: "app-*"
    broker: int | None = None  # answered by this broker
    skip: int = 0  # so many pass first
    times: int | None = None  # None: always
    # What happens
    error: ErrorCode | None = attrs.field(default=None, converter=_error)
    drop: bool = False  # the connection is closed in place of an answer
    cut_bytes: int | None = None  # the answer ends after so many bytes, its size among them, and the connection closes
    freeze: bool = False  # there is no answer until the fault is removed
    delay_ms: float = 0
    throttle_ms: int = 0  # the answer says so, and nothing more is taken from the connection for as long
    when: Literal["before", "after"] = "before"  # error, drop, delay: before the request is applied, or after that

    def __attrs_post_init__(self) -> None:
        self._check_values()
        endings = [self.error is not None, self.drop, self.cut_bytes is not None, self.freeze]
        if sum(endings) > 1:
            raise FaultError("a fault has one ending: an error, drop, cut_bytes or freeze")
        if not any(endings) and not self.delay_ms and not self.throttle_ms:
            raise FaultError("a fault says what happens: error, drop, cut_bytes, freeze, delay_ms or throttle_ms")
        if self.error is ErrorCode.NONE:
            raise FaultError("the error NONE is none")
        if self.partition is not None and self.topic is None:
            raise FaultError("a partition is one of a topic")
        if self.times == 0:
            raise FaultError("a fault is met once or more, or always; times cannot be 0")

    def _check_values(self) -> None:
        if self.when not in ("before", "after"):
            raise FaultError(f"when is before or after, not {self.when!r}")
        for name in ("topic", "group", "transactional_id", "client_id"):
            if not isinstance(getattr(self, name), str | None):
                raise FaultError(f"{name} is a name, and not {getattr(self, name)!r}")
        for name in ("drop", "freeze"):
            if not isinstance(getattr(self, name), bool):
                raise FaultError(f"{name} is true or false, and not {getattr(self, name)!r}")
        for name in ("partition", "broker", "skip", "times", "cut_bytes", "throttle_ms"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, float) or not _is_number(value)):
                raise FaultError(f"{name} is a whole number from 0 to {MAX_NUMBER}, and not {value!r}")
        if not _is_number(self.delay_ms):
            raise FaultError(f"delay_ms is a number from 0 to {MAX_NUMBER}, and not {self.delay_ms!r}")

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Fault":
        """Make a fault of what came from outside. Raises: FaultError."""
        unknown = fields.keys() - {field.name for field in attrs.fields(cls)}
        if unknown:
            raise FaultError(f"a fault has no {', '.join(sorted(unknown))}")
        try:
            return cls(**fields)
        except (TypeError, AttributeError) as error:
            raise FaultError(f"not a fault: {error}") from None

    def asks_for(self, api_key: int, client_id: str | None, broker: int) -> bool:
        """Tell whether a request may meet this fault, as far as its header says."""
        if self.api is not None and _API_NAMES[self.api.lower()].key != api_key:
            return False
        if self.broker is not None and self.broker != broker:
            return False
        if self.client_id is not None:
            return fnmatch.fnmatchcase(client_id or "", self.client_id)
        return sending_broker(client_id) is None

    def is_about(self, target: Target) -> bool:
        """Tell whether a request, or this part of it, is what the fault names."""
        return all(
            wanted is None or wanted == found
            for wanted, found in (
                (self.topic, target.topic),
                (self.partition, target.partition),
                (self.group, target.group),
                (self.transactional_id, target.transactional_id),
            )
        )

    @property
    def told(self) -> dict[str, Any]:
        """The fields that differ from their defaults, for those who read JSON."""
        told = attrs.asdict(self, filter=lambda field, value: value != field.default)
        if self.error is not None:
            told["error"] = self.error.name
        return told


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER  # NaN is not


class ActiveFault:
    """A fault in force. `hits` counts the requests that met it."""

    def __init__(self, fault: Fault, fault_id: int, remove: "Callable[[ActiveFault], None]") -> None:
        self.fault = fault
        self.id = fault_id
        self.hits = 0
        self.removed = anyio.Event()
        self._skipped = 0
        self._remove = remove
        self._news = anyio.Event()

    @property
    def is_spent(self) -> bool:
        return self.removed.is_set() or (self.fault.times is not None and self.hits >= self.fault.times)

    def hit(self) -> bool:
        """A request is what the fault is about: tell whether it meets it."""
        if self.is_spent:
            return False
        if self._skipped < self.fault.skip:
            self._skipped += 1
            return False
        self.hits += 1
        self._news.set()
        self._news = anyio.Event()
        return True

    async def wait(self, hits: int = 1, *, timeout_s: float = 10) -> None:
        """Wait until it was met so many times. Raises: TimeoutError; FaultError once it is removed."""
        with anyio.fail_after(timeout_s):
            while self.hits < hits:
                if self.removed.is_set():
                    raise FaultError(f"the fault was removed when it had been met {self.hits} times, and not {hits}")
                await self._news.wait()

    def remove(self) -> None:
        """End it; does nothing the second time."""
        if not self.removed.is_set():
            self.removed.set()
            self._news.set()
            self._remove(self)


class FaultRules:
    """The faults in force, the oldest first."""

    def __init__(self) -> None:
        self.on_change: list[Callable[[], None]] = []
        self._active: dict[int, ActiveFault] = {}
        self._next_id = 1

    def __iter__(self) -> Iterator[ActiveFault]:
        return iter(tuple(self._active.values()))

    def __len__(self) -> int:
        return len(self._active)

    def get(self, fault_id: int) -> ActiveFault | None:
        return self._active.get(fault_id)

    def add(self, fault: Fault) -> ActiveFault:
        """Raises: FaultError, where there are too many."""
        if len(self._active) >= MAX_FAULTS:
            raise FaultError(f"there are {MAX_FAULTS} faults in force: remove some")
        active = ActiveFault(fault, self._next_id, self._remove)
        self._next_id += 1
        self._active[active.id] = active
        self._tell()
        return active

    def clear(self) -> None:
        for active in self:
            active.remove()

    def _remove(self, active: ActiveFault) -> None:
        del self._active[active.id]
        self._tell()

    def _tell(self) -> None:
        for callback in self.on_change:
            callback()
