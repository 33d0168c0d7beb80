"""The README as a newcomer follows it: from an empty folder, every command exactly as printed, in order.

Blocks of `sh` are run by a shell of their own, as in a new terminal; `python` is run by the README's virtual
environment; `text` is what the block before it prints. Marks in comments (tests/support/documents) say what else there
is.

What installs something uses this machine's network; the rest runs in one of its own, where the ports that the README
prints are free, if the machine allows that.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.background import Background
from tests.support.distribution import Distribution
from tests.support.dockerfile import LOOPBACK_UP
from tests.support.documents import Block, blocks_of

REPOSITORY = Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"
DEADLINE_S = 120.0


def test_each_block_is_used_or_says_why_not() -> None:
    for block in blocks_of(README.read_text()):
        assert block.language in ("sh", "python", "text"), str(block)
        meanings = (block.awaited, block.file, block.reason_not_to_run)
        assert block.mark is None or sum(meaning is not None for meaning in meanings) == 1, str(block)
        assert block.awaited is None or block.language == "sh", str(block)


@pytest.mark.parametrize(
    "page", ["README.md", "docs/TESTING.md", "docs/DOCKER.md", "docs/PERFORMANCE.md", "examples/README.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (REPOSITORY / page).read_text()
    targets = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}
    assert {target for target in targets if not ((REPOSITORY / page).parent / target).exists()} == set()


def test_blocks_are_read_with_their_marks() -> None:
    text = (
        '## One\n```sh\na\n```\n<!-- readme: in the background, until "up" -->\n```sh\nb\nc\n```\n'
        "## Two\n<!-- readme: the file x.py -->\n```python\n```\n<!-- readme: not run, it is slow -->\n```sh\nd\n```\n"
    )
    first, second, third, fourth = blocks_of(text)
    assert (first.language, first.text, first.section, first.mark) == ("sh", "a\n", "One", None)
    assert (second.text, second.awaited) == ("b\nc\n", "up")
    assert (third.section, third.text, third.file) == ("Two", "", "x.py")
    assert fourth.reason_not_to_run == "it is slow"
    with pytest.raises(ValueError, match="line 1: the block does not end"):
        list(blocks_of("```sh\na\n"))


@pytest.mark.slow
@pytest.mark.parallel
def test_newcomer_gets_through(distribution: Distribution, tmp_path: Path) -> None:
    reader = Reader(distribution.unpack(tmp_path))
    with reader:
        for block in blocks_of(README.read_text()):
            reader.follow(block)
    assert reader.followed >= 7


class Reader:
    """Follows one block after the other. Owns what runs in the background, until the end of its section."""

    def __init__(self, folder: Path) -> None:
        self.followed = 0
        self._folder = folder
        self._section = ""
        self._printed = ""
        self._own_network: list[str] = []
        self._running = contextlib.ExitStack()
        self._exit = contextlib.ExitStack()
        # The interpreter that runs this test is the newcomer's python3.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"}

    def __enter__(self) -> "Reader":
        self._own_network = self._exit.enter_context(network_of_its_own(self._folder))
        self._exit.push(self._running)
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()

    def follow(self, block: Block) -> None:
        if block.section != self._section:
            self._running.close()
            self._section = block.section
        if block.reason_not_to_run is not None:
            return
        self.followed += 1
        if block.file is not None:
            (self._folder / block.file).write_text(block.text)
        elif block.language == "text":
            assert self._printed == block.text, str(block)
        elif block.awaited is not None:
            background = Background(self._command(block), cwd=self._folder, environment=self._environment)
            self._running.enter_context(background).wait_for(block.awaited)
        else:
            self._run(block)

    def _command(self, block: Block) -> list[str]:
        words = ["sh", "-ec", block.text] if block.language == "sh" else [".venv/bin/python", "-c", block.text]
        return words if "pip install" in block.text else [*self._own_network, *words]

    def _run(self, block: Block) -> None:
        done = subprocess.run(
            self._command(block),
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        self._printed = done.stdout


@contextlib.contextmanager
def network_of_its_own(folder: Path) -> Iterator[list[str]]:
    """Yield what runs a command in a network where nothing listens yet, or nothing where that is not allowed."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        yield []
        return
    stay = f"{LOOPBACK_UP}; print('up', flush=True); import signal; signal.pause()"
    with Background(["unshare", "--net", sys.executable, "-c", stay], cwd=folder) as holder:
        try:
            holder.wait_for("up")
        except AssertionError:
            yield []
        else:
            yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "--"]
