"""Records of a topic as JSON, and producing some.

Rules
- One partition or all of them. Records are read from positions on, `newer`, or back from them, `older`; a response has
  the positions at which either goes on. Older records come newest first. Those of several partitions are merged by
  their timestamps, each partition in the order of its offsets.
- Keys, values and headers are bytes: they go as base64, and the page shows them as it likes. Null stays null. Records
  of internal topics are explained besides.
- A response has at most MAX_RECORDS records and about MAX_ANSWER_BYTES of them; of each key, value and header at most
  MAX_SHOWN_BYTES. A batch that cannot be read, or is too large, is told in their place.
- Reading stops after READ_TIMEOUT_MS with what there is.

Not here: reading itself (record_reader).
"""

import base64
import binascii
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from starlette.requests import Request

from pykbroker.client import Client
from pykbroker.client.offsets import BEGINNING, END, IsolationLevel, list_offsets_or_errors
from pykbroker.client.producer import Producer
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.console.api import BadRequestError, Json, int_param, json_object, text_param
from pykbroker.web.console.record_reader import Finding, RecordReader, Unreadable, Window
from wire.study.internal_records import record_explainer

MAX_RECORDS = 500
DEFAULT_RECORDS = 50
MAX_PARTITIONS = 100  # that are read together
MAX_SHOWN_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_ANSWER_BYTES = 4 * 1024 * 1024
READ_TIMEOUT_MS = 5000
ALL = "all"
_INT64_MAX = 2**63 - 1
_INT32_MAX = 2**31 - 1

Positions = dict[TopicPartition, int]


class RecordPages:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def browse(self, request: Request) -> Mapping[str, Json]:
        """Return records from where the query says."""
        topic = request.path_params["topic"]
        limit = int_param(request, "limit", DEFAULT_RECORDS, at_least=1, at_most=MAX_RECORDS)
        is_committed = request.query_params.get("isolation") == "read_committed"
        isolation = IsolationLevel.READ_COMMITTED if is_committed else IsolationLevel.READ_UNCOMMITTED
        partitions, left_out = await self._partitions(request, topic)
        beginnings = await self._offsets(dict.fromkeys(partitions, BEGINNING))
        ends = await self._offsets(dict.fromkeys(beginnings, END), isolation)
        beginnings = {tp: beginnings[tp] for tp in ends}
        is_older, positions = await self._start(request, beginnings, ends)
        windows = {
            tp: Window(beginnings[tp], position, position) if is_older else Window(position, ends[tp], position)
            for tp, position in positions.items()
        }
        reader = RecordReader(self._client, isolation, request.query_params.get("contains", "").encode())
        await reader.read(windows, limit, is_older=is_older, timeout_ms=READ_TIMEOUT_MS)
        shown, reached = _page(windows, positions, limit, is_older=is_older, explain=record_explainer(topic))
        older, newer = (reached, positions) if is_older else (positions, reached)
        return {
            "topic": topic,
            "partitions": [
                {"partition": tp.partition, "beginning": beginnings.get(tp), "end": ends.get(tp)} for tp in partitions
            ],
            "partitions_left_out": left_out,
            "is_complete": reader.is_complete,
            "older": _positions_text(older) if any(older[tp] > beginnings[tp] for tp in ends) else None,
            "newer": _positions_text(newer) if any(newer[tp] < ends[tp] for tp in ends) else None,
            "records": shown,
        }

    async def _partitions(self, request: Request, topic: str) -> tuple[list[TopicPartition], int]:
        if request.query_params.get("partition", ALL) != ALL:
            index = int_param(request, "partition", 0, at_least=0, at_most=_INT32_MAX)
            return [TopicPartition(topic, index)], 0
        count = len((await self._client.topic(topic)).partitions)
        return [TopicPartition(topic, index) for index in range(min(count, MAX_PARTITIONS))], max(
            count - MAX_PARTITIONS, 0
        )

    async def _offsets(
        self, timestamps: Mapping[TopicPartition, int], isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED
    ) -> Positions:
        """Return offsets where a leader tells them. Raises: KafkaError where none does."""
        results = await list_offsets_or_errors(self._client, timestamps, isolation)
        offsets = {tp: result for tp, result in results.items() if isinstance(result, int)}
        for result in results.values():
            if isinstance(result, KafkaError) and not offsets:
                raise result
        return offsets

    async def _start(self, request: Request, beginnings: Positions, ends: Positions) -> tuple[bool, Positions]:
        """Return whether older records are wanted, and from where. Raises: BadRequestError."""
        match request.query_params.get("from", "end"):
            case "beginning":
                return False, dict(beginnings)
            case "end":
                return True, dict(ends)
            case "offset":
                text_param(request, "at")
                at = int_param(request, "at", 0, at_least=0, at_most=_INT64_MAX)
                wanted = dict.fromkeys(beginnings, at)
            case "timestamp":
                text_param(request, "at")
                time_ms = int_param(request, "at", 0, at_least=0, at_most=_INT64_MAX)
                found = await self._offsets(dict.fromkeys(beginnings, time_ms))
                wanted = {tp: ends[tp] if offset < 0 else offset for tp, offset in found.items()}
            case "older" | "newer" as direction:
                wanted = _positions_of(text_param(request, "at"), beginnings)
                return direction == "older", _within(wanted, beginnings, ends)
            case _:
                raise BadRequestError("from is none of beginning, end, offset, timestamp, older, newer")
        return False, _within(wanted, beginnings, ends)

    async def produce(self, request: Request) -> Mapping[str, Json]:
        """Append one record; the body has key, value, headers and partition, all of which may be left out."""
        topic = request.path_params["topic"]
        body = json_object(await request.body())
        key, value = _bytes(body, "key"), _bytes(body, "value")
        async with Producer(self._client, allow_auto_topic_creation=False) as producer:
            sent = await producer.send(
                topic, value, key=key, headers=_headers(body.get("headers", [])), partition=_partition(body)
            )
        return {"topic": topic, "partition": sent.tp.partition, "offset": sent.offset}


def _page(
    windows: Mapping[TopicPartition, Window], positions: Positions, limit: int, *, is_older: bool, explain: Any
) -> tuple[list[Mapping[str, Json]], Positions]:
    """Return as many rows as there is room for, and where to go on."""
    rows: list[Mapping[str, Json]] = []
    size = 0
    taken: dict[TopicPartition, list[Finding]] = {tp: [] for tp in windows}
    for finding in _merged(windows.values(), is_older=is_older):
        if len(rows) == limit or size > MAX_ANSWER_BYTES:
            break
        rows.append(_row(finding, explain))
        size += len(json.dumps(rows[-1]))
        taken[finding.tp].append(finding)
    reached = dict(positions)
    for tp, window in windows.items():
        if len(taken[tp]) == len(window.found):
            reached[tp] = window.reached
        elif taken[tp]:
            reached[tp] = taken[tp][-1].offset if is_older else taken[tp][-1].next_offset
    return rows, reached


def _within(wanted: Positions, beginnings: Positions, ends: Positions) -> Positions:
    return {tp: min(max(wanted.get(tp, ends[tp]), beginnings[tp]), ends[tp]) for tp in beginnings}


def _positions_text(positions: Positions) -> str:
    return ",".join(f"{tp.partition}:{position}" for tp, position in positions.items())


def _positions_of(text: str, partitions: Iterable[TopicPartition]) -> Positions:
    by_index = {tp.partition: tp for tp in partitions}
    positions = {}
    try:
        for each in text.split(","):
            index, position = map(int, each.split(":"))
            if index in by_index:
                positions[by_index[index]] = position
    except ValueError:
        raise BadRequestError("at is not PARTITION:OFFSET,…") from None
    return positions


def _merged(windows: Iterable[Window], *, is_older: bool) -> Iterator[Finding]:
    """Yield what was found, by time; of each partition in the order of its offsets, or backwards."""
    if is_older:
        return heapq.merge(*(reversed(window.found) for window in windows), key=lambda found: -found.timestamp)
    return heapq.merge(*(window.found for window in windows), key=lambda found: found.timestamp)


def _row(found: Finding, explain: Any) -> Mapping[str, Json]:
    row: dict[str, Json] = {
        "partition": found.tp.partition,
        "offset": found.offset,
        "timestamp": found.timestamp,
        "timestamp_type": found.header.timestamp_type.name,
        "leader_epoch": found.header.partition_leader_epoch,
        "producer_id": found.header.producer_id,
    }
    if isinstance(found, Unreadable):
        return {**row, "problem": found.problem, "next_offset": found.next_offset}
    record = found.record
    explained = explain(record.key, record.value) if explain is not None and record.key is not None else None
    return {
        **row,
        "key": _shown(record.key),
        "value": _shown(record.value),
        "headers": [{"name": name, "value": _shown(value)} for name, value in record.headers[:MAX_HEADERS]],
        "headers_left_out": max(len(record.headers) - MAX_HEADERS, 0),
        "explained": None if explained is None else {"key": explained[0], "value": explained[1]},
    }


def _shown(data: bytes | None) -> Mapping[str, Json] | None:
    if data is None:
        return None
    return {"base64": base64.b64encode(data[:MAX_SHOWN_BYTES]).decode(), "bytes": len(data)}


def _bytes(body: Mapping[str, Any], name: str) -> bytes | None:
    """Read bytes: null, or {"text": …} or {"base64": …}. Raises: BadRequestError."""
    match body.get(name):
        case None:
            return None
        case {"text": str(text)}:
            try:
                return text.encode()
            except UnicodeEncodeError:  # half of a surrogate pair
                raise BadRequestError(f"{name} is no text") from None
        case {"base64": str(text)}:
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error:
                raise BadRequestError(f"{name} is not base64") from None
    raise BadRequestError(f"{name} is neither null nor text nor base64")


def _headers(given: Any) -> list[tuple[str, bytes | None]]:
    if not isinstance(given, list) or len(given) > MAX_HEADERS:
        raise BadRequestError(f"headers is not a list of at most {MAX_HEADERS}")
    headers = []
    for header in given:
        if not isinstance(header, dict) or not isinstance(header.get("name"), str):
            raise BadRequestError("a header has no name")
        headers.append((header["name"], _bytes(header, "value")))
    return headers


def _partition(body: Mapping[str, Any]) -> int | None:
    partition = body.get("partition")
    if partition is not None and type(partition) is not int:
        raise BadRequestError("partition is not a number")
    return partition
