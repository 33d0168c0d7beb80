"""What `pykbroker groups` does."""

import time
from collections.abc import Iterable, Mapping, Sequence

import attrs
import typer

from pykbroker.cli.actions.known_offsets import known_offsets
from pykbroker.cli.options import Cluster
from pykbroker.cli.output import print_json, print_table, say
from pykbroker.cli.positions import END, START, From, Position, PositionError, offset_at, parse_time
from pykbroker.cli.running import CommandError, report_failures, run
from pykbroker.client import Client, groups
from pykbroker.client import offsets as client_offsets
from pykbroker.client.client import check
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode

Offsets = dict[TopicPartition, int]


def list_groups(cluster: Cluster, *, json: bool) -> None:
    listed = run(cluster, groups.list_groups)
    if json:
        print_json([attrs.asdict(group) for group in listed])
        return
    rows = [[group.id, group.state or "-", group.type or "-", group.coordinator] for group in listed]
    print_table(["GROUP", "STATE", "TYPE", "COORDINATOR"], rows)


# Describing


@attrs.frozen
class Progress:
    """How far a group is in one partition; None: nothing is committed, or nobody reads it."""

    tp: TopicPartition
    committed: int | None
    start: int | None
    end: int | None
    member: groups.GroupMember | None

    @property
    def lag(self) -> int | None:
        """What is still to be read; records that are gone already are not."""
        if self.committed is None or self.end is None:
            return None
        return max(self.end - max(self.committed, self.start or 0), 0)


def describe(cluster: Cluster, names: Sequence[str], *, json: bool) -> None:
    async def work(client: Client) -> list[tuple[groups.Group, list[Progress]]]:
        return [await _described(client, name) for name in dict.fromkeys(names)]

    described = run(cluster, work)
    if json:
        print_json([_group_json(group, lines) for group, lines in described])
        return
    for number, (group, lines) in enumerate(described):
        if number:
            say("")
        lag = sum(line.lag or 0 for line in lines)
        assignor = f"  assignor {group.assignor}" if group.assignor else ""
        say(f"{group.id}  {group.state}  {group.type}{assignor}  members {len(group.members)}  lag {lag}")
        print_table(
            ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "CLIENT", "HOST"],
            [
                [
                    *line.tp,
                    *("-" if value is None else value for value in (line.committed, line.end, line.lag)),
                    *((line.member.id, line.member.client_id, line.member.host) if line.member else ("-", "-", "-")),
                ]
                for line in lines
            ]
            + [
                ["-"] * 5 + [member.id, member.client_id, member.host]
                for member in group.members
                if not member.partitions
            ],
        )


async def _described(client: Client, name: str) -> tuple[groups.Group, list[Progress]]:
    try:
        group = await groups.describe_group(client, name)
    except KafkaError as error:
        raise KafkaError(error.code, error.message or f"group {name}") from None
    committed = await _committed(client, group)
    readers = {tp: member for member in group.members for tp in member.partitions}
    partitions = sorted({*committed, *readers})
    present = await _present(client, partitions)
    starts, ends = await known_offsets(client, present)
    lines = [Progress(tp, committed.get(tp), starts.get(tp), ends.get(tp), readers.get(tp)) for tp in partitions]
    return group, lines


async def _committed(client: Client, group: groups.Group) -> Offsets:
    """Of a share group: where it begins to hand out records."""
    if group.type == groups.SHARE:
        return await groups.share_offsets(client, group.id)
    return {tp: each.offset for tp, each in (await groups.committed_offsets(client, group.id)).items()}


async def _present(client: Client, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
    """Leave out partitions of topics that are gone, and those that nobody leads."""
    partitions = list(partitions)
    if not partitions:
        return []
    metadata = await client.metadata({tp.topic for tp in partitions})
    led = {
        TopicPartition(topic.name, each.index)
        for topic in metadata.topics.values()
        for each in topic.partitions
        if each.leader >= 0
    }
    return [tp for tp in partitions if tp in led]


def _group_json(group: groups.Group, lines: Sequence[Progress]) -> dict[str, object]:
    return {
        "group": group.id,
        "state": group.state,
        "type": group.type,
        "assignor": group.assignor,
        "lag": sum(line.lag or 0 for line in lines),
        "members": [
            {
                "member_id": member.id,
                "instance_id": member.instance_id,
                "client_id": member.client_id,
                "host": member.host,
                "partitions": [tp._asdict() for tp in member.partitions],
            }
            for member in group.members
        ],
        "partitions": [
            {
                **line.tp._asdict(),
                "committed_offset": line.committed,
                "log_end_offset": line.end,
                "lag": line.lag,
                "member_id": line.member and line.member.id,
            }
            for line in lines
        ],
    }


def delete(cluster: Cluster, names: Sequence[str], *, json: bool) -> None:
    outcomes = run(cluster, lambda client: groups.delete_groups(client, dict.fromkeys(names)))
    if json:
        print_json([{"group": name, "error": error and error.code.name} for name, error in outcomes.items()])
    else:
        for name, error in outcomes.items():
            if error is None:
                say(f"{name}: deleted")
    report_failures(outcomes)


# Offsets


@attrs.frozen
class Target:
    """Where to: a position, or so many records from what is committed."""

    position: Position | None
    shift: int = 0


def target_of(way: str, value: object) -> Target:
    """Raises: typer.BadParameter."""
    match way, value:
        case "earliest", _:
            return Target(START)
        case "latest", _:
            return Target(END)
        case "offset", int(offset):
            return Target(Position(From.ZERO, offset))
        case "shift", int(shift):
            return Target(None, shift)
        case "datetime", str(text):
            try:
                return Target(Position(From.TIME, parse_time(text, int(time.time() * 1000))))
            except PositionError as error:
                raise typer.BadParameter(str(error), param_hint="--to-datetime") from None
    raise AssertionError(way)


def reset(cluster: Cluster, name: str, topics: Sequence[str], target: Target, *, dry_run: bool, json: bool) -> None:
    async def work(client: Client) -> tuple[Offsets, Offsets]:
        await _check_empty(client, name)
        committed = {tp: each.offset for tp, each in (await groups.committed_offsets(client, name)).items()}
        partitions = await _chosen(client, topics) if topics else await _present(client, committed)
        if not partitions:
            raise CommandError(f"{name} has committed nothing: say which --topic")
        offsets = await _offsets(client, partitions, target, committed)
        if not dry_run:
            await groups.commit_offsets(client, name, {tp: groups.CommittedOffset(to) for tp, to in offsets.items()})
        return committed, offsets

    committed, offsets = run(cluster, work)
    if json:
        print_json([{**tp._asdict(), "from": committed.get(tp), "to": to} for tp, to in sorted(offsets.items())])
        return
    print_table(
        ["TOPIC", "PARTITION", "FROM", "TO"],
        [[*tp, committed.get(tp, "-"), to] for tp, to in sorted(offsets.items())],
    )
    if dry_run:
        say("nothing was committed: --dry-run")


async def _check_empty(client: Client, name: str) -> None:
    """A group that is not there yet is empty. Raises: CommandError, KafkaError."""
    try:
        group = await groups.describe_group(client, name)
    except KafkaError as error:
        if error.code is not ErrorCode.GROUP_ID_NOT_FOUND:
            raise
        return
    if not group.is_empty:
        raise CommandError(f"{name} has {len(group.members)} members ({group.state}): stop them first")


async def _offsets(
    client: Client, partitions: Sequence[TopicPartition], target: Target, committed: Mapping[TopicPartition, int]
) -> Offsets:
    """Return what to commit. Raises: CommandError, KafkaError."""
    starts = await client_offsets.beginnings(client, partitions)
    ends = await client_offsets.ends(client, partitions)
    position = target.position
    if position is None:
        missing = [tp for tp in partitions if tp not in committed]
        if missing:
            raise CommandError(f"{missing[0]} has no committed offset to shift")
        return {tp: min(max(committed[tp] + target.shift, starts[tp]), ends[tp]) for tp in partitions}
    at_time: Mapping[TopicPartition, int] = {}
    if position.anchor is From.TIME:
        at_time = await client_offsets.list_offsets(client, dict.fromkeys(partitions, position.number))
    return {tp: offset_at(position, starts[tp], ends[tp], at_time.get(tp)) for tp in partitions}


async def _chosen(client: Client, topics: Sequence[str]) -> list[TopicPartition]:
    """Read TOPIC or TOPIC:0,1, several times. Raises: CommandError, KafkaError."""
    chosen = []
    for text in topics:
        name, separator, indexes = text.partition(":")
        metadata = await client.metadata([name])
        check(metadata.topics[name].error, f"there is no topic {name}")
        known = [each.index for each in metadata.topics[name].partitions]
        wanted = indexes.split(",") if separator else [str(index) for index in known]
        for index in wanted:
            if not index.isdecimal() or int(index) not in known:
                raise CommandError(f"{name} has no partition {index}")
            chosen.append(TopicPartition(name, int(index)))
    return chosen


def delete_offsets(cluster: Cluster, name: str, topics: Sequence[str], *, json: bool) -> None:
    async def work(client: Client) -> dict[TopicPartition, KafkaError | None]:
        partitions = await _chosen(client, topics) if topics else list(await groups.committed_offsets(client, name))
        return await groups.delete_offsets(client, name, partitions)

    outcomes = dict(sorted(run(cluster, work).items()))
    if json:
        print_json([{**tp._asdict(), "error": error and error.code.name} for tp, error in outcomes.items()])
    else:
        for tp, error in outcomes.items():
            if error is None:
                say(f"{tp}: forgotten")
    report_failures({str(tp): error for tp, error in outcomes.items()})
