"""A Dockerfile, and how to do what it says without Docker.

    dockerfile = Dockerfile.read(path)
    dockerfile.stages[-1].command               # ["/etc/kafka/docker/run"]

    with Workshop(folder) as workshop:
        image = workshop.build(dockerfile, context)
        with image.start({"KAFKA_NODE_ID": "1"}) as container:
            container.wait_for("accepts clients on"); container.run("kafka-topics.sh", "--list", …)

A `Workshop` is a mount namespace with a tmpfs: all of it is gone with its process. The root of this machine stands in
for every `FROM`, under an overlay, so what is installed here is in the image, too. A container is a process in a root
of its own and a network of its own, where only the loopback is; what it starts ends with it.

Not here: what a build of Docker's does besides (layers, caches, volumes, ports).
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import attrs

DEADLINE_S = 120.0
BUILD_DEADLINE_S = 900.0  # installs packages, maybe while much else is tested
LOOPBACK_UP = (
    "import fcntl, socket, struct; "
    "fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, struct.pack('16sh14x', b'lo', 1))"
)
FOR_DOWNLOADS = re.compile("(?i)pip_.*|.*_proxy|ssl_cert_.*")  # variables that tell pip where packages are


@attrs.define
class Stage:
    """What one FROM begins. `steps` are COPY and RUN in their order; the rest is how a container is started."""

    name: str
    base: str
    steps: list[tuple[str, str]] = attrs.field(factory=list)
    environment: dict[str, str] = attrs.field(factory=dict)
    command: list[str] = attrs.field(factory=list)
    user: str = "root"
    workdir: str = "/"
    others: dict[str, str] = attrs.field(factory=dict)  # VOLUME, EXPOSE, LABEL


@attrs.define
class Dockerfile:
    stages: list[Stage]

    @classmethod
    def read(cls, path: Path) -> "Dockerfile":
        arguments: dict[str, str] = {}
        stages: list[Stage] = []
        for keyword, rest in _instructions(path.read_text()):
            if keyword == "ARG":
                name, _, value = rest.partition("=")
                arguments[name] = value
            elif keyword == "FROM":
                base, _, name = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], rest).partition(" AS ")
                stages.append(Stage(name, base))
            else:
                _apply(stages[-1], keyword, rest)
        return cls(stages)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    for line in lines.splitlines():
        if line.strip():
            keyword, _, rest = line.strip().partition(" ")
            yield keyword, rest.strip()


def _apply(stage: Stage, keyword: str, rest: str) -> None:
    match keyword:
        case "COPY" | "RUN":
            stage.steps.append((keyword, rest))
        case "ENV":
            name, _, value = rest.partition("=")
            stage.environment[name] = value
        case "CMD":
            stage.command = json.loads(rest)
        case "USER":
            stage.user = rest
        case "WORKDIR":
            stage.workdir = rest
        case "VOLUME" | "EXPOSE" | "LABEL":
            stage.others[keyword] = rest
        case _:
            raise AssertionError(f"{keyword} is not known here")


class Unavailable(Exception):
    """This machine does not let us."""


class Failed(Exception):
    """A command in the workshop failed; the text is what it said."""


class Workshop:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "workshop"

    def __enter__(self) -> "Workshop":
        """Raises: Unavailable."""
        self.folder.mkdir()
        programs = ("unshare", "nsenter", "mount", "chroot", "bash")
        if missing := [program for program in programs if shutil.which(program) is None]:
            raise Unavailable(f"there is no {', '.join(missing)} here")
        mounted = f"mount -t tmpfs tmpfs {self.folder} && echo ready && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mounted], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        try:
            if self._holder.stdout.readline() != "ready\n":
                raise Unavailable("file systems cannot be mounted here")
            self.root("probe", "/")
            self.inside("unshare", "--net", sys.executable, "-c", LOOPBACK_UP)
        except (Unavailable, Failed) as error:
            self.__exit__(None, None, None)
            raise Unavailable(f"neither roots nor networks can be made here: {error}") from None
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._holder.communicate()

    def command(self, *words: str | Path) -> list[str]:
        """Return the command that runs another one where the roots are mounted."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--", *map(str, words)]

    def inside(self, *words: str | Path) -> str:
        """Run a command where the roots are mounted, and return what it prints. Raises: Failed."""
        done = subprocess.run(
            self.command(*words),
            check=False,
            capture_output=True,
            text=True,
            timeout=BUILD_DEADLINE_S,
            errors="replace",
        )
        if done.returncode != 0:
            # Not all of its words: variables that tell pip where packages are may have secrets.
            raise Failed(f"{words[-1]}\n{done.stdout}{done.stderr}")
        return done.stdout

    def root(self, name: str, below: str) -> Path:
        """Mount a root of its own over others, the topmost first, and return where it is."""
        top = self.folder / name
        layers = f"lowerdir={below},upperdir={top}/upper,workdir={top}/work"
        steps = [
            f"mkdir -p {top}/upper {top}/work {top}/root",
            f"mount -t overlay overlay -o {layers} {top}/root",
            f"mount --rbind /dev {top}/root/dev && mount -t proc proc {top}/root/proc",
            f"if [ -e /etc/resolv.conf ]; then cp -L /etc/resolv.conf {top}/resolv.conf; "
            f"mount --bind {top}/resolv.conf {top}/root/etc/resolv.conf; fi",
        ]
        self.inside("sh", "-ec", "\n".join(steps))
        return top / "root"

    def build(self, dockerfile: Dockerfile, context: Path) -> "Image":
        roots: dict[str, Path] = {}
        path = _stand_in_path()
        for stage in dockerfile.stages:
            root = self.root(f"stage-{len(roots)}", "/")
            self._be_like_a_python_image(root)
            for keyword, rest in stage.steps:
                if keyword == "RUN":
                    variables = {name: value for name, value in os.environ.items() if FOR_DOWNLOADS.fullmatch(name)}
                    self.inside(*_in_root(root, variables | {"PATH": path}), "sh", "-c", rest)
                else:
                    self._copy(rest, root, roots, context)
            roots[stage.name or "final"] = root
        return Image(self, dockerfile.stages[-1], f"{root.parent}/upper", path)

    def _be_like_a_python_image(self, root: Path) -> None:
        """Let everybody use the interpreter that runs this, and nobody have the id of the image's user."""
        parents = [str(root) + str(folder) for folder in Path(sys.base_prefix).parents if folder != Path("/")]
        self.inside("chmod", "a+rx", *parents, str(root) + sys.base_prefix)
        self.inside("sed", "-i", "/^[^:]*:[^:]*:1000:/d", f"{root}/etc/passwd")

    def _copy(self, rest: str, root: Path, roots: Mapping[str, Path], context: Path) -> None:
        *sources, target = shlex.split(rest)
        origin = roots[sources.pop(0).removeprefix("--from=")] if rest.startswith("--from=") else context
        destination = f"{root}{target}"
        self.inside("mkdir", "-p", destination if target.endswith("/") else str(Path(destination).parent))
        for source in sources:
            self.inside("cp", "-a", f"{origin}/{source.lstrip('/')}", destination)


@attrs.define
class Image:
    workshop: Workshop
    stage: Stage
    layer: str
    path: str
    containers: int = 0

    @contextlib.contextmanager
    def start(
        self,
        environment: Mapping[str, str],
        *command: str,
        files: Mapping[str, str] | None = None,
        mounts: Sequence[str] = (),
    ) -> Iterator["Container"]:
        """Run a container with the image's command, or another one. `files` and empty `mounts` are in it before."""
        self.containers += 1
        root = self.workshop.root(f"container-{self.containers}", f"{self.layer}:/")
        for name, text in (files or {}).items():
            subprocess.run(
                self.workshop.command("sh", "-c", f"cat > {root}{name} && chmod 0777 {root}{name}"),
                input=text,
                text=True,
                check=True,
            )
        for folder in mounts:
            mounted = f"mkdir -p {root}{folder} && mount -t tmpfs -o mode=0777 tmpfs {root}{folder}"
            self.workshop.inside("sh", "-c", mounted)
        variables = {"PATH": self.stage.environment["PATH"].replace("$PATH", self.path)} | dict(environment)
        program = _in_root(root, variables, user=self.stage.user, folder=self.stage.workdir)
        prepared = f'{sys.executable} -c "$0" && exec "$@"'
        process = subprocess.Popen(
            [
                *self.workshop.command("unshare", "--net", "--pid", "--fork"),
                *("sh", "-c", prepared, LOOPBACK_UP),
                *program,
                *(command or self.stage.command),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            container = Container(self.workshop, process, program)
            try:
                yield container
            finally:
                if process.poll() is None:
                    container.kill(signal.SIGKILL)


@attrs.define
class Container:
    workshop: Workshop
    process: subprocess.Popen[str]
    program: Sequence[str]
    log: list[str] = attrs.field(factory=list)

    def wait_for(self, *texts: str) -> None:
        """Read the log until each text was in a line of it."""
        missing = [text for text in texts if not any(text in line for line in self.log)]
        while missing:
            line = self._read_line(*missing)
            missing = [text for text in missing if text not in line]

    def wait_for_match(self, pattern: str) -> None:
        """Read the log until a line of it has a match."""
        while not any(re.search(pattern, line) for line in self.log):
            self._read_line(pattern)

    def _read_line(self, *awaited: str) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the container ended without {awaited}: {self.log}"
        self.log.append(line.rstrip("\n"))
        return line

    def kill(self, signal_number: signal.Signals) -> None:
        """Send a signal to the first process inside; if that ends, all others do."""
        process = self.process.pid
        (first,) = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        os.kill(int(first), signal_number)

    def stop(self) -> int:
        self.kill(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=DEADLINE_S)
        self.log += rest.splitlines()
        return self.process.returncode

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside, as `docker exec` does."""
        return subprocess.run(
            [*self.workshop.command(*self._in_network()), *self.program, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )

    def run_outside(self, *command: str | Path) -> str:
        """Run a command of this machine, in the container's network."""
        done = subprocess.run(
            [*self._in_network(), *map(str, command)], capture_output=True, text=True, check=True, timeout=DEADLINE_S
        )
        return done.stdout

    def _in_network(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", "--"]


def _in_root(root: Path, variables: Mapping[str, str], *, user: str = "root", folder: str = "/") -> list[str]:
    words = [f"{name}={value}" for name, value in {"HOME": "/root", **variables}.items()]
    return ["chroot", f"--userspec={user}", str(root), "env", "-i", f"--chdir={folder}", *words]


def _stand_in_path() -> str:
    return f"{sys.base_prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
