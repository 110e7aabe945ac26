"""``stuntdouble serve``: a scenario's site in wall time, behind real servers."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from stuntdouble.cli.examples import examples
from stuntdouble.cli.failures import INTERRUPTED, Signalled
from stuntdouble.cli.names import ScenarioName
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from stuntdouble.serve import Options, Origin, Ready

USER: Final = "admin"
ANYWHERE: Final = "127.0.0.1:0"

_PASSWORD_BYTES: Final = 12  # of randomness: sixteen characters


@click.command(
    short_help="Run a scenario's site in wall time, behind real servers.",
    epilog=examples(
        "stuntdouble serve quickstart",
        "stuntdouble serve quickstart --rate 60 --native 127.0.0.1:8080",
        "stuntdouble serve mine.toml --ready-file site.json --password secret",
        "curl -u admin:secret http://127.0.0.1:8080/api/v1/clock",
        "stuntdouble serve quickstart --wsapi 127.0.0.1:8008 --iscsi 127.0.0.1:3260",
        after="It listens on this machine alone unless --allow-remote is given.  SIGTERM and Ctrl-C"
        " stop it at once; exit code 143 or 130, 0 after --duration, else as for other commands.",
    ),
)
@click.argument("scenario", metavar="NAME|FILE.toml", type=ScenarioName(files=True))
@click.option(
    "--rate",
    type=float,
    metavar="R",
    default=1.0,
    show_default=True,
    help="Site seconds in a wall second; may be changed while the site runs.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=1,
    show_default=True,
    help="Seed of all randomness.",
)
@click.option(
    "--trace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Block trace to replay as guest I/O, where the scenario asks for one.",
)
@click.option(
    "--vsphere", metavar="HOST:PORT", help="Listen for clients of vSphere; port 0 is any."
)
@click.option(
    "--plain-http", is_flag=True, help="Let vSphere be http instead of https with a certificate."
)
@click.option(
    "--native",
    metavar="HOST:PORT",
    help=f"Listen for REST: clock, faults, truth.  [default, where nothing is named: {ANYWHERE}]",
)
@click.option("--nbd", metavar="HOST:PORT", help="Listen for NBD clients, which read disks.")
@click.option(
    "--wsapi",
    metavar="[ARRAY=]HOST:PORT",
    help="Let the array, the first unless it is named, be asked as HPE's are, by WSAPI.",
)
@click.option(
    "--pure",
    metavar="[ARRAY=]HOST:PORT",
    help="Let the array be asked as Pure Storage's FlashArrays are, by REST over HTTPS; the"
    " password is the API token.",
)
@click.option(
    "--iscsi",
    metavar="HOST:PORT",
    help="Listen for iSCSI initiators: what arrays map to hosts, a target for each array.",
)
@click.option(
    "--paced-io",
    is_flag=True,
    help="Let commands over iSCSI take the time that their I/O takes in the model, at --rate.",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write every endpoint to FILE as JSON once all listen; it is removed at the end.",
)
@click.option("--user", default=USER, show_default=True, help="The one user there is.")
@click.option("--password", help="Its password.  [default: a new one, which is printed once]")
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Allow addresses that other machines can reach.  NBD asks nobody for a password, iSCSI"
    " those whose hosts have one at the array, and only vSphere and Pure are encrypted.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop after so many wall seconds.  [default: when told to]",
)
@click.option("-q", "--quiet", is_flag=True, help="Show nothing but a password that is new.")
def serve(  # noqa: PLR0913  (by name, each an option of the command line)
    *,
    scenario: str,
    rate: float,
    seed: int,
    trace: Path | None,
    vsphere: str | None,
    plain_http: bool,
    native: str | None,
    nbd: str | None,
    wsapi: str | None,
    pure: str | None,
    iscsi: str | None,
    paced_io: bool,
    ready_file: Path | None,
    user: str,
    password: str | None,
    allow_remote: bool,
    duration: float | None,
    quiet: bool,
) -> int:
    """Run a scenario's site in wall time, with its VMs' load, and let clients at it.

    The scenario is a name of the library (see `stuntdouble scenarios`) or a TOML file.  Nothing is
    backed up unless a client does it.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing uses it; its threads would spin
    try:
        from stuntdouble import serve as serving  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        text = f"needs the package {missing.name}: pip install 'stuntdouble[serve]'"
        raise Misuse("serve", text) from None
    from stuntdouble.cli.status import Status  # noqa: PLC0415
    from stuntdouble.compiled import is_cold  # noqa: PLC0415

    if not 0 < rate < float("inf"):
        raise Misuse("--rate", f"{rate} is not a number above 0")
    if not any((vsphere, native, nbd, wsapi, pure, iscsi)):
        native = ANYWHERE

    def at(text: str | None, option: str) -> serving.Address | None:
        return None if text is None else serving.address(text, option)

    def array_at(text: str | None, option: str) -> serving.ArrayAddress | None:
        return None if text is None else serving.array_address(text, option)

    options = serving.Options(
        user,
        secrets.token_urlsafe(_PASSWORD_BYTES) if password is None else password,
        rate,
        vsphere=at(vsphere, "--vsphere"),
        plain_http=plain_http,
        native=at(native, "--native"),
        nbd=at(nbd, "--nbd"),
        wsapi=array_at(wsapi, "--wsapi"),
        pure=array_at(pure, "--pure"),
        iscsi=at(iscsi, "--iscsi"),
        paced_io=paced_io,
        allow_remote=allow_remote,
    )
    options.check()
    if is_cold() and not quiet:
        click.echo("compiling the I/O core, once: about a minute", err=True)
    origin = _origin(scenario, seed, trace, options)
    with Status(quiet=quiet) as status:
        number = serving.serve(
            origin,
            options,
            ready=lambda told: _tell(told, options, new=password is None, quiet=quiet),
            on_lag=status.lags,
            watch=status.watch,
            ready_file=ready_file,
            duration_seconds=duration,
        )
    if number is None:
        return 0
    raise KeyboardInterrupt if number + 128 == INTERRUPTED else Signalled(number)


def _origin(scenario: str, seed: int, trace: Path | None, options: Options) -> Origin:
    from stuntdouble.iops import read_trace  # noqa: PLC0415
    from stuntdouble.scenarios import load  # noqa: PLC0415
    from stuntdouble.scenarios.vendors import as_flasharrays  # noqa: PLC0415
    from stuntdouble.serve import Origin as Made  # noqa: PLC0415

    loaded = load(scenario)
    for option, asked in (("--wsapi", options.wsapi), ("--pure", options.pure)):
        names = [array.name for array in loaded.arrays]
        if asked is not None and asked.array and asked.array not in names:
            raise Misuse(option, f"no array {asked.array!r}: there is {', '.join(names)}")
    if options.pure is not None:
        loaded = as_flasharrays(loaded, options.pure.array)
    if trace is not None and not loaded.trace_vms:
        raise Misuse(f"scenario {loaded.name}", "no VM of it replays a trace: leave --trace out")
    return Made(loaded, seed, recorded=None if trace is None else read_trace(trace))


def _tell(told: Ready, options: Options, *, new: bool, quiet: bool) -> None:
    """Say where the site listens, and the password, where nobody could know it otherwise."""
    if not quiet:
        for each in told.listening:
            print_ = f" (certificate {each.fingerprint_sha256})" if each.fingerprint_sha256 else ""
            click.echo(f"{each.name}: {each.url}{print_}")
    if new:
        click.echo(f"user {options.user}, password {options.password}")
