"""The array of a served site as a backup server reaches it: by which interface, and its LUNs how.

native        REST of our own, and the bytes of LUNs over NBD
wsapi, pure   a vendor's interface, where the site says that it is, and LUNs over iSCSI
a URL         likewise; which vendor's it is, is asked there
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from stuntdouble.adapters.native import NativeArray, NativeInitiator
from stuntdouble.adapters.pure import PureArray, PureClient
from stuntdouble.adapters.wsapi import WsapiArray, WsapiClient
from stuntdouble.errors import Misuse, Unreachable
from stuntdouble.initiators import IscsiInitiator
from stuntdouble.scenarios.build import BACKUP_IQN
from stuntdouble.scenarios.remote.target import digest_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stuntdouble.adapters.native import NativeClient
    from stuntdouble.ports import Array, BlockDevice, Initiator
    from stuntdouble.scenarios.remote.target import Target

NATIVE: Final = "native"
WSAPI: Final = "wsapi"
PURE: Final = "pure"
KINDS: Final = (NATIVE, WSAPI, PURE)

_SAYS: Final = {WSAPI: "WSAPI", PURE: "a FlashArray's REST"}
_ASK_SECONDS: Final = 30.0
"""Wall time for the question which interface it is.  Chosen: as for a TLS handshake."""


@dataclass(frozen=True, slots=True)
class ArrayChoice:
    """Which way to the array was asked for.

    Args:
        where: one of ``KINDS``, or a URL.
        fingerprint: SHA-256 of the certificate at that URL, in lower case without colons, or empty.
        insecure: whether to trust any certificate there.
    """

    where: str = NATIVE
    fingerprint: str = ""
    insecure: bool = False

    @property
    def url(self) -> str:
        """The URL, where one was given, else nothing."""
        return self.where if "://" in self.where else ""


OURS: Final = ArrayChoice()


@dataclass(frozen=True)
class Reached:
    """An array and the way to its LUNs; ``said`` is how, for people.  ``close`` lets go of it."""

    array: Array
    initiator: Initiator
    said: str = ""
    client: WsapiClient | PureClient | None = None

    async def close(self) -> None:
        """Log out; idempotent."""
        if self.client is not None:
            await self.client.close()


def array_choice(where: str, *, fingerprint: str | None, insecure: bool) -> ArrayChoice:
    """Return what options of a command say.

    Raises:
        Misuse: they make no sense.
    """
    choice = ArrayChoice(where, digest_of(fingerprint, "--array-fingerprint"), insecure)
    if not choice.url:
        if where not in KINDS:
            text = f"{where!r} is none: use {', '.join(KINDS)}, or http(s)://HOST:PORT"
            raise Misuse("--array", text)
        if fingerprint:
            raise Misuse("--array-fingerprint", "is for an array that is named by its URL")
        return choice
    try:
        parts = urlsplit(where)
        port_is_given = parts.port is not None
    except ValueError as error:
        raise Misuse("--array", f"{error}: use http(s)://HOST:PORT") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_given:
        raise Misuse("--array", "no URL of an array: use http(s)://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        raise Misuse("--array", "takes no credentials: they are those of the hypervisor")
    return choice


@dataclass(frozen=True)
class Way:
    """What is needed to get to the array of a site.

    Args:
        choice: what was asked for.
        target: the site, and who asks.
        told: where endpoints of the site are, by name; Misuse for one that it lacks.
        native: of the site.
        open_: opens an NBD export.
        name: of the array.
    """

    choice: ArrayChoice
    target: Target
    told: Callable[[str], str]
    native: NativeClient
    open_: Callable[[str], Awaitable[BlockDevice]]
    name: str

    async def reach(self) -> Reached:
        """Return the array, and an initiator for its LUNs.

        Raises:
            Misuse: the site lacks an endpoint, or no interface that we know is there.
            Unreachable: nobody answers.
        """
        if self.choice.where == NATIVE:
            ours = NativeArray(self.native, self.name)
            return Reached(ours, NativeInitiator(BACKUP_IQN, self.open_, ours))
        url, kind, fingerprint = await self._place()
        portal = urlsplit(self.told("iscsi")).netloc
        epoch = (await self.native.epoch()).timestamp()
        client, array = self._client(kind, url, fingerprint, epoch)
        said = f"The array was asked by {_SAYS[kind]}, and its LUNs were read over iSCSI."
        return Reached(array, IscsiInitiator(portal, BACKUP_IQN), said, client)

    async def _place(self) -> tuple[str, str, str]:
        """Return the interface's URL, whose it is, and its certificate's fingerprint."""
        choice = self.choice
        if choice.url:
            return choice.url, await _kind_at(choice), choice.fingerprint
        url = self.told(choice.where)
        beside = [each for each in await self.native.get("endpoints") if each["url"] == url]
        found = beside[0]["fingerprint_sha256"] if beside else ""
        return url, choice.where, digest_of(found, choice.where)

    def _client(
        self, kind: str, url: str, fingerprint: str, epoch: float
    ) -> tuple[WsapiClient | PureClient, Array]:
        user, password, insecure = self.target.user, self.target.password, self.choice.insecure
        if kind == PURE:
            pure = PureClient(
                url,
                password,
                fingerprint=fingerprint or None,
                insecure=insecure and not fingerprint,
            )
            return pure, PureArray(pure, epoch)
        if fingerprint:
            text = "is not looked at by our client of WSAPI: give --insecure, or a trusted one"
            raise Misuse("--array-fingerprint", text)
        parts = urlsplit(url)
        whole = url if parts.path.strip("/") else f"{url.rstrip('/')}/api/v1"
        wsapi = WsapiClient(whole, user, password, verify=not insecure)
        return wsapi, WsapiArray(wsapi, epoch)


async def _kind_at(choice: ArrayChoice) -> str:
    """Ask at a URL whose interface is there: both tell their versions to everybody."""
    parts = urlsplit(choice.url)
    root = f"{parts.scheme}://{parts.netloc}"
    # Nothing is told in this question, so nothing depends on who answers it.
    options: dict[str, Any] = {"timeout": _ASK_SECONDS, "verify": False, "trust_env": False}
    async with httpx.AsyncClient(base_url=root, **options) as asking:
        try:
            for kind, path, key in ((PURE, "api/api_version", "version"), (WSAPI, "api", "major")):
                answer = await asking.get(path)
                body = answer.json() if answer.status_code == httpx.codes.OK else None
                if isinstance(body, dict) and key in body:
                    return kind
        except httpx.HTTPError as error:
            raise Unreachable(f"the array at {root}") from error
        except ValueError:
            pass
    raise Misuse("--array", f"neither WSAPI nor a FlashArray's REST is at {root}")
