"""What `pykbroker produce` does: read records, and send what has been read whenever the input pauses.

Rules: what one `read` brings is sent together, so a person at a terminal sees each line answered, and a file goes in
large batches.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio.to_thread
import attrs
import typer

from pykbroker.cli.format_syntax import FormatError
from pykbroker.cli.input_fields import InputError, InputRecord
from pykbroker.cli.input_format import Input, compile_input, keyed, literal, separated
from pykbroker.cli.input_json import parse_json
from pykbroker.cli.options import Cluster, parse_pairs
from pykbroker.cli.output import flush, json_line, progress, write
from pykbroker.cli.running import CommandError, run
from pykbroker.client import Client
from pykbroker.client.producer import Producer, SentRecord
from wire.compression import Codec

READ_BYTES = 1024 * 1024
_ACKS = {"all": -1, "-1": -1, "1": 1, "0": 0}

Headers = tuple[tuple[str, bytes | None], ...]


@attrs.frozen
class Target:
    topic: str
    key: bytes | None
    headers: Headers
    partition: int | None
    empty_is_null: bool
    compression: str
    acks: str
    is_idempotent: bool


@attrs.frozen
class Source:
    file: Path | None
    value: str | None
    key_separator: str | None
    delimiter: str | None
    format: str | None
    json_lines: bool

    def input(self) -> Input:
        """Return what reads the records. Raises: FormatError."""
        if self.json_lines:
            return separated(b"\n", parse_json)
        if self.format is not None:
            return compile_input(self.format)
        end = b"\n" if self.delimiter is None else literal(self.delimiter)
        if self.key_separator is not None:
            return keyed(self.key_separator, end)
        return separated(end, InputRecord)


def parse_headers(headers: Sequence[str]) -> Headers:
    """Raises: typer.BadParameter."""
    return tuple(
        (name, os.fsencode(value)) for header in headers for name, value in parse_pairs([header], "--header").items()
    )


def produce(cluster: Cluster, target: Target, source: Source, *, json: bool) -> None:
    codecs = {codec.name.lower(): codec for codec in Codec}
    if target.compression not in codecs:
        raise typer.BadParameter(f"there is no codec {target.compression!r}", param_hint="--compression")
    if target.acks not in _ACKS:
        raise typer.BadParameter("all, 1 or 0", param_hint="--acks")
    if target.is_idempotent and _ACKS[target.acks] != -1:
        raise typer.BadParameter("--idempotent needs --acks all")
    try:
        reading = source.input()
    except FormatError as error:
        hint = "--format" if source.format is not None else "--key-separator, --delimiter"
        raise typer.BadParameter(str(error), param_hint=hint) from None

    async def work(client: Client) -> int:
        producer = Producer(
            client, acks=_ACKS[target.acks], codec=codecs[target.compression], is_idempotent=target.is_idempotent
        )
        if source.value is not None:
            return await _send(producer, target, [InputRecord(os.fsencode(source.value))], json=json)
        return await _send_input(producer, target, source.file, reading, json=json)

    count = run(cluster, work)
    if not json:
        print(f"{count} record{'' if count == 1 else 's'} written to {target.topic}", file=sys.stderr)


async def _send_input(producer: Producer, target: Target, file: Path | None, reading: Input, *, json: bool) -> int:
    """Send all that the input brings; return how many records that was. Raises: CommandError, KafkaError, OSError."""
    try:
        stream = open(0 if file is None else file, "rb", buffering=0, closefd=file is not None)  # noqa: SIM115
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    count = 0
    with stream, progress("produce", None if file is None else os.fstat(stream.fileno()).st_size) as advance:
        while True:
            # Read in a thread: not every system can wait for a terminal otherwise.
            chunk = await anyio.to_thread.run_sync(stream.read, READ_BYTES, abandon_on_cancel=True)
            records = _parsed(reading.records(chunk, is_last=not chunk), count)
            count += await _send(producer, target, records, json=json)
            advance(len(chunk))
            if not chunk:
                return count


def _parsed(reading: Iterator[InputRecord], before: int) -> list[InputRecord]:
    """Raises: CommandError that says which record is not in the format."""
    records: list[InputRecord] = []
    try:
        for record in reading:
            records.append(record)
    except InputError as error:
        raise CommandError(f"record {before + len(records) + 1}: {error}") from None
    return records


async def _send(producer: Producer, target: Target, records: Sequence[InputRecord], *, json: bool) -> int:
    sent = [await _send_one(producer, target, record) for record in records]
    await producer.flush()
    if json:
        write("".join(json_line(_told(each)) for each in sent))
        flush()
    return len(sent)


async def _send_one(producer: Producer, target: Target, record: InputRecord) -> SentRecord:
    key = target.key if record.key is None else record.key
    return await producer.send(
        record.topic or target.topic,
        None if target.empty_is_null and not record.value else record.value,
        key=None if target.empty_is_null and not key else key,
        headers=(*record.headers, *target.headers),
        timestamp=record.timestamp,
        partition=record.partition if target.partition is None else target.partition,
    )


def _told(sent: SentRecord) -> dict[str, object]:
    return {
        "topic": sent.tp.topic,
        "partition": sent.tp.partition,
        "offset": sent.offset,
        "timestamp": sent.record.timestamp,
    }
