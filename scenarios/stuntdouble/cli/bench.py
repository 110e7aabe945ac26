"""``stuntdouble bench``: what an emulated I/O costs on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from stuntdouble.cli.bench_backup import backup
from stuntdouble.cli.bench_iscsi import iscsi
from stuntdouble.cli.bench_vsphere import vsphere
from stuntdouble.cli.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from stuntdouble.bench import Case, Row

BENCHMARKS: Final = ("queue", "merge", "snapshot", "simple", "full", "capacity", "scaling")

_STDOUT: Final = Path("-")
_WIDTH: Final = 110  # columns where there is no terminal to ask
_QUICK_ROUNDS: Final = 1
_COLUMNS_MAX: Final = 4  # more than that do not fit side by side


@click.group(
    short_help="Measure what an emulated I/O costs.",
    epilog=examples("stuntdouble bench engine --quick"),
)
def bench() -> None:
    """Measure what this program costs on this machine."""


bench.add_command(backup)
bench.add_command(iscsi)
bench.add_command(vsphere)


@bench.command(
    short_help="Measure the I/O engines, side by side with others.",
    epilog=examples(
        "stuntdouble bench engine --quick",
        "stuntdouble bench engine --only queue --only full --rounds 5",
        "stuntdouble bench engine --quick --json - | jq '.rows[] | {name, ios_per_second}'",
        after="The cases of a benchmark run by turns, round after round, and medians are shown. The"
        " ratio is by events (ends of service and arrivals), since I/Os of a slice may cost more."
        " Exit code 0 means that all engines agreed; 70 that they did not.",
    ),
)
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice(BENCHMARKS),
    help="Benchmark to run; may be repeated.  [default: all]",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    metavar="N",
    help="How often each case is run; the median counts.  [default: 3, with --quick 1]",
)
@click.option("--quick", is_flag=True, help="Run a slice of each: a minute in all.")
@click.option("--full", is_flag=True, help="Scale up to a billion I/Os: hours on slow machines.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write the figures to FILE as well; - is stdout, which then carries nothing else.",
)
def engine(
    *, names: Sequence[str], rounds: int | None, quick: bool, full: bool, json_file: Path | None
) -> int:
    """Measure the I/O engines, side by side with other ways to simulate the same I/O.

    \b
    queue     M/M/4: SimPy, salabim, Ciw, C, and our recursion
    merge     finding whose I/O arrives next, among 16 to 1,024 VMs
    snapshot  64 VMs with 1 GiB hot each, behind deltas and a storage snapshot
    simple    20 VMs whose maps stay in the cache, stunned in turn
    full      every feature at once, on 64 disks in RAID 5
    capacity  300 VMs for a night of 864 million I/Os
    scaling   cost of an I/O by number of VMs, of I/Os and of control events
    """  # noqa: D301  (\b is click's mark)
    from stuntdouble.results.files import check_file, write_whole  # noqa: PLC0415

    if quick and full:
        raise click.UsageError("--quick and --full exclude each other")
    if json_file is not None and json_file != _STDOUT:
        check_file(json_file)

    from stuntdouble.bench import Report, cases  # noqa: PLC0415

    chosen = cases(names, quick=quick, full=full)
    turns = rounds or (_QUICK_ROUNDS if quick else 3)
    rows = _run(chosen, turns)
    if json_file is not None:
        report = Report(turns, quick, rows).as_json()
        text = json.dumps(report, indent=2) + "\n"
        if json_file == _STDOUT:
            click.echo(text, nl=False)
            return 0
        write_whole(json_file, text)
    _show(rows)
    return 0


def _run(chosen: Sequence[Case], rounds: int) -> list[Row]:
    """Run the cases behind a line that says which one it is at."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    from stuntdouble.bench import run  # noqa: PLC0415

    turns = sum(min(case.rounds or rounds, rounds) for case in chosen if not case.missing)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=turns)
        begun = 0

        def began(case: Case) -> None:
            nonlocal begun
            where = f", content {case.content}" if case.content else ""
            progress.update(task, description=f"{case.bench}: {case.name}{where}", completed=begun)
            begun += 1

        return run(chosen, rounds, began)


def _show(rows: Sequence[Row]) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for name in dict.fromkeys(row.bench for row in rows):
        mine = [row for row in rows if row.bench == name]
        console.print(_table(name, mine))
        for row in mine:
            if row.missing:
                console.print(f"{row.name}: {row.missing}", highlight=False)
        if (facts := _facts(mine)) is not None:
            console.print(facts)
        console.print()


def _table(name: str, rows: Sequence[Row]) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=name, title_justify="left", title_style="bold")
    table.add_column("who", no_wrap=True)
    table.add_column("content")
    for title in ("I/Os/s", "served/s", "ratio", "seconds", "I/Os", "visits", "events"):
        table.add_column(title, justify="right")
    for row in rows:
        if row.missing:
            continue
        table.add_row(
            row.name,
            row.content or "none",
            _short(row.ios_per_second),
            _short(row.served_per_second),
            f"{row.ratio:,.1f}",
            f"{row.seconds:,.3f}",
            *(_short(count) for count in (row.ios, row.visits, row.events)),
        )
    return table


def _facts(rows: Sequence[Row]) -> Table | None:
    """Return what else was found: a line for each fact, a column for each case."""
    from rich.table import Table  # noqa: PLC0415

    told = [row for row in rows if row.facts]
    names = list(dict.fromkeys(name for row in told for name in row.facts))
    if not names:
        return None
    titles = [f"{row.name} ({row.content})" if row.content else row.name for row in told]
    cells = [[_fact(row.facts.get(name)) for row in told] for name in names]
    if len(told) > _COLUMNS_MAX:  # on its side: a line for each case
        titles, names, cells = names, titles, [list(column) for column in zip(*cells, strict=True)]
    table = Table(box=None, padding=(0, 2))
    table.add_column("", no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right")
    for name, line in zip(names, cells, strict=True):
        table.add_row(name, *line)
    return table


def _fact(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _short(count: float) -> str:
    """Return a count in four digits, in thousands or millions where it has more."""
    for size, sign in ((1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:,.4g}{sign}"
    return f"{count:,.4g}" if count else ""
