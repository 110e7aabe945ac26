"""What has changed on a disk: one page of the tracker's answer, quirks included.

Why an answer is refused can be told by the type of the error, and by nothing else:

    the disk is independent, a raw mapping, or newer than the snapshot      DiskNotTrackable
    tracking is off, or was not active yet at the snapshot                  TrackingInactive
    ``"*"``, and tracking began on top of a snapshot                        EpochUnknown, see below
    the changeId is of another tracking state                               ChangeHistoryLost
    the changeId is of a later snapshot                                     InvalidState itself
    the "current" state of a VM that runs                                   FileLocked
    startOffset past the end, changeId malformed                            InvalidArgument
    no such VM or snapshot, no such disk                                    NotFound, UnknownDisk

Whether ``"*"`` is refused where it is not known what is in use, or answered with the whole disk, is
a parameter: vSphere may do either (KB 320557).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.errors import (
    DiskNotTrackable,
    EpochUnknown,
    FileLocked,
    InvalidArgument,
    TrackingInactive,
)
from stuntdouble.extents import Runs, State
from stuntdouble.hypervisor.paging import page
from stuntdouble.hypervisor.quirks import EMPTY_PAGES, FALSE_POSITIVES
from stuntdouble.ports import ALL_ALLOCATED

if TYPE_CHECKING:
    from stuntdouble.hypervisor.hypervisor import Hypervisor
    from stuntdouble.hypervisor.inventory import Vm, VmDisk
    from stuntdouble.ports import ChangedPage
    from stuntdouble.site import Level

_FALSE_MAX: Final = 1024  # areas that nobody wrote, in one answer; chosen: enough to be noticed
_FALSE_GRAINS_MAX: Final = 4  # of one of them; chosen


def changed_ranges(
    hypervisor: Hypervisor, vm: Vm | str, key: int, since: str, snapshot: str | None, start: int
) -> ChangedPage:
    """Return one page of the areas of a disk written from changeId *since* on.

    ``"*"`` asks for all areas in use: what the file has written, rounded outward to grains.

    Args:
        hypervisor: whose VM it is.
        vm: the VM.
        key: the disk's device key.
        since: a changeId, or ``"*"``.
        snapshot: id of the snapshot up to which changes count; None is the current state of a VM
            that is off.
        start: byte offset at which the page begins.

    Raises:
        Refused, Misuse: as the table above has it.
        Unreachable: the disk's storage is lost.
    """
    machine = hypervisor.vm(vm)
    disk = machine.disk(key)
    disk.check_reachable()
    level, until = _moment(machine, disk, snapshot)
    size = disk.spec.capacity_bytes
    if not 0 <= start < size:
        raise InvalidArgument("startOffset", f"{start} is not within the disk's {size} bytes")
    if not disk.tracker.active or until == "":
        raise TrackingInactive(_named(machine, disk))
    if since == ALL_ALLOCATED:
        found = _in_use(hypervisor, machine, disk, level, until)
    else:
        found = _changed(hypervisor, machine, disk, since, until)
    host = hypervisor.host
    stream = host.streams["paging", machine.name, str(key)]
    return page(found, start, size, host.paging, stream, gaps=EMPTY_PAGES in host.quirks)


def _moment(vm: Vm, disk: VmDisk, snapshot: str | None) -> tuple[Level, str | None]:
    """Return the level that is asked about, and the changeId of its moment: None is now."""
    if snapshot is None:
        if disk.obstacle:
            raise DiskNotTrackable(_named(vm, disk), disk.obstacle)
        if vm.powered_on:
            raise FileLocked(disk.name, f"{vm.name}, which runs")
        return disk.disk.head, None
    found = vm.snapshot(snapshot)
    if disk.key not in found.frozen:
        raise DiskNotTrackable(_named(vm, disk), disk.obstacle or "new")
    return found.frozen[disk.key], found.change_ids.get(disk.key, "")


def _in_use(hypervisor: Hypervisor, vm: Vm, disk: VmDisk, level: Level, until: str | None) -> Runs:
    tracker, size = disk.tracker, disk.spec.capacity_bytes
    tracker.check(until)  # as lost as any history
    if tracker.blind:
        return tracker.written(until)
    if not tracker.complete:
        if hypervisor.host.parameters.tracking_unknown == "refuse":
            raise EpochUnknown(_named(vm, disk))
        return Runs.single(0, size)

    def look() -> Runs:
        written = hypervisor.layout(vm, disk.key, level).where(State.WRITTEN)
        grains = written.align(hypervisor.host.parameters.tracking_grain_bytes, size)
        return tracker.as_read(grains)

    return tracker.kept((ALL_ALLOCATED, until), look)


def _changed(hypervisor: Hypervisor, vm: Vm, disk: VmDisk, since: str, until: str | None) -> Runs:
    found = disk.tracker.changed(since, until)
    if FALSE_POSITIVES not in hypervisor.host.quirks:
        return found
    return disk.tracker.kept(
        (FALSE_POSITIVES, since, until), lambda: found | _never_written(hypervisor, vm, disk, found)
    )


def _never_written(hypervisor: Hypervisor, vm: Vm, disk: VmDisk, found: Runs) -> Runs:
    """Draw areas, an eighth as many as there are changed ones and one at least."""
    stream = hypervisor.host.streams["false positives", vm.name, str(disk.key)]
    grain, size = hypervisor.host.parameters.tracking_grain_bytes, disk.spec.capacity_bytes
    count = min(1 + len(found) // 8, _FALSE_MAX)
    drawn = [
        (
            int(stream.uniform() * -(-size // grain)) * grain,
            (1 + int(stream.uniform() * _FALSE_GRAINS_MAX)) * grain,
        )
        for _ in range(count)
    ]
    return Runs.of(drawn).clip(0, size)


def _named(vm: Vm, disk: VmDisk) -> str:
    return f"disk {disk.key} of {vm.name}"
