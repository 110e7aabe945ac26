"""The iSCSI endpoint: what arrays map to hosts, for standard initiators.

Each array is a target of its own, ``iqn.2026-11.org.example:<array>``.  Who may log in, with which
secrets, and what he sees, are the array's hosts and mappings to say.  What initiators write are
inputs of the site; more than ``RECORDED_BYTES_MAX`` of them are served, and then there is no
checkpoint any more.  Nor is there one where commands take their time in the model: how long an
initiator takes to ask for the next is known to nobody.
"""

from __future__ import annotations

import asyncio
import base64
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.codecs.iscsi import Credentials
from stuntdouble.errors import Misuse
from stuntdouble.iscsi import Node, Server, Target
from stuntdouble.iscsi.units import ArrayLuns
from stuntdouble.scsi import FaultyDeviceServer
from stuntdouble.serve.listening import Address, Listening
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.array import Array, Host, Volume
    from stuntdouble.iscsi.units import Written
    from stuntdouble.scenarios.build import World
    from stuntdouble.scsi import FaultPlan
    from stuntdouble.serve.live import LiveSite

DOOR: Final = "iscsi"
RECORDED_BYTES_MAX: Final = 64 * MIB
"""What of written data is kept for checkpoints, which are JSON.  Chosen."""

_ENTRY_BYTES: Final = 256  # what an input takes beside its data, about
_TARGETS: Final = "iqn.2026-11.org.example:"


def target_name(array: str) -> str:
    """Return the name of the target that an array is."""
    return _TARGETS + array


class IscsiEndpoint:
    """Serves what the site's arrays map.

    Args:
        live: the site.
        at: where to listen.
        paced: whether commands take the time that their I/O takes in the model; else none.
    """

    def __init__(self, live: LiveSite, at: Address, *, paced: bool = False) -> None:
        self._live = live
        self._at = at
        self._paced = paced
        self._recorded = 0
        self._exchanging: asyncio.Task[None] | None = None
        self._devices: dict[str, FaultyDeviceServer] = {}
        self._plans: dict[str, tuple[FaultPlan, ...]] = {}
        live.overlays.iscsi = self
        live.doors[DOOR] = _play
        live.on_restored.append(self._restored)
        self._server = self._new(live.world)

    def _new(self, world: World) -> Server:
        loop = self._live.loop
        if self._paced:
            self._live.recorder.give_up("commands over iSCSI take their time in the model")
        targets = [self._target(array) for array in world.arrays.values()]
        node = Node({target.name: target for target in targets})
        return Server(node, entered=world.env.entered, call_later=loop.call_later_wall)

    def _target(self, array: Array) -> Target:
        record = partial(self._record, array.name)
        luns = ArrayLuns(array, paced=self._paced, on_write=record)
        name = target_name(array.name)
        env, draws = array.core.env, array.core.streams["data-faults", array.name]
        device = FaultyDeviceServer(luns, name, draws, lambda: env.now)
        device.plan(self._plans.get(array.name, ()))
        self._devices[array.name] = device

        def changed(host: Host) -> None:
            for iqn in host.iqns:
                device.luns_changed(iqn)

        def resized(volume: Volume) -> None:
            device.capacity_changed(volume.naa)

        array.on_luns_changed.append(changed)
        array.on_resized.append(resized)
        return Target(
            name, device, partial(_admits, array), partial(_secrets, array), alias=array.name
        )

    def _record(self, array: str, written: Written) -> None:
        size = 0 if written.data is None else len(written.data)
        self._recorded += size + _ENTRY_BYTES
        if self._recorded > RECORDED_BYTES_MAX:
            self._live.recorder.give_up(f"{self._recorded} bytes were written over iSCSI")
            return
        text = None if written.data is None else base64.b64encode(written.data).decode()
        payload = {
            "array": array,
            "initiator": written.initiator,
            "naa": written.naa,
            "offset": written.offset,
            "length": written.length,
            "data": text,
        }
        self._live.recorder.record(DOOR, payload)

    def device(self, array: str) -> FaultyDeviceServer:
        """Return the device server of an array."""
        return self._devices[array]

    def plan(self, array: str, plans: Iterable[FaultPlan]) -> None:
        """Have these faults at an array's LUNs from now on, and no others, whichever the site is."""
        self._plans[array] = tuple(plans)
        self._devices[array].plan(self._plans[array])

    def drop(self, initiator: str | None = None, *, announced: bool = False) -> int:
        """Drop sessions, as a fault; return how many.  See ``iscsi.Server.drop``."""
        return self._server.drop(initiator, announced=announced)

    def _restored(self, world: World) -> None:
        """Serve another site at the same address; initiators of the former one are let go."""
        exchange = self._exchange(world, self._exchanging)
        self._exchanging = self._live.loop.create_task(exchange)

    async def _exchange(self, world: World, former: asyncio.Task[None] | None) -> None:
        if (
            former is not None
        ):  # a site that was put back twice at once is served once more after it
            await former
        host, port = self._server.address
        await self._server.close()
        self._recorded = 0
        self._server = self._new(world)
        await self._server.start(host, port)

    async def start(self) -> Listening:
        """Listen, and tell where; Misuse where it cannot."""
        try:
            await self._server.start(self._at.host, self._at.port)
        except OSError as error:
            text = f"cannot listen at {self._at}: {error.strerror or error}"
            raise Misuse("--iscsi", text) from None
        host, port = self._server.address
        return Listening("iscsi", f"iscsi://{Address(host, port)}")

    async def stop(self) -> None:
        """Listen no more, and let go of initiators; idempotent."""
        if self._exchanging is not None:
            await self._exchanging
        await self._server.close()


def _admits(array: Array, initiator: str) -> bool:
    return array.hosts.by_iqn(initiator) is not None


def _secrets(array: Array, initiator: str) -> Credentials | None:
    host = array.hosts.by_iqn(initiator)
    chap = None if host is None else host.chap
    if chap is None:
        return None
    return Credentials(chap.user, chap.secret, chap.mutual_user, chap.mutual_secret)


def _play(world: World, payload: dict[str, Any]) -> None:
    """Write again what an initiator wrote."""
    array = world.arrays[payload["array"]]
    volume = array.volume_for(payload["initiator"], payload["naa"])
    unit = ArrayLuns(array).unit(volume, payload["initiator"])
    data = None if payload["data"] is None else base64.b64decode(payload["data"])
    unit.begin(payload["offset"], payload["length"], data)
