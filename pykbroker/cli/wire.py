"""`pykbroker wire`: everything behind it is for the study of the protocol, a program of its own (study/commands)."""

import sys

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def wire(context: typer.Context) -> None:
    """Study the protocol: describe, diff, decode, proxy, replay ..."""
    from pykbroker.study.commands import main

    sys.exit(main(context.args))
