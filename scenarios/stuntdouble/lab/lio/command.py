"""``python -m stuntdouble.lab.lio``: boot, try, tell."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console

from stuntdouble.lab.command import MISSED, told
from stuntdouble.lab.lio.guest import booted
from stuntdouble.lab.lio.image import Recipe, cache, image, is_kept
from stuntdouble.lab.lio.needs import require
from stuntdouble.lab.lio.overlay import overlay
from stuntdouble.lab.lio.site import served
from stuntdouble.lab.lio.trial import Finding, Lab, contract, site_checks
from stuntdouble.results.files import check_file, write_whole
from stuntdouble.results.text import to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAM: Final = "python -m stuntdouble.lab.lio"
REPORT_VERSION: Final = 1
"""Of the JSON that a run writes."""

CHAPTERS: Final = ("contract", "site")


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"\b\nExamples:\n  {PROGRAM}\n  {PROGRAM} --only site --json lio.json\n\n"
    "Exit codes: 0 every check met, 1 one missed or the laboratory failed,"
    " 2 usage or a program is missing,"
    " 70 a bug of ours, 130 Ctrl-C, 143 SIGTERM.",
)
@click.option(
    "--only",
    type=click.Choice(CHAPTERS),
    help="Run these checks alone: the exporters' contract, or those with a served site.",
)
@click.option(
    "--mirror", default=Recipe().mirror, show_default=True, help="Where Debian's packages are."
)
@click.option(
    "--cache",
    "home",
    metavar="DIRECTORY",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the guest's image is kept.  [default: in the user's cache directory]",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write every finding there.",
)
def command(*, only: str | None, mirror: str, home: Path | None, json_file: Path | None) -> int:
    """Try our exporters on a real Linux kernel's target, in a guest that is thrown away.

    The guest is Debian's kernel under QEMU's emulation.  A site is served here; its LUNs go into the
    guest over NBD, and come out by iSCSI.
    """
    if json_file:
        check_file(json_file)
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    recipe, home = Recipe(mirror=mirror), home or cache()
    require(making=not is_kept(recipe, home))
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        word = "ok    " if finding.met else "MISSED"
        click.echo(f"{word} {finding.what}: {finding.figure}")

    about = asyncio.run(_tried(recipe, home, only, console.print, tell))
    if json_file:
        content = {
            "report_version": REPORT_VERSION,
            "met": all(finding.met for finding in findings),
            "about": about,
            "findings": [asdict(finding) for finding in findings],
        }
        write_whole(json_file, to_text(content) + "\n")
    missed = sum(not finding.met for finding in findings)
    console.print(f"{len(findings) - missed} of {len(findings)} met, {about['seconds']} s")
    return MISSED if missed or not findings else 0


async def _tried(
    recipe: Recipe,
    home: Path,
    only: str | None,
    say: Callable[[str], object],
    tell: Callable[[Finding], object],
) -> dict[str, str]:
    """Run what is asked for; return what it was run on.  SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    began = loop.time()
    with TemporaryDirectory(prefix="stuntdouble-lio-lab-") as name:
        folder = Path(name)
        kept = await image(recipe, home, say)
        async with booted(kept, overlay(), folder) as guest:
            hello = await guest.call("hello")
            about = {**hello, "rtslib": _rtslib(), "key": recipe.key}
            say(f"guest: Linux {hello['kernel']}, up after {loop.time() - began:.0f} s")
            if only != "site":
                await contract(guest, tell)
            if only != "contract":
                async with served(folder, guest) as site:
                    await site_checks(Lab(guest, site, folder), tell)
    return {**about, "seconds": f"{loop.time() - began:.0f}"}


def _rtslib() -> str:
    try:
        return version("rtslib-fb")
    except PackageNotFoundError:
        return "the guest's own"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; a failure is one line on stderr."""
    try:
        code = command.main(words, PROGRAM, standalone_mode=False) or 0
    except BaseException as error:  # noqa: BLE001  (the outermost frame: whatever it is, it is told)
        code = told(error, PROGRAM)
    sys.exit(code)
