"""The array behind ``ports.Array``, by the native interface, and its LUNs by a device opener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stuntdouble.errors import InvalidState
from stuntdouble.ports import ArraySnapshot, Mapping, VolumeInfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from stuntdouble.adapters.native.client import NativeClient
    from stuntdouble.extents import Runs
    from stuntdouble.ports import BlockDevice, Span, Throttle


class NativeArray:
    """Implements ``ports.Array`` by the native interface.

    Args:
        client: of the interface.
        name: of the array.
    """

    def __init__(self, client: NativeClient, name: str) -> None:
        self._client = client
        self._path = f"arrays/{_part(name)}"

    async def _get(self, path: str) -> Any:
        return await self._client.get(f"{self._path}/{path}")

    async def _post(self, path: str, **body: Any) -> Any:
        return await self._client.ask("POST", f"{self._path}/{path}", body=body)

    async def _delete(self, path: str) -> None:
        await self._client.ask("DELETE", f"{self._path}/{path}")

    async def volumes(self) -> tuple[VolumeInfo, ...]:
        """Return every volume, promoted ones included."""
        return tuple(VolumeInfo(**each) for each in await self._get("volumes"))

    async def snapshots(self) -> tuple[ArraySnapshot, ...]:
        """Return every array snapshot."""
        return tuple(ArraySnapshot(**each) for each in await self._get("snapshots"))

    async def mappings(self) -> tuple[Mapping, ...]:
        """Return every mapping."""
        return tuple(_mapping(each) for each in await self._get("mappings"))

    async def prepare(self, naas: tuple[str, ...]) -> int:
        """Make ready for a snapshot of the volumes; return how many bytes were copied.

        Raises:
            TimedOut: it takes longer than the interface waits; it goes on, and may be repeated.
        """
        return int((await self._post("prepare", naas=list(naas)))["copied_bytes"])

    async def create_snapshots(self, naas: tuple[str, ...], name: str) -> tuple[ArraySnapshot, ...]:
        """Snapshot the volumes in one instant, as a consistency group when there are several."""
        made = await self._post("snapshots", naas=list(naas), name=name)
        return tuple(ArraySnapshot(**each) for each in made)

    async def promote(self, snapshot: str, name: str, *, read_only: bool = True) -> VolumeInfo:
        """Make *snapshot* a volume *name* with an identity of its own."""
        path = f"snapshots/{_part(snapshot)}/promote"
        return VolumeInfo(**await self._post(path, name=name, read_only=read_only))

    async def map_volume(self, volume: str, initiator_iqn: str) -> Mapping:
        """Let *initiator_iqn* see *volume* at the lowest free LUN number."""
        return _mapping(await self._post("mappings", volume=volume, initiator_iqn=initiator_iqn))

    async def unmap_volume(self, volume: str, initiator_iqn: str) -> None:
        """Take the mapping away; idempotent."""
        await self._delete(f"mappings/{_part(volume)}/{_part(initiator_iqn)}")

    async def delete_volume(self, volume: str) -> None:
        """Delete a volume that is not mapped and has no snapshots; idempotent."""
        await self._delete(f"volumes/{_part(volume)}")

    async def delete_snapshot(self, snapshot: str) -> None:
        """Delete an array snapshot that has no promoted volume; idempotent."""
        await self._delete(f"snapshots/{_part(snapshot)}")


class NativeInitiator:
    """Implements ``ports.Initiator``: mapped LUNs, each by the export of its identity.

    Args:
        iqn: by which the array masks.
        open_: opens an export by its name.
        array: tells how large a volume is.
    """

    def __init__(
        self, iqn: str, open_: Callable[[str], Awaitable[BlockDevice]], array: NativeArray
    ) -> None:
        self.iqn = iqn
        self._open = open_
        self._array = array

    async def attach(self, mapping: Mapping) -> BlockDevice:
        """Open the mapped LUN: what is served under its identity, and is as large as it.

        Raises:
            InvalidState: something of another size is served there.
        """
        sizes = {each.naa: each.size_bytes for each in await self._array.volumes()}
        device = await self._open(f"lun/{_part(mapping.naa)}")
        if sizes.get(mapping.naa) != device.size_bytes:
            await device.close()
            said = f"{device.size_bytes} bytes long, not {sizes.get(mapping.naa)}"
            raise InvalidState(f"LUN {mapping.naa}", said, "read it")
        return _Lun(mapping.naa, device)


class _Lun:
    """A device that goes by the identity of its volume."""

    def __init__(self, naa: str, device: BlockDevice) -> None:
        self.identity = naa
        self._device = device

    @property
    def size_bytes(self) -> int:
        """Capacity in bytes."""
        return self._device.size_bytes

    def read(self, runs: Runs, throttle: Throttle) -> AsyncIterator[Span]:
        """Yield the bytes of *runs*; see ``ports.BlockDevice``."""
        return self._device.read(runs, throttle)

    async def write(self, offset: int, data: memoryview) -> None:
        """Write *data* at *offset*."""
        await self._device.write(offset, data)

    async def close(self) -> None:
        """Let go of the device; idempotent."""
        await self._device.close()


def _mapping(each: dict[str, Any]) -> Mapping:
    return Mapping(each["volume"], each["naa"], each["initiator_iqn"], each["lun"])


def _part(name: str) -> str:
    return quote(name, safe="")
