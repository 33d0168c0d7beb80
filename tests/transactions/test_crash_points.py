"""The broker dies before each system call of a commit and an abort that changes the disk: the next start leaves none
half.

Not here: what the log does with a torn batch (tests/log/test_crash_points.py).
"""

import contextlib
from pathlib import Path

import pytest

from pykbroker.transactions.coordinator import TRANSACTION_TOPIC
from tests.log.test_crash_points import Killed, killed_at
from tests.transactions.stories import Story

TIMEOUT_MS = 60_000
CLEANUP_MS = 10_000
COMMANDS = (
    "init p",
    "produce p t-0",
    "produce p t-1",
    "offsets p g 5",
    "commit p",
    "produce p t-0",
    "produce p t-1",
    "offsets p g 9",
    "abort p",
    "produce p t-0",
    "produce p t-1",
)
COMMIT_SAID = "p: committed, now producer 1 epoch 1\n"
BEFORE_COMMIT = 4


def tell(story: Story) -> list[str]:
    """Run the story until it ends or is killed, and return what was answered."""
    said: list[str] = []
    with contextlib.suppress(Killed):
        for command in COMMANDS:
            said.append(story.run(command))
    return said


@pytest.mark.slow
def test_transaction_is_never_half_wherever_the_broker_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(tmp_path / "whole")
    with killed_at(10**9, monkeypatch) as calls:
        assert COMMIT_SAID in tell(story)
    story.rig.close()
    outcomes = set()
    for number in range(len(calls)):
        folder = tmp_path / str(number)
        story = Story(folder)
        with killed_at(number, monkeypatch):
            said = tell(story)
        story.rig.log_dirs.close(clean=False)
        outcomes.add(check(Story(folder), said))
    assert outcomes == {True, False}  # killed before the decision, and after it


def check(story: Story, said: list[str]) -> bool:
    """Check that all of the first transaction counts or nothing; return which."""
    story.rig.clock.advance(TIMEOUT_MS + 2 * CLEANUP_MS)
    seen = [story.run(f"read t-{index}") for index in (0, 1)]
    offsets = story.run("committed g")
    is_committed = "p0" in seen[0]
    for each in seen:
        assert each.startswith("[p0]" if is_committed else "[]"), (seen, said)
    assert offsets == ("any: 5\nstable: 5\n" if is_committed else "any: none\nstable: none\n"), said
    if COMMIT_SAID in said:
        assert is_committed
    if len(said) <= BEFORE_COMMIT - 1:
        assert not is_committed  # nobody asked for it
    for index in (0, 1):
        partition = story.rig.replicas.partition("t", index)
        assert partition.last_stable_offset == partition.log.log_end_offset, "a transaction hangs"
    state = story.run("state p")
    assert state == "unknown\n" or state.startswith(("Empty", "Complete")), state
    assert story.run("init q id=p").startswith("q: producer")
    assert story.rig.replicas.partition(TRANSACTION_TOPIC, 0).log.log_end_offset > 0
    story.rig.close()
    return is_committed
