"""The native interface's endpoint: uvicorn in a thread of its own, on an ordinary loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Final

import uvicorn

from stuntdouble.errors import Bug
from stuntdouble.native import PREFIX, Access, Across, create_app, models
from stuntdouble.serve.control import SiteControl
from stuntdouble.serve.listening import Address, Listening, listening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.serve.live import LiveSite

_GRACE_SECONDS: Final = 1  # of wall time: for answers that are on their way when the site ends
_CLIENTS_MAX: Final = 1024  # connections; more are told 503, so that memory has a bound
_LOOK_SECONDS: Final = 0.01  # of wall time, between two looks whether the server has begun or ended


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
        self._live = live
        self._at = at
        self._access = access
        control = SiteControl(live, lambda: [_shown(each) for each in opened])
        app = create_app(control, access, Across(live.loop, limit_seconds))
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=_GRACE_SECONDS,
                server_header=False,
                limit_concurrency=_CLIENTS_MAX,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    async def start(self) -> Listening:
        """Listen, and tell where; Misuse where it cannot."""
        sock = listening(self._at, "--native")
        host, port = sock.getsockname()[:2]

        def serve() -> None:
            try:
                asyncio.run(self._server.serve(sockets=[sock]))
            except BaseException as error:  # noqa: BLE001  (told to the site's loop)
                self._failure = error
            finally:
                sock.close()

        self._thread = threading.Thread(target=serve, name="native interface", daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise Bug(f"the native interface did not start: {self._failure!r}")
            await self._live.loop.sleep_wall(_LOOK_SECONDS)
        url = f"http://{Address(host, port)}{PREFIX}"
        return Listening("native", url, self._access.user)

    async def stop(self) -> None:
        """Listen no more, and let go of clients; idempotent."""
        self._server.should_exit = True
        until = self._live.loop.wall_time() + _GRACE_SECONDS
        thread = self._thread
        while thread is not None and thread.is_alive() and self._live.loop.wall_time() < until:
            await self._live.loop.sleep_wall(_LOOK_SECONDS)


def _shown(each: Listening) -> models.Endpoint:
    return models.Endpoint(
        name=each.name,
        url=each.url,
        user=each.user,
        fingerprint_sha256=each.fingerprint_sha256,
    )


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether what uvicorn logs is worth a line: clients let go at the end are not."""
    return not str(record.msg).endswith("timeout graceful shutdown exceeded")
