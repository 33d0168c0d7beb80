"""Options and arguments that several commands have, and how shells complete them.

Rules: nothing of the client is imported here but to complete a name. Names of topics and groups come from the cluster,
if it answers within a second; a shell that completes is never told of an error.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from pykbroker.cli.root import HELP_OPTIONS, PROGRAM

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
BOOTSTRAP_VARIABLE = "PYKBROKER_BOOTSTRAP"
CONFIG_VARIABLE = "PYKBROKER_COMMAND_CONFIG"
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

    from pykbroker.cli.running import SETTINGS, connection_of
    from pykbroker.client import Client, NoBrokerError, NotServedError
    from pykbroker.errors import KafkaError

    found: list[str] = []
    given = ctx.params
    config = given.get("command_config") or os.environ.get(CONFIG_VARIABLE)
    cluster = Cluster(
        given.get("bootstrap") or os.environ.get(BOOTSTRAP_VARIABLE),
        Path(config) if config else None,
        tuple(given.get("properties") or ()),
    )

    async def ask() -> None:
        bootstrap, settings, _ = connection_of(cluster, SETTINGS)
        with anyio.move_on_after(_COMPLETION_S):
            async with Client(bootstrap, settings=settings) as client:
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


def complete_brokers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete an id, also the last of several."""
    before = incomplete[: incomplete.rfind(",") + 1]

    async def names(client: Any) -> Iterable[str]:
        from pykbroker.client.brokers import registered_brokers

        return [f"{before}{broker.id}" for broker in await registered_brokers(client)]

    return _complete(ctx, incomplete, names)


class Cluster(NamedTuple):
    """Which cluster a command is about, and how to speak to it."""

    bootstrap: str | None
    command_config: Path | None
    properties: tuple[str, ...]  # NAME=VALUE each


_Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        "-b",
        envvar=BOOTSTRAP_VARIABLE,
        metavar="HOST:PORT,...",
        help=f"Brokers to ask for the others. Default: {DEFAULT_BOOTSTRAP}.",
        show_envvar=True,
    ),
]
_CommandConfig = Annotated[
    Path | None,
    typer.Option(
        "--command-config",
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        help="Properties of a Kafka client: TLS, SASL, timeouts.",
        show_envvar=True,
    ),
]
_Properties = Annotated[
    list[str] | None, typer.Option("-X", metavar="NAME=VALUE", help="One such property; repeatable.")
]
_OPTIONS = {"bootstrap": _Bootstrap, "command_config": _CommandConfig, "properties": _Properties}


def of_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which cluster; it gets them as its `cluster`."""

    def with_options(**given: Any) -> None:
        bootstrap, config, properties = (given.pop(name) for name in _OPTIONS)
        command(**given, cluster=Cluster(bootstrap, config, tuple(properties or ())))

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name != "cluster":
            parameters.append(parameter)
            continue
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
            for name, option in _OPTIONS.items()
        ]
    functools.update_wrapper(with_options, command)
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Topic = Annotated[str, typer.Argument(metavar="TOPIC", autocompletion=complete_topics)]
Topics = Annotated[list[str], typer.Argument(metavar="TOPIC", autocompletion=complete_topics)]
OptionalTopics = Annotated[list[str] | None, typer.Argument(metavar="TOPIC", autocompletion=complete_topics)]
Broker = Annotated[int, typer.Argument(metavar="ID", autocompletion=complete_brokers, min=0)]
Throttle = Annotated[
    int | None,
    typer.Option(
        "--throttle", metavar="BYTES", help="How many bytes a second each broker may copy at most for it.", min=1
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until all is copied.")]
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
