"""What the native interface asks of a site.  Every method runs on the site's own loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.native import models as m
    from stuntdouble.native import overlays as o


class Control(Protocol):
    """A site, to whoever holds the strings.

    Errors are those of ``stuntdouble.errors``; the interface says them in its own way.
    """

    # What there is. ------------------------------------------------------------------------

    async def health(self) -> m.Health:
        """Return whether the site answers."""
        ...

    async def site(self) -> m.Site:
        """Return VMs, datastores and volumes."""
        ...

    async def endpoints(self) -> list[m.Endpoint]:
        """Return where the site listens."""
        ...

    async def exports(self) -> list[m.Export]:
        """Return what an NBD server can serve of the site, by name."""
        ...

    # The clock. ----------------------------------------------------------------------------

    async def clock(self) -> m.Clock:
        """Return site time."""
        ...

    async def set_rate(self, rate: float) -> m.Clock:
        """Let a wall second be *rate* site seconds."""
        ...

    async def pause(self) -> m.Clock:
        """Stop the clock."""
        ...

    async def resume(self) -> m.Clock:
        """Let the clock go on."""
        ...

    async def advance(self, seconds: float) -> m.Clock:
        """Let *seconds* of site time pass as fast as they can; return when they have."""
        ...

    # Deviations. ---------------------------------------------------------------------------

    async def quirks(self) -> list[m.Quirk]:
        """Return every quirk."""
        ...

    async def set_quirk(self, name: str, *, on: bool) -> m.Quirk:
        """Switch a quirk."""
        ...

    async def paging(self) -> m.Paging:
        """Return how the change tracker cuts its answers."""
        ...

    async def set_paging(self, choice: m.PagingChoice) -> m.Paging:
        """Choose how the change tracker cuts its answers."""
        ...

    # The truth. ----------------------------------------------------------------------------

    async def offset_table(
        self, vm: str, disk: int, at: str, start: int, limit: int
    ) -> m.HostDiskBlockInfo:
        """Return a page of the offset table of a frozen disk, or of one as it is now."""
        ...

    async def start_digest(self, request: m.DigestRequest) -> m.Digest:
        """Begin to compute what a disk held at a moment."""
        ...

    async def digests(self) -> list[m.Digest]:
        """Return every digest that was asked for."""
        ...

    async def digest(self, number: int, wait_seconds: float) -> m.Digest:
        """Return a digest once it is done, or as far as it is after *wait_seconds* of wall time."""
        ...

    async def forget_digest(self, number: int) -> None:
        """Stop and forget a digest; idempotent."""
        ...

    async def true_changes(
        self, vm: str, disk: int, since: str, until: str, start: int, limit: int
    ) -> m.TrueChanges:
        """Return where a disk differs between two moments."""
        ...

    # What has happened. --------------------------------------------------------------------

    async def journal(
        self,
        cursor: int,
        limit: int,
        kinds: Sequence[str],
        subjects: Sequence[str],
        wait_seconds: float,
    ) -> m.Events:
        """Return lines from *cursor* on; wait for one when there is none."""
        ...

    async def inputs(self, cursor: int, limit: int) -> m.Inputs:
        """Return what has entered the site."""
        ...

    async def checkpoint(self) -> m.Checkpoint:
        """Return the site as it is now."""
        ...

    async def restore(self, checkpoint: m.Checkpoint) -> m.Clock:
        """Put a site in this one's place that is as *checkpoint* says."""
        ...

    # Faults and the array. -----------------------------------------------------------------

    async def act(self, operation: str, **arguments: Any) -> Any:
        """Do one of the operations that change the site; return what it returns."""
        ...

    async def wire_faults(self) -> dict[str, o.WireFaults]:
        """Return what goes wrong at the wire of each vendor's interface."""
        ...

    async def set_wire_faults(self, endpoint: str, wanted: o.WireFaults) -> o.WireFaults:
        """Choose what goes wrong at one of them."""
        ...

    async def data_faults(self, array: str) -> list[o.DataFault]:
        """Return the faults of an array's LUNs."""
        ...

    async def set_data_faults(
        self, array: str, plans: Sequence[dict[str, Any]]
    ) -> list[o.DataFault]:
        """Choose the faults of an array's LUNs."""
        ...

    async def drop_sessions(self, wanted: o.Drop) -> o.Dropped:
        """Cut iSCSI sessions."""
        ...

    async def volumes(self, array: str) -> list[m.Volume]:
        """Return the volumes of an array."""
        ...

    async def array_snapshots(self, array: str) -> list[m.ArraySnapshot]:
        """Return the array snapshots of an array."""
        ...

    async def mappings(self, array: str) -> list[m.Mapping]:
        """Return who sees what of an array."""
        ...
