"""What `pykbroker consume` does: find out where to begin and to stop, then print."""

import time
from collections.abc import Callable, Mapping, Sequence

import attrs
import typer

from pykbroker.cli.format import Shown, compile_format
from pykbroker.cli.format_syntax import FormatError
from pykbroker.cli.options import Cluster
from pykbroker.cli.output import complain, flush, json_line, progress, record_json, write
from pykbroker.cli.positions import END, START, STORED, From, Position, PositionError, offset_at, parse_ranges
from pykbroker.cli.running import run
from pykbroker.client import Client
from pykbroker.client import offsets as client_offsets
from pykbroker.client.client import check
from pykbroker.client.consumer import Consumer
from pykbroker.client.fetched import ConsumedRecord
from pykbroker.client.member import GroupConsumer
from pykbroker.client.offsets import IsolationLevel
from pykbroker.client.settings import OffsetReset
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode


@attrs.frozen
class Format:
    """How records are printed as text."""

    text: str | None
    delimiter: str
    key_separator: str | None
    unpack: Sequence[str]
    names_null: bool

    def compile(self) -> "Printer":
        """Raises: FormatError."""
        text = self.text
        if text is None:
            text = ("" if self.key_separator is None else f"%k{self.key_separator}") + f"%v{self.delimiter}"
        return compile_format(text, Shown.of(self.unpack, names_null=self.names_null))


Printer = Callable[[ConsumedRecord, int], str | bytes]


@attrs.frozen
class Wanted:
    topics: Sequence[str]
    partitions: Sequence[int]  # empty: all
    offsets: Sequence[str]  # empty: from the start, or as auto.offset.reset says of a group
    number: int | None
    at_end: bool
    group: str | None
    read_committed: bool

    @property
    def isolation(self) -> IsolationLevel:
        return IsolationLevel.READ_COMMITTED if self.read_committed else IsolationLevel.READ_UNCOMMITTED


def consume(cluster: Cluster, wanted: Wanted, format_: Format | None) -> None:
    """Print records; as JSON, one a line, without a format."""
    printer = _printer(format_)
    try:
        begin, end = parse_ranges(wanted.offsets or ("start",), int(time.time() * 1000))
    except PositionError as error:
        raise typer.BadParameter(str(error), param_hint="--offset") from None
    if wanted.group is not None and (end is not None or begin not in (START, END, STORED)):
        raise typer.BadParameter("a group without offsets begins at start or end", param_hint="--offset")
    if wanted.group is None and begin == STORED:
        raise typer.BadParameter("what is stored is a group's: --group", param_hint="--offset")
    if end is None and wanted.at_end:
        end = END

    async def work(client: Client) -> None:
        if wanted.group is not None:
            await _as_member(client, wanted, begin, printer)
        else:
            await _alone(client, wanted, begin, end, printer)

    run(cluster, work)


def _printer(format_: Format | None) -> Printer:
    if format_ is None:
        return lambda record, number: json_line(record_json(record))
    try:
        return format_.compile()
    except FormatError as error:
        raise typer.BadParameter(str(error), param_hint="--format, --unpack") from None


async def _alone(client: Client, wanted: Wanted, begin: Position, end: Position | None, printer: Printer) -> None:
    partitions = await _partitions(client, wanted)
    starts = await client_offsets.beginnings(client, partitions)
    ends = await client_offsets.ends(client, partitions, wanted.isolation)
    first = await _resolve(client, begin, starts, ends)
    until = None if end is None else await _resolve(client, end, starts, ends)
    total = None if until is None else sum(max(until[tp] - first[tp], 0) for tp in partitions)
    number = 0
    with progress("consume", total if wanted.number is None else None, prints=True) as advance:
        grows = until is None and not wanted.partitions
        consumer = Consumer(
            client,
            first,
            until=until,
            isolation=wanted.isolation,
            grows=grows,
            auto_offset_reset=client.settings.auto_offset_reset or OffsetReset.NEAREST,
            on_notice=complain,
        )
        async with consumer:
            reached = sum(first.values())
            while (records := await consumer.poll()) is not None:
                number = _print(records, number, wanted.number, printer)
                # Offsets, not records: markers and what compaction removed are passed, too.
                before, reached = reached, sum(consumer.positions.values())
                advance(reached - before)
                if number == wanted.number:
                    return


async def _as_member(client: Client, wanted: Wanted, begin: Position, printer: Printer) -> None:
    reset = OffsetReset.LATEST if begin.anchor is From.END else OffsetReset.EARLIEST
    if (not wanted.offsets or begin == STORED) and client.settings.auto_offset_reset is not None:
        reset = client.settings.auto_offset_reset
    for name in wanted.topics:
        await client.topic(name)  # one that is not there is more likely a mistake than still to come
    number = 0
    async with GroupConsumer(
        client,
        wanted.group or "",
        wanted.topics,
        auto_offset_reset=reset,
        isolation=wanted.isolation,
        on_notice=complain,
    ) as member:
        while number != wanted.number:
            # What is not asked for stays with the group.
            records = await member.poll(None if wanted.number is None else wanted.number - number)
            number = _print(records, number, None, printer)


def _print(records: Sequence[ConsumedRecord], number: int, most: int | None, printer: Printer) -> int:
    """Print records, `most` in all; return how many were printed until now."""
    for record in records if most is None else records[: most - number]:
        write(printer(record, number))
        number += 1
    flush()
    return number


async def _partitions(client: Client, wanted: Wanted) -> list[TopicPartition]:
    partitions = []
    for name in dict.fromkeys(wanted.topics):
        topic = await client.topic(name)
        for index in wanted.partitions:
            if not 0 <= index < len(topic.partitions):
                check(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{name} has no partition {index}")
        partitions += [TopicPartition(name, index) for index in wanted.partitions or range(len(topic.partitions))]
    return partitions


async def _resolve(
    client: Client, position: Position, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Return the offset that a position means in each partition. Raises: KafkaError."""
    at_time: Mapping[TopicPartition, int] = {}
    if position.anchor is From.TIME:
        at_time = await client_offsets.list_offsets(client, dict.fromkeys(starts, position.number))
    return {tp: offset_at(position, start, ends[tp], at_time.get(tp)) for tp, start in starts.items()}
