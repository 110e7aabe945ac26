"""``python -m stuntdouble.lab``: measure, judge, show."""

from __future__ import annotations

import asyncio
import signal
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console

from stuntdouble.errors import Bug, Error
from stuntdouble.lab.curves import stored_curves
from stuntdouble.lab.judging import judge
from stuntdouble.lab.measuring import measure_all
from stuntdouble.lab.page import page_html
from stuntdouble.lab.programs import is_root, provide, versions
from stuntdouble.lab.report import as_json, table
from stuntdouble.results.files import check_file, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stuntdouble.lab.curves import Curve

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it
TERMINATED: Final = 143  # 128 + SIGTERM
MISSED: Final = 1
"""A curve is off: what was measured, what is kept and what is emulated do not agree."""

PROGRAM: Final = "python -m stuntdouble.lab"

QUICK_BINS: Final = 30
"""60 s: the live commit has ended by second 53 in every run so far, and some bins show after it."""


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"\b\nExamples:\n  {PROGRAM} --quick\n"
    f"  {PROGRAM} --only redirect-overlay --json curve.json\n\n"
    "Exit codes: 0 every curve met, 1 a curve missed or the measurement failed,"
    " 2 usage or a program is missing,"
    " 70 a bug of ours, 130 Ctrl-C, 143 SIGTERM.",
)
@click.option("--quick", is_flag=True, help="Measure all curves side by side: about a minute.")
@click.option(
    "--only",
    metavar="NAME",
    multiple=True,
    type=click.Choice(list(stored_curves())),
    help=f"Measure this curve alone; may be repeated. One of: {', '.join(stored_curves())}.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write every bin and every verdict there.",
)
@click.option(
    "--html",
    "html_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a page with the curves there.",
)
def command(
    *, quick: bool, only: tuple[str, ...], json_file: Path | None, html_file: Path | None
) -> int:
    """Measure a real block layer again, and hold it against what is kept and emulated.

    QEMU's storage daemon serves a throttled disk, fio loads it, and its I/Os per second are
    compared with those measured once, with a formula and with the I/O engine.  Programs that are
    missing are installed where we may.
    """
    for path in filter(None, (json_file, html_file)):
        check_file(path)
    kept = [curve for name, curve in stored_curves().items() if not only or name in only]
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    found, by_version = asyncio.run(_measured(kept, console, quick=quick))
    judged = [judge(*pair) for pair in zip(found, kept, strict=True)]
    Console().print(table(judged))
    if json_file:
        write_whole(json_file, as_json(judged, by_version, quick=quick))
    if html_file:
        write_whole(html_file, page_html(judged, by_version))
    return 0 if all(one.met for one in judged) else MISSED


async def _measured(
    kept: Sequence[Curve], console: Console, *, quick: bool
) -> tuple[list[Curve], Mapping[str, str]]:
    """Measure, with the programs that it takes; SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with TemporaryDirectory(prefix="stuntdouble-lab-") as name:
        directory = Path(name)
        await provide(directory, console.print, root=is_root())
        by_version = await versions(directory)
    console.print(", ".join(by_version.values()))
    wanted = [curve.first(QUICK_BINS) if quick else curve for curve in kept]
    seconds = [curve.seconds for curve in wanted]
    console.print(f"measuring for {max(seconds) if quick else sum(seconds):.0f} s")

    def began(curve: Curve) -> None:
        console.print(f"  {curve.name}: {curve.seconds:.0f} s")

    return await measure_all(wanted, began, side_by_side=quick), by_version


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; a failure is one line on stderr."""
    try:
        code = command.main(words, PROGRAM, standalone_mode=False) or 0
    except BaseException as error:  # noqa: BLE001  (the outermost frame: whatever it is, it is told)
        code = told(error, PROGRAM)
    sys.exit(code)


def told(error: BaseException, program: str) -> int:
    """Say on stderr what went wrong with *program*, and return the exit code."""
    match error:
        case BaseExceptionGroup():
            return told(error.exceptions[0], program)
        case KeyboardInterrupt() | click.Abort():
            return _line("stopped by Ctrl-C; nothing is left behind", INTERRUPTED)
        case asyncio.CancelledError():
            return _line("stopped; nothing is left behind", TERMINATED)
        case click.ClickException():
            return _line(_words(error, program), error.exit_code)
        case Error():
            return _line(str(error), error.exit_code)
        case SystemExit():
            raise error
    traceback.print_exception(error)  # a bug must not pass for a miss
    return _line("this is a bug in stuntdouble: please report the lines above", Bug.exit_code)


def _words(error: click.ClickException, program: str) -> str:
    message = error.format_message()
    if not isinstance(error, click.UsageError):
        return message
    return f"{message[:1].lower()}{message[1:].rstrip('.')} (see {program} --help)"


def _line(message: str, code: int) -> int:
    click.echo(f"stuntdouble: {message}", err=True)
    return code
