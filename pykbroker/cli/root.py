"""All commands in one tree: for `--help`, for shells that complete, and for calling those that are clients.

Rules: a command's module is imported when the command is called or completed, so `pykbroker --help` imports none of
them. `start`, `cluster` and `test` stand in the tree with the options of their argparse parsers, for completion only.
"""

import argparse
import gc
import importlib
import inspect
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup

PROGRAM = "pykbroker"
HELP_OPTIONS = ["-h", "--help"]
COMPLETION_VARIABLE = "_PYKBROKER_COMPLETE"  # what the scripts of Typer set


class Command(NamedTuple):
    module: str  # with `app`, its Typer; "": of argparse
    help: str


COMMANDS = {
    "start": Command("", "Run one broker until it is told to stop."),
    "cluster": Command("", "Run several brokers on this machine, a process for each."),
    "test": Command("", "Run brokers for tests in any language, with faults on order."),
    "topics": Command("topics", "List, describe, create, alter, delete and move topics."),
    "produce": Command("produce", "Write records from stdin or a file into a topic."),
    "consume": Command("consume", "Read records from topics and print them."),
    "groups": Command("groups", "List, describe and delete groups; reset their offsets."),
    "configs": Command("configs", "Show and change the configs of topics, brokers and groups."),
    "brokers": Command("brokers", "List brokers; take one out of service."),
    "check": Command("check", "Tell whether a cluster is healthy, with the exit status."),
    "log": Command("log", "Look into the files of a data folder."),
    "wire": Command("wire", "Study the protocol: what `python -m wire` does."),
    "completion": Command("completion", "Print the script that lets a shell complete words."),
}


class LazyGroup(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = COMMANDS.get(cmd_name)
        if command is None:
            return None
        if not command.module:
            return _of_argparse(cmd_name, command.help)
        module = importlib.import_module(f"pykbroker.cli.{command.module}")
        found = typer.main.get_command(module.app)
        found.name = cmd_name
        return found

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": HELP_OPTIONS},
    epilog="The cluster is that of --bootstrap (-b), or of PYKBROKER_BOOTSTRAP, or the one at 127.0.0.1:9092. "
    "`pykbroker COMMAND --help` shows examples.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from pykbroker.version import version

        print(f"{PROGRAM} {version()}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print which version this is.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A Kafka broker that stock Kafka clients cannot tell from Apache Kafka, and commands for any Kafka cluster."""


def run(words: Sequence[str]) -> NoReturn:
    gc.enable()
    if asks_for_help(words) and (text := help_of(words)) is not None:
        from pykbroker.cli.output import flush, write

        try:
            write(text + "\n")
            flush()
        except typer.Exit as ended:
            sys.exit(ended.exit_code)
        sys.exit()
    app(args=list(words), prog_name=PROGRAM)
    raise AssertionError("a Typer application ends the process")


def asks_for_help(words: Sequence[str]) -> bool:
    own = words[: words.index("--")] if "--" in words else words
    return words[:1] != ["wire"] and any(word in HELP_OPTIONS for word in own)


def help_of(words: Sequence[str]) -> str | None:
    """Return the help of the command that the words name; None if they name none.

    The words are not parsed: Typer imports pydantic for that, which takes longer than everything else here.
    """
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name=PROGRAM)
    for word in words:
        if word.startswith("-") or not isinstance(command, TyperGroup):
            break
        found = command.get_command(context, word)
        if found is None:
            return None
        command, context = found, typer.Context(found, info_name=word, parent=context)
    text: str = command.get_help(context)
    return text


def _of_argparse(name: str, help_text: str) -> Any:
    """Return a command with the options of a subparser: enough to complete them."""
    from pykbroker.cli import parser

    subparsers = next(each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
    parameters = [
        inspect.Parameter(
            action.dest,
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option(None, *action.option_strings, help=action.help, autocompletion=_chooser(action)),
            annotation=bool if action.nargs == 0 else str,
        )
        for action in subparsers.choices[name]._actions
        if action.dest != "help" and action.help != argparse.SUPPRESS
    ]

    def command(**options: object) -> None:
        raise AssertionError("argparse has taken this command")

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    wrapper = typer.Typer(add_completion=False, rich_markup_mode=None)
    wrapper.command(name, help=help_text)(command)
    return typer.main.get_command(wrapper)


def _chooser(action: argparse.Action) -> Any:
    choices = list(action.choices or ())

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete if choices else None
