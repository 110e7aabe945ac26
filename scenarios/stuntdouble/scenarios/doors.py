"""Doors to a site's hypervisor: by a call, or through the interface that its vendor's clients speak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from stuntdouble.hypervisor import LocalHypervisor

if TYPE_CHECKING:
    from stuntdouble.extents import OffsetTable
    from stuntdouble.ports import BlockDevice, Hypervisor, Transport, VmSnapshot
    from stuntdouble.scenarios.build import World

Door = Literal["direct", "vsphere"]
DOORS: Final[tuple[Door, ...]] = ("direct", "vsphere")

_USER: Final = "backup"


def open_door(world: World, door: Door) -> Hypervisor:
    """Return the hypervisor of a site as its clients reach it.

    Through ``vsphere`` every call is the vendor's client, a SOAP message and back, in virtual time.
    What that interface leaves out, offset tables and the bytes of disks, is asked for directly.
    """
    local = LocalHypervisor(world.hypervisor, resolve_luns=world.mapped_to_host)
    return local if door == "direct" else _by_vsphere(world, local)


def _by_vsphere(world: World, local: LocalHypervisor) -> Hypervisor:
    # An extra, which costs a second to import.
    from stuntdouble.adapters.vsphere import Connection, VsphereHypervisor  # noqa: PLC0415
    from stuntdouble.vsphere import (  # noqa: PLC0415
        Dispatcher,
        Setting,
        User,
        VirtualCenter,
        blocking,
        connect,
    )

    password = world.hypervisor.host.streams["vsphere", "password"].hex(16)
    setting = Setting(users=(User(_USER, password),))
    dispatcher = Dispatcher(VirtualCenter(world.hypervisor, setting))
    connection = Connection(lambda: connect(dispatcher, _USER, password), blocking)
    return VsphereHypervisor(connection, _Direct(local), setting.epoch)


class _Direct:
    """The side channel of a client in the same process."""

    def __init__(self, local: LocalHypervisor) -> None:
        self._local = local

    async def offset_table(self, snapshot: VmSnapshot, disk: int) -> OffsetTable:
        return await self._local.offset_table(snapshot, disk)

    async def open_snapshot(
        self, snapshot: VmSnapshot, disk: int, transport: Transport
    ) -> BlockDevice:
        return await self._local.open_disk(snapshot, disk, transport)

    async def open_registered(self, vm: str, disk: int, transport: Transport) -> BlockDevice:
        return await self._local.open_registered(vm, disk, transport)

    async def open_target(self, vm: str, disk: int) -> BlockDevice:
        return await self._local.open_target(vm, disk)
