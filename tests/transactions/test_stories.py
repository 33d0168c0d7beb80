"""The stories of `testdata`: transactions that commit, abort, time out, are fenced, and change their coordinator."""

from pathlib import Path

import pytest

from tests.support.text_stories import check_story
from tests.transactions.stories import Story

TESTDATA = Path(__file__).parent / "testdata"


@pytest.mark.parametrize("path", sorted(TESTDATA.glob("*.txt")), ids=lambda path: path.stem)
def test_story_happens_as_told(path: Path, tmp_path: Path) -> None:
    story = Story(tmp_path)
    check_story(path, story.run)
    story.rig.close()
