"""The commands of `python -m wire`: look into the Kafka protocol.

    python -m wire describe Fetch              what a message is, and what each version brought
    python -m wire diff Fetch 11 12            what changed between two versions
    python -m wire decode 00120003…            bytes, captures, traces and segments as annotated trees
    python -m wire pcapng app.trace app.pcapng a trace as a capture for Wireshark
    python -m wire codec Fetch 13              the source that decodes and encodes a message
    python -m wire lua                         a dissector for Wireshark

Each command's work is in a module of its own, imported when it is used.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from wire.catalog import APIS, Api, request_class, response_class
from wire.errors import ProtocolError

PROGRAM = "python -m wire"


class CommandError(Exception):
    """What a person did wrong, said in one line."""


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(PROGRAM)[0], arguments)


def run(parser: argparse.ArgumentParser, arguments: list[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what the terminal cannot show
    try:
        status = _run(parser, parser.parse_args(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed at the end
        return 1
    return status


def _run(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace], int] = parsed.run
    try:
        return command(parsed)
    except CommandError as error:
        parser.error(str(error))
    except ProtocolError as error:  # a file that breaks off, behind what could be read of it
        sys.stdout.flush()
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # as one ends what follows a trace
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def build_parser(program: str) -> "tuple[argparse.ArgumentParser, argparse._SubParsersAction[argparse.ArgumentParser]]":
    """Return the parser, and where more commands are added to it."""
    parser = argparse.ArgumentParser(prog=program, description="Look into the Kafka protocol.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_describe(commands)
    _add_diff(commands)
    _add_codec(commands)
    from wire.study.decode_command import add_decode, add_pcapng

    add_decode(commands)
    add_pcapng(commands)
    lua = commands.add_parser(
        "lua",
        help="print a dissector for Wireshark, made from the declarations",
        **examples(
            f"{PROGRAM} lua > kafka.lua",
            "wireshark -X lua_script:kafka.lua -o kafka_wire.ports:9092 app.pcapng",
        ),
    )
    lua.set_defaults(run=_lua)
    return parser, commands


def examples(*lines: str) -> dict[str, Any]:
    """What a parser is given to show examples below its help."""
    return {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "epilog": "\n".join(["examples:", *(f"  {line}" for line in lines)]),
    }


def api_named(name: str) -> Api:
    from wire.study.describe import find_api

    api = find_api(name)
    if api is None:
        raise CommandError(f"no API is called {name}")
    return api


def keys_of(names: Iterable[str]) -> set[int]:
    """Return the keys of the APIs of these names, of all for "all". Raises: CommandError."""
    names = tuple(names)
    return {api.key for api in APIS} if "all" in names else {api_named(name).key for name in names}


def _add_describe(commands: Any) -> None:
    parser = commands.add_parser(
        "describe",
        help="what a message is: its fields with their versions, and what each version brought",
        **examples(
            f"{PROGRAM} describe Fetch",
            f"{PROGRAM} describe Fetch 12          # only what version 12 has",
            f"{PROGRAM} describe OffsetCommitValue # a record of an internal topic",
        ),
    )
    parser.add_argument("message", metavar="MESSAGE", help="an API, by name or key, or a message inside of others")
    parser.add_argument("version", type=int, nargs="?", metavar="VERSION")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_describe)


def _describe(parsed: argparse.Namespace) -> int:
    from wire.schema import spec_of
    from wire.study.describe import describe_api, describe_data, find_api, find_data
    from wire.study.lines import print_lines
    from wire.study.show_description import description_lines

    api, data = find_api(parsed.message), None
    if api is None:
        data = find_data(parsed.message)
        if data is None:
            raise CommandError(f"no API or message is called {parsed.message}")
    cls = request_class(api.key) if api else data
    assert cls is not None
    if parsed.version is not None and parsed.version not in spec_of(cls).versions:
        raise CommandError(f"{spec_of(cls).name} has no version {parsed.version}")
    if api is not None:
        description = describe_api(api, parsed.version)
    else:
        assert data is not None
        description = describe_data(data, parsed.version)
    if parsed.json:
        print_json(description)
    else:
        print_lines(description_lines(description))
    return 0


def _add_diff(commands: Any) -> None:
    parser = commands.add_parser(
        "diff", help="what changed between two versions of a message", **examples(f"{PROGRAM} diff Fetch 11 12")
    )
    parser.add_argument("api", metavar="API")
    parser.add_argument("old", type=int, metavar="OLD")
    parser.add_argument("new", type=int, metavar="NEW")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_diff)


def _diff(parsed: argparse.Namespace) -> int:
    from wire.schema import spec_of
    from wire.study.describe import diff_api
    from wire.study.lines import print_lines
    from wire.study.show_description import diff_lines

    api = api_named(parsed.api)
    for version in (parsed.old, parsed.new):
        if version not in spec_of(request_class(api.key)).versions:
            raise CommandError(f"{api.name} has no version {version}")
    diffs = diff_api(api, parsed.old, parsed.new)
    if parsed.json:
        print_json(diffs)
    else:
        print_lines(diff_lines(diffs, parsed.old, parsed.new))
    return 0


def _add_codec(commands: Any) -> None:
    parser = commands.add_parser(
        "codec",
        help="print the source that decodes and encodes a message in a version",
        **examples(f"{PROGRAM} codec Fetch 13", f"{PROGRAM} codec Fetch 13 --response"),
    )
    parser.add_argument("api", help="name of the API, such as Fetch, or its key", metavar="API")
    parser.add_argument("version", type=int, metavar="VERSION")
    parser.add_argument("--response", action="store_true", help="of the response instead of the request")
    parser.set_defaults(run=_codec)


def _codec(parsed: argparse.Namespace) -> int:
    from wire import codec
    from wire.schema import spec_of

    api = api_named(parsed.api)
    message = (response_class if parsed.response else request_class)(api.key)
    if parsed.version not in spec_of(message).versions:
        raise CommandError(f"{spec_of(message).name} has no version {parsed.version}")
    print(codec.source(message, parsed.version), end="")
    return 0


def _lua(parsed: argparse.Namespace) -> int:
    from wire.study.lua import dissector

    print(dissector(), end="")
    return 0


def print_json(value: Any) -> None:
    """Print attrs objects, lists of them or plain values as JSON."""
    import attrs

    def plain(item: Any) -> Any:
        if attrs.has(type(item)):
            return attrs.asdict(item, recurse=True)
        return dict(item)

    json.dump(value, sys.stdout, default=plain, indent=2, ensure_ascii=False)
    print()
