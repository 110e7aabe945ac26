"""``python -m stuntdouble.validity``: compute rows, show them, keep them."""

from __future__ import annotations

import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from stuntdouble.errors import Bug, Error
from stuntdouble.results.files import check_file, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stuntdouble.validity.report import Report
    from stuntdouble.validity.row import Row

PROGRAM: Final = "python -m stuntdouble.validity"
MISSED: Final = 1  # the project's exit code for a goal that was missed

_SIGNS: Final = {"met": "[green]met[/]", "missed": "[red]missed[/]", "shown": "[yellow]shown[/]"}

_FILE: Final = click.Path(path_type=Path)


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"""\b
Examples:
  {PROGRAM} --quick
  {PROGRAM} --only mm4 --only disk-72k-mean
  {PROGRAM} --json validity.json --html validity.html
  {PROGRAM} --quick --sensitivity

Exit codes: 0 every row is as expected, 1 a row missed its tolerance (or one that is known to
miss does not any more), 2 usage, 70 a bug of ours, 130 Ctrl-C.""",
)
@click.option("--quick", is_flag=True, help="Only the rows that take seconds.")
@click.option("--only", metavar="ID", multiple=True, help="Only this row; may be repeated.")
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Also vary what is assumed, and see which backup method wins: minutes. With --quick, one"
    " thing at a time.",
)
@click.option("--list", "listed", is_flag=True, help="List the rows and stop.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write the report to FILE.")
@click.option("--html", "html_file", type=_FILE, metavar="FILE", help="Write the page to FILE.")
def command(
    *,
    quick: bool,
    only: tuple[str, ...],
    sensitivity: bool,
    listed: bool,
    json_file: Path | None,
    html_file: Path | None,
) -> int:
    """Hold the model against what is known, row by row.

    Theory, a measured block layer, drives, and published tables: each row says what is known, what
    the model makes of it, and how far apart they are.
    """
    from stuntdouble.validity.catalogue import chosen, run  # noqa: PLC0415
    from stuntdouble.validity.keeping import dump  # noqa: PLC0415
    from stuntdouble.validity.sensitivity import places, run_grid  # noqa: PLC0415

    checks = chosen(only, quick=quick)
    if listed:
        for check in checks:
            click.echo(f"{check.id:<24} {'quick' if check.quick else '     '}  {check.title}")
        return 0
    where = places(quick=quick) if sensitivity else []
    for path in filter(None, (json_file, html_file)):
        check_file(path)
    with _progress(len(checks) + len(where)) as told:
        report = run(checks, told=told)
        if where:
            grid = run_grid(where, report.seed, told=told)
            report = report.model_copy(update={"sensitivity": grid})
    _show(report)
    if json_file is not None:
        _write(json_file, dump(report))
    if html_file is not None:
        from stuntdouble.validity.page import page_html  # noqa: PLC0415

        _write(html_file, page_html(report))
    return _judged(report)


def _judged(report: Report) -> int:
    """Say which rows are not as expected; return the exit code."""
    odd = [row for row in report.rows if not row.is_as_expected]
    for row in odd:
        click.echo(f"not as expected: {row.id}: {_told(row)}", err=True)
    return MISSED if odd else 0


def _told(row: Row) -> str:
    if row.verdict == "missed":
        return f"{row.error_is}: {row.error:g}, allowed {row.tolerance:g}"
    return "it was known to miss, and does not any more: say so where the row is made"


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], object]]:
    """Show on stderr which row is being computed, where somebody looks."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)

        def told(title: str) -> None:
            progress.update(task, description=title, completed=next(done))

        done = iter(range(total))
        yield told


def _show(report: Report) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("row", "what", "error", "allowed", "verdict", box=None, pad_edge=False)
    for row in report.rows:
        known = " (known)" if row.known_miss and row.verdict == "missed" else ""
        figures = ("" if x is None else f"{x:.3g}" for x in (row.error, row.tolerance))
        table.add_row(row.id, row.title, *figures, f"{_SIGNS[row.verdict]}{known}")
    Console().print(table)
    if report.sensitivity is not None:
        from stuntdouble.validity.sensing import sentences  # noqa: PLC0415

        for sentence in sentences(report.sensitivity):
            click.echo(sentence)


def _write(path: Path, text: str) -> None:
    write_whole(path, text)
    click.echo(f"Written: {path}")


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line *words*, and exit; whatever is wrong is one line on stderr."""
    try:
        code = command.main(
            list(sys.argv[1:] if words is None else words), PROGRAM, standalone_mode=False
        )
    except click.UsageError as error:
        code = _line(f"{error.format_message().rstrip('.')} (see {PROGRAM} --help)", 2)
    except click.ClickException as error:
        code = _line(error.format_message(), error.exit_code)
    except Error as error:
        code = _line(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        code = _line("stopped by Ctrl-C; no file is half written", 130)
    except Exception:  # noqa: BLE001  (the outermost frame: a bug must not pass for a miss)
        traceback.print_exc()
        code = _line("this is a bug in stuntdouble: please report the lines above", Bug.exit_code)
    sys.exit(code)


def _line(message: str, code: int) -> int:
    click.echo(f"validity: {' '.join(message.split())}", err=True)
    return code
