"""Endpoints of a site's array in the words of its vendors; what changes something is recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi import (
    Door,
    Manners,
    Personality,
    Reply,
    Request,
    Sessions,
    WireFaults,
    app,
)
from stuntdouble.arrayapi.wsapi import MANNERS, Portal, Setting, Wsapi, WsapiSessions
from stuntdouble.native import Across
from stuntdouble.serve.control import EPOCH
from stuntdouble.serve.listening import Listening
from stuntdouble.serve.operations import array_of
from stuntdouble.serve.threads import HttpThread

if TYPE_CHECKING:
    from simpy.events import Event

    from stuntdouble.array import Array
    from stuntdouble.clock import Environment
    from stuntdouble.scenarios.build import World
    from stuntdouble.serve.listening import Address
    from stuntdouble.serve.live import LiveSite

WSAPI: Final = "wsapi"


@dataclass(frozen=True)
class Vendor:
    """What tells one vendor's interface from another's.

    Args:
        name: of the door through which its requests enter; ``--<name>`` is the command's option.
        manners: how it says what has nothing to do with the array.
        sessions: who may ask.
        personality: makes the interface of an array, when it is first asked for.
        path: of the interface, after host and port.
        user: who may log in, for people.
        tls: whether it is reached by HTTPS.
        through: what its answers go through on their way back from the door.
    """

    name: str
    manners: Manners
    sessions: Sessions
    personality: Callable[[Array], Personality]
    path: str
    user: str
    tls: bool
    through: Callable[[Door], Door] = lambda door: door


class ArrayEndpoint:
    """Serves an array by a vendor's interface; ``faults`` may be changed while it does.

    Args:
        live: the site.
        at: where to listen.
        vendor: which interface.
        array: the array's name; empty for the site's first.
        limit_seconds: wall time that the site may take for an answer.
    """

    def __init__(
        self, live: LiveSite, at: Address, vendor: Vendor, array: str, limit_seconds: float
    ) -> None:
        self._live = live
        self._vendor = vendor
        self._array = array or next(iter(live.world.arrays))
        array_of(live.world, self._array)
        self.faults = live.overlays.wire[vendor.name] = WireFaults()
        self._personalities: dict[Environment, Personality] = {}
        live.on_restored.append(self._forget_others)
        live.doors[vendor.name] = self._play
        across = Across(live.loop, limit_seconds)

        async def door(request: Request) -> Reply:
            return await across(self._asked(request))

        served = app(vendor.manners, vendor.through(door), vendor.sessions, self.faults)
        self._server = HttpThread(
            live.loop,
            served,
            at,
            f"array's {vendor.manners.name}",
            f"--{vendor.name}",
            tls=vendor.tls,
        )

    def _personality(self, world: World) -> Personality:
        """Return the interface in a site: the one that lived through its requests, if it did."""
        if world.env not in self._personalities:
            self._personalities[world.env] = self._new(world)
        return self._personalities[world.env]

    def _new(self, world: World) -> Personality:
        """Return the interface in a site that was never asked."""
        return self._vendor.personality(array_of(world, self._array))

    def _forget_others(self, world: World) -> None:
        found = self._personalities
        self._personalities = {env: each for env, each in found.items() if env is world.env}

    def _begun(self, world: World, request: Request) -> Event:
        return world.env.process(self._personality(world).handle(request))

    async def _asked(self, request: Request) -> Reply:
        """Return the answer of the site that is there now; what may change it is recorded."""

        def begin(world: World) -> Event:
            return self._begun(world, request)

        reply: Reply
        if request.changes:
            reply = await self._live.enter(self._vendor.name, request.payload(), begin)
        else:
            reply = await self._live.look(begin)
        return reply

    def _play(self, world: World, payload: dict[str, Any]) -> None:
        """Do again what a recorded request did; nobody is told how it ends."""
        self._begun(world, Request.of_payload(payload))

    async def start(self) -> Listening:
        """Listen, and tell where; Misuse where it cannot."""
        url = await self._server.start()
        vendor = self._vendor
        where = f"{url}{vendor.path}"
        return Listening(vendor.name, where, vendor.user, self._server.fingerprint_sha256)

    async def stop(self) -> None:
        """Listen no more, and let go of clients; idempotent."""
        await self._server.stop()


class WsapiEndpoint(ArrayEndpoint):
    """Serves WSAPI, to which the site's datastores are what lies on volumes."""

    def __init__(
        self,
        live: LiveSite,
        at: Address,
        vendor: Vendor,
        array: str,
        limit_seconds: float,
        setting: Setting,
    ) -> None:
        super().__init__(live, at, vendor, array, limit_seconds)
        self._setting = setting

    def _new(self, world: World) -> Personality:
        setting = replace(self._setting, user_of=partial(_user_of, world))
        return Wsapi(array_of(world, self._array), setting)


def _user_of(world: World, naa: str) -> str:
    """Return which datastore lies on a volume; "" for none."""
    stores = world.hypervisor.datastores.values()
    return next((f"datastore {store.name}" for store in stores if naa in store.naas), "")


def wsapi_endpoint(
    live: LiveSite,
    at: Address,
    user: str,
    password: str,
    *,
    array: str = "",
    portals: Callable[[], Sequence[Portal]] = tuple,
    tls: bool = False,
    limit_seconds: float = 60.0,
) -> WsapiEndpoint:
    """Return what serves an array as HPE 3PAR and Primera's WSAPI.

    Args:
        live: the site.
        at: where to listen.
        user: who may log in.
        password: of the user.
        array: the array's name; empty for the site's first.
        portals: the iSCSI ports that it tells of.
        tls: whether it is reached by HTTPS.
        limit_seconds: wall time that the site may take for an answer.
    """
    setting = Setting(portals, EPOCH, user=user, tls=tls)
    vendor = Vendor(
        name=WSAPI,
        manners=MANNERS,
        sessions=WsapiSessions(user, password),
        personality=lambda found: Wsapi(found, setting),
        path="/api/v1",
        user=user,
        tls=tls,
    )
    return WsapiEndpoint(live, at, vendor, array, limit_seconds, setting)
