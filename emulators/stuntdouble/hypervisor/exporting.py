"""Bytes of a powered-off VM's disk, as an export reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import simpy

from stuntdouble.errors import InvalidState, Misuse
from stuntdouble.extents import Runs
from stuntdouble.iops import Io, Purpose, StreamSpec
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.hypervisor.inventory import Vm

_READ_DEPTH: Final = 8  # I/Os under way at a time: as a read of a datastore's file.  No source.


def read_disk(vm: Vm, key: int, offset: int, length: int) -> Generator[Event, object, bytes]:
    """Return bytes of a disk, through its chain, once they have been read and sent.

    They cross the management network, and take the time of their I/Os.

    Raises:
        NotFound: the VM has no such disk.
        Misuse: a range outside of it.
        InvalidState: the VM runs.
        MediumError: storage is damaged.
        Unreachable: storage has been lost.
    """
    disk = vm.disk(key)
    if offset < 0 or length <= 0 or offset + length > disk.spec.capacity_bytes:
        raise Misuse(disk.name, f"{length} bytes at {offset} are outside of it")
    _require_off(vm)
    disk.check_reachable()
    stream = vm.host.engine.stream(
        StreamSpec(
            Io.READ_LEVEL,
            disk.disk.head,
            Runs.single(offset, length).blocks(MIB),
            _READ_DEPTH,
            Purpose.BACKUP,
            link=vm.host.lan_station,
            luns=disk.datastore.luns,
        )
    )
    try:
        yield stream.finished
    except simpy.Interrupt:
        stream.stop()
        yield stream.finished  # what is under way ends first
        raise
    _require_off(vm)
    disk.check_reachable()
    size = vm.host.site.block_bytes
    first, stop = offset // size, -(-(offset + length) // size)
    rows = vm.host.site.show(disk.disk.head, first, stop - first, disk.name)
    return bytes(rows.reshape(-1).data[offset - first * size :][:length])


def _require_off(vm: Vm) -> None:
    if vm.powered_on:
        raise InvalidState(vm.name, "powered on", "export it")
