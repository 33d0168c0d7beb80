"""The command `pykbroker test`: brokers for tests, and the command that finds them in its environment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.background import Background

pytestmark = [pytest.mark.slow, pytest.mark.parallel]

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 60.0
PYKBROKER = [sys.executable, "-m", "pykbroker"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}

COMMAND = """
import os, urllib.request
print(os.environ["KAFKA_BOOTSTRAP_SERVERS"], os.environ["PYKBROKER_BOOTSTRAP"])
print(urllib.request.urlopen(os.environ["PYKBROKER_HTTP"] + "/cluster").read().decode().strip())
raise SystemExit(7)
"""


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*PYKBROKER, "test", *words], capture_output=True, text=True, env=ENVIRONMENT, timeout=DEADLINE_S, check=False
    )


def test_command_finds_the_brokers_and_its_status_is_ours() -> None:
    done = run("--brokers", "2", "--", sys.executable, "-c", COMMAND, "--", "--brokers")
    bootstrap, cluster = done.stdout.splitlines()
    first, second = bootstrap.split()
    assert first == second
    assert cluster == f'{{"bootstrap":"{first}","brokers":[1,2],"bugs":0}}'
    assert (done.returncode, done.stderr) == (7, "")


def test_other_commands_of_ours_are_clients_of_these_brokers() -> None:
    python = f'"{sys.executable}" -m pykbroker'
    script = f"{python} topics create orders && {python} topics list"
    done = run("--set", "num.partitions=4", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout.split()[-3:]) == (0, ["orders", "4", "1"])


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (["--", "sh", "-c", "kill -9 $$"], 137, ""),
        (["--", "no-such-command"], 127, "pykbroker: no-such-command: No such file or directory\n"),
        (["--", "/"], 126, "pykbroker: /: Permission denied\n"),
        (
            ["--until-stdin-closes", "--", "true"],
            1,
            "pykbroker: --until-stdin-closes is for brokers without a command\n",
        ),
        (["--set", "num.partitions=x"], 1, None),
        (["--http", "nonsense"], 1, "pykbroker: 'nonsense' is not HOST:PORT\n"),
    ],
)
def test_what_cannot_be_run_says_why(words: list[str], status: int, why: str | None) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr == why if why is not None else done.stderr.startswith("pykbroker: ")


def test_brokers_without_a_command_say_where_they_are_until_they_are_stopped(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PYKBROKER, "test"], env=ENVIRONMENT, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        http = process.stdout.readline().removeprefix("pykbroker serves HTTP on ").strip()
        bootstrap = process.stdout.readline().removeprefix("pykbroker accepts clients on ").strip()
        with httpx.Client(trust_env=False) as client:
            assert client.get(f"{http}/cluster").json()["bootstrap"] == bootstrap
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=DEADLINE_S) == ("pykbroker stops on SIGTERM\n", "")
    assert (process.returncode, list(tmp_path.iterdir())) == (0, [])


def test_brokers_end_with_the_program_that_started_them() -> None:
    process = subprocess.Popen(
        [*PYKBROKER, "test", "--until-stdin-closes"],
        env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert [process.stdout.readline().split(" on ")[0] for _ in range(2)] == [
            "pykbroker serves HTTP",
            "pykbroker accepts clients",
        ]
        process.stdin.write("a word is no end\n" * 50_000)  # more than a pipe takes that nobody reads
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0


def test_signal_that_ends_us_ends_the_command_first(tmp_path: Path) -> None:
    script = "trap 'echo ended; exit 3' TERM; echo started; while :; do read -r _ < fifo; done"
    os.mkfifo(tmp_path / "fifo")
    with Background([*PYKBROKER, "test", "--", "sh", "-c", script], cwd=tmp_path, environment=ENVIRONMENT) as process:
        process.wait_for("started")
        os.kill(process.pid, signal.SIGINT)  # a terminal's would have reached the command, too
        os.kill(process.pid, signal.SIGTERM)
        process.wait_for("ended")


def test_other_commands_that_run_brokers_take_no_command() -> None:
    done = subprocess.run(
        [*PYKBROKER, "start", "--", "true"], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert (done.returncode, done.stderr) == (1, "pykbroker: start takes no command\n")


def test_without_the_extra_it_says_how_to_install_it() -> None:
    script = "import sys; sys.modules['starlette'] = None; from pykbroker.cli import main; main(['test'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pykbroker: faults by HTTP need starlette: pip install 'pykbroker[http]'\n"
