"""The words of `pykbroker brokers`."""

from typing import Annotated

import typer

from pykbroker.cli.options import Broker, Cluster, Json, Throttle, Wait, examples, new_app, of_cluster

app = new_app("List brokers; take one out of service.")


@app.command("list", epilog=examples("brokers list", "brokers list --json"))
@of_cluster
def list_(*, cluster: Cluster, json: Json = False) -> None:
    """List brokers, and what is on them."""
    from pykbroker.cli.actions import brokers

    brokers.list_brokers(cluster, json=json)


@app.command(
    epilog=examples(
        "brokers decommission 3 --dry-run", "brokers decommission 3", "brokers decommission 3 --throttle 10000000"
    )
)
@of_cluster
def decommission(
    broker: Broker,
    *,
    cluster: Cluster,
    throttle: Throttle = None,
    wait: Wait = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be moved.")] = False,
    json: Json = False,
) -> None:
    """Move all replicas of a broker to the others.

    Each partition keeps its number of replicas, and racks as far apart as they can be. Ctrl-C ends the command, not
    the moves: the same words follow them again, and move what is left. A throttle stays until then; it is taken away
    when the command has seen the end of the moves, and by `topics move --cancel`.
    """
    from pykbroker.cli.actions import brokers

    brokers.decommission(cluster, broker, throttle=throttle, wait=wait, dry_run=dry_run, json=json)


@app.command(epilog=examples("brokers unregister 3"))
@of_cluster
def unregister(
    broker: Broker,
    *,
    cluster: Cluster,
    force: Annotated[bool, typer.Option("--force", help="Even if it has replicas: they stay away.")] = False,
    json: Json = False,
) -> None:
    """Let the cluster forget a broker that was stopped for good."""
    from pykbroker.cli.actions import brokers

    brokers.unregister(cluster, broker, force=force, json=json)
