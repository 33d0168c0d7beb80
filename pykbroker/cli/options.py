"""Options and arguments that several commands have, and how shells complete them.

Rules: nothing of the client is imported here but to complete a name. Names of topics and groups come from the cluster,
if it answers within a second; a shell that completes is never told of an error.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any

import typer

from pykbroker.cli.root import HELP_OPTIONS, PROGRAM

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
BOOTSTRAP_VARIABLE = "PYKBROKER_BOOTSTRAP"
_COMPLETION_S = 1.0


def examples(*lines: str) -> str:
    r"""Return the end of a command's help: these words as commands. What follows \b is not wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {PROGRAM} {line}" for line in lines)


def new_app(help_text: str = "") -> typer.Typer:
    return typer.Typer(
        help=help_text,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": HELP_OPTIONS},
    )


def _complete(ctx: typer.Context, incomplete: str, names: Callable[[Any], Awaitable[Iterable[str]]]) -> list[str]:
    import os

    import anyio

    from pykbroker.client import Client, NoBrokerError, NotServedError
    from pykbroker.errors import KafkaError

    found: list[str] = []
    bootstrap = ctx.params.get("bootstrap") or os.environ.get(BOOTSTRAP_VARIABLE) or DEFAULT_BOOTSTRAP

    async def ask() -> None:
        with anyio.move_on_after(_COMPLETION_S):
            async with Client(bootstrap) as client:
                found.extend(name for name in await names(client) if name.startswith(incomplete))

    try:
        anyio.run(ask)
    except (ValueError, OSError, KafkaError, NoBrokerError, NotServedError):
        return []
    return sorted(found)


def complete_topics(ctx: typer.Context, incomplete: str) -> list[str]:
    async def names(client: Any) -> Iterable[str]:
        topics = (await client.metadata()).topics.values()
        return [topic.name for topic in topics if not topic.is_internal or incomplete.startswith("_")]

    return _complete(ctx, incomplete, names)


def complete_groups(ctx: typer.Context, incomplete: str) -> list[str]:
    async def names(client: Any) -> Iterable[str]:
        from pykbroker.client.groups import list_groups

        return [group.id for group in await list_groups(client)]

    return _complete(ctx, incomplete, names)


Bootstrap = Annotated[
    str,
    typer.Option(
        "--bootstrap", "-b", envvar=BOOTSTRAP_VARIABLE, metavar="HOST:PORT,...", help="Brokers to ask for the others."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Topic = Annotated[str, typer.Argument(metavar="TOPIC", autocompletion=complete_topics)]
Topics = Annotated[list[str], typer.Argument(metavar="TOPIC", autocompletion=complete_topics)]
Group = Annotated[str, typer.Argument(metavar="GROUP", autocompletion=complete_groups)]
Groups = Annotated[list[str], typer.Argument(metavar="GROUP", autocompletion=complete_groups)]


def parse_pairs(settings: Iterable[str], option: str) -> dict[str, str]:
    """Read NAME=VALUE, several times. Raises: typer.BadParameter."""
    pairs = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name.strip():
            raise typer.BadParameter(f"{setting!r} is not NAME=VALUE", param_hint=option)
        pairs[name.strip()] = value
    return pairs
