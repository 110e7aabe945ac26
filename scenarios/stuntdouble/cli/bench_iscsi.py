"""``stuntdouble bench iscsi``: how fast a LUN is read on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from stuntdouble.cli.bench_rows import show
from stuntdouble.cli.examples import examples

if TYPE_CHECKING:
    from stuntdouble.bench.figures import Row

_STDOUT: Final = Path("-")
_ROUNDS: Final = 5  # a median of ratios on a machine that others use, too
_QUICK_ROUNDS: Final = 1


@click.command(
    short_help="Measure iSCSI reads, side by side with tgtd.",
    epilog=examples(
        "stuntdouble bench iscsi --quick",
        "stuntdouble bench iscsi --rounds 9",
        "stuntdouble bench iscsi --json - | jq '.rows[] | {bench, goals}'",
        after="Both targets serve the same bytes, and qemu-img reads them by turns; medians are"
        " shown, and of ratios those within a round. Debian's packages qemu-utils,"
        " qemu-block-extra and tgt are needed. With --quick the LUN is small.",
    ),
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many rounds; the median counts.  [default: 5, with --quick 1]",
)
@click.option("--quick", is_flag=True, help="Read a small LUN: a minute in all.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write the figures to FILE as well; - is stdout, which then carries nothing else.",
)
def iscsi(*, rounds: int | None, quick: bool, json_file: Path | None) -> int:
    """Measure how fast a LUN is read over iSCSI, side by side with tgtd.

    \b
    reads     a promoted snapshot of 1 GiB, in six shapes: qemu-img convert with 1 and 8
              coroutines; 4 KiB one at a time, 4 and 64 KiB 32 at a time, 1 MiB 8 at a time;
              half of it zeros, half of it bytes that came from outside
    rendered  the same of what guests wrote, which is made from tokens as it is read
    loopback  what TCP does on this machine without anything else: its ceiling
    """  # noqa: D301  (\b is click's mark)
    from stuntdouble.results.files import check_file, write_whole  # noqa: PLC0415

    if json_file is not None and json_file != _STDOUT:
        check_file(json_file)

    turns = rounds or (_QUICK_ROUNDS if quick else _ROUNDS)
    rows = _run(turns, quick=quick)
    if json_file is not None:
        from stuntdouble.bench.iscsi import Report, versions  # noqa: PLC0415

        report = Report(turns, quick, rows, versions()).as_json()
        text = json.dumps(report, indent=2) + "\n"
        if json_file == _STDOUT:
            click.echo(text, nl=False)
            return 0
        write_whole(json_file, text)
    show(rows)
    return 0


def _run(rounds: int, *, quick: bool) -> list[Row]:
    """Run the benchmarks behind a line that says which one it is at."""
    from rich.console import Console  # noqa: PLC0415

    from stuntdouble.bench import iscsi as suite  # noqa: PLC0415

    with Console(stderr=True).status("") as status:

        def began(name: str, number: int) -> None:
            status.update(f"{name}: round {number + 1} of {rounds}")

        return suite.run(suite.contests(quick=quick), rounds, began)
