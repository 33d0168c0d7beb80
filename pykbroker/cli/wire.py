"""`pykbroker wire`: everything behind it goes to `python -m wire` as it is."""

import sys

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def wire(context: typer.Context) -> None:
    """Study the protocol: what `python -m wire` does."""
    from wire.__main__ import main

    sys.exit(main(context.args))
