"""``stuntdouble restore``: list restore points, and bring a disk back to a raw file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stuntdouble.cli.columns import columns
from stuntdouble.cli.examples import examples
from stuntdouble.cli.names import did_you_mean
from stuntdouble.errors import Misuse
from stuntdouble.units import format_duration, format_size

if TYPE_CHECKING:
    from stuntdouble.backup.repository import Repository
    from stuntdouble.ports import RestorePoint


@click.command(
    short_help="List restore points, or restore a disk.",
    epilog=examples(
        "stuntdouble restore out/quickstart/repository/storage",
        "stuntdouble restore out/quickstart/repository/storage POINT",
        "stuntdouble restore out/quickstart/repository/storage POINT \\",
        "    --disk 2000 --to disk.raw",
        after="Each byte is verified before it is written, and the file appears when it is whole.",
    ),
)
@click.argument("repository", type=click.Path(path_type=Path))
@click.argument("point", required=False)
@click.option(
    "--disk", type=int, metavar="KEY", help="Which disk; needed when the point has several."
)
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Raw file to restore to; it is sparse.",
)
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def restore(
    *,
    repository: Path,
    point: str | None,
    disk: int | None,
    to: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """List the restore points of a REPOSITORY, or restore a disk of a POINT to a raw file.

    Without --to, POINT is described: its disks and their keys.
    """
    if to is None and (disk is not None or force):
        raise click.UsageError("--disk and --force need --to FILE")
    if point is None and to is not None:
        raise click.UsageError("--to needs the restore POINT: list them without it")
    if to is not None:
        _check_target(to, repository)
    with _opened(repository) as opened:
        if point is None:
            _list(opened.points(), as_json=as_json)
            return
        found = _find(opened, point)
        if to is None:
            _describe(found, as_json=as_json)
        else:
            _restore(opened, found, _disk(found, disk), to, force=force, as_json=as_json)


def _check_target(to: Path, repository: Path) -> None:
    """Make sure that a file can be made at *to*, and harms no repository."""
    if str(to) == "-":
        raise click.UsageError("--to needs a FILE: a sparse disk cannot be written to stdout")
    if not to.parent.is_dir():
        raise Misuse(str(to.parent), "there is no such directory: make it first")
    if to.resolve().is_relative_to(repository.resolve()):
        raise Misuse(str(to), f"lies in the repository {repository}: choose another place")


def _opened(path: Path) -> Repository:
    """Return the repository at *path*; one is never created, as a mistyped name would be."""
    from stuntdouble.backup.repository import Repository  # noqa: PLC0415
    from stuntdouble.cli.output import REPOSITORIES, REPOSITORY_HEADER  # noqa: PLC0415

    if not path.exists():
        raise Misuse(str(path), "there is no such directory")
    if not (path / REPOSITORY_HEADER).is_file():
        inside = sorted(path.glob(f"{REPOSITORIES}/*/{REPOSITORY_HEADER}"))
        inside += sorted(path.glob(f"*/{REPOSITORY_HEADER}"))
        hint = f": there is {', '.join(str(header.parent) for header in inside)}" if inside else ""
        raise Misuse(str(path), f"is not a repository{hint}")
    return Repository.open(path)


def _find(repository: Repository, point: str) -> RestorePoint:
    known = {found.id: found for found in repository.points()}
    if point not in known:
        where = f"list all with stuntdouble restore {repository.path}"
        raise Misuse(point, f"no restore point of that name{did_you_mean(point, known)}: {where}")
    return known[point]


def _disk(point: RestorePoint, disk: int | None) -> int:
    keys = [known.key for known in point.disks]
    if disk is None and len(keys) == 1:
        return keys[0]
    if disk not in keys:
        has = f"has the disks {', '.join(map(str, keys))}" if keys else "has no disks"
        raise Misuse(f"restore point {point.id}", f"{has}: name one of them with --disk")
    return disk


def _list(points: tuple[RestorePoint, ...], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_facts(point) for point in points], indent=2))
    elif points:
        heading = ("POINT", "VM", "METHOD", "KIND", "MOMENT", "CONSISTENCY", "DISKS")
        click.echo(columns([heading, *map(_row, points)]))
    else:
        click.echo("no restore points")


def _row(point: RestorePoint) -> tuple[str, ...]:
    disks = " ".join(str(disk.key) for disk in point.disks)
    moment = format_duration(point.moment)
    return (point.id, point.vm, point.method, point.kind, moment, str(point.consistency), disks)


def _describe(point: RestorePoint, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_facts(point), indent=2))
        return
    rows = [
        ("point", point.id),
        ("VM", point.vm),
        ("method", point.method),
        ("kind", str(point.kind)),
        ("moment", f"{format_duration(point.moment)} of site time"),
        ("consistency", str(point.consistency)),
        *((f"disk {disk.key}", format_size(disk.capacity_bytes)) for disk in point.disks),
        *(("skipped", reason) for reason in point.skipped),
    ]
    click.echo(columns(rows))


def _facts(point: RestorePoint) -> dict[str, Any]:
    return {
        "id": point.id,
        "vm": point.vm,
        "method": point.method,
        "kind": str(point.kind),
        "moment": point.moment,
        "consistency": str(point.consistency),
        "parent": point.parent,
        "disks": [{"key": disk.key, "capacity_bytes": disk.capacity_bytes} for disk in point.disks],
        "bytes_read": point.bytes_read,
        "bytes_stored": point.bytes_stored,
        "skipped": list(point.skipped),
    }


def _restore(
    repository: Repository,
    point: RestorePoint,
    disk: int,
    to: Path,
    *,
    force: bool,
    as_json: bool,
) -> None:
    from stuntdouble.backup.restore import restore_to_file  # noqa: PLC0415
    from stuntdouble.results import Progress  # noqa: PLC0415

    with Progress(quiet=as_json) as progress:
        progress.stage(f"disk {disk}")

        def show(done: int, total: int) -> None:
            progress.update(done / total, f"{format_size(done)} of {format_size(total)}")

        size = restore_to_file(repository, point.id, disk, to, force=force, progress=show)
    if as_json:
        facts = {"point": point.id, "disk": disk, "file": str(to), "bytes": size}
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(f"restored disk {disk} of {point.id}, {format_size(size)}, to {to}")
