"""`pykbroker wire COMMAND`: all of `python -m wire`, and what speaks to brokers: proxy and replay. Also the options of
`pykbroker start` that trace it.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pykbroker.study.explainer import Explainer
from pykbroker.study.frames import Frames
from pykbroker.study.recorder import Sink, record
from pykbroker.study.trace_file import TraceFile
from wire.study.commands import CommandError, build_parser, examples, keys_of, print_json, run
from wire.study.lines import Line, print_lines

if TYPE_CHECKING:
    from pykbroker.study.replay import Call, Replay

PROGRAM = "pykbroker wire"
MAX_SHOWN = 200  # differences


def main(arguments: list[str] | None = None) -> int:
    parser, commands = build_parser(PROGRAM)
    _add_proxy(commands)
    _add_replay(commands)
    return run(parser, arguments)


def trace_sink(where: str, trees: Sequence[str] = (), max_bytes: int | None = None) -> Sink:
    """Return where `--trace WHERE` puts frames: a file, or lines for "-". Raises: OSError, CommandError."""
    if where != "-":
        if trees:
            raise CommandError("--trace-tree is about what --trace - shows; a file is shown by `wire decode`")
        try:
            return TraceFile(Path(where), max_bytes)
        except ValueError as error:
            raise CommandError(str(error)) from None
    if max_bytes is not None:
        raise CommandError("only a file can have a limit")
    keys_of(trees)  # a name that is wrong is said here, not by the child
    return Explainer(trees)


def _add_proxy(commands: Any) -> None:
    parser = commands.add_parser(
        "proxy",
        help="stand between clients and brokers, and show or record what they say",
        **examples(
            f"{PROGRAM} proxy 127.0.0.1:19092 127.0.0.1:9092",
            f"{PROGRAM} proxy 127.0.0.1:19092 127.0.0.1:9092 --trace app.trace",
        ),
    )
    parser.add_argument("listen", type=_address, metavar="LISTEN", help="host:port where clients connect")
    parser.add_argument("target", type=_address, metavar="TARGET", help="host:port of a broker")
    parser.add_argument("--trace", default="-", metavar="FILE", help="record to a file instead of showing lines")
    parser.add_argument(
        "--trace-tree", action="append", default=[], metavar="API", help="show every byte of that API, or of all"
    )
    parser.set_defaults(run=_proxy)


def _proxy(parsed: argparse.Namespace) -> int:
    import logging
    import signal

    import anyio

    from pykbroker.study.proxy import ListenError, Proxy

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sink = trace_sink(parsed.trace, parsed.trace_tree)
    frames = Frames()
    proxy = Proxy(parsed.listen, parsed.target, frames)

    async def serve() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals, record(frames, sink):
            async with anyio.create_task_group() as tasks:
                await tasks.start(proxy.run)
                print("clients connect to {}:{}".format(*proxy.address), flush=True)
                async for _ in signals:
                    break
                tasks.cancel_scope.cancel()

    try:
        anyio.run(serve)
    except ListenError as error:
        raise CommandError(str(error)) from None
    return 0


def _add_replay(commands: Any) -> None:
    parser = commands.add_parser(
        "replay",
        help="send a recorded session to another broker, and show where its answers differ",
        **examples(f"{PROGRAM} replay app.trace 127.0.0.1:9092", f"{PROGRAM} replay app.pcapng 127.0.0.1:9092"),
    )
    parser.add_argument("recording", type=Path, metavar="FILE", help="a trace or a capture")
    parser.add_argument("target", type=_address, metavar="TARGET", help="host:port of a broker, freshly started")
    parser.add_argument("--port", type=int, action="append", help="a broker's port in a capture (default: 9092)")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_replay)


def _replay(parsed: argparse.Namespace) -> int:
    import anyio

    from pykbroker.study.replay import Replay, ReplayError
    from wire.study.decode_command import recorded_events
    from wire.study.exchanges import TracedFrame
    from wire.study.inputs import Input

    with parsed.recording.open("rb") as file:
        frames = [event for event in recorded_events(Input(file), parsed.port) if isinstance(event, TracedFrame)]
    replay = Replay(frames, parsed.target)
    try:
        anyio.run(replay.run)
    except ReplayError as error:
        raise CommandError(str(error)) from None
    different = [call for call in replay.calls if call.differences]
    if parsed.json:
        print_json(
            {
                "compared": replay.compared,
                "left_out": dict(replay.left_out),
                "differences": [
                    {
                        "call": call.number,
                        "api": call.name,
                        "version": call.version,
                        "differences": [str(difference) for difference in call.differences],
                    }
                    for call in different
                ],
            }
        )
    else:
        print_lines(_lines(replay, different))
    return 1 if different else 0


def _lines(replay: "Replay", different: "list[Call]") -> Iterator[Line]:
    for call in different[:MAX_SHOWN]:
        yield [("title", f"#{call.number} {call.name} v{call.version}")]
        for difference in call.differences[:MAX_SHOWN]:
            yield [("changed", f"  {difference}")]
    for why, count in replay.left_out.items():
        yield [("comment", f"{count} left out: {why}")]
    yield [("", f"{replay.compared} calls compared, {len(different)} answered otherwise")]


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not host:port")
    return host.strip("[]"), int(port)
