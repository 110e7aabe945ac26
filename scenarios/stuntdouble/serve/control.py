"""The native interface's hold on a running site."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from stuntdouble.errors import InvalidState
from stuntdouble.extents import State
from stuntdouble.hypervisor import QUIRKS
from stuntdouble.hypervisor.paging import Mode
from stuntdouble.native import models as m
from stuntdouble.native import overlays as o
from stuntdouble.serve.operations import array_of
from stuntdouble.serve.oracle import NOW, Digests, true_changes
from stuntdouble.serve.showing import (
    OUTCOMES,
    exports,
    plain,
    show_mapping,
    show_snapshot,
    show_vm,
    show_volume,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stuntdouble.array import Array
    from stuntdouble.hypervisor import Vm
    from stuntdouble.scenarios.build import World
    from stuntdouble.serve.live import LiveSite
    from stuntdouble.site import Level

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Calendar time of site time 0, the same on every run."""

_STATES: Final[dict[State, Literal["written", "zeroed", "hole"]]] = {
    State.WRITTEN: "written",
    State.TO_BE_ZEROED: "zeroed",
    State.HOLE: "hole",
}
_SCANNED_MAX: Final = 100_000  # lines of the journal that one answer looks through: milliseconds


class SiteControl:
    """Implements ``native.Control`` over a running site; ``listening`` tells its endpoints."""

    def __init__(self, live: LiveSite, listening: Callable[[], list[m.Endpoint]]) -> None:
        self._live = live
        self._listening = listening
        self._digests = Digests(live)

    @property
    def _world(self) -> World:
        return self._live.world

    # What there is. ------------------------------------------------------------------------

    async def health(self) -> m.Health:
        """Return whether the site answers."""
        lag = self._live.pacer.lag_seconds
        return m.Health(ok=True, version=version("stuntdouble"), lag_seconds=lag)

    async def site(self) -> m.Site:
        """Return VMs, datastores and volumes."""
        world = self._world
        with world.env.entered():
            return m.Site(
                scenario=world.scenario.name,
                title=world.scenario.title,
                seed=world.seed,
                engine=self._live.origin.engine,
                vms=[show_vm(vm) for vm in world.hypervisor.vms.values()],
                datastores=[
                    m.DatastoreSummary(
                        name=each.name, naas=list(each.naas), free_bytes=each.free_bytes
                    )
                    for each in world.hypervisor.datastores.values()
                ],
                volumes={
                    name: [show_volume(volume) for volume in array.inventory.volumes.values()]
                    for name, array in world.arrays.items()
                },
            )

    async def endpoints(self) -> list[m.Endpoint]:
        """Return where the site listens."""
        return self._listening()

    async def exports(self) -> list[m.Export]:
        """Return what an NBD server can serve of the site, by name."""
        with self._world.env.entered():
            return list(exports(self._world))

    # The clock. ----------------------------------------------------------------------------

    async def clock(self) -> m.Clock:
        """Return site time."""
        loop = self._live.loop
        seconds = loop.time()
        return m.Clock(
            seconds=seconds,
            calendar=(EPOCH + timedelta(seconds=seconds)).isoformat(),
            rate=loop.rate,
            paused=loop.paused,
            lag_seconds=self._live.pacer.lag_seconds,
        )

    async def set_rate(self, rate: float) -> m.Clock:
        """Let a wall second be *rate* site seconds."""
        self._live.loop.set_rate(rate)
        self._live.pacer.arm()
        return await self.clock()

    async def pause(self) -> m.Clock:
        """Stop the clock."""
        self._live.loop.pause()
        return await self.clock()

    async def resume(self) -> m.Clock:
        """Let the clock go on."""
        self._live.loop.resume()
        return await self.clock()

    async def advance(self, seconds: float) -> m.Clock:
        """Let *seconds* of site time pass as fast as they can; return when they have."""
        await self._live.pacer.advance(seconds)
        return await self.clock()

    # Deviations. ---------------------------------------------------------------------------

    async def quirks(self) -> list[m.Quirk]:
        """Return every quirk."""
        return [self._quirk(name) for name in QUIRKS]

    def _quirk(self, name: str) -> m.Quirk:
        known = QUIRKS[name]
        on = name in self._world.hypervisor.quirks
        return m.Quirk(name=name, on=on, legal=known.legal, description=known.summary)

    async def set_quirk(self, name: str, *, on: bool) -> m.Quirk:
        """Switch a quirk."""
        await self._live.act("set-quirk", {"name": name, "on": on})
        return self._quirk(name)

    async def paging(self) -> m.Paging:
        """Return how the change tracker cuts its answers."""
        return m.Paging(modes=list(get_args(Mode)), **asdict(self._world.hypervisor.paging))

    async def set_paging(self, choice: m.PagingChoice) -> m.Paging:
        """Choose how the change tracker cuts its answers."""
        await self._live.act("set-paging", choice.model_dump(exclude_none=True))
        return await self.paging()

    # The truth. ----------------------------------------------------------------------------

    async def offset_table(
        self, vm: str, disk: int, at: str, start: int, limit: int
    ) -> m.HostDiskBlockInfo:
        """Return a page of the offset table of a frozen disk, or of one as it is now."""
        world = self._world
        with world.env.entered():
            machine = world.hypervisor.vm(vm)
            found = machine.disk(disk)
            level = None if at == NOW else _frozen(machine, disk, at)
            table = world.hypervisor.layout(machine, disk, level)
            granularity = found.datastore.store.fs_blocks * world.site.block_bytes
        first = max(0, int(table.rows["file_offset"].searchsorted(start, side="right")) - 1)
        rows = table.rows[first : first + limit if start < table.capacity else first]
        mapped = [
            m.BlockMapping(
                logical=int(row["file_offset"]),
                physical=int(row["volume_offset"]),
                length=int(row["length"]),
                lun="" if row["volume"] < 0 else table.volumes[row["volume"]],
                state=_STATES[State(row["state"])],
            )
            for row in rows
        ]
        stop = mapped[-1].logical + mapped[-1].length if mapped else table.capacity
        return m.HostDiskBlockInfo(
            granularity=granularity,
            minBlockSize=world.site.block_bytes,
            size=table.capacity,
            map=mapped,
            next=stop if stop < table.capacity else None,
        )

    async def start_digest(self, request: m.DigestRequest) -> m.Digest:
        """Begin to compute what a disk held at a moment."""
        return self._digests.begin(request).show()

    async def digests(self) -> list[m.Digest]:
        """Return every digest that was asked for."""
        return [each.show() for each in self._digests.all()]

    async def digest(self, number: int, wait_seconds: float) -> m.Digest:
        """Return a digest once it is done, or as far as it is after *wait_seconds*."""
        return (await self._digests.wait(number, wait_seconds)).show()

    async def forget_digest(self, number: int) -> None:
        """Stop and forget a digest; idempotent."""
        self._digests.forget(number)

    async def true_changes(
        self, vm: str, disk: int, since: str, until: str, start: int, limit: int
    ) -> m.TrueChanges:
        """Return where a disk differs between two moments."""
        return await true_changes(self._world, vm, disk, since, until, start, limit)

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
        loop = self._live.loop
        until = loop.wall_time() + wait_seconds
        while True:
            found, cursor = self._lines(cursor, limit, kinds, subjects)
            left = until - loop.wall_time()
            if found or left <= 0:
                return m.Events(events=found, cursor=cursor)
            if cursor >= len(self._live.lines):
                await self._live.news(left)

    def _lines(
        self, cursor: int, limit: int, kinds: Sequence[str], subjects: Sequence[str]
    ) -> tuple[list[m.Event], int]:
        """Return the lines that are wanted, and where to go on."""
        found: list[m.Event] = []
        stop = min(len(self._live.lines), cursor + _SCANNED_MAX)
        for number, line in enumerate(self._live.lines[cursor:stop], start=cursor):
            if (kinds and line.kind not in kinds) or (subjects and line.subject not in subjects):
                continue
            facts = {name: plain(value) for name, value in line.facts.items()}
            event = m.Event(
                number=number, seconds=line.time, kind=line.kind, subject=line.subject, facts=facts
            )
            found.append(event)
            if len(found) == limit:
                return found, number + 1
        return found, max(cursor, stop)

    async def inputs(self, cursor: int, limit: int) -> m.Inputs:
        """Return what has entered the site."""
        some = list(islice(self._live.recorder.inputs, cursor, cursor + limit))
        shown = [m.Input(seconds=i.seconds, door=i.door, payload=i.payload) for i in some]
        return m.Inputs(inputs=shown, cursor=cursor + len(some))

    async def checkpoint(self) -> m.Checkpoint:
        """Return the site as it is now."""
        return m.Checkpoint.model_validate(self._live.checkpoint())

    async def restore(self, checkpoint: m.Checkpoint) -> m.Clock:
        """Put a site in this one's place that is as *checkpoint* says."""
        await self._live.restore(checkpoint.model_dump())
        return await self.clock()

    # Faults and the array. -----------------------------------------------------------------

    async def act(self, operation: str, **arguments: Any) -> Any:
        """Do an operation; return what it returns, as this interface says it."""
        done = await self._live.act(operation, arguments)
        show = OUTCOMES.get(operation)
        return None if show is None else show(done)

    async def wire_faults(self) -> dict[str, o.WireFaults]:
        """Return what goes wrong at the wire of each vendor's interface."""
        return self._live.overlays.shown()

    async def set_wire_faults(self, endpoint: str, wanted: o.WireFaults) -> o.WireFaults:
        """Choose what goes wrong at one of them."""
        return self._live.overlays.switch(endpoint, wanted)

    async def data_faults(self, array: str) -> list[o.DataFault]:
        """Return the faults of an array's LUNs."""
        array_of(self._world, array)
        return self._live.overlays.data(array)

    async def set_data_faults(
        self, array: str, plans: Sequence[dict[str, Any]]
    ) -> list[o.DataFault]:
        """Choose the faults of an array's LUNs."""
        array_of(self._world, array)
        return self._live.overlays.plan(array, plans)

    async def drop_sessions(self, wanted: o.Drop) -> o.Dropped:
        """Cut iSCSI sessions."""
        return self._live.overlays.drop(wanted)

    async def volumes(self, array: str) -> list[m.Volume]:
        """Return the volumes of an array."""
        found = self._array(array)
        return [show_volume(volume) for volume in found.inventory.volumes.values()]

    async def array_snapshots(self, array: str) -> list[m.ArraySnapshot]:
        """Return the array snapshots of an array."""
        with self._world.env.entered():  # what they have cost is up to date only then
            found = self._array(array)
            return [show_snapshot(snapshot) for snapshot in found.inventory.snapshots.values()]

    async def mappings(self, array: str) -> list[m.Mapping]:
        """Return who sees what of an array."""
        return [show_mapping(each) for each in self._array(array).mappings()]

    def _array(self, name: str) -> Array:
        found = array_of(self._world, name)
        found.core.check_reachable()
        return found


def _frozen(vm: Vm, disk: int, snapshot: str) -> Level:
    """Return what a snapshot froze of a disk; InvalidState where it did not."""
    found = vm.snapshot(snapshot)
    if disk not in found.frozen:
        raise InvalidState(f"disk {disk} of {vm.name}", f"not in {snapshot}", "show where it lies")
    return found.frozen[disk]
