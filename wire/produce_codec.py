"""Decode and encode Produce in fewer steps where it is about one partition, as nearly all that brokers serve is.

    decoder(11)(buffer, pos, end, budget)  ->  as codec.decoder(ProduceRequest, 11)
    encoder(11)(write, response)           ->  as codec.encoder(ProduceResponse, 11)

A producer sends the same request again and again, but for the batch: what precedes the batch is remembered with the
fields that it holds, and then compared instead of read.

Rules
- What goes in and comes out is the same as with the compiled codec, which gets everything that is not of this form:
  several partitions, records that are null, tagged fields, errors, and the versions below FIRST.
- MAX_KNOWN beginnings are remembered at most, for each version.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any

from wire import codec
from wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from wire.primitives import read_uvarint, write_uvarint
from wire.schema import Records, Uuid

FIRST = 9  # flexible from there on
TOPIC_IDS_FROM = 13
MAX_KNOWN = 1024

_TAGS = bytes(3)  # of the partition, the topic and the request: none
# Of an answer behind the topic: the partition, its error, the offset, the time and the first offset; no more to say of
# it; no tags of the partition and the topic; the throttle time; no tags.
_answer = Struct(">ihqqq4six").pack
_ONE = b"\2"  # the size of an array of one
_NO_MORE = b"\1\0\0\0"

Fields = tuple[str | None, int, int, str, Uuid, int]  # transactional id, acks, timeout, topic, its id, partition


def decoder(version: int) -> codec.Decoder:
    decode_any = codec.decoder(ProduceRequest, version)
    if version < FIRST:
        return decode_any
    has_ids = version >= TOPIC_IDS_FROM
    known: dict[bytes, Fields] = {}  # by what precedes the size of the batch

    def decode(buffer: memoryview, pos: int, end: int, budget: list[int]) -> tuple[ProduceRequest, int]:
        # Transactional id, acks, timeout, array | topic | array, partition | batch
        topic_at = pos + (buffer[pos] or 1) + 7
        begins = topic_at + (21 if has_ids else buffer[topic_at] + 5)
        beginning = bytes(buffer[pos:begins])
        fields = known.get(beginning)
        if fields is None:
            request, stop = decode_any(buffer, pos, end, budget)
            # Nothing is remembered that is not as presumed: arrays of one, sizes of one byte.
            has_short_sizes = buffer[pos] < 128 and (has_ids or buffer[topic_at] < 128)
            if has_short_sizes and buffer[topic_at - 1] == _ONE[0] == buffer[begins - 5]:
                remember(beginning, request)
            return request, stop
        size = buffer[begins]
        begins += 1
        if size > 127:  # nearly always a varint of two or three bytes
            if buffer[begins] < 128:
                size += (buffer[begins] - 1) * 128
                begins += 1
            else:
                size, begins = read_uvarint(buffer, begins - 1)
        stop = begins + size - 1
        if buffer[stop:end] != _TAGS:
            return decode_any(buffer, pos, end, budget)
        transactional_id, acks, timeout_ms, name, topic_id, index = fields
        topic = TopicProduceData(name, topic_id, [PartitionProduceData(index, buffer[begins:stop])])
        return ProduceRequest(transactional_id, acks, timeout_ms, [topic]), end

    def remember(beginning: bytes, request: ProduceRequest) -> None:
        if len(known) >= MAX_KNOWN:
            known.clear()
        (topic,) = request.topic_data
        (data,) = topic.partition_data
        first = request.transactional_id, request.acks, request.timeout_ms
        known[beginning] = (*first, topic.name, topic.topic_id, data.index)

    return decode


def encoder(version: int) -> codec.Encoder:
    encode_any = codec.encoder(ProduceResponse, version)
    if version < FIRST:
        return encode_any
    has_ids = version >= TOPIC_IDS_FROM
    known: dict[str | Uuid, bytes] = {}  # by a topic's name or id: what precedes its partition

    def encode(write: Callable[[Records], None], response: Any) -> None:
        if len(response.responses) == 1 and not response.node_endpoints and not response.unknown_tags:
            topic = response.responses[0]
            if len(topic.partition_responses) == 1 and not topic.unknown_tags:
                answer = topic.partition_responses[0]
                leader = answer.current_leader
                if not (
                    answer.error_code
                    or answer.record_errors
                    or answer.error_message is not None
                    or answer.unknown_tags
                    or leader.leader_id != -1
                    or leader.leader_epoch != -1
                    or leader.unknown_tags
                ):
                    which = topic.topic_id if has_ids else topic.name
                    offsets = answer.base_offset, answer.log_append_time_ms, answer.log_start_offset
                    begins = known.get(which) or learn(which)
                    write(begins + _answer(answer.index, 0, *offsets, _NO_MORE, response.throttle_time_ms))
                    return
        encode_any(write, response)

    def learn(which: str | Uuid) -> bytes:
        if len(known) >= MAX_KNOWN:
            known.clear()
        name = which if isinstance(which, bytes) else write_uvarint(len(which.encode()) + 1) + which.encode()
        begins = known[which] = b"".join((_ONE, name, _ONE))
        return begins

    return encode
