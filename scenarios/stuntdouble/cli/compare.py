"""``stuntdouble compare``: run a scenario by each backup method, side by side."""

from __future__ import annotations

import gc
import os
import re
import shlex
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from stuntdouble.cli.examples import examples
from stuntdouble.cli.hypervisors import DIRECT, REMOTE_OPTIONS, Asked, Choice, without_credentials
from stuntdouble.cli.names import ScenarioName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from stuntdouble.results import EngineName
    from stuntdouble.scenarios import Scenario

METHODS: Final = ("software", "storage", "mounted")  # results.METHOD_NAMES, without its imports

ENGINES: Final[tuple[EngineName, ...]] = ("kernel", "reference")

_STDOUT: Final = Path("-")


@click.command(
    short_help="Run a scenario by each backup method.",
    epilog=examples(
        "stuntdouble compare quickstart",
        "stuntdouble compare quickstart --seed 7 --method storage --method mounted",
        "stuntdouble compare mine.toml --out reports/mine",
        "stuntdouble compare quickstart --quiet --json - | jq .methods.storage.stuns",
        "stuntdouble compare quickstart --hypervisor vsphere",
        "stuntdouble compare quickstart --hypervisor https://HOST:PORT --insecure",
        "stuntdouble compare quickstart --hypervisor URL --insecure --array pure",
        "stuntdouble compare mine.toml --hypervisor URL --fingerprint 8B:23:66:...",
        after="Exit code 0 means that every run succeeded, every restore point holds what the guest"
        " had written, and nothing was left behind; 1 that a run failed or something was left; 3"
        " that a restore point is wrong.",
    ),
)
@click.argument("scenario", metavar="NAME|FILE.toml", type=ScenarioName(files=True))
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=1,
    show_default=True,
    help="Seed of all randomness: the same seed gives the same result, byte for byte.",
)
@click.option(
    "--trace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Block trace to replay as guest I/O, where the scenario asks for one.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=click.Choice(METHODS),
    help="Backup method to run; may be repeated.  [default: those of the scenario]",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=ENGINES[0],
    show_default=True,
    help="I/O engine: the compiled kernel, or its specification in SimPy, which gives the same"
    " result and takes several times as long.",
)
@click.option(
    "--hypervisor",
    metavar="direct|vsphere|URL",
    default=DIRECT,
    show_default=True,
    help="How the backup server reaches the hypervisor: by calls; by the vSphere API in process, in"
    " virtual time; or the URL of a site that `stuntdouble serve` serves, in wall time.",
)
@REMOTE_OPTIONS
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory for result.json, index.html and the repositories; an earlier comparison in it"
    " is replaced.  [default: out/NAME]",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write result.json to FILE as well; - is stdout, which then carries nothing else.",
)
@click.option(
    "-q", "--quiet", is_flag=True, help="Show neither progress nor the table: the verdict alone."
)
def compare(  # noqa: PLR0913  (by name, each an option of the command line)
    *,
    scenario: str,
    seed: int,
    trace: Path | None,
    methods: tuple[str, ...],
    engine: EngineName,
    hypervisor: str,
    user: str | None,
    password: str | None,
    fingerprint: str | None,
    insecure: bool,
    array: str | None,
    array_fingerprint: str | None,
    out: Path | None,
    json_file: Path | None,
    quiet: bool,
) -> int:
    """Run a scenario by each backup method, and set the outcomes side by side.

    The scenario is a name of the library (see `stuntdouble scenarios`) or a TOML file.  Every
    method meets the same site, seed and guest I/O.
    """
    choice = Choice(
        hypervisor,
        user,
        password,
        fingerprint,
        insecure=insecure,
        array=array,
        array_fingerprint=array_fingerprint,
    )
    choice.check(trace=trace, engine=engine)
    with _for_good():
        from stuntdouble.cli.judging import judged  # noqa: PLC0415
        from stuntdouble.cli.output import check_outside, room_in, staged  # noqa: PLC0415
        from stuntdouble.compiled import is_cold  # noqa: PLC0415
        from stuntdouble.results import Progress  # noqa: PLC0415
        from stuntdouble.results.files import check_file, write_whole  # noqa: PLC0415

        if is_cold() and not quiet and not choice.is_remote:
            click.echo("compiling the I/O core, once: about a minute", err=True)
        from stuntdouble.scenarios import load  # noqa: PLC0415

        choice.load()
    loaded = load(scenario)
    chosen = tuple(name for name in METHODS if name in methods)
    directory = out or default_directory(loaded)
    if json_file not in {None, _STDOUT}:
        check_outside(json_file, directory)
        check_file(json_file)
    say = partial(click.echo, err=json_file == _STDOUT)
    with ExitStack() as stack:
        folder = stack.enter_context(staged(directory))
        # What makes no sense is refused before the first stage: then there is no seed to tell.
        opening = partial(say, f"seed {seed}")
        progress = stack.enter_context(Progress(quiet=quiet, opening=opening))
        command = reproducing(
            scenario,
            seed=seed,
            trace=trace,
            methods=chosen,
            engine=engine,
            hypervisor=hypervisor,
            array=array,
        )
        with room_in(directory):
            asked = Asked(loaded, seed, trace, chosen, engine, command)
            outcome = choice.run(asked, folder, progress)
        files = [directory / path.name for path in outcome.publish(folder)]
    result = outcome.result
    if json_file == _STDOUT:
        click.echo(outcome.text, nl=False)
    elif json_file is not None:
        write_whole(json_file, outcome.text)
        files.append(json_file)
    if not quiet:
        _show_table(outcome.table, err=json_file == _STDOUT)
    code, verdict = judged(result)
    say(f"Verdict: {verdict}")
    say("Written: " + ", ".join(map(str, files)))
    return code


@contextmanager
def _for_good() -> Iterator[None]:
    """Import what stays until the end.

    The garbage collector neither looks through it meanwhile nor ever after, and the library of
    linear algebra below numpy, of which we use nothing, starts no threads that would spin.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def default_directory(scenario: Scenario) -> Path:
    """Return the directory for a comparison when the user names none: ``out/<its name>``."""
    return Path("out") / (re.sub(r"[^\w.-]+", "-", scenario.name).strip(".-") or "scenario")


def reproducing(
    scenario: str,
    *,
    seed: int,
    trace: Path | None,
    methods: tuple[str, ...],
    engine: EngineName = "kernel",
    hypervisor: str = DIRECT,
    array: str | None = None,
) -> str:
    """Return the command line that gives the same result: without where it is written to."""
    words = ["stuntdouble", "compare", scenario, "--seed", str(seed)]
    if trace is not None:
        words += ["--trace", str(trace)]
    for method in methods:
        words += ["--method", method]
    if engine != ENGINES[0]:
        words += ["--engine", engine]
    if hypervisor != DIRECT:
        words += ["--hypervisor", without_credentials(hypervisor)]
    if array is not None:
        words += ["--array", without_credentials(array)]
    return shlex.join(words)


def _show_table(table: RenderableType, *, err: bool) -> None:
    from rich.console import Console  # noqa: PLC0415

    Console(stderr=err).print(table)
