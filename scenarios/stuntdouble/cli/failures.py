"""A failure as one line on stderr and an exit code.

our Error            its exit_code     stuntdouble: <message>
wrong usage          2                 stuntdouble: <message>; see stuntdouble compare --help
the system said no   1                 stuntdouble: <file>: <reason>
Ctrl-C               130               stuntdouble: stopped ...
SIGTERM, SIGHUP      143, 129          stuntdouble: stopped ...
anything else        70                a short traceback, and how to report it
"""

from __future__ import annotations

import shlex
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Final

import click

from stuntdouble.errors import Bug, Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it
OUT_OF_RESOURCES: Final = 1

_FRAMES_SHOWN: Final = 4  # of a bug's traceback, innermost: enough to see where it broke


class Signalled(KeyboardInterrupt):
    """A signal that ends the process: what Ctrl-C does, from elsewhere."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stopped(click.ClickException):
    """The user pressed Ctrl-C, or a signal came."""

    exit_code = INTERRUPTED

    def __init__(self, why: KeyboardInterrupt) -> None:
        what = "Ctrl-C"
        if isinstance(why, Signalled):
            what = signal.Signals(why.number).name
            self.exit_code = 128 + why.number  # type: ignore[misc]  # click asks the instance
        super().__init__(f"stopped by {what}; no file is half written")


def heed_signals() -> None:
    """Let SIGTERM and SIGHUP stop the command as Ctrl-C does; one that is ignored stays so."""

    def stop(number: int, _frame: object) -> None:
        raise Signalled(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)


def tell(error: Exception, words: Sequence[str]) -> int:
    """Say on stderr what went wrong with the command line *words*; return the exit code."""
    match _cause(error):
        case click.exceptions.NoArgsIsHelpError() as cause:
            cause.show()
            return cause.exit_code
        case click.UsageError() as cause:
            message, code = _usage(cause), cause.exit_code
        case click.ClickException() as cause:
            message, code = cause.format_message(), cause.exit_code
        case Error() as cause:
            message, code = str(cause), cause.exit_code
        case OSError() as cause:
            where = f"{cause.filename}: " if cause.filename else ""
            message, code = f"{where}{cause.strerror or cause}", OUT_OF_RESOURCES
        case MemoryError():
            message, code = "out of memory: make the scenario smaller", OUT_OF_RESOURCES
        case cause:
            return _bug(cause, words)
    if code == INTERRUPTED and sys.stderr.isatty():
        click.echo(err=True)  # the terminal stands behind its own ^C
    return _line(message, code)


def one_line(text: str) -> str:
    """Return *text* as one printable line: what was a list of lines is one with semicolons."""
    first, *rest = (line.strip() for line in text.strip().splitlines() or [""])
    joined = f"{first} {'; '.join(rest)}" if first.endswith(":") else "; ".join([first, *rest])
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in joined)


def _line(message: str, code: int) -> int:
    click.echo(f"stuntdouble: {one_line(message)}", err=True)
    return code


def _usage(error: click.UsageError) -> str:
    message = error.format_message().rstrip(".")
    command = error.ctx.command_path if error.ctx else "stuntdouble"
    return f"{message[:1].lower()}{message[1:]} (see {command} --help)"


def _cause(error: Exception) -> Exception:
    """Return the failure to tell: of a group, a bug before anything else, then the first."""
    leaves = list(_leaves(error))
    return next((leaf for leaf in leaves if not isinstance(leaf, Error)), leaves[0])


def _leaves(error: Exception) -> Iterable[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _bug(error: Exception, words: Sequence[str]) -> int:
    trace = traceback.format_exception(error, limit=-_FRAMES_SHOWN, chain=False)
    click.echo("".join(trace).rstrip(), err=True)
    command = shlex.join(["stuntdouble", *words])
    return _line(
        f"this is a bug in stuntdouble: please report the lines above and the command: {command}",
        Bug.exit_code,
    )
