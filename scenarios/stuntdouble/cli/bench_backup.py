"""``stuntdouble bench backup``: how fast a storage-snapshot backup goes on this machine."""

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
    short_help="Measure backups over iSCSI, side by side with what bounds them.",
    epilog=examples(
        "stuntdouble bench backup --quick",
        "stuntdouble bench backup --rounds 9",
        "stuntdouble bench backup --json - | jq '.rows[] | {bench, goals}'",
        after="The site is served by a process of its own, at a thousand site seconds a second, so"
        " that no waiting of the model is measured; its iSCSI target is flat out, and digests of"
        " iSCSI are off.  Parties take turns; medians are shown, and of ratios those within a round."
        "  Debian's packages qemu-utils and qemu-block-extra are needed, and 8 GiB of memory.",
    ),
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many rounds; the median counts.  [default: 5, with --quick 1]",
)
@click.option("--quick", is_flag=True, help="Back up a small disk: a minute in all.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write the figures to FILE as well; - is stdout, which then carries nothing else.",
)
def backup(*, rounds: int | None, quick: bool, json_file: Path | None) -> int:
    """Measure how fast a storage-snapshot backup goes: vSphere, WSAPI, iSCSI, the offset table.

    \b
    full          a disk of 1 GiB: into a repository that keeps nothing, against qemu-img convert
                  of the same ranges, beside what TCP does on this machine by itself; into
                  a real one, against its digests and compression alone
    incrementals  of eight sizes up to 384 MiB: seconds as a + b times what has changed
    """  # noqa: D301  (\b is click's mark)
    from stuntdouble.results.files import check_file, write_whole  # noqa: PLC0415

    if json_file is not None and json_file != _STDOUT:
        check_file(json_file)

    turns = rounds or (_QUICK_ROUNDS if quick else _ROUNDS)
    rows = _run(turns, quick=quick)
    if json_file is not None:
        from stuntdouble.bench.backup import Report, versions  # noqa: PLC0415

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

    from stuntdouble.bench import backup as suite  # noqa: PLC0415

    with Console(stderr=True).status("") as status:

        def began(name: str, number: int) -> None:
            status.update(f"{name}: round {number + 1} of {rounds}")

        return suite.run(suite.contests(quick=quick), rounds, began)
