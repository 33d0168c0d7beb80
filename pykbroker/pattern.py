"""Regular expressions of clients, matched in time that is linear in the text: no pattern can keep the broker busy.

    Pattern("payments-(eu|us)-[0-9]+").matches("payments-eu-7")

Owns: nothing. Rules
- A pattern matches a whole text or not at all. Nothing is captured.
- Known: characters, `.`, classes, `\\d \\w \\s` and their opposites, escapes, groups, alternatives, `* + ? {m,n}`
  (greedy or lazy: that is the same here), `^`, `$`, and `(?i)` in front. What RE2 knows beyond that (Unicode classes,
  `\\Q...\\E`, other flags) is refused, as is what it does not know: backreferences, lookaround.
- Repetitions count up to 1,000 and an automaton has up to 10,000 states.
Source: RE2 syntax, which Kafka uses for subscriptions and filters (KIP-848, KIP-1152); Thompson's construction.
"""

from collections.abc import Callable, Iterable

from pykbroker.errors import KafkaError
from wire.errors import ErrorCode

MAX_REPEAT = 1000
MAX_STATES = 10_000
MAX_DEPTH = 100

Test = Callable[[str], bool]
Node = tuple[str, object]  # its kind and what that needs

_CLASSES: dict[str, Test] = {
    "d": lambda char: "0" <= char <= "9",
    "w": lambda char: char.isascii() and (char.isalnum() or char == "_"),
    "s": lambda char: char in " \t\n\f\r",
}
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_SPECIAL = "*+?{"


class Pattern:
    def __init__(self, text: str) -> None:
        """Raises: INVALID_REGULAR_EXPRESSION."""
        self._tests: list[Test | None] = []  # by state; None: the state is passed through
        self._targets: list[list[int]] = []
        self._anchors: dict[int, str] = {}  # states that are passed only at the begin or the end of the text
        self._end = self._state(None)
        self._start = self._compile(_Parser(text).parse(), self._end)

    def matches(self, text: str) -> bool:
        states = self._reach([self._start], 0, len(text))
        for position, char in enumerate(text, 1):
            following = [
                target
                for each in states
                if (test := self._tests[each]) is not None and test(char)
                for target in self._targets[each]
            ]
            if not following:
                return False
            states = self._reach(following, position, len(text))
        return self._end in states

    def _reach(self, states: Iterable[int], position: int, length: int) -> set[int]:
        """Return the states that are reached without a character."""
        found: set[int] = set()
        left = list(states)
        while left:
            each = left.pop()
            anchor = self._anchors.get(each)
            if each in found or (anchor == "^" and position) or (anchor == "$" and position < length):
                continue
            found.add(each)
            if self._tests[each] is None:
                left += self._targets[each]
        return found

    def _state(self, test: Test | None, *targets: int) -> int:
        if len(self._tests) >= MAX_STATES:
            raise _invalid("it is too large")
        self._tests.append(test)
        self._targets.append(list(targets))
        return len(self._tests) - 1

    def _compile(self, node: Node, following: int) -> int:
        """Add the states of a node that go on with `following`, and return the first."""
        kind, value = node
        match kind:
            case "one":
                return self._state(value, following)  # type: ignore[arg-type]
            case "anchor":
                state = self._state(None, following)
                self._anchors[state] = str(value)
                return state
            case "sequence":
                for part in reversed(value):  # type: ignore[call-overload]
                    following = self._compile(part, following)
                return following
            case "either":
                return self._state(None, *[self._compile(part, following) for part in value])  # type: ignore[attr-defined]
        assert kind == "repeat"
        return self._repeat(value, following)  # type: ignore[arg-type]

    def _repeat(self, repetition: tuple[Node, int, int | None], following: int) -> int:
        part, least, most = repetition
        if most is None:
            loop = self._state(None)
            self._targets[loop] = [self._compile(part, loop), following]
            following = loop
        else:
            end = following
            for _ in range(most - least):
                following = self._state(None, self._compile(part, following), end)
        for _ in range(least):
            following = self._compile(part, following)
        return following


class _Parser:
    def __init__(self, text: str) -> None:
        self._ignores_case = text.startswith("(?i)")
        self._text = text[4:] if self._ignores_case else text
        self._at = 0

    def parse(self) -> Node:
        node = self._alternatives(0)
        if self._at < len(self._text):
            raise _invalid("a ) is not opened")
        return node

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._peek()
        if not char:
            raise _invalid("it ends too early")
        self._at += 1
        return char

    def _alternatives(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _invalid("its groups are nested too deeply")
        parts = [self._sequence(depth)]
        while self._peek() == "|":
            self._take()
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else ("either", parts)

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom(depth)))
        return ("sequence", parts)

    def _repeated(self, node: Node) -> Node:
        char = self._peek()
        if not char or char not in _SPECIAL:
            return node
        counts = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(char)
        if counts is not None:
            self._take()
        else:
            counts = self._counts()
        if self._peek() == "?":
            self._take()
        if self._peek() and self._peek() in "*+?":
            raise _invalid("a repetition is repeated")
        return ("repeat", (node, *counts))

    def _counts(self) -> tuple[int, int | None]:
        """Read {n}, {n,} or {n,m}."""
        self._take()
        end = self._text.find("}", self._at)
        least, comma, most = self._text[self._at : end].partition(",")
        if end < 0 or not _is_number(least) or not (most == "" or _is_number(most)):
            raise _invalid("a { is not followed by counts")
        self._at = end + 1
        upper = int(least) if not comma else int(most) if most else None
        if int(least) > MAX_REPEAT or (upper is not None and not int(least) <= upper <= MAX_REPEAT):
            raise _invalid("a count is out of range")
        return int(least), upper

    def _atom(self, depth: int) -> Node:
        char = self._take()
        match char:
            case "(":
                return self._group(depth)
            case "[":
                return ("one", self._class())
            case ".":
                return ("one", lambda other: other != "\n")
            case "^" | "$":
                return ("anchor", char)
            case "\\":
                return ("one", self._escape())
        if char in _SPECIAL:
            raise _invalid(f"nothing stands before {char}")
        return ("one", self._character(char))

    def _group(self, depth: int) -> Node:
        if self._peek() == "?":
            self._take()
            if self._take() != ":":
                raise _invalid("a group of an unknown kind")
        node = self._alternatives(depth + 1)
        if self._peek() != ")":
            raise _invalid("a ( is not closed")
        self._take()
        return node

    def _character(self, char: str) -> Test:
        if self._ignores_case:
            return lambda other: other.casefold() == char.casefold()
        return lambda other: other == char

    def _escape(self) -> Test:
        char = self._take()
        if char.lower() in _CLASSES:
            test = _CLASSES[char.lower()]
            return test if char.islower() else lambda other: not test(other)
        return self._character(_escaped(char))

    def _class(self) -> Test:
        is_negated = self._peek() == "^"
        if is_negated:
            self._take()
        tests: list[Test] = []
        while not tests or self._peek() != "]":
            tests.append(self._class_member())
        self._take()
        return lambda char: any(test(char) for test in tests) is not is_negated

    def _class_member(self) -> Test:
        first = self._take()
        if first == "[" and self._peek() == ":":
            raise _invalid("a class by name")
        if first == "\\":
            if self._peek().lower() in _CLASSES:
                return self._escape()
            first = _escaped(self._take())
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return self._character(first)
        self._take()
        last = self._take()
        if last == "\\":
            last = _escaped(self._take())
        if last < first:
            raise _invalid("a range runs backwards")
        if self._ignores_case:
            return lambda char: any(first <= each <= last for each in (char, char.lower(), char.upper()))
        return lambda char: first <= char <= last


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isascii() and char.isalnum():
        raise _invalid(f"an unknown escape \\{char}")
    return char


def _invalid(reason: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REGULAR_EXPRESSION, f"The regular expression is not valid: {reason}")
