"""Compare what two brokers answered to the same calls of the stories.

Rules
- Calls are paired by story, API, version and their order in that. What only one of them was asked does not count.
- How two answers are compared stands in wire.study.compare; what may differ besides, in JUSTIFIED with its reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from attrs import frozen

from golden.caller import IDS_OF_A_STORY, Call
from golden.justified import JUSTIFIED
from wire.study.compare import Difference as FieldDifference
from wire.study.compare import Pairing, compare_answers


@frozen
class Difference:
    """One field of one call. `index` is the call's place among those of its story, API and version."""

    call: Call
    index: int
    field: FieldDifference

    @property
    def path(self) -> str:
        return self.field.path

    @property
    def reason(self) -> str | None:
        """Why this difference is right, if it is."""
        return justification(self.call.name, self.path)

    @property
    def what(self) -> str:
        """The difference without the version of its API: the same is often different in all of them."""
        return f"story {self.call.story} {self.call.name} #{self.index}: {self.field}"

    def __str__(self) -> str:
        return f"v{self.call.version} {self.what}"


def story_of(sent: bytes) -> int:
    """Return the number of the story that a request belongs to: its correlation id says so."""
    return int.from_bytes(sent[4:8], "big") // IDS_OF_A_STORY


def justification(name: str, path: str) -> str | None:
    for api, part, reason in JUSTIFIED:
        if api == name and part in path:
            return reason
    return None


def differences(expected: Sequence[Call], actual: Sequence[Call]) -> list[Difference]:
    """Return every difference between the answers that both brokers gave, justified ones too."""
    found: list[Difference] = []
    pairing = Pairing()
    ours = _by_place(actual)
    for place, call in _by_place(expected).items():
        if place in ours:
            answers = call.answer(), ours[place].answer()
            fields = compare_answers(call.name, call.version, *answers, pairing)
            found += [Difference(call, place[-1], field) for field in fields]
    return found


def compared(expected: Sequence[Call], actual: Sequence[Call]) -> int:
    """Return how many calls both brokers answered."""
    return len(_by_place(expected).keys() & _by_place(actual).keys())


def _by_place(calls: Sequence[Call]) -> dict[tuple[int, str, int, int], Call]:
    counts: dict[tuple[int, str, int], int] = defaultdict(int)
    places = {}
    for call in calls:
        key = (call.story, call.name, call.version)
        places[*key, counts[key]] = call
        counts[key] += 1
    return places
