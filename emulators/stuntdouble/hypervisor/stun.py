"""The stun: the guest stands still while the files below it change.

    stun ── in-flight I/O ends ── metadata of each disk is written ── the switch ── fixed part ── resume
            (as long as the array      (likewise)                      (an instant)
            takes under its load)      and so are tracking files,
                                       where a snapshot is taken

So its length is an outcome: it grows with the load of the array and with the number of disks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from simpy.events import Event

    from stuntdouble.hypervisor.inventory import Vm, VmDisk

T = TypeVar("T")


def stunned(
    vm: Vm,
    why: str,
    disks: Iterable[VmDisk],
    switch: Callable[[], T],
    before: Callable[[], Generator[Event, object, None]] | None = None,
) -> Generator[Event, object, T]:
    """Do *switch* in an instant in which no I/O of the VM is in flight; return what it returns.

    A VM that is off is not stunned, and only the metadata takes time.

    Args:
        vm: the VM.
        why: for the journal.
        disks: the disks whose metadata is written.
        switch: what changes.
        before: work that is done with the VM stunned, before the switch.

    Raises:
        NoSpace: the array has no room for the copies that the metadata owes; nothing was switched.
    """
    host = vm.host
    if not vm.powered_on:
        yield from _write_metadata(vm, disks)
        if before is not None:
            yield from before()
        return _switched(vm, switch)
    began = host.env.now
    host.engine.stun(vm.guest)
    try:
        yield host.engine.drained(vm.guest)
        yield from _write_metadata(vm, disks)
        if before is not None:
            yield from before()
        done = _switched(vm, switch)
        yield host.env.timeout(host.parameters.stun_fixed_seconds)
    finally:
        host.engine.resume(vm.guest)
        seconds = host.env.now - began
        line = f"Checkpoint_Unstun: vm stopped for {round(seconds * 1e6)} us"
        host.note("stun", vm.name, seconds=seconds, why=why, line=line)
    return done


def lose_power(vm: Vm) -> None:
    """Let a running VM be off from this instant on; what is in flight on the wire still ends.

    What waited to be admitted existed in the guest's memory only, and is gone.  So is the question
    of a VM that was paused.  The guest stands still until it is powered on.
    """
    vm.powered_on = False
    vm.host.note("powered-off", vm.name)
    vm.host.engine.stun(vm.guest)
    vm.host.engine.drop_waiting(vm.guest)
    if vm.question:
        vm.question = ""
        vm.host.engine.resume(vm.guest)


def _switched(vm: Vm, switch: Callable[[], T]) -> T:
    vm.settle_tracking()
    done = switch()
    vm.chain_changed()
    return done


def _write_metadata(vm: Vm, disks: Iterable[VmDisk]) -> Generator[Event, object, None]:
    """Write each disk's descriptor and chain pointers, one I/O after the other."""
    for disk in disks:
        for _ in range(vm.host.parameters.metadata_ios_per_disk):
            yield from disk.datastore.write_metadata()
