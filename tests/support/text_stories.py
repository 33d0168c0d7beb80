"""Stories as text scripts: commands, each with the expected output below it.

    # a comment
    command
    ----
    what happens

Rules: a blank line ends an output; lines that begin with # are comments. Run with PYKBROKER_REWRITE_STORIES=1 to write
what happens into the files, and read the difference before you keep it.
Not here: what the commands do (tests/groups/stories.py, tests/transactions/stories.py).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs


def check_story(path: Path, run: Callable[[str], str]) -> None:
    """Run the commands of a file and compare what happens with what is told."""
    steps = read_steps(path)
    happened = [attrs.evolve(step, expected=run(step.command)) for step in steps]
    if os.environ.get("PYKBROKER_REWRITE_STORIES"):
        write_steps(path, happened)
    assert [(step.command, step.expected) for step in happened] == [(step.command, step.expected) for step in steps]


@attrs.frozen
class Step:
    comment: str
    command: str
    expected: str


def read_steps(path: Path) -> list[Step]:
    return list(_read_steps(path.read_text().splitlines(keepends=True)))


def _read_steps(lines: list[str]) -> Iterator[Step]:
    comment, command, expected, in_output = "", "", "", False
    for line in [*lines, "\n"]:
        if in_output and line.strip():
            expected += line
        elif in_output:
            yield Step(comment, command, expected)
            comment, command, expected, in_output = "", "", "", False
        elif line.rstrip() == "----":
            in_output = True
        elif line.startswith("#") or not line.strip():
            comment += line
        else:
            command = line.strip()


def write_steps(path: Path, steps: list[Step]) -> None:
    text = "\n".join(f"{step.comment}{step.command}\n----\n{step.expected}" for step in steps)
    path.write_text(text)
