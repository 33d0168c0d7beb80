"""The stories of `testdata`: joins, rebalances, static members, timeouts of classic groups."""

from pathlib import Path

import pytest

from tests.groups.stories import Story
from tests.support.text_stories import check_story

TESTDATA = Path(__file__).parent / "testdata"


@pytest.mark.parametrize("path", sorted(TESTDATA.glob("*.txt")), ids=lambda path: path.stem)
def test_story_happens_as_told(path: Path) -> None:
    check_story(path, Story().run)
