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
    share_group_state_decoder: Annotated[
        bool, typer.Option("--share-group-state-decoder", help="They are those of __share_group_state.")
    ] = False,
    cluster_metadata_decoder: Annotated[
        bool,
        typer.Option("--cluster-metadata-decoder", help="They are those of __cluster_metadata; secrets are hidden."),
    ] = False,
    json: Json = False,
) -> None:
    """Print segments, indexes, snapshots and checkpoints.

    The broker may run or not. What is damaged is said on stderr, and the exit status is 1.
    """
    from pykbroker.cli.actions import log
    from wire.study.contents import CLUSTER_METADATA, CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE

    decoders = {
        CONSUMER_OFFSETS: offsets_decoder,
        TRANSACTION_STATE: transaction_log_decoder,
        SHARE_GROUP_STATE: share_group_state_decoder,
        CLUSTER_METADATA: cluster_metadata_decoder,
    }
    topics = [topic for topic, is_chosen in decoders.items() if is_chosen]
    if len(topics) > 1:
        raise typer.BadParameter("the options that say what the records are exclude each other")
    log.dump(paths, records=records or bool(topics), topic="".join(topics), json=json)
