"""The words of `pykbroker check`."""

from typing import Annotated

import typer

from pykbroker.cli.options import Cluster, Json, examples, new_app, of_cluster

app = new_app()


@app.command(epilog=examples("check", "check -b kafka1:9092,kafka2:9092 --json", "check --timeout 3 && echo healthy"))
@of_cluster
def check(
    *,
    cluster: Cluster,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For all of it.", min=0.001)] = 15,
    json: Json = False,
) -> None:
    """Tell whether a cluster is healthy, with the exit status.

    0: all brokers answer, there is a controller, and every partition has a leader and its replicas in sync. 1: not
    so; each line says what is wrong.
    """
    from pykbroker.cli.actions.check import check

    if not check(cluster, timeout_s=timeout, json=json):
        raise typer.Exit(1)
