"""Ask another broker what one broker was asked: with its own names in place of those that the first one made up.

Rules: which names correspond, the answers so far have told (compare.Pairing). A batch of records names its producer,
too; its checksum is computed anew. Everything else is asked as it was.
"""

import contextlib
import struct
from collections.abc import Callable, Iterator
from typing import Any

from wire.errors import ProtocolError
from wire.records import BatchHeader, batch_crc, iter_batches
from wire.schema import Kind, spec_of
from wire.study.compare import LEARNED, PAIRED, Pairing

_KINDS = {**PAIRED, **LEARNED, "v3_and_below_producer_id": "producer", "producer_id_filters": "producer"}
_PRODUCER_ID_AT, _CRC_AT = 43, 17


def translate(message: Any, pairing: Pairing) -> None:
    """Replace the made-up names in a request, in place."""
    for field in spec_of(type(message)).fields:
        held = getattr(message, field.name)
        if held is None:
            continue
        if field.name in _KINDS and field.kind is Kind.ARRAY:
            setattr(message, field.name, [pairing.translated(_KINDS[field.name], item) for item in held])
        elif field.name in _KINDS:
            setattr(message, field.name, pairing.translated(_KINDS[field.name], held))
        elif field.kind is Kind.RECORDS:
            setattr(message, field.name, _batches(bytes(held), lambda id_: _producer(pairing, id_)))
        elif isinstance(field.element, type):
            for item in held if field.kind is Kind.ARRAY else (held,):
                translate(item, pairing)


def _readable(records: bytes) -> Iterator[tuple[BatchHeader, memoryview]]:
    with contextlib.suppress(ProtocolError):
        yield from iter_batches(records)


def _producer(pairing: Pairing, producer_id: int) -> int:
    translated = pairing.translated("producer", producer_id)
    assert isinstance(translated, int)
    return translated


def _batches(records: bytes, producer: Callable[[int], int]) -> bytes:
    """Return batches with other producer ids; from a batch on that cannot be read, they stay as they are."""
    changed = bytearray(records)
    pos = 0
    for header, batch in _readable(records):
        producer_id = producer(header.producer_id)
        if producer_id != header.producer_id:
            struct.pack_into(">q", changed, pos + _PRODUCER_ID_AT, producer_id)
            crc = batch_crc(changed[pos : pos + len(batch)])
            struct.pack_into(">I", changed, pos + _CRC_AT, crc)
        pos += len(batch)
    return bytes(changed)
