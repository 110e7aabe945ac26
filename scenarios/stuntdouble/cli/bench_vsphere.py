"""``stuntdouble bench vsphere``: what a call of the vSphere interface costs on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from stuntdouble.cli.bench_rows import show
from stuntdouble.cli.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.bench.vsphere import Row

BENCHMARKS: Final = ("reads", "in-process", "inventory", "changes", "crowd")

_STDOUT: Final = Path("-")
_ROUNDS: Final = 3  # a median needs three
_QUICK_ROUNDS: Final = 1


@click.command(
    short_help="Measure the vSphere interface, side by side with govmomi's simulator.",
    epilog=examples(
        "stuntdouble bench vsphere --quick",
        "stuntdouble bench vsphere --only reads --rounds 9",
        "stuntdouble bench vsphere --json - | jq '.rows[] | {bench, goals}'",
        after="The parties of a benchmark run by turns, round after round, and medians are shown."
        " Go and Debian's package of govmomi are needed for some; who is missing is said to be."
        " With --quick the estates are small: goals are shown for what they say there.",
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
    help="How many rounds; the median counts.  [default: 3, with --quick 1]",
)
@click.option("--quick", is_flag=True, help="Run a slice of each: a minute in all.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write the figures to FILE as well; - is stdout, which then carries nothing else.",
)
def vsphere(
    *, names: Sequence[str], rounds: int | None, quick: bool, json_file: Path | None
) -> int:
    """Measure the vSphere interface, side by side with govmomi's own simulator.

    \b
    reads       vm.name by one client against either server
    in-process  the same without a socket
    inventory   10,000 VMs in one retrieval, against the client's bare parsing
    changes     a million changed areas, against the client's bare parsing, and by a client in Go
    crowd       64 clients at once
    """  # noqa: D301  (\b is click's mark)
    from stuntdouble.results.files import check_file, write_whole  # noqa: PLC0415

    if json_file is not None and json_file != _STDOUT:
        check_file(json_file)

    turns = rounds or (_QUICK_ROUNDS if quick else _ROUNDS)
    rows = _run(names, turns, quick=quick)
    if json_file is not None:
        from stuntdouble.bench.vsphere import Report, versions  # noqa: PLC0415

        report = Report(turns, quick, rows, versions()).as_json()
        text = json.dumps(report, indent=2) + "\n"
        if json_file == _STDOUT:
            click.echo(text, nl=False)
            return 0
        write_whole(json_file, text)
    show(rows)
    return 0


def _run(names: Sequence[str], rounds: int, *, quick: bool) -> list[Row]:
    """Run the benchmarks behind a line that says which one it is at."""
    from rich.console import Console  # noqa: PLC0415

    from stuntdouble.bench import vsphere as suite  # noqa: PLC0415

    with Console(stderr=True).status("") as status:

        def began(name: str, number: int) -> None:
            status.update(f"{name}: round {number + 1} of {rounds}")

        return suite.run(suite.contests(names, quick=quick), rounds, began)
