"""The words of `pykbroker consume`."""

from typing import Annotated

import typer

from pykbroker.cli.options import Cluster, Json, Topics, complete_groups, examples, new_app, of_cluster

app = new_app()

FORMAT_HELP = (
    "Print each record so, in the language of kcat and rpk: %t topic, %p partition, %o offset, %k key, %v or %s value, "
    "%h headers, %T or %d timestamp, %K and %S sizes; modifiers as %v{hex}, %v{unpack[>iq]} and %d{strftime[%F %T]}; "
    "\\n, \\t, \\x00. "
    "All of it is in docs/CLI.md."
)
OFFSET_HELP = (
    "Where to begin: start, end, an offset, -N before the end, +N behind the start, @TIME; FROM:TO also says where to "
    "stop. A time is 2026-11-26T09:30:00Z, seconds or milliseconds, or -2h; behind another time, 1h is so much later. "
    "Default: start."
)


@app.command(
    epilog=examples(
        "consume orders",
        "consume orders -o end",
        "consume orders -o -10 --exit",
        "consume orders -o @-2h:-1h --json",
        "consume orders -s key=i -s value='<hB s'",
        "consume orders -p 0 -o 1000:2000 -f '%t/%p/%o %k %v\\n'",
        "consume orders payments --group billing",
    )
)
@of_cluster
def consume(
    topics: Topics,
    *,
    cluster: Cluster,
    offset: Annotated[list[str] | None, typer.Option("--offset", "-o", metavar="POSITION", help=OFFSET_HELP)] = None,
    partition: Annotated[list[int] | None, typer.Option("--partition", "-p", help="Repeatable; default: all.")] = None,
    number: Annotated[int | None, typer.Option("--number", "-n", help="Stop after so many records.", min=1)] = None,
    at_end: Annotated[bool, typer.Option("--exit", "-e", help="Stop at the end as it is now.")] = False,
    format_: Annotated[str | None, typer.Option("--format", "-f", help=FORMAT_HELP)] = None,
    delimiter: Annotated[
        str, typer.Option("--delimiter", "-D", metavar="TEXT", help="Without a format: ends a record.")
    ] = "\\n",
    key_separator: Annotated[
        str | None,
        typer.Option("--key-separator", "-K", metavar="TEXT", help="Without a format: keys, and what ends them."),
    ] = None,
    unpack: Annotated[
        list[str] | None,
        typer.Option(
            "--unpack",
            "-s",
            metavar="[key=|value=]LAYOUT",
            help="Keys and values are numbers: bBhHiIqQ and <>cs$, as kcat's -s.",
        ),
    ] = None,
    null: Annotated[bool, typer.Option("--null", "-Z", help="Print NULL for a key or value that is null.")] = False,
    group: Annotated[
        str | None,
        typer.Option("--group", "-g", help="Be a member of this group, and commit.", autocompletion=complete_groups),
    ] = None,
    read_committed: Annotated[
        bool, typer.Option("--read-committed", help="No records of transactions that are open or aborted.")
    ] = False,
    json: Json = False,
) -> None:
    """Read records from topics and print them."""
    from pykbroker.cli.actions import consume

    if json and unpack:
        raise typer.BadParameter("--unpack is for text: no --json")
    if group is not None and (partition or at_end):
        raise typer.BadParameter("the group decides where to read: no --partition and no --exit")
    consume.consume(
        cluster,
        consume.Wanted(
            topics=topics,
            partitions=partition or (),
            offsets=offset or (),
            number=number,
            at_end=at_end,
            group=group,
            read_committed=read_committed,
        ),
        None if json else consume.Format(format_, delimiter, key_separator, tuple(unpack or ()), names_null=null),
    )
