"""The codec of Produce for one partition: nobody can tell it from the compiled one."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.values import random_message
from wire import codec, produce_codec
from wire.codec import MAX_ELEMENTS
from wire.errors import ProtocolError
from wire.messages.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from wire.schema import spec_of

VERSIONS = range(spec_of(ProduceRequest).versions.low, spec_of(ProduceRequest).versions.high + 1)
quick = settings(derandomize=True, max_examples=50, deadline=None)
by_version = pytest.mark.parametrize("version", VERSIONS)


def decoded(decoder: codec.Decoder, frame: bytes, pos: int = 0) -> object:
    """Return what a decoder makes of a frame, or that it refuses it."""
    try:
        return decoder(memoryview(frame), pos, len(frame), [MAX_ELEMENTS])
    except (ProtocolError, IndexError, ValueError, codec.StructError):
        return "refused"


def encoded(encoder: codec.Encoder, message: object) -> object:
    chunks: list[Any] = []
    try:
        encoder(chunks.append, message)
    except (ProtocolError, codec.StructError) as error:
        return type(error)
    return b"".join(chunks)


def request(
    version: int, records: bytes | None = b"12345", *, name: str = "orders", index: int = 3, **fields: Any
) -> bytes:
    topic_id = bytes(range(15)) + b"\2" if version >= 13 else bytes(16)
    topic = TopicProduceData(name if version < 13 else "", topic_id, [PartitionProduceData(index, records)])
    made: dict[str, Any] = {"topic_data": [topic], "acks": -1, "timeout_ms": 1500} | fields
    return codec.encode_bytes(ProduceRequest(**made), version)


def answer(version: int, **fields: Any) -> ProduceResponse:
    made = PartitionProduceResponse(
        **{"index": 3, "base_offset": 41, "log_append_time_ms": 7, "log_start_offset": 2} | fields
    )
    topic = TopicProduceResponse(
        "orders" if version < 13 else "", bytes(range(16)) if version >= 13 else bytes(16), [made]
    )
    return ProduceResponse([topic], throttle_time_ms=5)


@by_version
def test_one_batch_after_the_other_is_decoded_as_ever(version: int) -> None:
    decode, decode_any = produce_codec.decoder(version), codec.decoder(ProduceRequest, version)
    sizes = [0, 1, 7, 125, 126, 127, 128, 16382, 16383, 16384, 3_000_000]
    for number, size in enumerate(sizes + sizes):
        frame = b"head" + request(version, bytes([number]) * size)
        found = decoded(decode, frame, pos=4)
        assert found == decoded(decode_any, frame, pos=4) != "refused"


@by_version
@pytest.mark.parametrize(
    "fields",
    [
        {"transactional_id": "t"},
        {"transactional_id": "t" * 126},
        {"transactional_id": "t" * 127},
        {"transactional_id": "t" * 300},
        {"name": "n" * 126},
        {"name": "n" * 127},
        {"name": "ü"},
        {"index": 0},
        {"index": 2**31 - 1},
        {"records": None},
        # Read as if their sizes took one byte, these would look like one partition, and like a batch of another size.
        {"name": "n" * 126 + "\2", "index": 7},
        {"transactional_id": "t" * 127, "timeout_ms": 258, "index": 7},
    ],
    ids=repr,
)
def test_requests_of_other_shapes_are_told_apart(version: int, fields: dict[str, Any]) -> None:
    decode, decode_any = produce_codec.decoder(version), codec.decoder(ProduceRequest, version)
    for frame in [request(version), request(version, **fields)] * 2:
        assert decoded(decode, frame) == decoded(decode_any, frame) != "refused"


@by_version
def test_random_requests_are_decoded_as_ever(version: int) -> None:
    decode, decode_any = produce_codec.decoder(version), codec.decoder(ProduceRequest, version)
    random = Random(version)
    for _ in range(300):
        frame = codec.encode_bytes(random_message(ProduceRequest, version, random), version)
        assert decoded(decode, frame) == decoded(decode_any, frame)


@by_version
@quick
@given(data=st.data())
def test_damaged_requests_are_decoded_or_refused_as_ever(version: int, data: st.DataObject) -> None:
    decode, decode_any = produce_codec.decoder(version), codec.decoder(ProduceRequest, version)
    whole = bytearray(request(version, bytes(130), transactional_id=data.draw(st.sampled_from([None, "t"]))))
    decoded(decode, bytes(whole))  # is remembered
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.sampled_from([0, 1, 2, 3, 127, 128, 129, 255]))
    frame = bytes(whole[: data.draw(st.integers(0, len(whole)))]) if data.draw(st.booleans()) else bytes(whole)
    for _ in range(2):
        assert decoded(decode, frame) == decoded(decode_any, frame)


@pytest.mark.parametrize("version", range(produce_codec.FIRST, VERSIONS.stop))
def test_what_follows_the_batch_is_looked_at(version: int) -> None:
    decode, decode_any = produce_codec.decoder(version), codec.decoder(ProduceRequest, version)
    plain = request(version)
    tag = b"\1\5\2hi"
    for frame in (plain, plain[:-3] + tag + plain[-2:], plain[:-1] + tag, plain + b"more", plain[:-1]):
        assert decoded(decode, frame) == decoded(decode_any, frame)


def test_no_more_is_remembered_than_the_bound_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produce_codec, "MAX_KNOWN", 4)
    decode, decode_any = produce_codec.decoder(11), codec.decoder(ProduceRequest, 11)
    for index in range(20):
        frame = request(11, index=index)
        assert decoded(decode, frame) == decoded(decode_any, frame)


@by_version
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"base_offset": -1, "log_append_time_ms": -1, "log_start_offset": -1},
        {"error_code": 3},
        {"error_message": ""},
        {"error_message": "no"},
        {"record_errors": [BatchIndexAndErrorMessage(1, "bad")]},
        {"current_leader": LeaderIdAndEpoch(1, -1)},
        {"current_leader": LeaderIdAndEpoch(-1, 1)},
        {"base_offset": 2**63},
    ],
    ids=repr,
)
def test_answers_are_encoded_as_ever(version: int, fields: dict[str, Any]) -> None:
    encode, encode_any = produce_codec.encoder(version), codec.encoder(ProduceResponse, version)
    made = answer(version, **fields)
    assert encoded(encode, made) == encoded(encode, made) == encoded(encode_any, made)


@by_version
def test_random_answers_are_encoded_as_ever(version: int) -> None:
    encode, encode_any = produce_codec.encoder(version), codec.encoder(ProduceResponse, version)
    random = Random(version)
    for _ in range(300):
        made = random_message(ProduceResponse, version, random)
        assert encoded(encode, made) == encoded(encode_any, made)


def set_on(*path: str | int) -> Callable[[Any, object], None]:
    """Return what sets an attribute, found by names and positions from the answer."""

    def set_value(target: Any, value: object) -> None:
        for step in path[:-1]:
            target = target[step] if isinstance(step, int) else getattr(target, step)
        setattr(target, str(path[-1]), value)

    return set_value


@pytest.mark.parametrize("version", [11, 13])
@pytest.mark.parametrize(
    ("change", "value"),
    [
        (set_on("unknown_tags"), {9: b"x"}),
        (set_on("node_endpoints"), [NodeEndpoint(1, "a", 2)]),
        (set_on("responses"), []),
        (set_on("responses"), [TopicProduceResponse("orders"), TopicProduceResponse("orders")]),
        (set_on("responses", 0, "unknown_tags"), {9: b"x"}),
        (set_on("responses", 0, "partition_responses"), []),
        (set_on("responses", 0, "partition_responses"), [PartitionProduceResponse(), PartitionProduceResponse()]),
        (set_on("responses", 0, "partition_responses", 0, "unknown_tags"), {9: b"x"}),
        (set_on("responses", 0, "partition_responses", 0, "current_leader", "unknown_tags"), {9: b"x"}),
    ],
)
def test_nothing_that_an_answer_holds_is_left_out(
    version: int, change: Callable[[Any, object], None], value: object
) -> None:
    encode, encode_any = produce_codec.encoder(version), codec.encoder(ProduceResponse, version)
    changed = answer(version)
    change(changed, value)
    assert encoded(encode, changed) == encoded(encode_any, changed) != encoded(encode, answer(version))
