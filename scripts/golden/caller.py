"""A connection that asks a broker what the cases say, one call at a time, and keeps both frames of every call.

Owns: the socket, the calls so far. Correlation ids say which story a call belongs to (1000 x its number, then counting
up), so that the calls of two runs can be paired although one broker serves fewer APIs than the other.
Rules: what has to be waited for (a coordinator that loads) is asked with `settle`, which keeps nothing.
Not here: what is asked (cases*.py), files (frames.py).
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, field, frozen

from wire import codec
from wire.catalog import API_BY_NAME, request_class, response_class
from wire.compression import Codec
from wire.frame import RequestHeader, decode_response_header, encode_request
from wire.records import Record, build_batch
from wire.schema import Kind, spec_of

CLIENT_ID = "capture"
IDS_OF_A_STORY = 1000
SETTLE_TIMEOUT_S = 60.0
POLL_S = 0.02

Values = dict[str, Any]


@frozen
class Call:
    """Both frames of a call without their sizes; an answer of None: the broker closed the connection."""

    name: str
    version: int
    sent: bytes
    received: bytes | None

    @property
    def story(self) -> int:
        return int.from_bytes(self.sent[4:8], "big") // IDS_OF_A_STORY

    def answer(self) -> Any:
        """Decode the answer, to its last byte."""
        if self.received is None:
            return None
        key = API_BY_NAME[self.name].key
        _, pos = decode_response_header(key, self.version, self.received)
        answer, pos = codec.decode(response_class(key), self.version, self.received, pos)
        assert pos == len(self.received), f"{self.name} v{self.version}: {len(self.received) - pos} bytes behind it"
        return answer


@frozen
class Story:
    """A sequence of calls that build on each other; a broker that lacks one of the APIs in `needs` is spared it."""

    tell: Callable[[Caller], None]
    needs: Sequence[str] = ()


@define(eq=False)
class Caller:
    host: str
    port: int
    calls: list[Call] = field(factory=list)
    served: dict[int, range] = field(factory=dict)
    topic_id: bytes = bytes(16)  # of the stories' topic, once it is known
    _socket: socket.socket | None = None
    _correlation_id: int = 0

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @classmethod
    def parse(cls, bootstrap: str) -> Caller:
        host, _, port = bootstrap.rpartition(":")
        return cls(host, int(port))

    def tell(self, stories: Sequence[Story]) -> list[Call]:
        """Tell all stories that the broker serves and return their calls."""
        self.learn_versions()
        for number, story in enumerate(stories, 1):
            if all(self.serves(name) for name in story.needs):
                self._correlation_id = number * IDS_OF_A_STORY
                story.tell(self)
        self.close()
        return self.calls

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def learn_versions(self) -> None:
        answer, _ = self._ask("ApiVersions", 0, {})
        self.served = {key.api_key: range(key.min_version, key.max_version + 1) for key in answer.answer().api_keys}

    def serves(self, name: str) -> bool:
        return API_BY_NAME[name].key in self.served

    def versions(self, name: str) -> Iterator[int]:
        api = API_BY_NAME[name]
        served = self.served.get(api.key, range(0))
        return (version for version in range(api.min_version, api.max_version + 1) if version in served)

    def every(self, name: str, values: Values | Callable[[int], Values]) -> Any:
        """Call each version; return the answer of the last one."""
        answer = None
        for version in self.versions(name):
            answer = self.call(name, version, values(version) if callable(values) else values)
        return answer

    def call(self, name: str, version: int, values: Values, *, client_id: str = CLIENT_ID) -> Any:
        """Ask, keep both frames and return the answer, or None where the broker closed the connection."""
        call, answer = self._ask(name, version, values, client_id)
        self.calls.append(call)
        return answer

    def settle(self, name: str, version: int, values: Values, is_ready: Callable[[Any], bool]) -> Any:
        """Ask until the answer is ready, and keep nothing of it."""
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        before = self._correlation_id
        while True:
            _, answer = self._ask(name, version, values)
            self._correlation_id = before
            if is_ready(answer):
                return answer
            assert time.monotonic() < deadline, f"{name} v{version} is not ready: {answer}"
            time.sleep(POLL_S)

    def _ask(self, name: str, version: int, values: Values, client_id: str = CLIENT_ID) -> tuple[Call, Any]:
        key = API_BY_NAME[name].key
        self._correlation_id += 1
        header = RequestHeader(key, version, self._correlation_id, client_id)
        sent = encode_request(header, make(request_class(key), version, values))
        if self._socket is None:
            self._socket = socket.create_connection((self.host, self.port), 30)
        self._socket.sendall(sent)
        received = None
        try:
            (size,) = struct.unpack(">i", self._receive(4))
            received = self._receive(size)
            assert received[:4] == sent[8:12], f"{name} v{version}: the answer has another correlation id"
        except ConnectionError:
            self.close()
        call = Call(name, version, sent[4:], received)
        return call, call.answer()

    def _receive(self, size: int) -> bytes:
        assert self._socket is not None
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data


def make(cls: type[Any], version: int, values: Values) -> Any:
    """Build a message of nested dicts; values for fields that the version lacks are left out."""
    made = cls()
    for spec in spec_of(cls).fields:
        if spec.name not in values or version not in spec.versions:
            continue
        value = values[spec.name]
        if isinstance(spec.element, type) and value is not None:
            make_one = lambda item, element=spec.element: make(element, version, item)  # noqa: E731
            value = [make_one(item) for item in value] if spec.kind is Kind.ARRAY else make_one(value)
        setattr(made, spec.name, value)
    unknown = values.keys() - {spec.name for spec in spec_of(cls).fields}
    assert not unknown, f"{cls.__name__} has no {unknown}"
    return made


FIRST_TIMESTAMP = 1_600_000_000_000


def batch(
    *values: bytes,
    producer_id: int = -1,
    epoch: int = 0,
    transactional: bool = False,
    sequence: int = -1,
    key: bytes | None = b"key",
    timestamp: int = FIRST_TIMESTAMP,
    compression: Codec = Codec.NONE,
) -> bytes:
    records = [
        Record(offset=index, timestamp=timestamp + index, key=key, value=value, headers=(("h", b"1"),))
        for index, value in enumerate(values)
    ]
    return bytes(
        build_batch(
            records,
            codec=compression,
            producer_id=producer_id,
            producer_epoch=epoch if producer_id >= 0 else -1,
            base_sequence=sequence,
            is_transactional=transactional,
        )
    )
