"""The dissector that we generate, in tshark: it shows what our trees do, and no secrets.

Needs tshark; without it these tests are skipped, which says so.
"""

import functools
import re
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple
from xml.etree import ElementTree

import cramjam
import pytest

from tests.wire.study.golden import golden_frames
from tests.wire.study.test_secrets import (
    CREDENTIAL,
    ENVELOPED,
    SECRET,
    SECRETS,
    SENSITIVE,
    fetched_metadata,
    frames_of,
    metadata_value,
)
from tests.wire.study.tshark import NEEDS_TSHARK, items, pdml, place
from tests.wire.values import random_message
from wire import codec
from wire.catalog import APIS, request_class, response_class
from wire.compression import Codec
from wire.frame import RequestHeader, encode_request, encode_response
from wire.messages.classic_groups import JoinGroupRequest, JoinGroupRequestProtocol
from wire.messages.log_records import ConsumerProtocolSubscription, ConsumerProtocolSubscriptionTopicPartition
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.raft import EnvelopeRequest
from wire.messages.topics import CreatableTopic, CreateTopicsRequest
from wire.records import Record, batch_crc, build_batch
from wire.schema import spec_of
from wire.study.contents import CONSUMERS
from wire.study.exchanges import Direction, TracedFrame
from wire.study.lua import dissector
from wire.study.pcapng import PcapngWriter
from wire.study.tree import TAGS, Inner, Node

pytestmark = NEEDS_TSHARK


@functools.cache
def lends_zstd() -> bool:
    """Tell whether this tshark has zstd for Lua."""
    said = subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    match = re.search(r"TShark \(Wireshark\) (\d+)\.(\d+)", said)
    assert match is not None, said
    return (int(match[1]), int(match[2])) >= (4, 3)


class Shown(NamedTuple):
    """What somebody says that some bytes of a frame are."""

    name: str
    start: int
    end: int
    value: object


def all_pairs() -> Iterator[TracedFrame]:
    """A made-up request and its answer for every API and version that is declared: those served, and a later one."""
    number = 0
    for api in APIS:
        versions = spec_of(request_class(api.key)).versions
        for version in range(versions.low, versions.high + 1):
            number += 1
            random = Random(f"{api.name} {version}")
            request = random_message(request_class(api.key), version, random, large=False)
            response = random_message(response_class(api.key), version, random, large=False)
            if api.name == "ApiVersions" and response.error_code == 35:
                response.error_code = 0  # that would be read in version 0
            sent = encode_request(RequestHeader(api.key, version, number, "me"), request)[4:]
            received = b"".join(bytes(c) for c in encode_response(api.key, version, number, response))[4:]  # type: ignore[call-overload]
            for direction, data in ((Direction.REQUEST, sent), (Direction.RESPONSE, received)):
                yield TracedFrame(number, golden_frames()[0].connection, "p", direction, api.key, version, data)


def test_dissector_shows_what_our_trees_do_for_every_api_and_version(tmp_path: Path) -> None:
    frames = [*all_pairs()]
    assert len(frames) == 2 * 309
    protos = pdml(tmp_path, frames, "kafka_wire", "-X", f"lua_script:{lua_script(tmp_path)}")
    assert len(protos) == len(frames)
    for frame, proto in zip(frames, protos, strict=True):
        tree = frame.tree()
        body = tree.child("body")
        assert body is not None
        name = spec_of((request_class, response_class)[frame.direction](frame.api_key)).name
        # Its records are made up, too, and are none.
        assert [shown(item, proto) for item in body_items(proto) if not is_of_records(item)] == [
            with_value(item, frame) for item in expected_items(body, f"kafka_wire.{name}") if not is_of_records(item)
        ], tree.name


def test_dissector_shows_records_as_our_trees_do(tmp_path: Path) -> None:
    """Those that Apache Kafka took, refused and answered."""
    pairs = list(zip(golden_frames()[::2], golden_frames()[1::2], strict=True))[::3]  # enough, and quicker
    frames = [
        frame
        for pair in pairs
        if pair[0].api_key in (0, 1) and not any(error for frame in pair for error in frame.tree().errors())
        for frame in pair
    ]
    protos = pdml(tmp_path, frames, "kafka_wire", "-X", f"lua_script:{lua_script(tmp_path)}")
    seen: Counter[str] = Counter()
    for frame, proto in zip(frames, protos, strict=True):
        body = frame.tree().child("body")
        assert body is not None
        name = spec_of((request_class, response_class)[frame.direction](frame.api_key)).name
        items_shown = [shown(item, proto) for item in body_items(proto)]
        assert items_shown == [with_value(item, frame) for item in expected_items(body, f"kafka_wire.{name}")]
        seen.update(item.name for item in items_shown)
        assert offsets_shown(proto) == [
            int(node.note.removeprefix("offset ")) for node in opened(body) if node.kind == "Record"
        ]
    assert seen["kafka_wire.batch"] > 200
    assert seen["kafka_wire.record"] > 300
    assert seen["kafka_wire.record.header.value"] > 300
    assert seen["kafka_wire.batch.records"] > 3


@pytest.mark.slow
@pytest.mark.parallel
def test_dissector_shows_what_is_compressed(tmp_path: Path) -> None:
    random = Random(1)
    values = [b"", b"ab", b"a" * 70_000, random.randbytes(70_000), bytes(random.choices(b"abc", k=70_000))]
    values += [random.choice(values)[:size] + b"." for size in (1, 15, 16, 60, 61, 300, 5000) for _ in range(2)]
    plain = bytes(build_batch([Record(value=value, key=b"k") for value in values]))
    written = {
        codec: bytes(build_batch([Record(value=value, key=b"k") for value in values], codec=codec))
        for codec in (Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD)
    }
    if not lends_zstd():
        closed = written.pop(Codec.ZSTD)
    whole = [
        *written.values(),
        with_records(written[Codec.SNAPPY], bytes(cramjam.snappy.compress_raw(plain[61:]))),  # as librdkafka does
        with_records(written[Codec.LZ4], bytes(cramjam.lz4.compress(plain[61:]))),  # its blocks refer to others
    ]
    damaged = [with_records(batch, data) for batch in written.values() for data in (batch[61:-40000], b"\x82nonsense")]
    too_much = [bytes(build_batch([Record(value=bytes(9_000_000))], codec=Codec.LZ4))]
    frames = [produced(batch) for batch in [*whole, *damaged, *too_much, *([] if lends_zstd() else [closed])]]
    protos = iter(pdml(tmp_path, frames, "kafka_wire", "-X", f"lua_script:{lua_script(tmp_path)}"))
    for frame in frames[: len(whole)]:
        body = frame.tree().child("body")
        assert body is not None
        items_shown = [shown(item, proto) for proto in [next(protos)] for item in body_items(proto)]
        expected = expected_items(body, "kafka_wire.ProduceRequest")
        assert items_shown == [with_value(item, frame) for item in expected]
        assert sum(item.name == "kafka_wire.record" for item in items_shown) == len(values)
    texts = [ElementTree.tostring(proto, "unicode") for proto in protos]
    assert ["kafka_wire.malformed" in text for text in texts[: len(damaged)]] == [True] * len(damaged)
    assert ["kafka_wire.malformed" in text for text in texts[len(damaged) :]] == [False] * (len(texts) - len(damaged))
    assert "more than 8388608 bytes when decompressed" in texts[len(damaged)]
    assert lends_zstd() or "this Wireshark has nothing for Lua that decompresses it" in texts[-1]


def test_dissector_stops_at_what_is_too_much_of_a_frame(tmp_path: Path) -> None:
    script = lua_script(tmp_path)
    text = script.read_text()
    assert text.count("64 * 1024 * 1024") == 1
    script.write_text(text.replace("64 * 1024 * 1024", "4000"))
    for name, opened_first in (("LZ4", 1), ("GZIP", 2)):  # zlib's output is counted when it is there
        batch = bytes(build_batch([Record(value=bytes(3000))], codec=Codec[name]))
        frames = [produced(3 * batch), produced(batch)]
        first, second = pdml(tmp_path, frames, "kafka_wire", "-X", f"lua_script:{script}")
        counts = [sum(item.get("name") == "kafka_wire.record" for item in items(proto)) for proto in (first, second)]
        assert counts == [opened_first, 1]
        assert "bytes when decompressed" in ElementTree.tostring(first, "unicode")


def test_dissector_counts_what_it_decompressed_in_vain(tmp_path: Path) -> None:
    script = lua_script(tmp_path)
    text = script.read_text()
    assert text.count("MAX_DECOMPRESSED_BYTES = 8 * 1024 * 1024") == text.count("64 * 1024 * 1024") == 1
    script.write_text(text.replace("= 8 * 1024 * 1024", "= 1000").replace("64 * 1024 * 1024", "2000"))
    random = Random(1)
    value = b"".join(2 * random.randbytes(40) for _ in range(40))  # written in steps of 40 bytes
    frame = produced(5 * bytes(build_batch([Record(value=value)], codec=Codec.LZ4)))
    (shown,) = pdml(tmp_path, [frame], "kafka_wire", "-X", f"lua_script:{script}")
    limits = [int(number) for number in re.findall(r"more than (\d+) bytes", ElementTree.tostring(shown, "unicode"))]
    assert limits[0] == 1000
    assert 0 < limits[-1] < 100


def with_records(batch: bytes, records: bytes) -> bytes:
    made = bytearray(batch[:61] + records)
    struct.pack_into(">i", made, 8, len(made) - 12)
    struct.pack_into(">I", made, 17, batch_crc(made))
    return bytes(made)


def produced(batch: bytes) -> TracedFrame:
    partition = PartitionProduceData(records=batch)
    request = ProduceRequest(topic_data=[TopicProduceData(name="t", partition_data=[partition])])
    return sent(0, 9, encode_request(RequestHeader(0, 9, 1, "me"), request)[4:])


def sent(key: int, version: int, data: bytes) -> TracedFrame:
    return TracedFrame(0, golden_frames()[0].connection, "p", Direction.REQUEST, key, version, data)


def names_shown(tmp_path: Path, frames: list[TracedFrame], message: str) -> list[set[str]]:
    """Hold what is shown of each frame against its tree; return what the items are called."""
    protos = pdml(tmp_path, frames, "kafka_wire", "-X", f"lua_script:{lua_script(tmp_path)}")
    names = []
    for frame, proto in zip(frames, protos, strict=True):
        body = frame.tree().child("body")
        assert body is not None
        items_shown = [shown(item, proto) for item in body_items(proto)]
        assert items_shown == [with_value(item, frame) for item in expected_items(body, message)]
        names.append({item.name for item in items_shown})
    return names


def test_dissector_shows_the_request_in_an_envelope(tmp_path: Path) -> None:
    topics = CreateTopicsRequest(topics=[CreatableTopic(name="t", num_partitions=3)])
    requests = [
        encode_request(RequestHeader(19, 7, 5, "client"), topics)[4:],
        encode_request(RequestHeader(19, 2, 5, None), topics)[4:],
        ENVELOPED,
        encode_request(RequestHeader(58, 0, 5, "x"), EnvelopeRequest(request_data=ENVELOPED))[4:],
        b"no request",
        b"",
    ]
    frames = [
        sent(58, 0, encode_request(RequestHeader(58, 0, 1, "me"), EnvelopeRequest(request_data=request))[4:])
        for request in requests
    ]
    names = names_shown(tmp_path, frames, "kafka_wire.EnvelopeRequest")
    assert ["kafka_wire.body" in seen for seen in names] == [True, True, True, False, False, False]
    assert "kafka_wire.CreateTopicsRequest.topics.num_partitions" in names[0] & names[1]


def test_dissector_shows_what_consumers_say_to_each_other(tmp_path: Path) -> None:
    topic = ConsumerProtocolSubscriptionTopicPartition(topic="t", partitions=[3])
    said = [
        version.to_bytes(2, "big")
        + codec.encode_bytes(ConsumerProtocolSubscription(topics=["t"], owned_partitions=[topic]), min(version, 3))
        + more
        for version, more in ((0, b""), (3, b""), (4, b"later"))
    ]
    frames = []
    for protocol_type, metadata in [*(("consumer", data) for data in said), ("connect", said[0]), ("consumer", b"xyz")]:
        request = JoinGroupRequest(
            protocol_type=protocol_type, protocols=[JoinGroupRequestProtocol(name="p", metadata=metadata)]
        )
        frames.append(sent(11, 7, encode_request(RequestHeader(11, 7, 1, "me"), request)[4:]))
    names = names_shown(tmp_path, frames, "kafka_wire.JoinGroupRequest")
    assert ["kafka_wire.ConsumerProtocolSubscription.topics" in seen for seen in names] == [
        True,
        True,
        True,
        False,
        False,
    ]


def offsets_shown(proto: ElementTree.Element) -> list[int]:
    return [int(item.get("show", "")) for item in proto.iter("field") if item.get("name") == "kafka_wire.record.offset"]


def body_items(proto: ElementTree.Element) -> Iterator[ElementTree.Element]:
    body = next(item for item in proto.iter("field") if item.get("name") == "kafka_wire.body")
    for item in items(body):
        if item is not body and item.get("name") not in ("kafka_wire.record.offset", "", "_ws.expert"):
            yield item


def is_of_records(item: ElementTree.Element | Shown) -> bool:
    name = item.name if isinstance(item, Shown) else item.get("name", "")
    return name.startswith(("kafka_wire.batch", "kafka_wire.record", "kafka_wire.malformed", "_ws."))


def with_value(item: Shown, frame: TracedFrame) -> Shown:
    return in_buffer(item, frame.data) if item.value is True or item.value is False else item


def in_buffer(item: Shown, buffer: bytes) -> Shown:
    return item._replace(value=buffer[item.start : item.end].hex() if item.value else "")


def shown(item: ElementTree.Element, proto: ElementTree.Element) -> Shown:
    return Shown(item.get("name", ""), *place(item, proto), item.get("value", ""))


def expected_items(node: Node, path: str) -> Iterator[Shown]:
    """Yield what the dissector has to show of a struct's fields; `value` says whether it has one."""
    for child in node.children:
        if child.name == TAGS:
            for tag in child.children[1:]:
                unknown = tag.child("unknown")
                if unknown is None:
                    yield from expected_items(Node("", "", 0, 0, children=tag.children[2:]), path)
                elif unknown.end > unknown.start:
                    yield Shown("kafka_wire.unknown_tag", unknown.start, unknown.end, value=True)
        elif child.owner is not None:
            yield from expected_field(child, f"{path}.{child.name}")


def expected_field(node: Node, path: str) -> Iterator[Shown]:
    is_closed = node.name in ("response_data", "unaligned_records") and node.value is not None
    if node.name == "request_data":
        yield from expected_envelope(node, path)
    elif node.is_secret or is_closed:
        yield Shown("kafka_wire.hidden", node.start, node.end, value=False)
    elif node.value is None:
        yield Shown("kafka_wire.null", node.start, node.end, value=False)
    elif node.kind.startswith("["):
        yield Shown(f"{path}.count", node.start, node.end, value=False)
        for element in node.children[1:]:
            if element.is_container:
                yield Shown("kafka_wire.element", element.start, element.end, value=False)
                yield from expected_items(element, path)
            else:
                yield from expected_field(element, path)
    elif node.is_container:
        yield Shown(path, node.start, node.end, value=False)
        yield from expected_items(node, path)
    elif node.kind in ("string", "bytes", "records"):
        content = node.children[-1]
        if content.end == content.start:
            yield Shown(path, node.start, node.end, value=True)
        else:
            yield Shown(path, content.start, content.end, value=True)
        if node.kind == "records":
            yield from expected_batches(content)
        elif content.children:
            yield from expected_inside(node, content)
    else:
        yield Shown(path, node.start, node.end, value=True)


def expected_envelope(node: Node, path: str) -> Iterator[Shown]:
    header, body = node.children[-1].child("header"), node.children[-1].child("body")
    if header is None or body is None:
        yield Shown("kafka_wire.hidden", node.start, node.end, value=False)
        return
    yield Shown(path, header.start, body.end, value=False)
    for part in header.children[:4]:
        shown_part = part.children[-1] if part.name == "client_id" else part
        if part.name != "client_id" or part.value:
            yield Shown(f"kafka_wire.{part.name}", shown_part.start, shown_part.end, value=True)
    yield Shown("kafka_wire.body", body.start, body.end, value=False)
    assert body.owner is not None
    yield from expected_items(body, f"kafka_wire.{spec_of(body.owner).name}")


def expected_inside(node: Node, content: Node) -> Iterator[Shown]:
    """Yield what consumers say to each other."""
    assert node.owner is not None
    version = content.children[0]
    yield Shown("kafka_wire.inside_version", version.start, version.end, value=True)
    path = f"kafka_wire.{CONSUMERS[node.owner.__name__, node.name]}"
    yield from expected_items(Node("", "", 0, 0, children=content.children[1:]), path)


def expected_batches(content: Node) -> Iterator[Shown]:
    for batch in content.children:
        records = batch.child("records")
        if records is None:
            continue
        yield Shown("kafka_wire.batch", batch.start, batch.end, value=False)
        for node in batch.children[:-1]:
            yield Shown(f"kafka_wire.batch.{node.name}", node.start, node.end, value=True)
        if not records.is_container and records.end > records.start:
            yield Shown("kafka_wire.batch.records", records.start, records.end, value=True)
            inner = opened_inner(records)
            if inner is not None:
                yield from (in_buffer(item, inner.buffer) for item in expected_records(inner.root))
        yield from expected_records(records)


def opened_inner(node: Node) -> Inner | None:
    return node.inner if node.inner is not None and (lends_zstd() or "zstd" not in node.inner.name) else None


def opened(node: Node) -> Iterator[Node]:
    """Yield a node and all below it, also what was decompressed, if the dissector can."""
    for part in node.walk():
        yield part
        inner = opened_inner(part)
        if inner is not None:
            yield from opened(inner.root)


def expected_records(records: Node) -> Iterator[Shown]:
    for record in records.children:
        yield Shown("kafka_wire.record", record.start, record.end, value=False)
        for node in record.children:
            if node.kind == "Header":
                yield Shown("kafka_wire.record.header", node.start, node.end, value=False)
                for part in node.children:
                    yield expected_bytes(part, "kafka_wire.record.header")
            elif node.kind == "bytes":
                yield expected_bytes(node, "kafka_wire.record")
            else:
                yield Shown(f"kafka_wire.record.{node.name}", node.start, node.end, value=True)


def expected_bytes(node: Node, path: str) -> Shown:
    if node.value is None:
        return Shown("kafka_wire.null", node.start, node.end, value=False)
    content = node.children[-1] if node.value else node
    return Shown(f"{path}.{node.name}", content.start, content.end, value=True)


def lua_script(folder: Path) -> Path:
    script = folder / "kafka.lua"
    script.write_text(dissector())
    return script


def test_dissector_shows_no_secrets(tmp_path: Path) -> None:
    frames = [frame for message in SECRETS for frame in frames_of(message)]
    credentials = bytes(build_batch([Record(value=metadata_value(record)) for record in (CREDENTIAL, SENSITIVE)]))
    frames += fetched_metadata(credentials)
    # An answer is understood only behind its request.
    requests = {
        (frame.api_key, frame.api_version): encode_request(
            RequestHeader(frame.api_key, frame.api_version, 1, "me"), request_class(frame.api_key)()
        )[4:]
        for frame in frames
    }
    together = [
        each
        for frame in frames
        for each in (
            frame._replace(direction=Direction.REQUEST, data=requests[frame.api_key, frame.api_version]),
            frame,
        )
    ]
    protos = pdml(tmp_path, together, "kafka_wire", "-X", f"lua_script:{lua_script(tmp_path)}")
    assert len(protos) == len(together)
    for proto in protos:
        text = ElementTree.tostring(proto, "unicode")
        assert SECRET not in text
        assert SECRET.encode().hex() not in text
    assert all("hidden" in ElementTree.tostring(proto, "unicode") for proto in protos[1::2])


def test_dissector_says_where_a_frame_is_malformed(tmp_path: Path) -> None:
    random = Random(1)
    frames = []
    with_records = [frame for frame in golden_frames() if frame.api_key == 0 and not any(frame.tree().errors())]
    for frame in [*random.sample([*all_pairs()], 120), *random.sample(with_records, 60)]:
        # What is wrong in compressed data is no affair of this test: zlib, for one, does not say all of it.
        if frame.direction is Direction.REQUEST and len(frame.data) > 20 and not has_compressed(frame):
            frames.append(frame._replace(data=frame.data[: random.randrange(14, len(frame.data))]))
            changed = bytearray(frame.data)
            changed[random.randrange(8, len(changed))] ^= 1 << random.randrange(8)
            frames.append(frame._replace(data=bytes(changed)))
    protos = pdml(tmp_path, frames, "kafka_wire", "-X", f"lua_script:{lua_script(tmp_path)}")
    for frame, proto in zip(frames, protos, strict=True):
        complains = any(
            item.get("name") in ("kafka_wire.malformed", "kafka_wire.extra") for item in proto.iter("field")
        )
        assert complains == any(frame.tree().errors()), frame


def has_compressed(frame: TracedFrame) -> bool:
    return any(node.inner is not None for node in frame.tree().walk())


def test_ports_of_brokers_are_a_preference(tmp_path: Path) -> None:
    writer = PcapngWriter()
    frames = golden_frames()[:2]
    for port in (9092, 19092):
        moved = [frame._replace(connection=f"127.0.0.1:{port}-127.0.0.1:50000-0") for frame in frames]
        (tmp_path / f"{port}.pcapng").write_bytes(writer.header() + b"".join(map(writer.frame, moved)))
        writer = PcapngWriter()
    for ports, port, count in (("", 9092, 0), ("9092", 9092, 2), ("9092,19000-20000", 19092, 2), ("9092", 19092, 0)):
        options = ["-X", f"lua_script:{lua_script(tmp_path)}", "-o", f"kafka_wire.ports:{ports}"]
        command = ["tshark", "-r", str(tmp_path / f"{port}.pcapng"), *options, "-Y", "kafka_wire.correlation_id"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        assert (len(done.stdout.splitlines()), "Lua" in done.stderr) == (count, False)
