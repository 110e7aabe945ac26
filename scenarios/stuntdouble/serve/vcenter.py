"""The vSphere endpoint: the emulated vCenter of the site, and how its calls are lived through again."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from stuntdouble.errors import Misuse
from stuntdouble.serve.control import EPOCH
from stuntdouble.serve.listening import Listening
from stuntdouble.vsphere import Dispatcher, Session, Setting, User, VirtualCenter
from stuntdouble.vsphere.request import parse_call
from stuntdouble.vsphere.server import VsphereEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stuntdouble.clock import Environment
    from stuntdouble.scenarios.build import World
    from stuntdouble.serve.listening import Address
    from stuntdouble.serve.live import LiveSite

DOOR: Final = "vsphere"


class VcenterEndpoint:
    """Serves the site as a vCenter.

    Args:
        live: the site.
        at: where to listen.
        user: the one user, who may do everything.
        plain_http: whether to leave out encryption.
        opened: every endpoint that listens, as they come to; clients find them among the options.
    """

    def __init__(
        self,
        live: LiveSite,
        at: Address,
        user: User,
        *,
        plain_http: bool,
        opened: Sequence[Listening],
    ) -> None:
        self._live = live
        self._at = at
        self._user = user
        self._opened = opened
        self._dispatchers: WeakKeyDictionary[Environment, Dispatcher] = WeakKeyDictionary()
        live.doors[DOOR] = self._play
        live.on_restored.append(self._restored)
        self._endpoint = VsphereEndpoint(
            self._recorded(live.world),
            at.host,
            at.port,
            plain_http=plain_http,
            wall_seconds=lambda seconds: seconds * live.loop.rate,
        )

    def _dispatcher(self, world: World) -> Dispatcher:
        """Return the vCenter of a site: the one that lived through its calls, if it did."""
        if world.env not in self._dispatchers:
            self._dispatchers[world.env] = self._new(world)
        return self._dispatchers[world.env]

    def _new(self, world: World) -> Dispatcher:
        loop = self._live.loop
        setting = Setting(
            users=(self._user,),
            epoch=EPOCH,
            secret=_secret,
            patience=loop.wall_time,
            patience_to_site=lambda seconds: seconds * loop.rate,
            call_later=loop.call_later_wall,
            options=_Told(self._opened),
        )
        return Dispatcher(VirtualCenter(world.hypervisor, setting))

    def _recorded(self, world: World) -> Dispatcher:
        """Return the vCenter of a site, whose calls are recorded from now on."""
        found = self._dispatcher(world)
        found.on_change = self._record
        found.center.on_file = self._record_file
        return found

    def _record(self, body: bytes, session: Session, version: str) -> None:
        user = session.user.name if session.user else ""
        payload = {"body": body.decode(), "user": user, "version": version}
        self._live.recorder.record(DOOR, payload)

    def _record_file(self, datastore: str, path: str, data: bytes | None) -> None:
        text = None if data is None else base64.b64encode(data).decode()
        self._live.recorder.record(DOOR, {"datastore": datastore, "path": path, "data": text})

    def _play(self, world: World, payload: dict[str, Any]) -> None:
        """Do again what a recorded call did, or an upload; nobody is told how it ends."""
        if "path" in payload:
            _play_file(world, payload)
            return
        session = Session("", "", User(payload["user"], ""))
        call = parse_call(payload["body"].encode())
        with suppress(*Dispatcher.expected):
            self._dispatcher(world).begin(call, session, payload["version"])

    def _restored(self, world: World) -> None:
        self._endpoint.serve_instead(self._recorded(world))

    async def start(self) -> Listening:
        """Listen, and tell where; Misuse where it cannot."""
        try:
            await self._endpoint.start()
        except OSError as error:
            text = f"cannot listen at {self._at}: {error.strerror or error}"
            raise Misuse("--vsphere", text) from None
        url, print_ = self._endpoint.url, self._endpoint.fingerprint_sha256
        return Listening("vsphere", url, self._user.name, print_)

    async def stop(self) -> None:
        """Listen no more, and let go of clients; idempotent."""
        await self._endpoint.stop()


def _play_file(world: World, payload: dict[str, Any]) -> None:
    """Write or delete a file again; the site refuses what it refused then."""
    files = world.hypervisor.admin.files(payload["datastore"])
    if payload["data"] is None:
        files.delete(payload["path"])
    else:
        files.put(payload["path"], base64.b64decode(payload["data"]))


class _Told(Mapping[str, str]):
    """Where the site's other endpoints are, for clients that know what to ask for."""

    def __init__(self, opened: Sequence[Listening]) -> None:
        self._opened = opened

    def __getitem__(self, name: str) -> str:
        return {f"stuntdouble.{each.name}": each.url for each in self._opened}[name]

    def __iter__(self) -> Iterator[str]:
        return (f"stuntdouble.{each.name}" for each in self._opened)

    def __len__(self) -> int:
        return len(self._opened)


def _secret(digits: int) -> str:
    return secrets.token_hex((digits + 1) // 2)[:digits]
