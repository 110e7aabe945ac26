"""The hosts that VMs run on: which is where, what a crash of one takes along, what each can track.

A host that is down starts no task for its VMs.  They can be powered on elsewhere, because the
storage is shared: that is what high availability does, and it is left to whoever notices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stuntdouble.errors import InvalidState, LimitReached, NotFound, Unreachable

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.hypervisor.hypervisor import Hypervisor
    from stuntdouble.hypervisor.inventory import Vm


@dataclass(eq=False)
class HostSystem:
    """A host that runs VMs."""

    name: str = "host-1"
    up: bool = True

    def check_up(self) -> None:
        """Raise Unreachable where the host is down."""
        if not self.up:
            raise Unreachable(f"host {self.name}")


def find(hypervisor: Hypervisor, name: str) -> HostSystem:
    """Return a host by its name; NotFound where there is none."""
    if name not in hypervisor.hosts:
        raise NotFound("host", name)
    return hypervisor.hosts[name]


def crash(hypervisor: Hypervisor, name: str) -> Generator[Event, object, None]:
    """Let a host fail: every task there is cut off, every VM that ran is off, untracked from now.

    What was noted of their writes was in the host's memory, so tracking starts anew under another
    identity (KB 320557).  VMs that were off keep theirs.

    Raises:
        NotFound: no such host.
        InvalidState: it is down already.
    """
    failed = find(hypervisor, name)
    if not failed.up:
        raise InvalidState(f"host {name}", "down", "crash")
    failed.up = False
    there = [vm for vm in hypervisor.vms.values() if vm.server is failed]
    running = [vm for vm in there if vm.powered_on]
    hypervisor.host.note("host-crash", name, vms=tuple(vm.name for vm in running))
    env = hypervisor.host.env
    ends = [env.process(hypervisor.die(vm, "host crash")) for vm in running]
    ends += [env.process(vm.abort_task()) for vm in there if not vm.powered_on]
    yield from ends


def restart(hypervisor: Hypervisor, name: str) -> None:
    """Let a host that was down be up again; its VMs stay off until they are powered on."""
    found = find(hypervisor, name)
    if not found.up:
        found.up = True
        hypervisor.host.note("host-up", name)


def place(hypervisor: Hypervisor, vm: Vm, name: str) -> None:
    """Put a VM that is off on another host.

    Raises:
        NotFound: no such host.
        InvalidState: the VM runs.
    """
    found = find(hypervisor, name)
    if vm.server is not found and vm.powered_on:
        raise InvalidState(vm.name, f"running on {vm.server.name}", f"start on {name}")
    vm.server = found


def check_tracked(hypervisor: Hypervisor, vm: Vm) -> None:
    """Raise LimitReached where the host of *vm* cannot track the disks of *vm*, too."""
    most = hypervisor.host.parameters.tracking_disks_max
    others = sum(
        len(other.snapshot_disks)
        for other in hypervisor.vms.values()
        if other.tracking and other.powered_on and other.server is vm.server and other is not vm
    )
    if others + len(vm.snapshot_disks) > most:
        raise LimitReached(f"tracked disks open on host {vm.server.name}", most)
