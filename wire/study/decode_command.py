"""`wire decode` and `wire pcapng`: read bytes, captures, traces and segment files, and show or convert them.

What an input is, its first bytes tell, or the name of the file for those of a partition's folder. What is none of these
is taken for hexadecimal text.

Rules
- Frames are shown as they come, also out of a pipe.
- Only frames that are shown become trees, and those that teach the names of topics. Behind the last one that was asked
  for nothing is read.
- Exit status 1: something was not understood.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wire.study.commands import PROGRAM, CommandError, api_named, examples, keys_of
from wire.study.exchanges import TracedFrame, learn_topics, teaches_topics
from wire.study.frames import NOT_UNDERSTOOD, is_known, walk_request, walk_response
from wire.study.inputs import Input
from wire.study.lines import Line, Printer, shown
from wire.study.pcapng import PcapngWriter
from wire.study.show_tree import tree_json, tree_lines
from wire.study.streams import Missing
from wire.study.summary import Summaries, missing_line
from wire.study.trace import Lost, TraceDecoder, is_trace
from wire.study.tree import Node

RECORDING_START_BYTES = 8  # which tell what a recording is
_READ_BYTES = 1024 * 1024
_INDEX_SUFFIXES = (".index", ".timeindex", ".txnindex", ".snapshot")

Event = TracedFrame | Missing | Lost


def add_decode(commands: Any) -> None:
    parser = commands.add_parser(
        "decode",
        help="show bytes as an annotated tree: hexadecimal text, captures, traces, segment files",
        **examples(
            f"{PROGRAM} decode 0012000300000001000474657374000000",
            f"{PROGRAM} decode --response ApiVersions 0 000000010023",
            f"{PROGRAM} decode app.pcapng --summary",
            f"{PROGRAM} decode app.trace --frame 12",
            f"tcpdump -i any -U -w - port 9092 | {PROGRAM} decode - --tree Fetch",
            f"{PROGRAM} decode data/__consumer_offsets-0/00000000000000000000.log",
        ),
    )
    parser.add_argument("input", metavar="HEX|FILE", help="- reads it from standard input")
    parser.add_argument(
        "--response",
        nargs=2,
        metavar=("API", "VERSION"),
        help="the text is an answer of that API (what an answer is, it does not say itself)",
    )
    parser.add_argument("--topic", help="of the records in a segment file, where its folder does not tell")
    parser.add_argument("--port", type=int, action="append", help="a broker's port in a capture (default: 9092)")
    parser.add_argument("--follow", action="store_true", help="go on when a trace or a capture grows, as tail -f does")
    parser.add_argument("--summary", action="store_true", help="a line for each frame of a capture or a trace")
    parser.add_argument("--tree", action="append", metavar="API", help="every byte of that API, a line for all others")
    parser.add_argument("--frame", type=int, metavar="N", help="only the frame of that number in the summary")
    parser.add_argument("--api", action="append", metavar="API", help="only frames of that API")
    parser.add_argument("--expand", action="store_true", help="show the parts of strings and of other values, too")
    parser.add_argument("--json", action="store_true", help="for programs: one object for each frame")
    parser.set_defaults(run=_decode)


def add_pcapng(commands: Any) -> None:
    parser = commands.add_parser(
        "pcapng",
        help="write a trace as a capture that Wireshark opens",
        **examples(f"{PROGRAM} pcapng app.trace app.pcapng"),
    )
    parser.add_argument("trace", type=Path, metavar="TRACE")
    parser.add_argument("capture", type=Path, metavar="CAPTURE")
    parser.set_defaults(run=_pcapng)


def _pcapng(parsed: argparse.Namespace) -> int:
    writer = PcapngWriter()
    with parsed.trace.open("rb") as source, parsed.capture.open("wb") as target:
        target.write(writer.header())
        for event in trace_events(Input(source)):
            if isinstance(event, TracedFrame):
                target.write(writer.frame(event))
            else:
                writer.lost()
    return 0


def _decode(parsed: argparse.Namespace) -> int:
    from wire.study.segments import SEGMENT_SUFFIXES, is_text

    path = Path(parsed.input)
    is_file = parsed.input != "-" and _exists(path)
    output = _Output(parsed)
    if is_file and path.suffix in SEGMENT_SUFFIXES:
        return output.show(_segment_trees(path, parsed.topic))
    if is_file and path.suffix in _INDEX_SUFFIXES:
        return output.show(_index_tree(path))
    if is_file and is_text(path):
        raise CommandError(f"{path} is text, to be read as it is")
    if not is_file and parsed.input != "-":
        return output.show(_hex_trees(parsed.input, parsed.response, shown(parsed.input), "a file"))
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb")) if is_file else sys.stdin.buffer
        source = Input(file, follow=parsed.follow and is_file)
        if _is_recording(source.peek(RECORDING_START_BYTES)):
            return output.show_events(recorded_events(source, parsed.port), is_live=source.is_live)
        text = source.read_all().decode("ascii", "replace")
        return output.show(_hex_trees(text, parsed.response, parsed.input if is_file else "standard input"))


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # hexadecimal text is longer than a name may be
        return False


def _is_recording(start: bytes) -> bool:
    from wire.study.pcap import is_capture

    return is_trace(start) or is_capture(start)


def recorded_events(source: Input, ports: list[int] | None) -> Iterator[Event]:
    """Yield what a trace or a capture holds. Raises: ProtocolError, CommandError."""
    from wire.study.pcap import MissingLibrary, read_capture

    if is_trace(source.peek(RECORDING_START_BYTES)):
        yield from trace_events(source)
        return
    try:
        yield from read_capture(source, ports or (9092,))
    except MissingLibrary as error:
        raise CommandError(str(error)) from None


def trace_events(source: Input) -> Iterator[TracedFrame | Lost]:
    """Yield what a trace file holds. Raises: ProtocolError."""
    decoder = TraceDecoder()
    while data := source.read_some(_READ_BYTES):
        yield from decoder.feed(data)
    yield from decoder.feed(b"")  # says what is wrong with the rest


def _hex_trees(
    text: str, response: list[str] | None, source: str, a_file: str = "a file that is understood"
) -> Iterator[tuple[Node, bytes, int]]:
    digits = "".join(text.split()).removeprefix("0x")
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        raise CommandError(f"{source} is neither {a_file} nor hexadecimal text") from None
    answered = None if response is None else _answered(*response)
    pos = 0
    while pos < len(data):
        size = int.from_bytes(data[pos : pos + 4], "big")
        has_size = size >= 4 and pos + 4 + size <= len(data) and (pos > 0 or _is_sized(data, size))
        frame = data[pos : pos + 4 + size] if has_size else data[pos:]
        if answered is None:
            tree = walk_request(frame, has_size=has_size)
        else:
            tree = walk_response(*answered, frame, has_size=has_size)
        yield tree, frame, pos
        pos += len(frame)


def _answered(name: str, version: str) -> tuple[int, int]:
    api = api_named(name)
    if not version.isdecimal():
        raise CommandError(f"{version} is no version")
    if not is_known(api.key, int(version)):
        raise CommandError(f"{api.name} has no version {version}")
    return api.key, int(version)


def _is_sized(data: bytes, size: int) -> bool:
    """Tell whether the first four bytes are a size: they are all there is, or another frame follows."""
    left = len(data) - 4 - size
    return left == 0 or 4 <= int.from_bytes(data[4 + size : 8 + size], "big") <= left


def _segment_trees(path: Path, topic: str | None) -> Iterator[tuple[Node, bytes, int]]:
    from wire.study.segments import BATCH_START_BYTES, batch_bytes, topic_of, walk_segment_batch

    topic = topic or topic_of(path)
    position = 0
    with path.open("rb") as file:
        while start := file.read(BATCH_START_BYTES):
            batch = start + file.read(batch_bytes(start) - len(start)) if len(start) == BATCH_START_BYTES else start
            yield walk_segment_batch(batch, topic), batch, position
            position += len(batch)


def _index_tree(path: Path) -> Iterator[tuple[Node, bytes, int]]:
    from wire.study.segments import walk_index

    data = path.read_bytes()
    tree = walk_index(path.suffix, data)
    assert tree is not None
    yield tree, data, 0


class _Output:
    """Shows trees and frames as the options say."""

    def __init__(self, parsed: argparse.Namespace) -> None:
        self._json = parsed.json
        self._expand = parsed.expand
        self._summary = parsed.summary
        self._frame = parsed.frame
        self._keys = keys_of(parsed.api or ())
        self._trees = keys_of(parsed.tree or ())
        self._printer = Printer(sys.stdout)
        self._summaries = Summaries()
        self._topic_names: dict[bytes, str] = {}
        self._has_errors = False

    def show(self, trees: Iterator[tuple[Node, bytes, int]]) -> int:
        for tree, buffer, position in trees:
            self._note_errors(tree)
            self._has_errors = self._has_errors or tree.name in NOT_UNDERSTOOD
            if self._json:
                _print_object({"position": position, "tree": tree_json(tree)})
            else:
                self._printer.print(tree_lines(tree, buffer, expand=self._expand, base=position))
        return int(self._has_errors)

    def show_events(self, events: Iterator[Event], *, is_live: bool) -> int:
        """Show what a recording holds; `is_live`: everything at once, for it is still being written."""
        number = 0
        for event in events:
            if isinstance(event, TracedFrame):
                number += 1
                self._show_frame(number, event)
                if number == self._frame:
                    return int(self._has_errors)
            elif self._json:
                _print_object({"missing": event.count})
            elif self._frame is None:
                self._printer.print([missing_line(event)])
            if is_live:
                sys.stdout.flush()
        if self._frame is not None:
            raise CommandError(f"there is no frame {self._frame}: there are {number}")
        return int(self._has_errors)

    def _show_frame(self, number: int, frame: TracedFrame) -> None:
        is_shown = self._frame in (None, number) and (not self._keys or frame.api_key in self._keys)
        if not is_shown:
            self._summaries.pass_over(frame)
            if teaches_topics(frame.direction, frame.api_key, frame.api_version):
                learn_topics(frame.tree(), self._topic_names)
            return
        tree = frame.tree(self._topic_names)
        learn_topics(tree, self._topic_names)
        line = self._summaries.line(number, frame, tree)
        self._note_errors(tree)
        if self._json:
            _print_object(
                {
                    "number": number,
                    "time_us": frame.time_us,
                    "connection": frame.connection,
                    "direction": frame.direction.name.lower(),
                    "tree": tree_json(tree),
                }
            )
            return
        lines: list[Line] = [line]
        if frame.api_key in self._trees if self._trees else not self._summary:
            lines += [*tree_lines(tree, frame.data, expand=self._expand), []]
        self._printer.print(lines)

    def _note_errors(self, tree: Node) -> None:
        self._has_errors = self._has_errors or any(tree.errors())


def _print_object(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False))
