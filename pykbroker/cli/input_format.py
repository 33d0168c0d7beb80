r"""The language of `produce --format`: how records are read. What `consume --format` prints with it can be read again.

    %v or %s value   %k key   %t topic   %p partition   %T or %d timestamp, ms   %h headers as name=value,name=value
    %o %e %x %y %i   read and left aside
    %K, %V or %S, %H   how many bytes the key and the value behind them have, how many headers; %V{5}: always 5
    %H%h{...}          so many headers, each as the format says, with %k, %v, %K and %V its own
    %T{5}              how many bytes the topic has, since a time is never so

Modifiers: {hex}, {base64}, {base64raw} of text; {json} for a JSON value, whose spaces are left out; {re[...]} for what
a regular expression finds; of numbers those that print them (ascii, hex64, big32, bool ...).

Rules
- Text whose size was not told goes up to the literal behind it, where that begins for the first time.
- Where everything is told apart by literals, a record first of all ends with the literal at the end of the format, or
  with the line if there is none. So an error is one of that record. Where there are sizes, it ends where its last
  field does.
- The last record need not be ended.
- A time of -1 is none.
- A size of -1 is that of null, as it is printed: in decimals, or in 32 or 64 bits. Other nulls cannot be told from
  empty text; JSON does.

Not here: reading files (actions.produce), records as JSON (input_json). Sources: the help of `rpk topic produce`.
"""

from collections.abc import Callable, Iterator, Sequence

from pykbroker.cli.format_syntax import FormatError, Token, tokens
from pykbroker.cli.input_fields import (
    MAX_RECORD_BYTES,
    TEXTS,
    InputError,
    InputRecord,
    MoreError,
    Reading,
    Step,
    kind_of,
    literal_step,
    number_step,
    size_step,
    text_step,
    utf8,
)

MAX_HEADERS = 10_000  # of a record

_SIZES = {"K": "k", "V": "v", "S": "v", "H": "h"}
_NUMBERS = "poTdexyi"

Parser = Callable[[bytes], InputRecord]


class Input:
    """Cuts what comes into records."""

    def __init__(self, read: "Callable[[bytes, int, bool], tuple[InputRecord, int]]") -> None:
        """`read` takes data, where to begin, and whether that is all; it raises MoreError and InputError."""
        self._read = read
        self._rest = b""

    def records(self, data: bytes, *, is_last: bool = False) -> Iterator[InputRecord]:
        """Yield the records that are complete with this. Raises: InputError."""
        data = self._rest + data
        pos = 0
        while pos < len(data):
            try:
                record, end = self._read(data, pos, is_last)
            except MoreError:
                if is_last:
                    raise InputError("it ends too soon") from None
                break
            if end == pos:
                raise InputError("it takes nothing of the input")
            pos = end
            yield record
        self._rest = data[pos:]
        if len(self._rest) > MAX_RECORD_BYTES:
            raise InputError(f"no end after {MAX_RECORD_BYTES} bytes")


def separated(end: bytes, parse: Parser) -> Input:
    """Records that end with these bytes; the last one need not."""

    def read(data: bytes, pos: int, is_last: bool) -> tuple[InputRecord, int]:
        found = data.find(end, pos)
        if found < 0 and not is_last:
            raise MoreError
        stop = len(data) if found < 0 else found
        return parse(data[pos:stop]), stop + len(end)

    return Input(read)


def keyed(separator: str, end: bytes = b"\n") -> Input:
    """Lines of a value, or of a key, the separator and a value: a line without the separator has no key."""
    mark = literal(separator)

    def parse(data: bytes) -> InputRecord:
        key, found, value = data.partition(mark)
        return InputRecord(value, key) if found else InputRecord(data)

    return separated(end, parse)


def literal(text: str) -> bytes:
    """Read what separates, with its escapes. Raises: FormatError."""
    (token, *more) = tokens(text) or [Token()]
    if more or token.field or not token.literal:
        raise FormatError(f"{text!r} does not separate anything")
    return token.literal


def compile_input(text: str) -> Input:
    """Return what reads records of a format. Raises: FormatError."""
    found = tokens(text)
    if not any(token.field in ("k", "v", "s") for token in found):
        raise FormatError("a record needs a key or a value: %k, %v")
    is_sized = any(_sized_by(token) or token.inner or token.modifier in ("json", "re") for token in found)
    if found[-1].field and not (is_sized and _ends_by_itself(found)):
        found.append(Token(b"\n"))
    if is_sized:
        steps = _steps(found)

        def read(data: bytes, pos: int, is_last: bool) -> tuple[InputRecord, int]:
            reading = Reading(data, pos, is_last)
            for step in steps:
                step(reading)
            return reading.record(), reading.pos

        return Input(read)
    *inner, end = found
    steps_of_one = _steps(inner)

    def parse(data: bytes) -> InputRecord:
        reading = Reading(data, 0, is_last=True)
        try:
            for step in steps_of_one:
                step(reading)
        except MoreError:
            raise InputError(f"it is not as {text!r} says") from None
        if reading.pos != len(data):
            raise InputError(f"it is not as {text!r} says")
        return reading.record()

    return separated(end.literal, parse)


def _ends_by_itself(found: Sequence[Token]) -> bool:
    """Whether the size of the last field is known when it is read; of JSON and decimals, a line's end is not a part."""
    last = found[-1]
    if last.field in TEXTS:
        return last.modifier == "re" or any(_sized_by(token) == kind_of(last.field) for token in found)
    return bool(last.inner) or last.modifier not in (None, "", "ascii", "number")


def _sized_by(token: Token) -> str | None:
    """Return the field whose size this is."""
    if token.field == "T" and token.modifier is not None and token.modifier.isdecimal():
        return "t"
    return _SIZES.get(token.field)


def _steps(found: Sequence[Token]) -> list[Step]:
    sized: set[str] = set()
    steps: list[Step] = []
    for number, (token, following) in enumerate(zip(found, [*found[1:], Token()], strict=True), start=1):
        sizes = _sized_by(token)
        if not token.field:
            steps.append(literal_step(token.literal, is_end=number == len(found)))
        elif sizes is not None:
            if sizes in sized:
                raise FormatError(f"the size of %{sizes} is told twice")
            sized.add(sizes)
            steps.append(size_step(token, sizes))
        elif token.field in _NUMBERS:
            steps.append(number_step(token))
        elif token.inner:
            if "h" not in sized:
                raise FormatError("nothing tells how many headers there are: %H before %h{...}")
            steps.append(_headers(token))
        elif token.field in TEXTS or (token.field == "h" and token.modifier is None):
            is_sized = token.field != "h" and kind_of(token.field) in sized
            steps.append(text_step(token, following, is_sized=is_sized, is_end=number == len(found) - 1))
        else:
            raise FormatError(f"{token} cannot be read")
    return steps


def _headers(token: Token) -> Step:
    """So many headers as %H has told, each in a format of its own."""
    if any(inner.field not in ("", "k", "v", "s", "K", "V", "S") for inner in token.inner):
        raise FormatError("a header has %k, %v, %K and %V only")
    steps = _steps(token.inner)

    def step(reading: Reading) -> None:
        count = reading.sizes["h"]
        if count > MAX_HEADERS:
            raise InputError(f"{count} headers")
        for _ in range(count):
            header = Reading(reading.data, reading.pos, is_last=False)
            for inner in steps:
                inner(header)
            reading.pos = header.pos
            reading.headers.append((utf8(header.fields.get("key") or b""), header.fields.get("value")))

    return step
