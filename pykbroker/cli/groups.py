"""The words of `pykbroker groups`."""

from typing import Annotated

import typer

from pykbroker.cli.options import (
    Cluster,
    Group,
    Groups,
    Json,
    complete_topics,
    examples,
    new_app,
    of_cluster,
)

app = new_app("List, describe and delete groups; reset their offsets.")

OfTopics = Annotated[
    list[str] | None,
    typer.Option(
        "--topic",
        "-t",
        metavar="TOPIC[:PARTITION,...]",
        help="Only this one; repeatable. Default: what the group has committed.",
        autocompletion=complete_topics,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be committed.")]


@app.command("list", epilog=examples("groups list", "groups list --json"))
@of_cluster
def list_(*, cluster: Cluster, json: Json = False) -> None:
    """List groups."""
    from pykbroker.cli.actions import groups

    groups.list_groups(cluster, json=json)


@app.command(epilog=examples("groups describe billing", "groups describe billing audit --json"))
@of_cluster
def describe(names: Groups, *, cluster: Cluster, json: Json = False) -> None:
    """Show members, committed offsets and lag."""
    from pykbroker.cli.actions import groups

    groups.describe(cluster, names, json=json)


@app.command(epilog=examples("groups delete billing"))
@of_cluster
def delete(names: Groups, *, cluster: Cluster, json: Json = False) -> None:
    """Delete groups without members, with their offsets."""
    from pykbroker.cli.actions import groups

    groups.delete(cluster, names, json=json)


@app.command(
    epilog=examples(
        "groups reset billing --to-earliest --dry-run",
        "groups reset billing --topic orders:0,1 --to-offset 1000",
        "groups reset billing --to-datetime 2026-11-26T09:30:00Z",
        "groups reset billing --to-datetime=-2h",
        "groups reset billing --topic orders --shift-by=-100",
    )
)
@of_cluster
def reset(
    name: Group,
    *,
    cluster: Cluster,
    topic: OfTopics = None,
    to_earliest: Annotated[bool, typer.Option("--to-earliest", help="The beginning of each partition.")] = False,
    to_latest: Annotated[bool, typer.Option("--to-latest", help="The end of each partition.")] = False,
    to_offset: Annotated[int | None, typer.Option("--to-offset", help="This offset.", min=0)] = None,
    to_datetime: Annotated[
        str | None,
        typer.Option(
            "--to-datetime", metavar="TIME", help="The first record of that time or later; -2h: two hours ago."
        ),
    ] = None,
    shift_by: Annotated[int | None, typer.Option("--shift-by", help="So many records on, or back.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Commit other offsets for a group without members."""
    from pykbroker.cli.actions import groups

    ways = {
        "earliest": to_earliest or None,
        "latest": to_latest or None,
        "offset": to_offset,
        "datetime": to_datetime,
        "shift": shift_by,
    }
    chosen = {way: value for way, value in ways.items() if value is not None}
    if len(chosen) != 1:
        raise typer.BadParameter("give one of --to-earliest, --to-latest, --to-offset, --to-datetime, --shift-by")
    ((way, value),) = chosen.items()
    groups.reset(cluster, name, topic or (), groups.target_of(way, value), dry_run=dry_run, json=json)


@app.command("delete-offsets", epilog=examples("groups delete-offsets billing --topic orders"))
@of_cluster
def delete_offsets(name: Group, *, cluster: Cluster, topic: OfTopics = None, json: Json = False) -> None:
    """Forget what a group has committed."""
    from pykbroker.cli.actions import groups

    groups.delete_offsets(cluster, name, topic or (), json=json)
