"""``stuntdouble completion``: the script that makes a shell complete our command lines."""

from __future__ import annotations

from typing import Final

import click

from stuntdouble.cli.examples import examples
from stuntdouble.errors import Bug

_VARIABLE: Final = "_STUNTDOUBLE_COMPLETE"  # the name that click looks for

_INSTALL: Final = {
    "bash": """\
# To install it for good:
#   mkdir -p ~/.local/share/bash-completion/completions
#   stuntdouble completion bash > ~/.local/share/bash-completion/completions/stuntdouble
# For this shell alone:
#   source <(stuntdouble completion bash)
""",
    "zsh": """\
# To install it for good:
#   mkdir -p ~/.zfunc
#   stuntdouble completion zsh > ~/.zfunc/_stuntdouble
# and in ~/.zshrc, before compinit is called:
#   fpath+=~/.zfunc
# For this shell alone:
#   source <(stuntdouble completion zsh)
""",
    "fish": """\
# To install it for good:
#   stuntdouble completion fish > ~/.config/fish/completions/stuntdouble.fish
# For this shell alone:
#   stuntdouble completion fish | source
""",
}


@click.command(
    short_help="Print the completion script of a shell.",
    epilog=examples(
        "source <(stuntdouble completion bash)",
        "stuntdouble completion zsh > ~/.zfunc/_stuntdouble",
        "stuntdouble completion fish > ~/.config/fish/completions/stuntdouble.fish",
    ),
)
@click.argument("shell", type=click.Choice(tuple(_INSTALL)))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print the completion script of a shell, with how to install it."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    kind = get_completion_class(shell)
    if kind is None:
        raise Bug(f"click has no completion for {shell}")
    program = ctx.find_root().command
    script = kind(program, {}, "stuntdouble", _VARIABLE).source().strip()
    # Below the script: the first line of a zsh function must stay the first.
    click.echo(f"{script}\n\n{_INSTALL[shell]}", nl=False)
