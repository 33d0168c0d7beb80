"""A simulated broker's disk: a real folder, in memory where the machine has such a place, that can lose its power.

Rules
- What was flushed (`os.fsync`, which the world reports) is safe: a file's bytes as they were then, and, by a flush of
  its folder, the file's name.
- A loss of power leaves of every other file its flushed bytes and a part of what was appended since, at times with
  zeros behind it; or either version of one that was rewritten. Names that were not flushed come to the disk in the
  order of their creation, as with a journal: the newest of them may be gone.
- A process that is killed loses nothing: the page cache is the kernel's.

Not here: removed files that come back, since what the broker removes it does not miss.
"""

import os
import shutil
import tempfile
from pathlib import Path

import attrs

from pykbroker.log.storage import Flusher, FlushJob, LogDirectory
from tests.simulation.world import World

MEMORY = Path("/dev/shm")
LOST_NAMES, ZEROED, ALL_KEPT = 0.3, 0.1, 0.2  # how often


def new_folder() -> Path:
    """Make a folder for one simulation; whoever asked for it removes it."""
    return Path(tempfile.mkdtemp(prefix="simulation-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))


@attrs.define(eq=False)
class Disk:
    world: World
    root: Path
    _flushed: dict[int, bytes] = attrs.field(factory=dict)  # by inode
    _named: set[int] = attrs.field(factory=set)  # inodes whose names are safe

    def __attrs_post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.world.on_fsync.append(self._on_fsync)

    def _on_fsync(self, fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if not path.is_relative_to(self.root):
            return
        if path.is_dir():
            self._named.update(entry.inode() for entry in os.scandir(path))
        else:
            self._flushed[os.fstat(fd).st_ino] = path.read_bytes()  # the descriptor may be for writing only

    def lose_power(self) -> Path:
        """Return a folder with what is left; `restore` puts it in the place of this one."""
        left = self.root.with_name(f"{self.root.name}.left")
        flushed, named = self._flushed, self._named
        self._flushed, self._named = {}, set()
        newest = self._newest_name_kept(named)
        for folder, names, files in os.walk(self.root):
            names.sort()
            target = left / Path(folder).relative_to(self.root)
            target.mkdir()
            for name in sorted(files):
                source = Path(folder, name)
                inode = source.stat().st_ino
                if inode in named or inode <= newest:
                    content = self._after_power_loss(source.read_bytes(), flushed.get(inode))
                    (target / name).write_bytes(content)
                    kept = (target / name).stat().st_ino
                    self._flushed[kept] = content
                    self._named.add(kept)
        return left

    def _newest_name_kept(self, named: set[int]) -> float:
        """Inodes are numbered in the order of their creation where the disk is memory."""
        if self.world.random.random() >= LOST_NAMES:
            return float("inf")
        files = sorted(path.stat().st_ino for path in self.root.rglob("*") if path.is_file())
        unsafe = [inode for inode in files if inode not in named]
        return self.world.random.choice(unsafe) if unsafe else float("inf")

    def _after_power_loss(self, now: bytes, flushed: bytes | None) -> bytes:
        random = self.world.random
        if now == flushed or random.random() < ALL_KEPT:
            return now
        safe = flushed or b""
        if not now.startswith(safe):
            return now if random.random() < 0.5 else safe
        kept = now[: random.randint(len(safe), len(now))]
        if random.random() < ZEROED:
            return kept + bytes(len(now) - len(kept))
        return kept

    def restore(self, left: Path) -> None:
        shutil.rmtree(self.root)
        os.rename(left, self.root)

    def empty(self) -> None:
        """The disk was replaced."""
        shutil.rmtree(self.root)
        self.root.mkdir()


class SimulatedFlusher(Flusher):
    """Does what the flusher's thread does, one job after the other, each at its simulated time."""

    def __init__(self, directory: LogDirectory, world: World) -> None:
        super().__init__(directory)
        self._world = world
        self._waiting: list[FlushJob | str] = []
        self._is_stopped = False

    def _submit(self, job: FlushJob | str) -> None:
        self._waiting.append(job)
        if len(self._waiting) == 1:
            self._schedule()

    def _schedule(self) -> None:
        self._world.call_later(self._world.random.uniform(1, 300), self._do_next)

    def _do_next(self) -> None:
        if self._waiting and not self._is_stopped:
            self._do(self._waiting.pop(0))
            if self._waiting:
                self._schedule()

    def stop(self) -> None:
        while self._waiting:
            self._do(self._waiting.pop(0))
        self._is_stopped = True

    def abandon(self) -> None:
        """The process is gone, and its jobs with it."""
        self._waiting.clear()
        self._is_stopped = True
