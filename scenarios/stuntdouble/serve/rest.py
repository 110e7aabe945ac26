"""The native interface's endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.native import PREFIX, Access, Across, create_app, models
from stuntdouble.serve.control import SiteControl
from stuntdouble.serve.listening import Address, Listening
from stuntdouble.serve.threads import HttpThread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.serve.live import LiveSite


class NativeEndpoint:
    """Serves REST; every call crosses over to the site's loop.

    Args:
        live: the site.
        at: where to listen.
        access: who may ask.
        opened: every endpoint that listens, as they come to.
        limit_seconds: wall time that the site may take for an answer.
    """

    def __init__(
        self,
        live: LiveSite,
        at: Address,
        access: Access,
        opened: Sequence[Listening],
        limit_seconds: float,
    ) -> None:
        self._access = access
        control = SiteControl(live, lambda: [_shown(each) for each in opened])
        app = create_app(control, access, Across(live.loop, limit_seconds))
        self._server = HttpThread(live.loop, app, at, "native interface", "--native", tls=False)

    async def start(self) -> Listening:
        """Listen, and tell where; Misuse where it cannot."""
        url = await self._server.start()
        return Listening("native", f"{url}{PREFIX}", self._access.user)

    async def stop(self) -> None:
        """Listen no more, and let go of clients; idempotent."""
        await self._server.stop()


def _shown(each: Listening) -> models.Endpoint:
    return models.Endpoint(
        name=each.name,
        url=each.url,
        user=each.user,
        fingerprint_sha256=each.fingerprint_sha256,
    )
