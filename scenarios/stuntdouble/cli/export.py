"""``stuntdouble export`` and ``stuntdouble unexport``: a LUN to initiators, or to this machine."""

from __future__ import annotations

import json
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stuntdouble.cli.columns import columns
from stuntdouble.cli.examples import examples
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from stuntdouble.lio import Chap, Export, Keeper, Kind, Portal, Request

KINDS: Final = ("lio-iscsi", "lio-loopback", "loop")

_store = click.option(
    "--store",
    metavar="URL",
    default="",
    help="Where it is noted what has been exported: redis://HOST:PORT.  [default: files in /run]",
)


@click.command(
    short_help="Let a LUN out by iSCSI, as a SCSI disk or as a loop device.",
    epilog=examples(
        "stuntdouble export nbd://127.0.0.1:10809/lun/NAA --as loop",
        "stuntdouble export a.raw --portal 192.0.2.1:3260 --initiator iqn.2026-11.b.c",
        "stuntdouble export disk.raw --as lio-loopback --print-targetcli",
        after="The export stays until `stuntdouble unexport` ends it.  stuntdouble doctor says which"
        " exporters work here.",
    ),
)
@click.argument("source", metavar="NBD-URL|FILE|DEVICE")
@click.option(
    "--as",
    "kind",
    type=click.Choice(KINDS),
    help="By which exporter.  [default: lio-iscsi with a portal, else the first that works here]",
)
@click.option("--portal", metavar="HOST:PORT", help="Where an iSCSI target listens.")
@click.option(
    "--initiator",
    "initiators",
    metavar="IQN",
    multiple=True,
    help="Who may log in to it; may be repeated.",
)
@click.option(
    "--chap",
    "chap_file",
    metavar="FILE.toml",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What they prove themselves by: user, secret, mutual_user, mutual_secret.",
)
@click.option("--target", default="", metavar="IQN", help="The target's name.  [default: made up]")
@click.option("--lun", type=int, default=0, show_default=True, help="The number of the LUN.")
@click.option(
    "--naa", default="", metavar="DIGITS", help="Its identifier.  [default: the array's, or any]"
)
@click.option("--read-write", is_flag=True, help="Let initiators write.")
@click.option(
    "--by",
    type=click.Choice(("auto", "nbd", "fuse", "copy")),
    default="auto",
    show_default=True,
    help="How an NBD export gets here: the kernel's client, a FUSE file, or a sparse copy.",
)
@click.option(
    "--backstore",
    type=click.Choice(("auto", "block", "fileio")),
    default="auto",
    show_default=True,
    help="Which back end of the kernel's target reads it.",
)
@_store
@click.option("--print-targetcli", is_flag=True, help="Print the commands that do it, and end.")
@click.option("--show-secrets", is_flag=True, help="Print CHAP secrets among them.")
@click.option("--json", "as_json", is_flag=True, help="Print what has been exported as JSON.")
def export(  # noqa: PLR0913  (by name, each an option of the command line)
    *,
    source: str,
    kind: Kind | None,
    portal: str | None,
    initiators: tuple[str, ...],
    chap_file: Path | None,
    store: str,
    print_targetcli: bool,
    show_secrets: bool,
    read_write: bool,
    as_json: bool,
    **facts: Any,
) -> int:
    """Let a LUN out: of a served site by its NBD URL, or a raw file or block device.

    It is read-only unless --read-write is given.  By iSCSI only those see it who are named; the
    loopback fabric and loop devices are for this machine.
    """
    from stuntdouble import lio  # noqa: PLC0415

    if chap_file and not initiators:
        raise Misuse("--chap", "is what initiators prove themselves by: name them by --initiator")
    chap = _chap(chap_file) if chap_file else None
    request = lio.Request(
        lio.source(source),
        read_only=not read_write,
        initiators=tuple(lio.Initiator(iqn, chap) for iqn in initiators),
        portal=_portal(portal) if portal else None,
        held=False,
        **facts,
    )
    chosen = kind or _kind(request)
    if print_targetcli:
        planned = lio.plan(chosen, request, lio.Machine(), lio.new_number())
        click.echo(lio.commands(planned, request, show_secrets=show_secrets), nl=False)
        return 0
    exporter = lio.KernelExporter(chosen, _keeper(store), on_news=_show_progress)
    made = exporter.export(request)
    click.echo(json.dumps(asdict(made), indent=2) if as_json else _told(made))
    return 0


def _kind(request: Request) -> Kind:
    """Return the exporter for whoever names none."""
    from stuntdouble import lio  # noqa: PLC0415

    if request.portal or request.initiators:
        return "lio-iscsi"
    works = {finding.name: finding for finding in lio.probe()}
    local: tuple[Kind, ...] = ("lio-loopback", "loop")
    for kind in local:
        if works[kind].works:
            return kind
    why = "; ".join(f"{kind}: {works[kind].why}" for kind in local)
    raise Misuse("export", f"no exporter for this machine works here ({why})")


def _portal(text: str) -> Portal:
    from stuntdouble.lio import Portal  # noqa: PLC0415

    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        raise Misuse("--portal", f"{text!r} is not HOST:PORT, as in 192.0.2.1:3260")
    return Portal(host.removeprefix("[").removesuffix("]"), int(port))


def _chap(path: Path) -> Chap:
    """Return what initiators prove themselves by; from a file, as others see a command line."""
    from stuntdouble.lio import Chap  # noqa: PLC0415

    try:
        facts = tomllib.loads(path.read_text("utf-8"))
        return Chap(**facts)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misuse(str(path), f"no TOML: {error}") from None
    except TypeError:  # as of any call with keys that it does not know
        names = "user, secret, and perhaps mutual_user and mutual_secret"
        raise Misuse(str(path), f"has other keys than {names}") from None


def _keeper(url: str) -> Keeper | None:
    if not url:
        return None
    from stuntdouble.store import open_store  # noqa: PLC0415

    return open_store(url).space("lio")


def _show_progress(_process: int, line: dict[str, Any]) -> None:
    if "progress" in line and sys.stderr.isatty():
        what, done, everything = line["progress"]
        end = "\n" if done == everything else ""
        click.echo(f"\r{what}: {100 * done // everything} %{end}", err=True, nl=False)


def _told(made: Export) -> str:
    rows = {
        "export": made.id,
        "device": made.device,
        "target": made.target,
        "portal": str(made.portal or ""),
        "LUN": f"{made.lun}, naa.{made.naa}" if made.naa else "",
        "mode": "read-only" if made.read_only else "read-write",
        "way": "; ".join(made.path),
    }
    return columns((name, text) for name, text in rows.items() if text)


@click.command(
    short_help="Take exported LUNs back.",
    epilog=examples(
        "stuntdouble unexport --list",
        "stuntdouble unexport 0badcafe",
        "stuntdouble unexport --recover",
        after="Exit code 1 where something is in use, or could not be ended.",
    ),
)
@click.argument("numbers", metavar="[EXPORT]...", nargs=-1)
@click.option("--list", "listed", is_flag=True, help="Show what is exported, and end.")
@click.option("--force", is_flag=True, help="Also while somebody uses it.")
@click.option(
    "--recover", "recovering", is_flag=True, help="End what a process that was killed has left."
)
@click.option("--all", "everything", is_flag=True, help="End every export of ours.")
@_store
def unexport(
    *,
    numbers: tuple[str, ...],
    listed: bool,
    force: bool,
    recovering: bool,
    everything: bool,
    store: str,
) -> int:
    """End exports by their numbers; those of others are not touched."""
    from stuntdouble import lio  # noqa: PLC0415

    if sum((bool(numbers), listed, recovering, everything)) != 1:
        raise Misuse("unexport", "name exports, or give one of --list, --recover and --all")
    keeper = _keeper(store)
    exporter = lio.KernelExporter("loop", keeper)
    if listed:
        rows = [(each.export.id, each.phase, *_row(each.export)) for each in exporter.records.all()]
        click.echo(columns(rows) if rows else "nothing is exported")
        return 0
    if numbers:
        made = [exporter.records.get(number).export for number in numbers]
        for each in made:
            exporter.unexport(each, force=force)
            click.echo(f"ended {each.id}")
        return 0
    found = lio.recover(keeper, everything=everything)
    for number in found.ended:
        click.echo(f"ended {number}")
    for number, why in found.left.items():
        click.echo(f"stuntdouble: {number} is left: {why}", err=True)
    if not found.ended and not found.left:
        click.echo("nothing to end")
    return 1 if found.left else 0


def _row(made: Export) -> tuple[str, str, str]:
    return made.exporter, made.device or made.target, made.source
