"""Paths that look: the site, its truth, what has happened.  They change nothing but the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query, Response

from stuntdouble.native import models as m

if TYPE_CHECKING:
    from stuntdouble.native.control import Control
    from stuntdouble.native.crossing import Crossing

Limit = Annotated[int, Query(ge=1, le=m.PAGE_MAX, description="Rows in an answer, at most.")]
Start = Annotated[int, Query(ge=0, description="Offset in bytes to begin at.")]
Cursor = Annotated[int, Query(ge=0, description="Number of the first line wanted.")]
Wait = Annotated[
    float, Query(ge=0, le=m.WAIT_SECONDS_MAX, description="Wall seconds to wait for news.")
]
PathKey = Annotated[int, Path(ge=0)]


def site_paths(control: Control, cross: Crossing) -> APIRouter:
    """Return the paths that show the site."""
    paths = APIRouter(tags=["site"])

    @paths.get("/site")
    async def site() -> m.Site:
        """Show VMs, datastores and volumes."""
        return await cross(control.site())

    @paths.get("/endpoints")
    async def endpoints() -> list[m.Endpoint]:
        """Show where the site listens, this interface included."""
        return await cross(control.endpoints())

    @paths.get("/exports")
    async def exports() -> list[m.Export]:
        """Show what an NBD server can serve: disks, frozen disks and mapped LUNs, by name."""
        return await cross(control.exports())

    @paths.get("/vms/{vm}/disks/{disk}/offset-table")
    async def offset_table(
        vm: str,
        disk: PathKey,
        *,
        snapshot: m.At = "now",
        start: Start = 0,
        limit: Limit = 1000,
    ) -> m.HostDiskBlockInfo:
        """Show where each range of a disk lies on the volumes under its datastore.

        Of a snapshot it stays true until the snapshot goes; of `now` it is true at that instant.
        """
        return await cross(control.offset_table(vm, disk, snapshot, start, limit))

    return paths


def oracle_paths(control: Control, cross: Crossing) -> APIRouter:
    """Return the paths that tell the truth."""
    paths = APIRouter(prefix="/oracle", tags=["oracle"])

    @paths.get("/digests")
    async def digests() -> list[m.Digest]:
        """List the digests that were asked for."""
        return await cross(control.digests())

    @paths.post("/digests", status_code=201)
    async def start_digest(request: m.DigestRequest, response: Response) -> m.Digest:
        """Begin to compute what a disk held at a moment; the moment is kept at once."""
        begun = await cross(control.start_digest(request))
        response.headers["Location"] = f"digests/{begun.id}"
        return begun

    @paths.get("/digests/{number}")
    async def digest(number: int, *, wait: Wait = 0.0) -> m.Digest:
        """Show a digest; `blake3` is null until it is done."""
        return await cross(control.digest(number, wait), wait)

    @paths.delete("/digests/{number}", status_code=204)
    async def forget_digest(number: int) -> None:
        """Stop and forget a digest, and the moment that it is of."""
        await cross(control.forget_digest(number))

    @paths.get("/vms/{vm}/disks/{disk}/changes")
    async def true_changes(
        vm: str,
        disk: PathKey,
        *,
        since: m.At,
        until: m.At = "now",
        start: Start = 0,
        limit: Limit = 1000,
    ) -> m.TrueChanges:
        """Show where a disk truly differs between two moments, from the ledger."""
        return await cross(control.true_changes(vm, disk, since, until, start, limit))

    return paths


def history_paths(control: Control, cross: Crossing) -> APIRouter:
    """Return the paths that tell what has happened, and go back to where it was."""
    paths = APIRouter(tags=["history"])

    @paths.get("/journal")
    async def journal(
        *,
        cursor: Cursor = 0,
        limit: Limit = 1000,
        kind: Annotated[list[str] | None, Query(description="Only of these kinds.")] = None,
        subject: Annotated[list[str] | None, Query(description="Only of these.")] = None,
        wait: Wait = 0.0,
    ) -> m.Events:
        """Show what has happened, in order; with `wait`, wait for the next line there is."""
        kinds, subjects = tuple(kind or ()), tuple(subject or ())
        return await cross(control.journal(cursor, limit, kinds, subjects, wait), wait)

    @paths.get("/inputs")
    async def inputs(*, cursor: Cursor = 0, limit: Limit = 1000) -> m.Inputs:
        """Show every input that entered the site through a door, with its instant."""
        return await cross(control.inputs(cursor, limit))

    @paths.post("/checkpoint")
    async def checkpoint() -> m.Checkpoint:
        """Take the site as it is: how it was built, and every input since.  It changes nothing."""
        return await cross(control.checkpoint())

    @paths.post("/restore")
    async def restore(checkpoint: m.Checkpoint) -> m.Clock:
        """Put a site in this one's place that has lived through a checkpoint.

        It is built anew and lives through the inputs as fast as it can; then the clock is set to
        the instant of the checkpoint, and goes on from there.  What waited in the old site is told
        so by 503; cursors of the journal up to that instant stay right.
        """
        return await cross(control.restore(checkpoint), m.WAIT_SECONDS_MAX)

    return paths
