"""The command as a process: quick to start, quiet when it is interrupted or nobody reads, and known to shells."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from pykbroker.cli.root import COMMANDS, app, help_of
from wire.records import Record, build_batch

DEADLINE_S = 30.0
REPOSITORY = Path(__file__).resolve().parent.parent.parent
PROGRAM = [sys.executable, "-m", "pykbroker"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "TERM": "dumb"}


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker in a process of its own, with a topic `t` of three records."""
    command = [*PROGRAM, "start", "--ephemeral", "--port", "0", "--log-level", "warning"]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as broker:
        try:
            assert broker.stdout is not None
            broker.stdout.readline()
            address = broker.stdout.readline().split()[-1]
            run("produce", "t", bootstrap=address, stdin=b"a\nb\nc\n")
            yield address
        finally:
            broker.send_signal(signal.SIGTERM)


def run(
    *words: str, bootstrap: str = "127.0.0.1:1", stdin: bytes = b"", status: int = 0, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [*PROGRAM, *words],
        input=stdin,
        env=ENVIRONMENT | {"PYKBROKER_BOOTSTRAP": bootstrap} | environment,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == status, done
    assert b"Traceback" not in done.stderr
    return done


@contextlib.contextmanager
def started(*words: str, bootstrap: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [*PROGRAM, *words, "-b", bootstrap],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what has come can be waited for
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def modules_of(*words: str) -> set[str]:
    """Which modules a command has imported when it ends."""
    code = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        f"from pykbroker.cli import main; main({list(words)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [("--help",), ("topics", "--help"), ("consume", "-h"), ("groups", "reset", "--help")])
def test_help_imports_only_what_it_needs(words: tuple[str, ...]) -> None:
    """That is what keeps it under 0.15 s: each of these takes tens of milliseconds."""
    imported = modules_of(*words)
    assert "typer" in imported
    assert not imported & {"anyio", "attrs", "pydantic", "rich.console", "pykbroker.client", "wire.codec", "asyncio"}


def test_start_imports_nothing_of_the_other_commands() -> None:
    imported = modules_of("start", "--help")
    assert not {name for name in imported if name.startswith(("typer", "rich", "pydantic", "pykbroker.client"))}
    assert {name for name in imported if name.startswith("pykbroker")} == {"pykbroker", "pykbroker.cli"}


def test_help_lists_all_commands() -> None:
    lines = run("--help").stdout.decode().splitlines()
    listed = [line.split()[0] for line in lines[lines.index("Commands:") + 1 :] if line.startswith("  ")]
    assert listed[: len(COMMANDS)] == list(COMMANDS)
    assert run("-h").stdout == run("--help").stdout


def test_help_that_nobody_reads_ends_quietly() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb") as nobody:
        command = [*PROGRAM, "topics", "--help"]
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_no_command_is_answered_with_the_help() -> None:
    assert b"Commands:" in run(status=2).stderr


@pytest.mark.slow
@pytest.mark.parallel
def test_help_of_a_command_that_is_none_is_an_error() -> None:
    assert b"No such command 'nope'" in run("nope", "--help", status=2).stderr
    assert b"No such command 'nope'" in run("topics", "nope", "--help", status=2).stderr


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command that is no group of others."""
    if not isinstance(command, TyperGroup):
        yield words
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*words, name))


OTHERS = {("start",), ("cluster",), ("test",), ("wire",)}  # of argparse
CALLED = sorted(set(leaves(typer.main.get_command(app))) - OTHERS)


@pytest.mark.parametrize("words", CALLED, ids=" ".join)
def test_help_of_each_command_shows_examples(words: tuple[str, ...]) -> None:
    lines = (help_of([*words, "--help"]) or "").splitlines()
    assert lines[0].startswith(f"Usage: pykbroker {' '.join(words)} ")
    shown = [line.strip() for line in lines[lines.index("  Examples:") + 1 :]]
    assert shown
    assert all(line.startswith(f"pykbroker {' '.join(words)}") for line in shown)
    assert any(line.strip().startswith("--json") for line in lines) or words == ("completion",)
    assert any("--command-config" in line for line in lines) is (words not in {("completion",), ("log", "dump")})


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert run("--version").stdout.decode() == f"pykbroker {project['version']}\n"


@pytest.mark.parametrize("words", [("start",), ("cluster",), ("test",)])
def test_help_of_what_runs_brokers_is_that_of_argparse(words: tuple[str, ...]) -> None:
    assert run(*words, "--help").stdout.startswith(f"usage: pykbroker {words[0]} ".encode())


# Pipes and signals


@pytest.mark.slow
@pytest.mark.parallel
def test_lines_from_stdin_are_read_as_they_come(bootstrap: str) -> None:
    with started("produce", "piped", "--json", bootstrap=bootstrap) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for offset in range(2):
            process.stdin.write(b"line\n")
            process.stdin.flush()
            assert b'"offset": %d' % offset in read_line(process)
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0


@pytest.mark.slow
@pytest.mark.parallel
def test_last_line_needs_no_end(bootstrap: str) -> None:
    done = run("produce", "unended", bootstrap=bootstrap, stdin=b"1\n2")
    assert done.stderr == b"2 records written to unended\n"


@pytest.mark.slow
@pytest.mark.parallel
def test_consumer_that_follows_ends_on_sigint(bootstrap: str) -> None:
    with started("consume", "t", bootstrap=bootstrap) as process:
        assert [read_line(process) for _ in range(3)] == [b"a\n", b"b\n", b"c\n"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (128 + signal.SIGINT, b"")


@pytest.mark.slow
@pytest.mark.parallel
def test_member_of_a_group_leaves_on_sigint(bootstrap: str) -> None:
    with started("consume", "t", "-g", "leaving", bootstrap=bootstrap) as process:
        read_line(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (128 + signal.SIGINT, b"")
    assert b"leaving  Empty" in run("groups", "describe", "leaving", bootstrap=bootstrap).stdout


@pytest.mark.slow
@pytest.mark.parallel
def test_producer_that_waits_for_input_ends_on_sigint(bootstrap: str) -> None:
    with started("produce", "t2", "--json", bootstrap=bootstrap) as process:
        assert process.stdin is not None
        process.stdin.write(b"line\n")
        process.stdin.flush()
        read_line(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (128 + signal.SIGINT, b"")


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("words", [("consume", "t", "-f", "%v" + "x" * 100_000), ("topics", "list", "--json")])
def test_output_that_nobody_reads_ends_the_command_quietly(bootstrap: str, words: tuple[str, ...]) -> None:
    with started(*words, bootstrap=bootstrap) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        assert (process.wait(DEADLINE_S), err) == (128 + signal.SIGPIPE, b"")


def test_group_keeps_what_nobody_read(bootstrap: str) -> None:
    with started("consume", "t", "-g", "unread", bootstrap=bootstrap) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(DEADLINE_S) == 128 + signal.SIGPIPE
    assert run("consume", "t", "-g", "unread", "-n", "3", bootstrap=bootstrap).stdout == b"a\nb\nc\n"


def test_group_goes_on_behind_what_was_printed_before_sigint(bootstrap: str) -> None:
    with started("consume", "t", "-g", "interrupted", bootstrap=bootstrap) as process:
        assert [read_line(process) for _ in range(3)] == [b"a\n", b"b\n", b"c\n"]
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE_S)
    described = run("groups", "describe", "interrupted", bootstrap=bootstrap).stdout.decode()
    assert described.split()[-7:-4] == ["0", "3", "3"]


def test_long_work_has_a_bar_and_files_may_vanish_meanwhile(tmp_path: Path) -> None:
    """Nobody reads the output, so the dump stands in the middle of its first file: that is what the bar shows."""
    batch = build_batch([Record(timestamp=0, value=b"x" * 1000)])
    for number in range(2):
        (tmp_path / f"{number:020}.log").write_bytes(batch * 1000)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "log", "dump", "-r", str(tmp_path)],
        env=ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        while not any(0 < int(percent) < 50 for percent in re.findall(rb"(\d+)%", shown)):
            ready, _, _ = select.select([ours], [], [], DEADLINE_S)
            assert ready, shown
            shown += os.read(ours, 65536)
        (tmp_path / f"{1:020}.log").unlink()
        assert process.stdout is not None
        assert process.stdout.read().count(b"\n") == 2 + 2 * 1000
        assert process.wait(DEADLINE_S) == 0
    with contextlib.suppress(OSError):  # the other end is closed
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    assert b".log is gone" in shown.replace(b"\r\n", b"")


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], DEADLINE_S)
    assert ready, "nothing came"
    return process.stdout.readline()


# Completion


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", list(COMMANDS)),
        ("con", ["consume", "configs"]),
        ("completion f", ["fish"]),
        ("start --e", ["--ephemeral"]),
        ("start --log-level ", ["debug", "info", "warning", "error"]),
        ("cluster --b", ["--brokers"]),
        ("groups de", ["describe", "delete", "delete-offsets"]),
        ("configs describe b", ["broker", "broker-logger"]),
        ("produce t -z z", ["zstd"]),
        ("topics describe t", ["t"]),
        ("configs describe topic t", ["t"]),
        ("brokers decommission ", ["1"]),
        ("topics move t --to 3,", ["3,1"]),
    ],
)
def test_bash_completes_words(bootstrap: str, typed: str, expected: list[str]) -> None:
    words = f"pykbroker {typed}"
    position = str(len(words.split(" ")) - 1)
    done = run(bootstrap=bootstrap, _PYKBROKER_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=position)
    assert [name for name in done.stdout.decode().split() if name not in ("t2",)] == expected


@pytest.mark.slow
@pytest.mark.parallel
def test_zsh_and_fish_are_told_what_words_mean(bootstrap: str) -> None:
    typed = {"_TYPER_COMPLETE_ARGS": "pykbroker topics descr"}
    zsh = run(_PYKBROKER_COMPLETE="complete_zsh", **typed).stdout
    assert b'"describe":"Show partitions, offsets and configs."' in zsh
    fish = run(_PYKBROKER_COMPLETE="complete_fish", _TYPER_COMPLETE_FISH_ACTION="get-args", **typed).stdout
    assert fish == b"describe\tShow partitions, offsets and configs.\n"


@pytest.mark.slow
@pytest.mark.parallel
def test_names_are_completed_to_nothing_where_nobody_answers() -> None:
    done = run(_PYKBROKER_COMPLETE="complete_bash", COMP_WORDS="pykbroker topics describe ", COMP_CWORD="3")
    assert (done.stdout.strip(), done.stderr) == (b"", b"")


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_given_a_script(shell: str) -> None:
    script = run("completion", shell).stdout
    assert b"_PYKBROKER_COMPLETE=complete_" + shell.encode() in script
    assert shell != "zsh" or script.startswith(b"#compdef pykbroker\n")  # zsh reads no further to find out
