"""Which endpoints a site opens: the one place that knows them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from stuntdouble.errors import Misuse
from stuntdouble.native import Access
from stuntdouble.serve.blocks import NbdEndpoint
from stuntdouble.serve.rest import NativeEndpoint
from stuntdouble.serve.vcenter import VcenterEndpoint
from stuntdouble.vsphere import User

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.serve.listening import Address, Listening
    from stuntdouble.serve.live import LiveSite


@dataclass(frozen=True)
class Options:
    """How a site is served; an address that is None is not opened.

    ``limit_seconds`` is for how long, in wall time, the native interface waits for the site.
    """

    user: str
    password: str = field(repr=False)
    rate: float = 1.0
    vsphere: Address | None = None
    plain_http: bool = False
    native: Address | None = None
    nbd: Address | None = None
    allow_remote: bool = False
    limit_seconds: float = 60.0

    def check(self) -> None:
        """Raise Misuse where an address could be reached from elsewhere and nobody allowed it."""
        for option, at in (
            ("--vsphere", self.vsphere),
            ("--native", self.native),
            ("--nbd", self.nbd),
        ):
            if at is not None and not at.loopback and not self.allow_remote:
                text = f"{at} can be reached from other machines: add --allow-remote if it should"
                raise Misuse(option, text)


class Endpoint(Protocol):
    """Something that listens for the site."""

    async def start(self) -> Listening:
        """Listen, and tell where; Misuse where it cannot."""
        ...

    async def stop(self) -> None:
        """Listen no more, and let go of clients within a second; idempotent."""
        ...


def endpoints(live: LiveSite, options: Options, opened: Sequence[Listening]) -> list[Endpoint]:
    """Return the endpoints that *options* ask for, in the order in which they are to be started.

    Args:
        live: the site.
        options: which, and where.
        opened: those that listen, as they come to; the native interface shows them.
    """
    found: list[Endpoint] = []
    if options.nbd is not None:
        found.append(NbdEndpoint(live, options.nbd))
    if options.vsphere is not None:
        user = User(options.user, options.password)
        plain = options.plain_http
        found.append(VcenterEndpoint(live, options.vsphere, user, plain_http=plain, opened=opened))
    if options.native is not None:
        access = Access(options.user, options.password)
        limit = options.limit_seconds
        found.append(NativeEndpoint(live, options.native, access, opened, limit))
    return found
