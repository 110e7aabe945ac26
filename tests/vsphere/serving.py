"""A small site served over HTTP in wall time, and clients of it in threads."""

from __future__ import annotations

import asyncio
import http.client
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyVim.connect import Disconnect, SmartConnect

from stuntdouble.clock import run
from stuntdouble.scenarios import load
from stuntdouble.scenarios.build import build, prepare
from stuntdouble.vsphere import Dispatcher, Setting, VirtualCenter
from stuntdouble.vsphere.server import VsphereEndpoint
from vcenter import USER
from vsphere.wire import Stub

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.scenarios.build import World


@dataclass
class Served:
    """A site whose endpoint listens; ``loop`` owns it, and a client's code is in a thread."""

    world: World
    center: VirtualCenter
    endpoint: VsphereEndpoint
    loop: asyncio.AbstractEventLoop

    def connect(self) -> Any:
        """Return pyVmomi's service instance, logged in."""
        return SmartConnect(
            protocol="https" if self.endpoint.certificate else "http",
            host="127.0.0.1",
            port=self.endpoint.port,
            user=USER.name,
            pwd=USER.password,
            disableSslCertValidation=True,
        )

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        """Send one request; a header's name has underscores for dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.endpoint.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        reply = Reply(answer.status, dict(answer.getheaders()), answer.read())
        connection.close()
        return reply

    def call(self, this: Any, method: str, *arguments: Any, **headers: str) -> Reply:
        """Call a method by a plain POST."""
        return self.ask("POST", "/sdk", Stub().request(this, method, *arguments), **headers)

    def on_loop(self, act: Callable[[], Any]) -> Any:
        """Do something to the site, on its loop."""

        async def there() -> Any:
            with self.world.env.entered():
                return act()

        return asyncio.run_coroutine_threadsafe(there(), self.loop).result(20)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The session's key that it gives out."""
        found = re.search('vmware_soap_session="([0-9a-f]+)"', self.headers.get("Set-Cookie", ""))
        return found[1] if found else ""


def served(
    client: Callable[[Served], Any],
    *,
    plain: bool = True,
    rate: float = 20.0,
    setting: Setting | None = None,
    change: Callable[[Any], Any] = lambda scenario: scenario,
    **options: Any,
) -> Any:
    """Serve a site while a client runs in a thread; return what that returns."""

    async def main(env: Any) -> Any:
        world = build(change(load("quickstart")), 1, env, None)
        await prepare(world)
        loop: Any = asyncio.get_running_loop()
        outside = Setting(
            users=(USER,),
            patience=loop.wall_time,
            patience_to_site=lambda seconds: seconds * rate,
            call_later=loop.call_later_wall,
        )
        center = VirtualCenter(world.hypervisor, setting or outside)
        endpoint = VsphereEndpoint(
            Dispatcher(center), plain_http=plain, wall_seconds=lambda s: s * rate, **options
        )
        await endpoint.start()
        site = Served(world, center, endpoint, loop)
        try:
            return await asyncio.to_thread(client, site)
        finally:
            await endpoint.stop()
            assert endpoint.connections == 0

    return run(main, rate=rate)


def disconnect(si: Any) -> None:
    """Log out and close the connections that the client holds open."""
    Disconnect(si)
    si._stub.DropConnections()
