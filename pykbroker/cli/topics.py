"""The words of `pykbroker topics`."""

from typing import Annotated

import typer

from pykbroker.cli.options import (
    Cluster,
    Json,
    OptionalTopics,
    Throttle,
    Topic,
    Topics,
    Wait,
    complete_brokers,
    examples,
    new_app,
    of_cluster,
    parse_pairs,
)

app = new_app("List, describe, create, alter, delete and move topics.")

Partitions = Annotated[list[int] | None, typer.Option("--partition", "-p", help="Repeatable; default: all.", min=0)]
Configs = Annotated[list[str] | None, typer.Option("--config", "-c", metavar="NAME=VALUE", help="Repeatable.")]


@app.command(
    "list", epilog=examples("topics list", "topics list --internal --json", "topics list -b kafka1:9092,kafka2:9092")
)
@of_cluster
def list_(
    *,
    cluster: Cluster,
    internal: Annotated[bool, typer.Option("--internal", "-i", help="Those of Kafka itself, too.")] = False,
    json: Json = False,
) -> None:
    """List topics."""
    from pykbroker.cli.actions import topics

    topics.list_topics(cluster, internal=internal, json=json)


@app.command(epilog=examples("topics describe orders", "topics describe orders payments --json"))
@of_cluster
def describe(names: Topics, *, cluster: Cluster, json: Json = False) -> None:
    """Show partitions, offsets and configs."""
    from pykbroker.cli.actions import topics

    topics.describe(cluster, names, json=json)


@app.command(
    epilog=examples(
        "topics create orders",
        "topics create orders payments --partitions 12 --replicas 3",
        "topics create latest --config cleanup.policy=compact --if-not-exists",
    )
)
@of_cluster
def create(
    names: Annotated[list[str], typer.Argument(metavar="TOPIC")],
    *,
    cluster: Cluster,
    partitions: Annotated[int, typer.Option("--partitions", "-p", help="-1: the broker's default.", min=-1)] = -1,
    replicas: Annotated[
        int,
        typer.Option(
            "--replicas", "--replication-factor", "-r", help="Of each partition; -1: the broker's default.", min=-1
        ),
    ] = -1,
    config: Configs = None,
    if_not_exists: Annotated[bool, typer.Option("--if-not-exists", help="One that is there is no error.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only ask whether it would work.")] = False,
    json: Json = False,
) -> None:
    """Create topics."""
    from pykbroker.cli.actions import topics
    from pykbroker.client.topics import NewTopic

    pairs = parse_pairs(config or (), "--config")
    wanted = [NewTopic(name, partitions, replicas, pairs) for name in dict.fromkeys(names)]
    topics.create(cluster, wanted, if_not_exists=if_not_exists, dry_run=dry_run, json=json)


@app.command(epilog=examples("topics delete orders", "topics delete orders payments"))
@of_cluster
def delete(
    names: Topics,
    *,
    cluster: Cluster,
    if_exists: Annotated[bool, typer.Option("--if-exists", help="One that is not there is no error.")] = False,
    json: Json = False,
) -> None:
    """Delete topics with all that is in them."""
    from pykbroker.cli.actions import topics

    topics.delete(cluster, names, if_exists=if_exists, json=json)


@app.command(
    epilog=examples(
        "topics alter orders --partitions 24",
        "topics alter orders --config retention.ms=86400000 --delete-config segment.bytes",
    )
)
@of_cluster
def alter(
    name: Topic,
    *,
    cluster: Cluster,
    partitions: Annotated[int | None, typer.Option("--partitions", "-p", help="How many in all.", min=1)] = None,
    config: Configs = None,
    delete_config: Annotated[
        list[str] | None, typer.Option("--delete-config", metavar="NAME", help="Back to the default; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Give a topic more partitions, or other configs."""
    from pykbroker.cli.actions import topics

    pairs = parse_pairs(config or (), "--config")
    if partitions is None and not pairs and not delete_config:
        raise typer.BadParameter("nothing to alter: give --partitions, --config or --delete-config")
    topics.alter(
        cluster, name, partitions=partitions, set_configs=pairs, deleted_configs=delete_config or (), json=json
    )


@app.command(
    "delete-records",
    epilog=examples("topics delete-records orders", "topics delete-records orders --partition 0 --before 1000"),
)
@of_cluster
def delete_records(
    name: Topic,
    *,
    cluster: Cluster,
    partition: Partitions = None,
    before: Annotated[int, typer.Option("--before", help="The first offset to keep; -1: keep none.", min=-1)] = -1,
    json: Json = False,
) -> None:
    """Delete the oldest records of a topic, or all."""
    from pykbroker.cli.actions import topics

    topics.delete_records(cluster, name, partitions=partition or (), before=before, json=json)


@app.command(
    epilog=examples(
        "topics move orders --to 1,2,3",
        "topics move orders -p 0 -p 1 --to 2,3,4 --throttle 10000000",
        "topics move orders --cancel",
    )
)
@of_cluster
def move(
    names: OptionalTopics = None,
    *,
    cluster: Cluster,
    partition: Partitions = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="ID,ID,...",
            help="Who is to have the replicas. Of partitions that -p names the first of them is the preferred leader; "
            "those of a whole topic take turns.",
            autocompletion=complete_brokers,
        ),
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Let what moves go back; without TOPIC: of all topics.")
    ] = False,
    throttle: Throttle = None,
    wait: Wait = True,
    json: Json = False,
) -> None:
    """Move replicas of a topic to other brokers.

    Ctrl-C ends the command, not the moves: the same words follow them again. A throttle stays until then; it is taken
    away when the command has seen the end of the moves, and by --cancel.
    """
    from pykbroker.cli.actions import moves

    if cancel == (to is not None):
        raise typer.BadParameter("give either --to or --cancel")
    if partition and len(names or ()) != 1:
        raise typer.BadParameter("-p is about one topic")
    if to is None:
        moves.cancel(cluster, names or (), partitions=partition or (), json=json)
        return
    if not names:
        raise typer.BadParameter("which topic?")
    moves.move(cluster, names, partitions=partition or (), to=_broker_ids(to), throttle=throttle, wait=wait, json=json)


def _broker_ids(text: str) -> list[int]:
    ids = [each.strip() for each in text.split(",")]
    if not all(each.isdecimal() for each in ids) or len(set(ids)) < len(ids):
        raise typer.BadParameter(f"{text!r} is no list of different brokers, such as 1,2,3", param_hint="--to")
    return [int(each) for each in ids]


@app.command(epilog=examples("topics moves", "topics moves orders --json"))
@of_cluster
def moves(names: OptionalTopics = None, *, cluster: Cluster, json: Json = False) -> None:
    """Show which replicas are moving."""
    from pykbroker.cli.actions import moves

    moves.list_moves(cluster, names or (), json=json)


@app.command(epilog=examples("topics elect", "topics elect orders -p 0"))
@of_cluster
def elect(names: OptionalTopics = None, *, cluster: Cluster, partition: Partitions = None, json: Json = False) -> None:
    """Let the preferred replicas lead, of all topics or of these."""
    from pykbroker.cli.actions import moves

    if partition and len(names or ()) != 1:
        raise typer.BadParameter("-p is about one topic")
    moves.elect(cluster, names or (), partitions=partition or (), json=json)
