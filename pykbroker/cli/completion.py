"""`pykbroker completion`: the script that makes a shell ask this program how words go on."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from pykbroker.cli.options import examples, new_app
from pykbroker.cli.root import COMPLETION_VARIABLE, PROGRAM
from pykbroker.cli.root import app as root

app = new_app()


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command(
    epilog=examples(
        "completion bash > ~/.local/share/bash-completion/completions/pykbroker", "completion fish | source"
    )
)
def completion(shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish")]) -> None:
    """Print the script that lets a shell complete words."""
    os.environ[COMPLETION_VARIABLE] = f"source_{shell}"
    root(args=[], prog_name=PROGRAM)
