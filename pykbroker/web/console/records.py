"""Records of a partition as JSON, and producing some.

Rules
- Keys, values and headers are bytes: they go as base64, and the page shows them as it is told. Null stays null.
- An answer has at most MAX_RECORDS records and about MAX_ANSWER_BYTES of them; of each key, value and header at most
  MAX_SHOWN_BYTES. `next_offset` says where to go on.
- Reading stops after READ_TIMEOUT_MS with what there is: compaction and transactions leave offsets without records.
"""

import base64
import binascii
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from pykbroker.client import Client
from pykbroker.client.consumer import ConsumedRecord, Consumer
from pykbroker.client.offsets import IsolationLevel, beginnings, ends, list_offsets
from pykbroker.client.producer import Producer
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.console.api import BadQuestionError, Json, required, whole_number

MAX_RECORDS = 500
DEFAULT_RECORDS = 50
MAX_SHOWN_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_PRODUCE_BYTES = 2 * 1024 * 1024  # of the JSON
READ_TIMEOUT_MS = 3000
_INT64_MAX = 2**63 - 1
_INT32_MAX = 2**31 - 1


class RecordPages:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def browse(self, request: Request) -> Mapping[str, Json]:
        """Return records of a partition from where the query says, in the order of their offsets."""
        topic = request.path_params["topic"]
        tp = TopicPartition(topic, whole_number(request, "partition", 0, at_least=0, at_most=_INT32_MAX))
        limit = whole_number(request, "limit", DEFAULT_RECORDS, at_least=1, at_most=MAX_RECORDS)
        is_committed = request.query_params.get("isolation") == "read_committed"
        isolation = IsolationLevel.READ_COMMITTED if is_committed else IsolationLevel.READ_UNCOMMITTED
        beginning = (await beginnings(self._client, [tp]))[tp]
        end = (await ends(self._client, [tp], isolation))[tp]
        start = await self._start(request, tp, beginning, end, limit)
        records, next_offset = await self._read(tp, min(max(start, beginning), end), end, limit, isolation)
        return {
            "topic": tp.topic,
            "partition": tp.partition,
            "beginning": beginning,
            "end": end,
            "next_offset": next_offset,
            "records": records,
        }

    async def _start(self, request: Request, tp: TopicPartition, beginning: int, end: int, limit: int) -> int:
        match request.query_params.get("from", "end"):
            case "beginning":
                return beginning
            case "end":
                return end - limit
            case "offset":
                required(request, "at")
                return whole_number(request, "at", 0, at_least=0, at_most=_INT64_MAX)
            case "timestamp":
                required(request, "at")
                time_ms = whole_number(request, "at", 0, at_least=0, at_most=_INT64_MAX)
                found = (await list_offsets(self._client, {tp: time_ms}))[tp]
                return end if found < 0 else found
            case _:
                raise BadQuestionError("from is none of beginning, end, offset, timestamp")

    async def _read(
        self, tp: TopicPartition, start: int, end: int, limit: int, isolation: IsolationLevel
    ) -> tuple[list[Mapping[str, Json]], int]:
        records: list[Mapping[str, Json]] = []
        size, position = 0, start
        clock = self._client.clock
        deadline_ms = clock.monotonic_ms() + READ_TIMEOUT_MS
        async with Consumer(self._client, {tp: start}, until={tp: end}, isolation=isolation) as consumer:
            while (left_ms := deadline_ms - clock.monotonic_ms()) > 0:
                try:
                    polled = await clock.within(left_ms, consumer.poll())
                except TimeoutError:
                    break
                if polled is None:
                    return records, end
                for record in polled:
                    if len(records) == limit or size > MAX_ANSWER_BYTES:
                        return records, position
                    shown = _shown_record(record)
                    size += _shown_size(record)
                    records.append(shown)
                    position = record.offset + 1
                position = max(position, consumer.positions[tp])
        return records, position

    async def produce(self, request: Request) -> Mapping[str, Json]:
        """Append one record; the body has key, value, headers and partition, all of which may be left out."""
        topic = request.path_params["topic"]
        told = await _json_body(request)
        key, value = _bytes(told, "key"), _bytes(told, "value")
        async with Producer(self._client, allow_auto_topic_creation=False) as producer:
            sent = await producer.send(
                topic, value, key=key, headers=_headers(told.get("headers", [])), partition=_partition(told)
            )
        return {"topic": topic, "partition": sent.tp.partition, "offset": sent.offset}


def _shown_record(record: ConsumedRecord) -> Mapping[str, Json]:
    return {
        "offset": record.offset,
        "timestamp": record.timestamp,
        "timestamp_type": record.timestamp_type.name,
        "key": _shown(record.key),
        "value": _shown(record.value),
        "headers": [{"name": name, "value": _shown(value)} for name, value in record.headers[:MAX_HEADERS]],
        "headers_left_out": max(len(record.headers) - MAX_HEADERS, 0),
        "leader_epoch": record.leader_epoch,
        "producer_id": record.producer_id,
    }


def _shown_size(record: ConsumedRecord) -> int:
    parts = [record.key, record.value, *(value for _, value in record.headers[:MAX_HEADERS])]
    return sum(min(len(part or b""), MAX_SHOWN_BYTES) for part in parts) + sum(
        len(name) for name, _ in record.headers[:MAX_HEADERS]
    )


def _shown(data: bytes | None) -> Mapping[str, Json] | None:
    if data is None:
        return None
    return {"base64": base64.b64encode(data[:MAX_SHOWN_BYTES]).decode(), "bytes": len(data)}


async def _json_body(request: Request) -> Mapping[str, Any]:
    body = bytearray()
    async with contextlib.aclosing(request.stream()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > MAX_PRODUCE_BYTES:
                raise BadQuestionError(f"more than {MAX_PRODUCE_BYTES} bytes")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise BadQuestionError("the body is not JSON") from None
    if not isinstance(told, dict):
        raise BadQuestionError("the body is not an object")
    return told


def _bytes(told: Mapping[str, Any], name: str) -> bytes | None:
    """Read bytes: null, or {"text": …} or {"base64": …}. Raises: BadQuestionError."""
    match told.get(name):
        case None:
            return None
        case {"text": str(text)}:
            try:
                return text.encode()
            except UnicodeEncodeError:  # half of a surrogate pair
                raise BadQuestionError(f"{name} is no text") from None
        case {"base64": str(text)}:
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error:
                raise BadQuestionError(f"{name} is not base64") from None
    raise BadQuestionError(f"{name} is neither null nor text nor base64")


def _headers(told: Any) -> list[tuple[str, bytes | None]]:
    if not isinstance(told, list) or len(told) > MAX_HEADERS:
        raise BadQuestionError(f"headers is not a list of at most {MAX_HEADERS}")
    headers = []
    for header in told:
        if not isinstance(header, dict) or not isinstance(header.get("name"), str):
            raise BadQuestionError("a header has no name")
        headers.append((header["name"], _bytes(header, "value")))
    return headers


def _partition(told: Mapping[str, Any]) -> int | None:
    partition = told.get("partition")
    if partition is not None and type(partition) is not int:
        raise BadQuestionError("partition is not a number")
    return partition
