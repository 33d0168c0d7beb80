"""The words of `pykbroker log`."""

from pathlib import Path
from typing import Annotated

import typer

from pykbroker.cli.options import Json, examples, new_app

app = new_app("Look into the files of a data folder.")


@app.callback()
def log() -> None:
    """Look into the files of a data folder."""


@app.command(
    epilog=examples(
        "log dump pykbroker-data/orders-0/00000000000000000000.log",
        "log dump pykbroker-data/orders-0 --records",
        "log dump pykbroker-data/__consumer_offsets-0 --records --json",
    )
)
def dump(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER")],
    *,
    records: Annotated[bool, typer.Option("--records", "-r", help="The records of each batch, too.")] = False,
    offsets_decoder: Annotated[
        bool,
        typer.Option("--offsets-decoder", help="They are those of __consumer_offsets, whatever the folder's name."),
    ] = False,
    transaction_log_decoder: Annotated[
        bool, typer.Option("--transaction-log-decoder", help="They are those of __transaction_state.")
    ] = False,
    json: Json = False,
) -> None:
    """Print segments, indexes, snapshots and checkpoints.

    The broker may run or not. What is damaged is said on stderr, and the exit status is 1.
    """
    from pykbroker.cli.actions import log
    from wire.study.contents import CONSUMER_OFFSETS, TRANSACTION_STATE

    if offsets_decoder and transaction_log_decoder:
        raise typer.BadParameter("--offsets-decoder and --transaction-log-decoder exclude each other")
    topic = CONSUMER_OFFSETS if offsets_decoder else TRANSACTION_STATE if transaction_log_decoder else ""
    log.dump(paths, records=records or bool(topic), topic=topic, json=json)
