"""The command ``stuntdouble`` itself: its subcommands, and the one door for failures."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from stuntdouble.cli import failures
from stuntdouble.cli.bench import bench
from stuntdouble.cli.compare import compare
from stuntdouble.cli.completion import completion
from stuntdouble.cli.doctor import doctor
from stuntdouble.cli.examples import examples
from stuntdouble.cli.export import export, unexport
from stuntdouble.cli.restore import restore
from stuntdouble.cli.scenarios import scenarios
from stuntdouble.cli.serve import serve

if TYPE_CHECKING:
    from collections.abc import Sequence


class Program(click.Group):
    """A group whose commands return their exit code, and whose failures are one line on stderr."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002  (as click calls it)
        **extra: Any,
    ) -> Any:
        """Run the command line *args*, and exit unless *standalone_mode* is off."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(words, prog_name, complete_var, standalone_mode=False, **extra) or 0
        except Exception as error:  # noqa: BLE001  (the outermost frame: whatever it is, it is told)
            code = failures.tell(error, words)
        if standalone_mode:
            sys.exit(code)
        return code

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; Ctrl-C becomes a failure like others."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as why:
            raise failures.Stopped(why) from None


@click.group(
    "stuntdouble",
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "stuntdouble scenarios",
        "stuntdouble compare quickstart",
        "stuntdouble restore out/quickstart/repository/storage",
        after="Exit codes: 0 goal met, 1 goal missed, 2 usage, 3 wrong data, 4 no progress,"
        " 70 a bug of ours, 130 Ctrl-C, 143 SIGTERM.",
    ),
)
@click.version_option(None, "--version", package_name="stuntdouble", message="%(prog)s %(version)s")
def program() -> None:
    """Rehearse VM backup on an emulated hypervisor and storage array.

    A scenario describes a site and a backup job.  Each backup method runs it on the same site,
    the same seed and the same guest I/O, so that their cost can be compared.
    """


for _command in (
    *(compare, serve, export, unexport),
    *(scenarios, restore, doctor, bench, completion),
):
    program.add_command(_command)


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    failures.heed_signals()
    program.main(prog_name="stuntdouble")
