"""Reading the files of a data folder, without a broker: what `kafka-dump-log` does.

    <offset>.log         record batches: an entry per batch, and per record if asked for
    <offset>.index       offset -> position          <offset>.timeindex   timestamp -> offset
    <offset>.txnindex    aborted transactions        <offset>.snapshot    producers
    *-<epoch>.checkpoint  a snapshot of KRaft's metadata: batches, too
    *-checkpoint, partition.metadata, meta.properties, quorum-state, .kafka_cleanshutdown: text, a line each

Rules
- An entry is a dict that can be printed as JSON; `kind` says what it is.
- What cannot be read is an entry, too (`kind` "damage"), and reading goes on where that is possible.
- Zeros at the end of an index are what Kafka reserves while it is in use; they are left out.
- Records of internal topics are decoded, if the folder's name or an option says that they are; those of controllers
  wherever they lie. Secrets in them are hidden (wire.study.secrets).

Not here: printing (actions.log).
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from pykbroker.cli.output import named_bytes
from wire import codec
from wire.errors import ProtocolError
from wire.messages.control_records import AbortedTxn, ProducerSnapshot
from wire.records import (
    BATCH_HEADER_SIZE,
    BATCH_OVERHEAD,
    CODEC_MASK,
    MAGIC,
    MAGIC_POSITION,
    BatchHeader,
    Record,
    batch_crc,
    read_batch_header,
    read_records,
)
from wire.study.internal_records import as_plain, control_record, record_explainer
from wire.study.segments import SEGMENT_SUFFIXES, is_text, topic_of

Entry = dict[str, object]
Decoder = Callable[[Record], Entry]

_SUFFIXES = (*SEGMENT_SUFFIXES, ".index", ".timeindex", ".txnindex", ".snapshot")
_OFFSET_ENTRY = struct.Struct(">II")
_TIME_ENTRY = struct.Struct(">qI")
_TRANSACTION_ENTRY_BYTES = 34
_VERSION = struct.Struct(">h")


def is_readable(path: Path) -> bool:
    return path.suffix in _SUFFIXES or is_text(path)


def files_in(folder: Path) -> list[Path]:
    """Return what can be read in a folder and those below it. Raises: OSError."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and is_readable(path))


def read_file(path: Path, *, records: bool = False, decoder: Decoder | None = None) -> Iterator[Entry]:
    """Yield what is in a file. Raises: OSError."""
    if path.suffix in SEGMENT_SUFFIXES:
        yield from _segment(path, records=records, decoder=decoder)
    elif path.suffix == ".index":
        yield from _index(path, _OFFSET_ENTRY, lambda base, first, second: {"offset": base + first, "position": second})
    elif path.suffix == ".timeindex":
        yield from _index(path, _TIME_ENTRY, lambda base, first, second: {"timestamp": first, "offset": base + second})
    elif path.suffix == ".txnindex":
        yield from _transactions(path)
    elif path.suffix == ".snapshot":
        yield from _snapshot(path)
    else:
        for line in path.read_text(errors="replace").splitlines():
            yield {"kind": "line", "text": line}


# Segments


def _segment(path: Path, *, records: bool, decoder: Decoder | None) -> Iterator[Entry]:
    """Read, rather than map: a broker that runs may cut the file meanwhile."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while position < size:
            head = file.read(BATCH_HEADER_SIZE)
            batch_size = _batch_size(head, size - position)
            batch = head if batch_size is None else head + file.read(batch_size - len(head))
            if batch_size is None or len(batch) < batch_size:
                yield _damage(position, f"{size - position} bytes that are no batch")
                return
            header = read_batch_header(batch)
            is_whole = header.crc == batch_crc(batch)
            yield _batch(header, position, is_whole=is_whole)
            if records and is_whole:
                yield from _records(header, batch, position, decoder)
            position += batch_size


def _batch_size(head: bytes, left: int) -> int | None:
    if len(head) < BATCH_HEADER_SIZE or head[MAGIC_POSITION] != MAGIC:
        return None
    (length,) = struct.unpack_from(">i", head, 8)
    whole: int = BATCH_OVERHEAD + length
    return whole if BATCH_HEADER_SIZE <= whole <= left else None


def _batch(header: BatchHeader, position: int, *, is_whole: bool) -> Entry:
    flags = {
        "transactional": header.is_transactional,
        "control": header.is_control,
        "delete_horizon": header.has_delete_horizon,
        "log_append_time": bool(header.timestamp_type),
    }
    try:
        codec_name = header.codec.name.lower()
    except ProtocolError:
        codec_name = f"unknown {header.attributes & CODEC_MASK}"
    return {
        "kind": "batch",
        "position": position,
        "base_offset": header.base_offset,
        "last_offset": header.last_offset,
        "records": header.record_count,
        "size": header.size,
        "codec": codec_name,
        "max_timestamp": header.max_timestamp,
        "leader_epoch": header.partition_leader_epoch,
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "flags": [name for name, is_set in flags.items() if is_set],
        "crc": "ok" if is_whole else "wrong",
    }


def _records(header: BatchHeader, batch: bytes, position: int, decoder: Decoder | None) -> Iterator[Entry]:
    try:
        for record in read_records(batch):
            told: Entry = {"kind": "record", "offset": record.offset, "timestamp": record.timestamp}
            if header.is_control:
                yield told | control_record(record.key, record.value)
            elif decoder is not None:
                yield told | decoder(record)
            else:
                yield told | _plain_record(record)
    except ProtocolError as error:
        yield _damage(position, str(error))


def _plain_record(record: Record) -> Entry:
    return {
        **named_bytes("key", record.key),
        **named_bytes("value", record.value),
        "headers": [{"name": name, **named_bytes("value", value)} for name, value in record.headers],
    }


def _damage(position: int, text: str) -> Entry:
    return {"kind": "damage", "position": position, "text": text}


# Indexes and snapshots


def _index(path: Path, entry: struct.Struct, told: Callable[[int, int, int], Entry]) -> Iterator[Entry]:
    data = path.read_bytes()
    used = len(data.rstrip(b"\0"))
    whole = -(-used // entry.size) * entry.size
    base = int(path.stem) if path.stem.isdecimal() else 0
    for first, second in entry.iter_unpack(data[: min(whole, len(data) // entry.size * entry.size)]):
        yield {"kind": "entry", **told(base, first, second)}
    if len(data) % entry.size and used > len(data) // entry.size * entry.size:
        yield _damage(len(data) // entry.size * entry.size, "an entry that is cut short")


def _transactions(path: Path) -> Iterator[Entry]:
    data = path.read_bytes()
    for position in range(0, len(data), _TRANSACTION_ENTRY_BYTES):
        part = data[position : position + _TRANSACTION_ENTRY_BYTES]
        try:
            entry, _ = codec.decode(AbortedTxn, 0, part, _VERSION.size)
        except ProtocolError:
            yield _damage(position, "an entry that is cut short")
            return
        yield {"kind": "aborted", **as_plain(entry)}


def _snapshot(path: Path) -> Iterator[Entry]:
    data = path.read_bytes()
    try:
        (version,) = _VERSION.unpack_from(data)
        snapshot, _ = codec.decode(ProducerSnapshot, version, data, _VERSION.size)
    except (ProtocolError, struct.error) as error:
        yield _damage(0, f"not a snapshot of producers: {error}")
        return
    for entry in snapshot.producer_entries:
        yield {"kind": "producer", **as_plain(entry)}


# Internal topics


def decoder_of(path: Path) -> Decoder | None:
    """Return what decodes the records of a segment, by what its names or its first record say. Raises: OSError."""
    return decoder_for(topic_of(path) or "") if path.suffix in SEGMENT_SUFFIXES else None


def decoder_for(topic: str) -> Decoder | None:
    """Return what decodes the records of this topic; None where they are their producers' own."""
    explain = record_explainer(topic)
    if explain is None:
        return None

    def decode(record: Record) -> Entry:
        explained = explain(record.key or b"", record.value)
        if explained is None:  # of a newer broker, perhaps
            return _plain_record(record)
        key, value = explained
        return {"key": key, "value": value}

    return decode
