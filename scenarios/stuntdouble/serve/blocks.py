"""The NBD endpoint: the bytes of disks, snapshots and mapped LUNs, for standard tools.

A LUN is there under ``lun/<NAA>`` for as long as an array maps it to the backup server.  What clients
write are inputs of the site; more than ``RECORDED_BYTES_MAX`` of them are served, and then there is
no checkpoint any more.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Misuse, NotFound
from stuntdouble.nbd import HypervisorExports, Joined, LunExport, Server, export_name
from stuntdouble.scenarios.build import BACKUP_IQN
from stuntdouble.serve.listening import Address, Listening
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from stuntdouble.nbd import Export
    from stuntdouble.scenarios.build import World
    from stuntdouble.serve.live import LiveSite

DOOR: Final = "nbd"
RECORDED_BYTES_MAX: Final = 64 * MIB
"""What of written data is kept for checkpoints, which are JSON.  Chosen."""


class NbdEndpoint:
    """Serves the site's disks, snapshots and LUNs.

    Args:
        live: the site.
        at: where to listen.
    """

    def __init__(self, live: LiveSite, at: Address) -> None:
        self._live = live
        self._at = at
        self._written = 0
        self._exchanging: asyncio.Task[None] | None = None
        live.doors[DOOR] = _play
        live.on_restored.append(self._restored)
        self._server = self._new(live.world)

    def _new(self, world: World) -> Server:
        disks = HypervisorExports(world.hypervisor, on_write=self._record)
        loop = self._live.loop
        return Server(
            Joined([disks, _Luns(world)]),
            wall_seconds=lambda seconds: seconds * loop.rate,
            call_later=loop.call_later_wall,
        )

    def _record(self, name: str, offset: int, data: memoryview) -> None:
        self._written += len(data)
        if self._written > RECORDED_BYTES_MAX:
            self._live.recorder.give_up(f"{self._written} bytes were written over NBD")
            return
        text = base64.b64encode(data).decode()
        self._live.recorder.record(DOOR, {"export": name, "offset": offset, "data": text})

    def _restored(self, world: World) -> None:
        """Serve another site at the same address; clients of the former one are let go."""
        exchange = self._exchange(world, self._exchanging)
        self._exchanging = self._live.loop.create_task(exchange)

    async def _exchange(self, world: World, former: asyncio.Task[None] | None) -> None:
        if (
            former is not None
        ):  # a site that was put back twice at once is served once more after it
            await former
        host, port = self._server.address
        await self._server.close()
        self._written = 0
        self._server = self._new(world)
        await self._server.start(host, port)

    async def start(self) -> Listening:
        """Listen, and tell where; Misuse where it cannot."""
        try:
            await self._server.start(self._at.host, self._at.port)
        except OSError as error:
            text = f"cannot listen at {self._at}: {error.strerror or error}"
            raise Misuse("--nbd", text) from None
        host, port = self._server.address
        return Listening("nbd", f"nbd://{Address(host, port)}")

    async def stop(self) -> None:
        """Listen no more, and let go of clients; idempotent."""
        if self._exchanging is not None:
            await self._exchanging
        await self._server.close()


def _play(world: World, payload: dict[str, Any]) -> None:
    """Write again what a client wrote."""
    data = memoryview(base64.b64decode(payload["data"]))
    HypervisorExports(world.hypervisor).begin_write(payload["export"], payload["offset"], data)


class _Luns:
    """The LUNs that arrays map to the backup server."""

    def __init__(self, world: World) -> None:
        self._world = world

    def find(self, name: str) -> Export:
        """Return a LUN; NotFound where none of that name is mapped."""
        for naa in self._mapped():
            if export_name("lun", naa) == name:
                return self._export(name, naa)
        raise NotFound("NBD export", name)

    def listing(self) -> Iterable[tuple[str, str]]:
        """Return name and description of each."""
        return [(export_name("lun", naa), f"LUN {naa}, mapped") for naa in self._mapped()]

    def _mapped(self) -> list[str]:
        with self._world.env.entered():
            return [
                volume.naa
                for array in self._world.arrays.values()
                for volume in array.inventory.mappable()
                if array.masking.sees(BACKUP_IQN, volume)
            ]

    def _export(self, name: str, naa: str) -> Export:
        site = self._world.site

        def rows(first: int, count: int) -> Iterator[NDArray[Any]]:
            # Asked for each time: masking may have taken it away meanwhile.
            lun = self._lun(naa)
            yield from site.show_parts(lun, first, count, naa)

        size = self._lun(naa).size_bytes
        return LunExport(name, f"LUN {naa}", size, site.block_bytes, self._world.env, rows)

    def _lun(self, naa: str) -> Any:
        for array in self._world.arrays.values():
            if naa in {volume.naa for volume in array.inventory.mappable()}:
                return array.lun_for(BACKUP_IQN, naa)
        raise NotFound("LUN", naa)
