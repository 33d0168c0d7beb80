"""The stories of `testdata`: joins, rebalances, static members, timeouts of classic groups."""

import os
from pathlib import Path

import attrs
import pytest

from tests.groups.stories import Story, read_steps, write_steps

TESTDATA = Path(__file__).parent / "testdata"


@pytest.mark.parametrize("path", sorted(TESTDATA.glob("*.txt")), ids=lambda path: path.stem)
def test_story_happens_as_told(path: Path) -> None:
    steps = read_steps(path)
    story = Story()
    happened = [attrs.evolve(step, expected=story.run(step.command)) for step in steps]

    if os.environ.get("PYKBROKER_REWRITE_STORIES"):
        write_steps(path, happened)
    assert [(step.command, step.expected) for step in happened] == [(step.command, step.expected) for step in steps]
