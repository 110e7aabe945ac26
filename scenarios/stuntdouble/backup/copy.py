"""What to read of a VM, and the copying of it into a restore point.

    disk         [wwwwwwww--------zzzzzzzzwwwwwwww]   written, - hole, z to be zeroed
    changed      [----cccccccc--------cccccccc----]   since the last restore point
    read         [----rrrr----------------rrrr----]   changed and written: from a device
    zeroed       [--------0000--------0000--------]   changed and not written: no device needed

An incremental must also zero what became zero: what it leaves out reads as in its parent.  A
full has no parent, so what it leaves out reads as zeros by itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from stuntdouble.errors import ChangeHistoryLost, Interrupted, InvalidState
from stuntdouble.extents import Runs, State
from stuntdouble.ports import DiskPoint, Kind, RestorePoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from stuntdouble.backup.report import Diary
    from stuntdouble.backup.select import Target
    from stuntdouble.backup.work import Work
    from stuntdouble.extents import OffsetTable
    from stuntdouble.ports import BlockDevice, DiskInfo, Draft, Span, Throttle, VmSnapshot


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore point takes up: file offsets by device key.

    ``change_ids`` are kept with the restore point, for the incremental after this one.
    """

    kind: Kind
    parent: str
    wanted: Mapping[int, Runs]
    change_ids: Mapping[int, str]


async def plan_reading(
    work: Work,
    target: Target,
    snapshot: VmSnapshot,
    diary: Diary,
    in_use: Callable[[DiskInfo], Awaitable[Runs]],
) -> Plan:
    """Decide what to read: changes if an incremental is asked for and possible, else all.

    *in_use* says what a full backup must read of a disk.  One disk whose changes are unknown
    makes it a full backup of the whole VM, and the diary says why.
    """
    if work.spec.kind is Kind.INCREMENTAL:
        parent, diary.why = _usable_parent(work, target, snapshot)
        if parent is not None:
            since = {disk.key: disk.change_id for disk in parent.disks}
            try:
                changes = {
                    disk.key: await changed_ranges(work, snapshot, disk, since[disk.key])
                    for disk in target.disks
                }
            except ChangeHistoryLost as error:
                diary.why = str(error)
            else:
                plan = Plan(Kind.INCREMENTAL, parent.id, changes, snapshot.change_ids)
                return _decided(diary, plan)
    everything = {disk.key: await in_use(disk) for disk in target.disks}
    return _decided(diary, Plan(Kind.FULL, "", everything, snapshot.change_ids))


async def changed_ranges(work: Work, snapshot: VmSnapshot, disk: DiskInfo, since: str) -> Runs:
    """Return every area of *disk* written from changeId *since* to *snapshot*, page by page.

    A page says how far it reaches; the next one starts there, until the capacity is reached.
    An empty page is a page like any other.

    Raises:
        InvalidState: a page does not lie where it was asked for, or reaches no further.
    """
    starts, lengths = [], []
    position = 0
    while position < disk.capacity_bytes:
        page = await work.hypervisor.changed_ranges(snapshot, disk.key, since, position)
        if page.start != position or page.covered <= 0:
            raise InvalidState(
                f"the change list of disk {disk.key} of {snapshot.vm}",
                f"stuck at byte {position} (answered {page.start}, {page.covered} bytes on)",
                "tell what changed",
            )
        starts.append(page.extents.starts)
        lengths.append(page.extents.lengths)
        position += page.covered
    if not starts:
        return Runs.empty()
    changed = Runs.from_arrays(np.concatenate(starts), np.concatenate(lengths))
    return changed.clip(0, disk.capacity_bytes)


async def copy_disk(
    work: Work, device: BlockDevice, disk: int, wanted: Runs, draft: Draft, diary: Diary
) -> None:
    """Copy *wanted* of a disk from a device that has the disk's own offsets."""
    arrived = 0
    async with aclosing(_spans(device, wanted, work.throttle)) as spans:
        async for span in spans:
            diary.bytes_read += len(span.data)
            await work.storing(partial(draft.write, disk, span.offset, span.data))
            arrived += len(span.data)
    _check_whole(device.identity, arrived, wanted.total)


async def copy_volume(
    work: Work,
    device: BlockDevice,
    volume: str,
    tables: Mapping[int, OffsetTable],
    plan: Plan,
    draft: Draft,
    diary: Diary,
) -> None:
    """Copy what a VM's disks have on one volume, in one sweep over the volume.

    Reading follows the volume's offsets, whatever the order in the files; each span is cut into
    the pieces of disk files that lie in it.
    """
    here = {key: table for key, table in tables.items() if volume in table.volumes}
    runs = Runs.empty()
    expected, arrived = 0, []
    for key, table in here.items():
        needed = table.volume_runs(table.volumes.index(volume), plan.wanted[key])
        expected += needed.total
        runs |= needed

    def store(span: Span) -> None:
        for key, table in here.items():
            arrived.append(_write_pieces(span, table, table.volumes.index(volume), key, draft))

    async with aclosing(_spans(device, runs, work.throttle)) as spans:
        async for span in spans:
            diary.bytes_read += len(span.data)
            await work.storing(partial(store, span))
    _check_whole(device.identity, sum(arrived), expected)


def _write_pieces(span: Span, table: OffsetTable, volume: int, disk: int, draft: Draft) -> int:
    """Write what a span of a volume holds of one disk; return how many bytes that was."""
    written = 0
    for file_offset, volume_offset, length in table.pieces(volume, span.offset, len(span.data)):
        begin = volume_offset - span.offset
        draft.write(disk, file_offset, span.data[begin : begin + length])
        written += length
    return written


def write_zeros(tables: Mapping[int, OffsetTable], plan: Plan, draft: Draft) -> None:
    """Zero the wanted ranges that are holes or were never written: no device is read for them.

    The bytes on the volume under a range to be zeroed are somebody else's.
    """
    for key, table in tables.items():
        zeros = plan.wanted[key] & table.where(State.HOLE, State.TO_BE_ZEROED)
        if zeros and plan.kind is Kind.INCREMENTAL:
            draft.zero(key, zeros)


@contextmanager
def restore_point(
    work: Work, target: Target, snapshot: VmSnapshot, plan: Plan, diary: Diary
) -> Iterator[Draft]:
    """Write a restore point: commit it when the block is left, discard it when that fails."""
    draft = work.repository.begin(target.capacities, plan.parent)
    diary.tell("reading-start", f"reading, {plan.kind}", read=plan.kind.value)
    try:
        try:
            with diary.phase("reading"):
                yield draft
        finally:
            diary.tell("reading-end", f"{diary.bytes_read} bytes read", bytes_read=diary.bytes_read)
        point = draft.commit(_point(work, target, snapshot, plan, diary.bytes_read))
    except BaseException:
        draft.discard()
        raise
    diary.point = point
    work.history.record(point)
    diary.tell("restore-point", f"restore point {point.id} committed", id=point.id)


def _point(
    work: Work, target: Target, snapshot: VmSnapshot, plan: Plan, bytes_read: int
) -> RestorePoint:
    """Describe the restore point; the repository gives it an id and fills in its size."""
    return RestorePoint(
        id="",
        vm=target.vm.name,
        method=work.spec.method.value,
        kind=plan.kind,
        moment=snapshot.moment,
        consistency=snapshot.consistency,
        disks=tuple(
            DiskPoint(disk.key, disk.capacity_bytes, plan.change_ids.get(disk.key, ""))
            for disk in target.disks
        ),
        parent=plan.parent,
        bytes_read=bytes_read,
        skipped=target.skipped,
    )


def _usable_parent(
    work: Work, target: Target, snapshot: VmSnapshot
) -> tuple[RestorePoint | None, str]:
    """Return the restore point to build on, or why there is none."""
    last = work.history.last(target.vm.name, work.spec.method.value)
    if last is None:
        return None, f"there is no earlier restore point by the {work.spec.method} method"
    if all(point.id != last.id for point in work.repository.points()):
        return None, f"restore point {last.id} is no longer in the repository"
    before = {disk.key: disk for disk in last.disks}
    for disk in target.disks:
        name = f"disk {disk.key}"
        if disk.key not in before:
            return None, f"{name} is not in restore point {last.id}"
        if before[disk.key].capacity_bytes != disk.capacity_bytes:
            return None, f"{name} has another capacity than in restore point {last.id}"
        if not before[disk.key].change_id or disk.key not in snapshot.change_ids:
            return None, f"changes of {name} were not tracked"
    return last, ""


def _decided(diary: Diary, plan: Plan) -> Plan:
    diary.kind = plan.kind
    if diary.why:
        diary.tell("full-instead", f"a full backup, because {diary.why}", why=diary.why)
    return plan


async def _spans(device: BlockDevice, runs: Runs, throttle: Throttle) -> AsyncGenerator[Span, None]:
    """Read *runs*, and stop the device's reading at once when the copying stops."""
    if not runs:
        return
    spans = device.read(runs, throttle)
    try:
        async for span in spans:
            yield span
    finally:
        if isinstance(spans, AsyncGenerator):
            await spans.aclose()


def _check_whole(identity: str, arrived: int, expected: int) -> None:
    """Refuse to commit what did not arrive: a device that stops early is not an error by itself."""
    if arrived != expected:
        raise Interrupted(f"reading {identity} ({arrived} of {expected} bytes arrived)")
