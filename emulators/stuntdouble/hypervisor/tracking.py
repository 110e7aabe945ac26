"""Switching change tracking on and off, and what makes it start anew.

It becomes active where the disks are opened anew: at once for a VM that is off, at the next stun of
one that runs.  Why the state may be lost is told by ``stuntdouble.hypervisor.notes.Cause``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.errors import InvalidState
from stuntdouble.hypervisor.hosts import check_tracked
from stuntdouble.hypervisor.parameters import HARDWARE_TRACKING_MIN
from stuntdouble.hypervisor.quirks import TRACKING_ON_SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.hypervisor.hypervisor import Hypervisor
    from stuntdouble.hypervisor.inventory import Vm


def switch(hypervisor: Hypervisor, vm: Vm, *, enabled: bool) -> Generator[Event, object, None]:
    """Switch change tracking on or off: at once for a VM that is off, else at its next stun.

    Raises:
        InvalidState: the virtual hardware is too old, or there are snapshots.
        LimitReached: the VM runs, and its host tracks as many disks as it can.
    """
    with vm.task("ReconfigVM_Task"):
        yield vm.host.env.timeout(0)
        if vm.hardware_version < HARDWARE_TRACKING_MIN:
            version = f"of hardware version {vm.hardware_version}"
            raise InvalidState(vm.name, version, "track changes")
        supported = vm.host.parameters.tracking_with_snapshots
        supported = supported or TRACKING_ON_SNAPSHOT in vm.host.quirks
        begins = enabled and not vm.tracking
        if begins and vm.snapshots and not supported:
            raise InvalidState(vm.name, "on top of a snapshot", "start to track changes")
        if begins and vm.powered_on:
            check_tracked(hypervisor, vm)
        vm.tracking = enabled
        if not vm.powered_on:
            vm.settle_tracking()
        vm.write_records()


def reattach(vm: Vm, key: int) -> Generator[Event, object, None]:
    """Remove a disk from a VM that is off and add it again: its change tracking starts anew.

    Raises:
        InvalidState: the VM runs or has snapshots.
    """
    with vm.task("ReconfigVM_Task"):
        yield vm.host.env.timeout(0)
        vm.require_off("remove a disk")
        vm.lose_tracking("disk removed", vm.disk(key).key)
