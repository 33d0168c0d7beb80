"""Send hostile inputs, many connections at a time, and see how the broker reacts to each.

Rules: behind every complete input goes a probe, an ordinary ApiVersions request with a correlation id of its own:
whether it is answered tells if the connection still works. An incomplete input is followed by the end of the stream.
What is neither answered nor closed within `answer_timeout_s` "waits".
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attrs import define, field, fields, has
from support import frames
from support.connection import Address

from hostile.kinds import Hostile, Kind
from wire.catalog import API_BY_KEY, response_class
from wire.codec import decode
from wire.errors import ErrorCode, ProtocolError
from wire.frame import decode_response_header

PROBE_ID = 0x7EED0001
PROBE = frames.frame(frames.API_VERSIONS, b"", correlation_id=PROBE_ID)
LARGEST_ANSWER = 64 << 20


@define
class Reaction:
    """What one input got: error codes of its answer, and whether the connection went on to work."""

    kind: str
    number: int
    text: str


@define
class Attack:
    """Sends inputs to one broker and keeps the reactions in the order of the inputs."""

    address: Address
    parallel: int = 48
    answer_timeout_s: float = 1.5
    reactions: list[Reaction] = field(factory=list)
    refused_connections: int = 0

    async def run(self, inputs: Sequence[tuple[Kind, Hostile]]) -> None:
        """Send all inputs. What a broker does to one connection never ends the attack."""
        waiting = iter(enumerate(inputs))
        await asyncio.gather(*(self._worker(waiting) for _ in range(self.parallel)))
        self.reactions.sort(key=lambda reaction: reaction.number)

    async def _worker(self, waiting: Iterator[tuple[int, tuple[Kind, Hostile]]]) -> None:
        for number, (kind, hostile) in waiting:
            self.reactions.append(Reaction(kind.name, number, await self._send(hostile)))

    async def _send(self, hostile: Hostile) -> str:
        try:
            reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
        except OSError as error:
            self.refused_connections += 1
            return f"not accepted: {type(error).__name__}"
        try:
            async with asyncio.timeout(self.answer_timeout_s):
                return await _exchange(reader, writer, hostile)
        except TimeoutError:
            return "waits"
        finally:
            writer.transport.abort()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hostile: Hostile) -> str:
    answers: list[str] = []
    try:
        writer.write(hostile.payload + (PROBE if hostile.is_complete else b""))
        if not hostile.is_complete:
            writer.write_eof()
        await writer.drain()
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            if not 4 <= size <= LARGEST_ANSWER:
                return f"an answer of {size} bytes"
            answer = await reader.readexactly(size)
            if hostile.is_complete and answer[:4] == struct.pack(">i", PROBE_ID):
                return ", ".join(answers) or "no answer"
            answers.append(describe(hostile, answer))
    except (asyncio.IncompleteReadError, OSError):
        return ", ".join([*answers, "closed"])


def describe(hostile: Hostile, answer: bytes) -> str:
    """Return the error codes in an answer, by name and each once."""
    api = API_BY_KEY.get(hostile.key)
    if api is None:
        return "an answer to an unknown key"
    known = api.min_version <= hostile.version <= api.max_version
    version = hostile.version if known else 0
    try:
        _, pos = decode_response_header(hostile.key, version, answer)
        message, _ = decode(response_class(hostile.key), version, answer, pos)
    except ProtocolError as error:
        return f"an answer that cannot be read ({error})"
    codes = sorted(set(error_codes(message)))
    return "+".join(_name(code) for code in codes if code) or "NONE"


def error_codes(value: Any) -> Iterable[int]:
    """Return every error code in a message, in all depths."""
    if isinstance(value, list):
        for item in value:
            yield from error_codes(item)
    elif has(type(value)):
        for attribute in fields(type(value)):
            found = getattr(value, attribute.name)
            if attribute.name.endswith("error_code"):
                yield found
            else:
                yield from error_codes(found)


def _name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"error {code}"
