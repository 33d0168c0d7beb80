"""The words of `pykbroker configs`."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from pykbroker.cli.options import (
    Cluster,
    Json,
    complete_groups,
    complete_topics,
    examples,
    new_app,
    of_cluster,
    parse_pairs,
)

app = new_app("Show and change the configs of topics, brokers and groups.")


class Type(StrEnum):
    TOPIC = "topic"
    BROKER = "broker"
    GROUP = "group"
    BROKER_LOGGER = "broker-logger"
    CLIENT_METRICS = "client-metrics"


def _complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    chosen = ctx.params.get("type_")
    if chosen == Type.TOPIC:
        return complete_topics(ctx, incomplete)
    return complete_groups(ctx, incomplete) if chosen == Type.GROUP else []


OfType = Annotated[Type, typer.Argument(metavar="TYPE", help="topic, broker, group, broker-logger or client-metrics.")]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Of a broker: its id, or `default` for all of them.", autocompletion=_complete_name
    ),
]
Pairs = Annotated[list[str], typer.Argument(metavar="CONFIG=VALUE")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only ask whether it would work.")]


@app.command(
    epilog=examples(
        "configs describe topic orders",
        "configs describe topic orders retention.ms --docs",
        "configs describe broker 1 --all --json",
    )
)
@of_cluster
def describe(
    type_: OfType,
    name: Name,
    keys: Annotated[list[str] | None, typer.Argument(metavar="CONFIG")] = None,
    *,
    cluster: Cluster,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Defaults and what a file says, too.")] = False,
    docs: Annotated[bool, typer.Option("--docs", help="With what they mean.")] = False,
    json: Json = False,
) -> None:
    """Show what is set, or these configs."""
    from pykbroker.cli.actions import configs

    configs.describe(cluster, configs.resource_of(type_, name), keys or (), everything=all_, docs=docs, json=json)


def _add_altering(operation: str, doc: str, *lines: str) -> None:
    """Add a command that takes CONFIG=VALUE pairs."""

    @app.command(operation, help=doc, epilog=examples(*lines))
    @of_cluster
    def alter(
        type_: OfType,
        name: Name,
        pairs: Pairs,
        *,
        cluster: Cluster,
        dry_run: DryRun = False,
        json: Json = False,
    ) -> None:
        _alter(operation, type_, name, parse_pairs(pairs, "CONFIG=VALUE"), cluster, dry_run=dry_run, json=json)


def _alter(
    operation: str, type_: Type, name: str, values: Mapping[str, str], cluster: Cluster, *, dry_run: bool, json: bool
) -> None:
    from pykbroker.cli.actions import configs

    changes = configs.changes_of(operation, values)
    configs.alter(cluster, configs.resource_of(type_, name), changes, dry_run=dry_run, json=json)


_add_altering(
    "set",
    "Set configs.",
    "configs set topic orders retention.ms=86400000 cleanup.policy=delete",
    "configs set broker default log.retention.ms=86400000",
)


@app.command(epilog=examples("configs delete topic orders retention.ms"))
@of_cluster
def delete(
    type_: OfType,
    name: Name,
    keys: Annotated[list[str], typer.Argument(metavar="CONFIG")],
    *,
    cluster: Cluster,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Let configs have their defaults again."""
    _alter("delete", type_, name, dict.fromkeys(keys, ""), cluster, dry_run=dry_run, json=json)


_add_altering("append", "Add values to configs that are lists.", "configs append topic orders cleanup.policy=compact")
_add_altering(
    "subtract", "Take values out of configs that are lists.", "configs subtract topic orders cleanup.policy=compact"
)
