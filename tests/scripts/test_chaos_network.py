"""The network of scripts/chaos, where namespaces can be made: packets are dropped one way, and let pass again."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
PROGRAM = """
    import subprocess, sys
    sys.path[:0] = sys.argv[1:3]
    from chaos_rig import network

    if not network.is_entered():
        if why := network.why_not():
            sys.exit(f"skip: {why}")
        network.enter()
    made = network.Network.create(["one", "two"])

    def reaches(sender, receiver):
        there = made.place(receiver)
        listen = f"import socket as s; l = s.create_server(('{there.host}', 9)); print('up', flush=True); l.accept()"
        connect = f"import socket as s; s.create_connection(('{there.host}', 9), 0.3)"
        server = subprocess.Popen([*there.prefix, sys.executable, "-c", listen], stdout=subprocess.PIPE)
        server.stdout.readline()
        prefix = made.place(sender).prefix if sender else []
        done = subprocess.run([*prefix, sys.executable, "-c", connect], stderr=subprocess.DEVNULL)
        server.kill()
        server.wait()
        return done.returncode == 0

    print("whole", reaches("one", "two"), reaches("two", "one"), reaches("", "one"))
    made.drop("one", "two")
    print("dropped", reaches("one", "two"), reaches("", "two"))
    made.heal()
    made.isolate("two")
    print("isolated", reaches("one", "two"), reaches("", "two"), reaches("", "one"))
    made.heal()
    print("healed", reaches("one", "two"), reaches("", "two"))
"""


@pytest.mark.slow
def test_packets_are_dropped_and_pass_again(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(program), str(SCRIPTS), str(SCRIPTS.parent / "compat")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.stderr.startswith("skip: "):
        pytest.skip(done.stderr.strip())
    assert done.stdout.splitlines() == [
        "whole True True True",
        "dropped False True",
        "isolated False False True",
        "healed True True",
    ], done.stderr
