"""What a vendor's interface leaves out, from the native one: where disks lie, and their bytes.

Bytes come by one way, whatever transport is asked for: a served site hands them out at once, and
neither the guests nor the clock notice.  So a transport's cost (the management network, a proxy
VM, the SAN) is not in anything that is read through this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stuntdouble.adapters.native.client import NativeClient
    from stuntdouble.extents import OffsetTable
    from stuntdouble.ports import BlockDevice, Transport, VmSnapshot


class NativeSide:
    """The side channel of a vSphere client to a served site.

    Args:
        client: of the native interface.
        open_: opens an export by its name.
    """

    def __init__(
        self, client: NativeClient, open_: Callable[[str], Awaitable[BlockDevice]]
    ) -> None:
        self._client = client
        self._open = open_

    async def offset_table(self, snapshot: VmSnapshot, disk: int) -> OffsetTable:
        """Return where each range of a frozen disk lies on its volumes."""
        return await self._client.offset_table(snapshot.vm, disk, snapshot.id)

    async def open_snapshot(
        self, snapshot: VmSnapshot, disk: int, transport: Transport
    ) -> BlockDevice:
        """Open a frozen disk for reading."""
        del transport  # the bytes are the same
        return await self._open(_name("snapshot", snapshot.id, disk))

    async def open_registered(self, vm: str, disk: int, transport: Transport) -> BlockDevice:
        """Open a disk of a VM that is off for reading: as its snapshot froze it, if it has one."""
        del transport
        return await self._open(_name("vm", vm, disk))

    async def open_target(self, vm: str, disk: int) -> BlockDevice:
        """Open a disk of a VM that is off and has no snapshot for writing."""
        return await self._open(_name("vm", vm, disk))


def _name(*parts: str | int) -> str:
    return "/".join(quote(str(part), safe="") for part in parts)
