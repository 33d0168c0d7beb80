"""The words of `pykbroker produce`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pykbroker.cli.options import Cluster, Json, Topic, examples, new_app, of_cluster

app = new_app()

FORMAT_HELP = (
    "How records are read: %k, %v, %h, %t, %p, %T and literals between them, as consume --format prints them, or sizes "
    "before them (%K{big32}%k). The last literal ends a record; \\n if there is none. All of it is in docs/CLI.md."
)


def _complete_codecs(incomplete: str) -> list[str]:
    return [name for name in ("none", "gzip", "snappy", "lz4", "zstd") if name.startswith(incomplete)]


@app.command(
    epilog=examples(
        "produce orders < lines.txt",
        "produce orders --key-separator : lines.txt",
        "produce orders --key k --header source=test --value hello",
        "produce orders -f '%k %v{hex}\\n' -z zstd lines.txt",
        "produce orders --json-lines records.json",
    )
)
@of_cluster
def produce(
    topic: Topic,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Default: stdin.", show_default=False)] = None,
    *,
    cluster: Cluster,
    value: Annotated[str | None, typer.Option("--value", "-v", help="Write this record, and read nothing.")] = None,
    key: Annotated[str | None, typer.Option("--key", "-k", help="Key of records that bring none.")] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME=VALUE", help="Of all records; repeatable.")
    ] = None,
    partition: Annotated[int | None, typer.Option("--partition", "-p", help="Default: by key.", min=0)] = None,
    key_separator: Annotated[
        str | None, typer.Option("--key-separator", "-K", metavar="TEXT", help="Ends the key in each line.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", "-D", metavar="TEXT", help="Ends a record. Default: \\n.")
    ] = None,
    format_: Annotated[str | None, typer.Option("--format", "-f", help=FORMAT_HELP)] = None,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Lines are records as consume --json prints.")
    ] = False,
    null: Annotated[bool, typer.Option("--null", "-Z", help="An empty key or value is null: a tombstone.")] = False,
    compression: Annotated[
        str, typer.Option("--compression", "-z", metavar="CODEC", autocompletion=_complete_codecs)
    ] = "none",
    acks: Annotated[str, typer.Option("--acks", metavar="all|1|0", help="Who has to have a record.")] = "all",
    idempotent: Annotated[
        bool | None,
        typer.Option(
            "--idempotent/--no-idempotent",
            help="Never twice, also where answers are lost. Default: where --acks is all.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write records from stdin or a file into a topic."""
    from pykbroker.cli.actions import produce

    lines = key_separator is not None or delimiter is not None
    if [value is not None, lines, format_ is not None, json_lines].count(True) > 1:
        raise typer.BadParameter(
            "--value, --key-separator or --delimiter, --format and --json-lines exclude one another"
        )
    produce.produce(
        cluster,
        produce.Target(
            topic=topic,
            key=None if key is None else os.fsencode(key),
            headers=produce.parse_headers(header or ()),
            partition=partition,
            empty_is_null=null,
            compression=compression,
            acks=acks,
            is_idempotent=acks in ("all", "-1") if idempotent is None else idempotent,
        ),
        produce.Source(
            file=file,
            value=value,
            key_separator=key_separator,
            delimiter=delimiter,
            format=format_,
            json_lines=json_lines,
        ),
        json=json,
    )
