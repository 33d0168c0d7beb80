"""The fenced blocks of a Markdown file, and how a reader would use each of them.

    for block in blocks_of(text):
        block.language, block.text, block.section, block.mark

A block that is not simply run says so in a comment on the line above it:

    <!-- readme: in the background, until "accepts clients on" -->   goes on until the end of its section
    <!-- readme: the file hello.py -->                               is saved under that name
    <!-- readme: not run, it takes Docker -->                        with the reason
"""

import re
from collections.abc import Iterator

import attrs

MARK = re.compile(r"<!-- readme: (.+) -->")
BACKGROUND = re.compile(r'in the background, until "(.+)"')
FILE = re.compile(r"the file (\S+)")
NOT_RUN = re.compile(r"not run, (.+)")


@attrs.frozen
class Block:
    language: str
    text: str
    section: str  # the last heading of the second level
    mark: str | None
    line: int

    @property
    def awaited(self) -> str | None:
        """What a command in the background prints when the reader goes on."""
        return self._marked(BACKGROUND)

    @property
    def file(self) -> str | None:
        return self._marked(FILE)

    @property
    def reason_not_to_run(self) -> str | None:
        return self._marked(NOT_RUN)

    def _marked(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.fullmatch(self.mark) if self.mark is not None else None
        return found[1] if found else None

    def __str__(self) -> str:
        return f"line {self.line}: {self.text.splitlines()[0] if self.text else ''}"


def blocks_of(document: str) -> Iterator[Block]:
    section, above = "", ""
    lines = iter(enumerate(document.splitlines(), start=1))
    for number, line in lines:
        if line.startswith("## "):
            section = line.removeprefix("## ")
        if line.startswith("```"):
            mark = MARK.fullmatch(above)
            text = []
            for _, inner in lines:
                if inner == "```":
                    break
                text.append(inner)
            else:
                raise ValueError(f"line {number}: the block does not end")
            content = "".join(f"{each}\n" for each in text)
            yield Block(line.removeprefix("```"), content, section, mark and mark[1], number)
        above = line
