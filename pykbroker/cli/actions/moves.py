"""What `pykbroker topics move`, `moves` and `elect` do."""

from collections.abc import Mapping, Sequence

from pykbroker.cli.actions.moving import begin, bytes_left, follow, replicas_of
from pykbroker.cli.options import Cluster
from pykbroker.cli.output import complain, ids, print_json, print_table, say
from pykbroker.cli.running import CommandError, report_failures, run
from pykbroker.client import Client
from pykbroker.client.client import check
from pykbroker.client.reassignments import (
    Outcomes,
    Reassignment,
    alter_reassignments,
    elect_preferred_leaders,
    list_reassignments,
)
from pykbroker.client.throttles import unthrottle
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode

Moves = dict[TopicPartition, Reassignment]
THROTTLE_STAYS = "the throttle stays until the same words without --no-wait have seen the end of it"


def move(
    cluster: Cluster,
    names: Sequence[str],
    *,
    partitions: Sequence[int],
    to: Sequence[int],
    throttle: int | None,
    wait: bool,
    json: bool,
) -> None:
    planned: dict[TopicPartition, list[int]] = {}

    async def work(client: Client) -> Outcomes:
        tps = await _chosen(client, names, partitions)
        for number, tp in enumerate(tps):
            turn = 0 if partitions else number % len(to)
            planned[tp] = [*to[turn:], *to[:turn]]
        under_way = {tp: each for tp, each in (await list_reassignments(client)).items() if tp.topic in names}
        before = replicas_of(await client.metadata(names)) | {tp: each.sources for tp, each in under_way.items()}
        outcomes = await begin(client, planned, before, under_way, throttle_rate=throttle, may_change_factor=True)
        begun = {tp: planned[tp] for tp, error in outcomes.items() if error is None}
        if wait:
            outcomes |= await follow(client, begun)
        if wait or not begun:
            await unthrottle(client, names, certain=() if throttle is None else names)
        elif throttle is not None:
            complain(THROTTLE_STAYS)
        return outcomes

    outcomes = run(cluster, work)
    done = "moved to" if wait else "moves to"
    _print_outcomes(outcomes, {tp: f"{done} {ids(new)}" for tp, new in planned.items()}, json=json)


async def _chosen(client: Client, names: Sequence[str], partitions: Sequence[int]) -> list[TopicPartition]:
    """Return these partitions of the topics, or all of them. Raises: KafkaError, CommandError."""
    metadata = await client.metadata(names)
    chosen = []
    for name in dict.fromkeys(names):
        topic = metadata.topics[name]
        check(topic.error, f"there is no topic {name}")
        count = len(topic.partitions)
        if partitions and max(partitions) >= count:
            raise CommandError(f"{name} has no partition {max(partitions)}")
        chosen += [TopicPartition(name, index) for index in partitions or range(count)]
    return chosen


def cancel(cluster: Cluster, names: Sequence[str], *, partitions: Sequence[int], json: bool) -> None:
    async def work(client: Client) -> Outcomes:
        chosen = None if not names else await _chosen(client, names, partitions)
        outcomes = await alter_reassignments(client, dict.fromkeys(await list_reassignments(client, chosen)))
        await unthrottle(client, names or (await client.metadata()).topics)
        return {tp: None if error and error.code is _HAS_ENDED else error for tp, error in outcomes.items()}

    outcomes = run(cluster, work)
    if not outcomes and not json:
        say("nothing moves")
    _print_outcomes(outcomes, dict.fromkeys(outcomes, "goes back"), json=json)


_HAS_ENDED = ErrorCode.NO_REASSIGNMENT_IN_PROGRESS


def list_moves(cluster: Cluster, names: Sequence[str], *, json: bool) -> None:
    async def work(client: Client) -> tuple[Moves, dict[TopicPartition, int]]:
        chosen = None if not names else await _chosen(client, names, ())
        moves = await list_reassignments(client, chosen)
        return moves, await bytes_left(client, moves)

    moves, left = run(cluster, work)
    if json:
        print_json(
            [
                {
                    "topic": tp.topic,
                    "partition": tp.partition,
                    "replicas": list(each.wanted),
                    "adding_replicas": list(each.adding),
                    "removing_replicas": list(each.removing),
                    "bytes_left": left.get(tp),
                }
                for tp, each in sorted(moves.items())
            ]
        )
        return
    rows = [
        [*tp, ids(each.wanted), ids(each.adding) or "-", ids(each.removing) or "-", left.get(tp, "-")]
        for tp, each in sorted(moves.items())
    ]
    print_table(["TOPIC", "PARTITION", "REPLICAS", "ADDING", "REMOVING", "BYTES LEFT"], rows)


def elect(cluster: Cluster, names: Sequence[str], *, partitions: Sequence[int], json: bool) -> None:
    async def work(client: Client) -> Outcomes:
        return await elect_preferred_leaders(client, await _chosen(client, names, partitions) if names else None)

    outcomes = run(cluster, work)
    if not outcomes and not json:
        say("all of them are led by their preferred leaders")
    _print_outcomes(outcomes, dict.fromkeys(outcomes, "elected"), json=json)


def _print_outcomes(outcomes: Outcomes, done: Mapping[TopicPartition, str], *, json: bool) -> None:
    """Say what became of each partition. Raises: typer.Exit where something failed."""
    told = sorted(outcomes.items(), key=lambda item: item[0])
    if json:
        print_json(
            [{"topic": tp.topic, "partition": tp.partition, "error": error and error.code.name} for tp, error in told]
        )
    else:
        for tp, error in told:
            if error is None:
                say(f"{tp}: {done[tp]}")
    report_failures({str(tp): error for tp, error in told})
