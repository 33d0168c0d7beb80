"""What the compatibility clients are, and how each is made ready to run.

Owns: the list of scenarios, the reading of `compat/<client>/client.toml`, and one prepare step per toolchain.
Rules: a build goes to the user's cache directory under a key made of the client's lock files (and its sources where
       they are compiled), and is
       marked complete at its end, so that a second run only looks at the mark. Whatever a toolchain lacks raises
       Unavailable with the reason.
Not here: running clients (run.py), the scenarios' meaning (README.md).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import field, frozen

COMPAT = Path(__file__).resolve().parent
REPOSITORY = COMPAT.parent
PYTEST_PLUGIN = "pytest_plugin"

SCENARIOS = (
    "produce_consume",
    "compression",
    "cross_compression",
    "acks",
    "idempotent",
    "large_messages",
    "seek_replay",
    "commit_resume",
    "group_rebalance",
    "static_membership",
    "transactions",
    "transactional_offsets",
    "admin_topics",
    "admin_configs",
    "admin_groups",
    "admin_records",
    "auto_create",
    "errors",
)
CROSS = "cross_compression"
PREPARE_TIMEOUT_S = 900


class Unavailable(Exception):
    """This client cannot run on this machine; the text says why."""


@frozen
class Client:
    """One client as its client.toml describes it. `extra` are scenarios that only this client has."""

    name: str
    directory: Path
    package: str
    toolchain: str
    program: str = ""
    codecs: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    timeout_s: float = 240
    not_applicable: Mapping[str, str] = field(factory=dict)

    def scenarios(self) -> list[str]:
        """Return the scenarios that this client's program is called with."""
        return [name for name in (*SCENARIOS, *self.extra) if name not in self.not_applicable]

    def version(self) -> str:
        """Return the pinned version of the client's library, read from its lock file ("" if that does not tell)."""
        return TOOLCHAINS[self.toolchain].version(self)


@frozen
class Runner:
    """A client that is ready: its command (the calling convention's arguments follow) and what it adds to the
    environment."""

    command: list[str]
    environment: Mapping[str, str]


@frozen
class Toolchain:
    """What a kind of client needs: programs on the PATH, the files that decide its build, and the steps."""

    programs: tuple[str, ...]
    key_files: tuple[str, ...]
    build: Callable[[Client, Path], None]
    command: Callable[[Client, Path], list[str]]
    version: Callable[[Client], str]


def load_clients() -> list[Client]:
    """Return every client that has a directory here, by name."""
    clients = []
    for path in sorted(COMPAT.glob("*/client.toml")):
        described = tomllib.loads(path.read_text())
        unknown = set(described.get("not_applicable", {})) - set(SCENARIOS)
        if unknown:
            raise ValueError(f"{path}: no such scenarios: {', '.join(sorted(unknown))}")
        for name in ("codecs", "extra"):
            described[name] = tuple(described.get(name, ()))
        clients.append(Client(directory=path.parent, **described))
    return sorted(clients, key=lambda client: client.name)


def cache_directory() -> Path:
    """Return the directory that keeps what clients and Apache Kafka need between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pykbroker"


def missing_programs(client: Client) -> str:
    """Return why the client's toolchain is not usable here, or "" if it seems to be."""
    missing = [name for name in TOOLCHAINS[client.toolchain].programs if shutil.which(name) is None]
    return f"{client.toolchain} toolchain is absent: no {', '.join(missing)} on the PATH" if missing else ""


def prepare(client: Client) -> Runner:
    """Build or install the client unless the cache has it.

    Raises: Unavailable, with the last line that the failing step said.
    """
    if reason := missing_programs(client):
        raise Unavailable(reason)
    toolchain = TOOLCHAINS[client.toolchain]
    build = cache_directory() / "compat" / f"{client.name}-{_key(client, toolchain)}"
    build.mkdir(parents=True, exist_ok=True)
    with open(build / ".lock", "w") as lock:  # two runs at once must not install into one directory
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (build / ".complete").exists():
            toolchain.build(client, build)
            (build / ".complete").touch()
    return Runner(toolchain.command(client, build), {"COMPAT_BUILD": str(build), "PYTHONPATH": str(COMPAT)})


def _key(client: Client, toolchain: Toolchain) -> str:
    digest = hashlib.sha256(sys.version.encode() if client.toolchain == "python" else b"")
    if PYTEST_PLUGIN in client.extra:  # pykbroker itself is installed, from where it is now
        digest.update(str(REPOSITORY).encode() + b"\0" + (REPOSITORY / "pyproject.toml").read_bytes())
    for pattern in toolchain.key_files:
        for path in sorted(client.directory.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def step(command: list[str], cwd: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run one command of a prepare step. Raises: Unavailable if it fails or takes longer than PREPARE_TIMEOUT_S."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PREPARE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`{' '.join(command[:3])} …` took longer than {PREPARE_TIMEOUT_S} s") from error
    if done.returncode != 0:
        said = [line for line in done.stdout.splitlines() if line.strip()][-12:]
        raise Unavailable(f"`{' '.join(command[:3])} …` failed: " + "\n    ".join(said))


def _search(client: Client, file: str, pattern: str) -> str:
    path = client.directory / file
    found = re.search(pattern, path.read_text()) if path.exists() else None
    return found.group(1) if found else ""


def _build_python(client: Client, build: Path) -> None:
    step([sys.executable, "-m", "venv", "--clear", str(build / "venv")], build)
    python = str(build / "venv" / "bin" / "python")
    step([python, "-m", "pip", "install", "-q", "-r", str(client.directory / "requirements.txt")], build)
    if PYTEST_PLUGIN in client.extra:
        step([python, "-m", "pip", "install", "-q", "-e", str(REPOSITORY)], build)


def _build_maven(client: Client, build: Path) -> None:
    libs = build / "libs"
    shutil.rmtree(libs, ignore_errors=True)
    copy_jars(client.directory / "pom.xml", libs)
    sources = [str(path) for path in sorted(client.directory.glob("*.java"))]
    step(["javac", "-proc:none", "-d", str(build / "classes"), "-cp", f"{libs}/*", *sources], build)


def copy_jars(pom: Path, libs: Path) -> None:
    """Copy the jars that `pom` depends on into `libs`."""
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
    step(["mvn", "-B", "-q", "-f", str(pom), goal, "-DincludeScope=runtime", f"-DoutputDirectory={libs}"], pom.parent)


def _build_go(client: Client, build: Path) -> None:
    step(["go", "build", "-o", str(build / "client"), "."], client.directory)


def _build_node(client: Client, build: Path) -> None:
    for path in client.directory.glob("package*.json"):
        shutil.copy(path, build)
    step(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], build)


def _build_debian(client: Client, build: Path) -> None:
    if shutil.which(client.package) is not None:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Unavailable(f"{client.package} is not installed, and only root can apt-get install it")
    step(["apt-get", "install", "-y", "-q", client.package], build, {"DEBIAN_FRONTEND": "noninteractive"})


def _command_python(client: Client, build: Path) -> list[str]:
    return [str(build / "venv" / "bin" / "python"), str(client.directory / client.program)]


def _command_maven(client: Client, build: Path) -> list[str]:
    if client.program.endswith(".py"):  # drives JVMs of its own
        return [sys.executable, str(client.directory / client.program)]
    quick_start = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"]
    return ["java", *quick_start, "-cp", f"{build}/classes:{client.directory}:{build}/libs/*", client.program]


def _command_node(client: Client, build: Path) -> list[str]:
    # Node looks for modules beside the program, so the program goes to where they are.
    for path in client.directory.iterdir():
        if path.suffix in {".js", ".mjs", ".cjs"}:
            shutil.copy(path, build)
    return ["node", str(build / client.program)]


def _version_debian(client: Client) -> str:
    if shutil.which("dpkg-query") is None:
        return ""
    query = ["dpkg-query", "-W", "-f=${Version}", client.package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()


def _version_maven(client: Client) -> str:
    artifact = re.escape(client.package)
    return _search(client, "pom.xml", rf"<artifactId>{artifact}</artifactId>\s*<version>([^<]+)</version>")


TOOLCHAINS: Mapping[str, Toolchain] = {
    "python": Toolchain(
        programs=(),
        key_files=("requirements.txt",),
        build=_build_python,
        command=_command_python,
        version=lambda client: _search(client, "requirements.txt", rf"(?m)^{re.escape(client.package)}==(\S+)"),
    ),
    "maven": Toolchain(
        programs=("mvn", "java", "javac"),
        key_files=("pom.xml", "*.java"),
        build=_build_maven,
        command=_command_maven,
        version=_version_maven,
    ),
    "go": Toolchain(
        programs=("go",),
        key_files=("go.mod", "go.sum", "*.go", "../go_program/*.go"),  # the module that the Go clients share
        build=_build_go,
        command=lambda client, build: [str(build / "client")],
        version=lambda client: _search(client, "go.mod", rf"{re.escape(client.package)} v(\S+)"),
    ),
    "node": Toolchain(
        programs=("node", "npm"),
        key_files=("package.json", "package-lock.json"),
        build=_build_node,
        command=_command_node,
        version=lambda client: _search(client, "package.json", rf'"{re.escape(client.package)}": *"[~^]?([^"]+)"'),
    ),
    "debian": Toolchain(
        programs=(),
        key_files=(),
        build=_build_debian,
        command=lambda client, build: [sys.executable, str(client.directory / client.program)],
        version=_version_debian,
    ),
}
