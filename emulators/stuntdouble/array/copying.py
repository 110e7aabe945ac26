"""Physical copies, and overwriting a volume with what another one or a snapshot holds.

    copy     freeze the source ─▶ copy piece by piece, in the array's own time ─▶ let the image go
    revert   fence ─▶ every chunk that differs, in one instant ─▶ unfence;  its I/O comes afterwards

A copy has blocks of its own and needs nobody once it is done.  It holds what the source held when it
began, whatever is written to the source meanwhile; until it is done its destination is nobody's.

A revert, or any overwriting, is done at once for whoever reads, as it is on arrays that exchange
pointers or read through to the snapshot meanwhile; the I/O that is left goes on in the background.
Snapshots of the volume keep their moments, newer ones as well.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from stuntdouble.array.blocks import pieces
from stuntdouble.array.volume import Snapshot, Volume
from stuntdouble.errors import Error, InvalidState, NoSpace
from stuntdouble.extents import Runs
from stuntdouble.iops import Purpose
from stuntdouble.site import IO_BLOCKS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.lineage import Lineage
    from stuntdouble.array.masking import Masking
    from stuntdouble.array.snapshot import Snapshots
    from stuntdouble.array.task import Task, Tasks, TaskState
    from stuntdouble.site import Lun, Step

    _Work = Iterator[tuple[int, Callable[[], list[Step]]]]
    """Pieces: bytes, and what admits them when their time has come."""


class Copying:
    """Copies and reverts; a request answers when its task has begun."""

    def __init__(
        self, core: Core, masking: Masking, snapshots: Snapshots, lineage: Lineage, tasks: Tasks
    ) -> None:
        self._core = core
        self._masking = masking
        self._snapshots = snapshots
        self._lineage = lineage
        self._tasks = tasks

    # Copies. -------------------------------------------------------------------------------

    def start_copy(self, source: str, destination: str) -> Generator[Event, Any, Task]:
        """Begin a physical copy; see ``Array.start_copy``."""
        core = self._core
        yield from core.take(0.0)
        self._check_copy(source, destination)
        yield from core.take(core.parameters.create_seconds)
        thing, _ = self._check_copy(source, destination)
        if isinstance(thing, Snapshot):
            return self._begin_copy(source, destination, thing)
        volume = thing
        yield from self._snapshots.fence([volume])
        try:
            _check_same((self._check_copy(source, destination)[0],), (volume,))
            return self._begin_copy(source, destination, self._snapshots.hide(volume))
        finally:
            self._snapshots.unfence([volume])

    def _begin_copy(self, source: str, destination: str, image: Snapshot) -> Task:
        target = self._core.inventory.volume(destination)
        assert image.image is not None, "what was checked is there"
        lun = image.image.lun
        everything = Runs.single(0, lun.size_bytes)  # but zeros over zeros
        wanted = (lun.held(everything) | target.lun.held(everything)).align(lun.chunk_bytes)
        task = self._tasks.begin("copy", destination, source, wanted.total)
        target.writer = task
        image.readers.append(task)
        if image.hidden:
            image.volume.readers.append(task)
        self._core.env.process(self._copy(task, image, target, wanted))
        return task

    def _copies(self, task: Task, source: Snapshot, target: Volume, wanted: Runs) -> _Work:
        """Yield every piece of a copy; its admission raises InvalidState once its source is gone."""
        assert source.image is not None, "a copy begins with something to read"
        lun, site = source.image.lun, self._core.site
        for run in wanted:
            for offset, size in pieces(run.start, run.length, self._io_bytes):

                def admit(at: int = offset, length: int = size) -> list[Step]:
                    if not source.valid:
                        name = source.name or source.volume.name
                        raise InvalidState(f"the image of {name}", "given up", f"copy {task.id}")
                    return site.volume_copy(target.lun, at, lun, length, source.volume.naa)

                yield size, admit

    def _copy(
        self, task: Task, source: Snapshot, target: Volume, wanted: Runs
    ) -> Generator[Event, Any, None]:
        """Do the work of a copy; say what came of it, and let its source go."""
        failure: Error | None = None
        try:
            yield from self._pace(task, self._copies(task, source, target, wanted))
            if not task.stopping and source.image is not None:
                _take_over(source.image.lun, target.lun)
        except Error as error:
            failure = error
        target.writer = None
        source.readers.remove(task)
        if source.hidden:
            source.volume.readers.remove(task)
            self._core.gauge()
            self._lineage.release(source)
            self._core.gauge()
        whole: TaskState = "cancelled" if task.stopping else "done"
        self._tasks.end(task, "failed" if failure else whole, failure)
        self._core.sweep()

    def _check_copy(self, source: str, destination: str) -> tuple[Volume | Snapshot, Volume]:
        inventory = self._core.inventory
        thing, target = inventory.either(source), inventory.volume(destination)
        request = f"copy {source} to it"
        self._check_target(target, thing, request)
        if target.size_bytes < thing.size_bytes:
            state = f"{target.size_bytes} bytes large, and that {thing.size_bytes}"
            raise InvalidState(f"volume {destination}", state, request)
        return thing, target

    # Reverts. ------------------------------------------------------------------------------

    def revert(self, volume: str, snapshot: str, *, mapped: bool) -> Generator[Event, Any, Task]:
        """Bring a volume back to a snapshot of it; see ``Array.revert``."""
        core = self._core
        yield from core.take(0.0)
        self._check_parent(volume, snapshot)
        return (
            yield from self.overwrite(
                volume, snapshot, mapped=mapped, check=lambda: self._check_parent(volume, snapshot)
            )
        )

    def overwrite(
        self,
        volume: str,
        source: str,
        *,
        mapped: bool,
        check: Callable[[], None] = lambda: None,
    ) -> Generator[Event, Any, Task]:
        """Let a volume hold what another, or a snapshot, holds now; see ``Array.overwrite``."""
        core = self._core
        yield from core.take(0.0)
        self._check_overwrite(volume, source, mapped=mapped)
        yield from core.take(core.parameters.promote_seconds)
        target, thing = self._check_overwrite(volume, source, mapped=mapped)
        fenced = [target, thing] if isinstance(thing, Volume) else [target]
        yield from self._snapshots.fence(fenced)
        try:
            check()
            _check_same(self._check_overwrite(volume, source, mapped=mapped), (target, thing))
            return self._exchange(target, thing)
        finally:
            self._snapshots.unfence(fenced)

    def _exchange(self, target: Volume, thing: Volume | Snapshot) -> Task:
        """Admit what makes a volume hold what another thing holds, and post its I/O to come."""
        core = self._core
        lun = _content(thing)
        differing = target.lun.differing(lun)
        wanted, free = target.lun.owed_bytes(differing), target.pool.reserve_free_bytes
        if wanted > free:
            raise NoSpace(f"the snapshot reserve of {target.pool.name}", wanted, free)
        core.gauge()
        admitted = [
            (size, core.site.volume_copy(target.lun, offset, lun, size, thing.naa))
            for run in differing
            for offset, size in pieces(run.start, run.length, self._io_bytes)
        ]
        core.gauge()
        task = self._tasks.begin("revert", target.name, thing.name, differing.total)
        core.env.process(self._pay(task, admitted))
        return task

    def _pay(
        self, task: Task, admitted: list[tuple[int, list[Step]]]
    ) -> Generator[Event, Any, None]:
        """Let the I/O of what was admitted take its time."""
        try:
            yield from self._pace(task, ((size, partial(list, each)) for size, each in admitted))
            self._tasks.end(task, "done")
        except Error as error:
            self._tasks.end(task, "failed", error)

    def _check_parent(self, volume: str, snapshot: str) -> None:
        inventory = self._core.inventory
        origin = inventory.snapshot(snapshot).volume
        if origin is not inventory.volume(volume):
            state = f"of volume {origin.name}"
            raise InvalidState(f"array snapshot {snapshot}", state, f"revert {volume} to it")

    def _check_overwrite(
        self, volume: str, source: str, *, mapped: bool
    ) -> tuple[Volume, Volume | Snapshot]:
        inventory = self._core.inventory
        target, thing = inventory.volume(volume), inventory.either(source)
        request = f"overwrite it with {source}"
        self._check_target(target, thing, request, mapped=mapped)
        if target.size_bytes != thing.size_bytes:
            state = f"{target.size_bytes} bytes large, and that {thing.size_bytes}"
            raise InvalidState(f"volume {volume}", state, request)
        return target, thing

    # Both. ---------------------------------------------------------------------------------

    def _check_target(
        self, target: Volume, thing: Volume | Snapshot, request: str, *, mapped: bool = False
    ) -> None:
        """Make sure that a volume may be written from a thing, and that this is there."""
        for state, wrong in (
            ("the same", target is thing),
            ("read-only", target.read_only),
            ("mapped", not mapped and self._masking.mapped(target)),
            ("without the snapshot that it shows", not target.readable),
            ("being copied", target.writer is not None or bool(target.readers)),
            ("carrying a datastore", bool(target.lun.stores)),
        ):
            if wrong:
                raise InvalidState(f"volume {target.name}", state, request)
        whole = thing.valid if isinstance(thing, Snapshot) else thing.readable
        if not whole or (isinstance(thing, Volume) and thing.writer is not None):
            state = "being written by a copy" if whole else "no longer valid"
            raise InvalidState(thing.name, state, f"copy it to {target.name}")

    @property
    def _io_bytes(self) -> int:
        size, p = self._core.site.block_bytes, self._core.parameters
        return min(max(p.synchronise_io_bytes // size, 1), IO_BLOCKS_MAX) * size

    def _pace(self, task: Task, work: _Work) -> Generator[Event, Any, None]:
        """Admit and post pieces, as many at a time and as fast as the array copies."""
        core, p = self._core, self._core.parameters
        under_way: deque[tuple[Event, int]] = deque()
        due = core.env.now
        for size, admit in work:
            if due > core.env.now:
                yield core.env.at(due)
            core.check_reachable()
            if task.stopping:
                break
            under_way.append((core.engine.submit(admit(), Purpose.CONTROL), size))
            rate = p.synchronise_bytes_per_second
            due = max(due, core.env.now) + (size / rate if rate else 0.0)
            if len(under_way) == p.synchronise_depth:
                event, ended = under_way.popleft()
                yield event
                task.done_bytes += ended
        for event, ended in under_way:
            yield event
            task.done_bytes += ended
        core.check_reachable()


def _check_same(now: Sequence[object], then: Sequence[Volume | Snapshot]) -> None:
    """Raise InvalidState where a name that was looked up twice is another thing's by now."""
    for found, known in zip(now, then, strict=True):
        if found is not known:
            raise InvalidState(known.name, "renamed meanwhile", "go on with it")


def _content(thing: Volume | Snapshot) -> Lun:
    if isinstance(thing, Volume):
        return thing.lun
    assert thing.image is not None, "what was checked is there"
    return thing.image.lun


def _take_over(source: Lun, target: Lun) -> None:
    """Let what lies on a copied LUN be found on its copy; what spans several is on none."""
    for store in source.stores:
        if len(store.luns) == 1:
            store.fork((target,))
