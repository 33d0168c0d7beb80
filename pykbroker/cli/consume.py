"""The words of `pykbroker consume`."""

from typing import Annotated

import typer

from pykbroker.cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Json, Topics, complete_groups, examples, new_app

app = new_app()

FORMAT_HELP = (
    "Print each record so, in the language of kcat and rpk: %t topic, %p partition, %o offset, %k key, %v or %s value, "
    "%h headers, %T or %d timestamp, %K and %S sizes; modifiers as %v{hex} and %d{strftime[%F %T]}; \\n, \\t, \\x00. "
    "All of it is in docs/CLI.md."
)
OFFSET_HELP = (
    "Where to begin: start, end, an offset, -N before the end, +N behind the start, @TIME; FROM:TO also says where to "
    "stop. A time is 2026-11-26T09:30:00Z, seconds or milliseconds, or -2h."
)


@app.command(
    epilog=examples(
        "consume orders",
        "consume orders -o end",
        "consume orders -o -10 --exit",
        "consume orders -o @-2h:@-1h --json",
        "consume orders -p 0 -o 1000:2000 -f '%t/%p/%o %k %v\\n'",
        "consume orders payments --group billing",
    )
)
def consume(
    topics: Topics,
    *,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    offset: Annotated[str, typer.Option("--offset", "-o", metavar="POSITION", help=OFFSET_HELP)] = "start",
    partition: Annotated[list[int] | None, typer.Option("--partition", "-p", help="Repeatable; default: all.")] = None,
    number: Annotated[int | None, typer.Option("--number", "-n", help="Stop after so many records.", min=1)] = None,
    at_end: Annotated[bool, typer.Option("--exit", "-e", help="Stop at the end as it is now.")] = False,
    format_: Annotated[str, typer.Option("--format", "-f", help=FORMAT_HELP, show_default=False)] = "%v\\n",
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

    if group is not None and (partition or ":" in offset or at_end):
        raise typer.BadParameter("the group decides where to read: no --partition, --exit or end of an --offset")
    consume.consume(
        bootstrap,
        consume.Wanted(
            topics=topics,
            partitions=partition or (),
            offset=offset,
            number=number,
            at_end=at_end,
            group=group,
            read_committed=read_committed,
        ),
        None if json else format_,
    )
