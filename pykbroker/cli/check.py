"""The words of `pykbroker check`."""

import typer

from pykbroker.cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Json, examples, new_app

app = new_app()


@app.command(epilog=examples("check", "check -b kafka1:9092,kafka2:9092 --json", "check && echo healthy"))
def check(*, bootstrap: Bootstrap = DEFAULT_BOOTSTRAP, json: Json = False) -> None:
    """Tell whether a cluster is healthy, with the exit status.

    0: all brokers answer, there is a controller, and every partition has a leader and its replicas in sync. 1: not
    so; each line says what is wrong.
    """
    from pykbroker.cli.actions.check import check

    if not check(bootstrap, json=json):
        raise typer.Exit(1)
