"""`pykbroker completion`: the script that makes a shell ask this program how words go on."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from pykbroker.cli.options import examples, new_app
from pykbroker.cli.root import COMPLETION_VARIABLE, PROGRAM
from pykbroker.cli.root import app as root

app = new_app()

# Typer's begins with an empty line, and zsh looks for #compdef in the first one; and it does nothing the first time
# that zsh calls it out of $fpath.
_ZSH = f"""\
#compdef {PROGRAM}
_{PROGRAM}_completion() {{
  eval $(env _TYPER_COMPLETE_ARGS="${{words[1,$CURRENT]}}" {COMPLETION_VARIABLE}=complete_zsh {PROGRAM})
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _{PROGRAM}_completion "$@"
else
  compdef _{PROGRAM}_completion {PROGRAM}
fi"""


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
    if shell is Shell.ZSH:
        print(_ZSH)
        return
    os.environ[COMPLETION_VARIABLE] = f"source_{shell}"
    root(args=[], prog_name=PROGRAM)
