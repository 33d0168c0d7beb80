"""The words of `pykbroker check`."""

import typer

from pykbroker.cli.options import Cluster, Json, examples, new_app, of_cluster

app = new_app()


@app.command(epilog=examples("check", "check -b kafka1:9092,kafka2:9092 --json", "check && echo healthy"))
@of_cluster
def check(*, cluster: Cluster, json: Json = False) -> None:
    """Tell whether a cluster is healthy, with the exit status.

    0: all brokers answer, there is a controller, and every partition has a leader and its replicas in sync. 1: not
    so; each line says what is wrong.
    """
    from pykbroker.cli.actions.check import check

    if not check(cluster, json=json):
        raise typer.Exit(1)
