"""Send a recorded session to another broker, and compare its answers with the recorded ones.

    pykbroker wire replay app.trace 127.0.0.1:9092

Rules
- Each recorded connection is one here. A request is sent when everything that had been answered before it, on any
  connection, has been answered here: what waited for something in the recording meets it again.
- What the recorded broker made up (ids, names of members) is asked by what this one made up for it (translate).
- APIs and versions that this broker does not promise are left out, and counted, but for what the recorded one answered
  without promising it, either. So is what has to be answered with bytes that were hidden in the recording (SASL).
- Where the broker says that its coordinator or leader is not there yet, and the recorded one did not, it is asked
  again: SETTLE_ATTEMPTS times, SETTLE_PAUSE_S apart.

Not here: how answers are compared (wire.study.compare), reading recordings (wire.study).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import anyio
import attrs
from anyio.abc import SocketStream

from pykbroker.study.framing import FrameReader, FramingError, framed
from wire import codec
from wire.catalog import API_BY_KEY, API_BY_NAME, request_class
from wire.errors import ErrorCode, ProtocolError
from wire.frame import API_VERSIONS, RequestHeader, decode_request_header, encode_request
from wire.schema import Kind, spec_of
from wire.study.compare import Difference, Pairing, compare_answers
from wire.study.endpoints import read_response
from wire.study.exchanges import Direction, TracedFrame
from wire.study.secrets import has_secrets
from wire.study.translate import translate

ANSWER_TIMEOUT_S = 60.0
SETTLE_ATTEMPTS = 500
SETTLE_PAUSE_S = 0.02
_UNSETTLED = frozenset(
    {
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.CONCURRENT_TRANSACTIONS,
    }
)
_CLIENT_ID = "pykbroker-replay"


class ReplayError(Exception):
    """It cannot go on; the message is fit for a person."""


@attrs.define(eq=False)
class Call:
    """A recorded request with its answer (None: none was recorded), and what became of it."""

    number: int
    name: str
    version: int
    connection: str
    sent: bytes
    received: bytes | None = None
    differences: list[Difference] = attrs.field(factory=list)
    left_out: str = ""  # why it was not compared


@attrs.define(eq=False)
class _Event:
    call: Call
    is_answer: bool


class Replay:
    """Sends the calls of a recording. `calls` has all of them with what was found."""

    def __init__(self, frames: Iterable[TracedFrame], target: tuple[str, int]) -> None:
        self.calls: list[Call] = []
        self._events = list(self._plan(frames))
        self._target = target
        self._pairing = Pairing()
        self._connections: dict[str, _Connection] = {}

    @property
    def compared(self) -> int:
        return sum(call.received is not None and not call.left_out for call in self.calls)

    @property
    def left_out(self) -> Counter[str]:
        return Counter(f"{call.name} v{call.version}: {call.left_out}" for call in self.calls if call.left_out)

    async def run(self) -> None:
        """Raises: ReplayError where the broker cannot be reached."""
        try:
            await self._learn_versions()
            for event in self._events:
                if event.call.left_out:
                    continue
                if event.is_answer:
                    await self._await_answer(event.call)
                else:
                    await self._send(event.call)
        except OSError as error:
            raise ReplayError(f"{self._target[0]}:{self._target[1]}: {error}") from error
        finally:
            with anyio.CancelScope(shield=True):
                for connection in self._connections.values():
                    await connection.aclose()

    def _plan(self, frames: Iterable[TracedFrame]) -> Iterator[_Event]:
        """Put requests and answers together, in the order of the recording."""
        waiting: dict[tuple[str, int | None], Call] = {}
        for frame in frames:
            if frame.api_key not in API_BY_KEY:
                continue
            place = (frame.connection, frame.correlation_id)
            if frame.direction is Direction.REQUEST:
                name = API_BY_KEY[frame.api_key].name
                call = Call(len(self.calls) + 1, name, frame.api_version, frame.connection, bytes(frame.data))
                self.calls.append(call)
                waiting[place] = call
                yield _Event(call, is_answer=False)
            elif place in waiting:
                call = waiting.pop(place)
                call.received = bytes(frame.data)
                yield _Event(call, is_answer=True)
        for call in self.calls:
            call.left_out = "its secrets are not in the recording" if _holds_secrets(call) else ""

    async def _learn_versions(self) -> None:
        connection = await _Connection.open(self._target)
        try:
            request = request_class(API_VERSIONS)()
            await connection.send(encode_request(RequestHeader(API_VERSIONS, 0, 1, _CLIENT_ID), request)[4:])
            answer = await connection.receive()
            if answer is None:
                raise ReplayError("the broker answers no ApiVersions")
            _, served = read_response(API_VERSIONS, 0, answer)
        finally:
            await connection.aclose()
        versions = {api.api_key: range(api.min_version, api.max_version + 1) for api in served.api_keys}
        promised = self._promised()
        for call in self.calls:
            key = API_BY_NAME[call.name].key
            is_promised = call.version in versions.get(key, ()) or (promised and key not in promised)
            if not is_promised and key != API_VERSIONS:
                call.left_out = call.left_out or "not served"

    def _promised(self) -> set[int]:
        """Return the keys that the recorded broker said it served, none where it did not say."""
        keys: set[int] = set()
        for call in self.calls:
            if call.name == "ApiVersions" and call.received is not None:
                answer = _message(API_VERSIONS, call.version, call.received)
                if answer is not None and not answer.error_code:
                    keys.update(api.api_key for api in answer.api_keys)
        return keys

    async def _send(self, call: Call) -> None:
        connection = self._connections.get(call.connection)
        if connection is None or connection.is_closed:
            connection = self._connections[call.connection] = await _Connection.open(self._target)
        await connection.send(self._translated(call))

    def _translated(self, call: Call) -> bytes:
        try:
            header, pos = decode_request_header(call.sent)
            message, _ = codec.decode(request_class(header.api_key), header.api_version, call.sent, pos)
            translate(message, self._pairing)
            return encode_request(header, message)[4:]
        except ProtocolError:  # what nobody understands is sent as it is
            return call.sent

    async def _await_answer(self, call: Call) -> None:
        """Take the answer and compare it; ask again while the broker is not ready."""
        key = API_BY_NAME[call.name].key
        assert call.received is not None
        expected = _message(key, call.version, call.received)
        allowed = set(_error_codes(expected))
        actual: Any = None
        for _ in range(SETTLE_ATTEMPTS):
            connection = self._connections[call.connection]
            answer = await connection.receive_of(call.sent[4:8])
            actual = None if answer is None else _message(key, call.version, answer)
            if not (_UNSETTLED & (set(_error_codes(actual)) - allowed)):
                break
            await anyio.sleep(SETTLE_PAUSE_S)
            await connection.send(self._translated(call))
        call.differences = list(compare_answers(call.name, call.version, expected, actual, self._pairing))


class _Connection:
    """A connection to the broker. Answers come in the order of the requests."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._reader = FrameReader(stream)
        self._early: dict[bytes, bytes] = {}
        self.is_closed = False

    @classmethod
    async def open(cls, target: tuple[str, int]) -> "_Connection":
        return cls(await anyio.connect_tcp(*target))

    async def send(self, frame: bytes) -> None:
        try:
            await self._stream.send(framed(frame))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.is_closed = True

    async def receive(self) -> bytes | None:
        """Return the next answer; None: the broker closed the connection, or nothing came."""
        if self.is_closed:
            return None
        answer: bytes | None = None
        try:
            with anyio.move_on_after(ANSWER_TIMEOUT_S):
                answer = await self._reader.read()
        except (FramingError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        self.is_closed = answer is None
        return answer

    async def receive_of(self, correlation_id: bytes) -> bytes | None:
        """Return the answer to one request. Those to others that come before it are kept for whoever asks."""
        while correlation_id not in self._early:
            answer = await self.receive()
            if answer is None:
                return None
            self._early[answer[:4]] = answer
        return self._early.pop(correlation_id)

    async def aclose(self) -> None:
        self.is_closed = True
        await self._stream.aclose()


def _holds_secrets(call: Call) -> bool:
    """Tell whether a request has been recorded with asterisks in the place of something."""
    cls = request_class(API_BY_NAME[call.name].key)
    return has_secrets(cls) and b"**" in call.sent


def _message(key: int, version: int, frame: bytes) -> Any:
    try:
        return read_response(key, version, frame)[1]
    except ProtocolError:
        return None


def _error_codes(message: Any) -> Iterator[int]:
    if message is None:
        return
    for field in spec_of(type(message)).fields:
        held = getattr(message, field.name)
        if field.name.endswith("error_code"):
            yield held
        elif isinstance(field.element, type) and held is not None:
            for item in held if field.kind is Kind.ARRAY else (held,):
                yield from _error_codes(item)
