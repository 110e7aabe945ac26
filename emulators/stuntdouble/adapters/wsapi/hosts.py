"""The hosts that initiators belong to: found, or made for a while where nobody has made one.

A host that is made here is named after its initiator, so that whoever comes later knows it for one
of these, and goes when the last export to it does.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from stuntdouble.adapters.wsapi.client import part
from stuntdouble.adapters.wsapi.problems import (
    EXISTENT_HOST,
    EXISTENT_PATH,
    Answered,
    error_of,
)
from stuntdouble.adapters.wsapi.reading import iqns_of
from stuntdouble.errors import Lost

if TYPE_CHECKING:
    from stuntdouble.adapters.wsapi.client import WsapiClient

_PREFIX: Final = "sd-"

_DIGITS: Final = 24  # chosen: with the prefix within the 31 characters of a name


def own_name(iqn: str) -> str:
    """Return the name of the host that is made for an initiator."""
    return _PREFIX + hashlib.sha256(iqn.encode()).hexdigest()[:_DIGITS]


class Hosts:
    """Hosts by their initiators."""

    def __init__(self, client: WsapiClient) -> None:
        self._client = client

    async def initiators(self) -> dict[str, list[str]]:
        """Return the initiators of every host, by its name."""
        return {host["name"]: iqns_of(host) for host in await self._client.listed("hosts")}

    async def having(self, iqn: str) -> str:
        """Return the name of the host that has an initiator; empty where none does."""
        found = await self._client.listed("hosts", f"iSCSIPaths[name=={iqn}]")
        return next((host["name"] for host in found if iqn in iqns_of(host)), "")

    async def made(self, iqn: str) -> str:
        """Return the name of the host that has an initiator; there is one from now on."""
        name = await self.having(iqn)
        if name:
            return name
        try:
            await self._client.ask("POST", "hosts", {"name": own_name(iqn), "iSCSINames": [iqn]})
        except Answered as refusal:
            if refusal.number not in (EXISTENT_HOST, EXISTENT_PATH):
                raise error_of(refusal) from None
            return await self._there(iqn, error_of(refusal))
        except Lost as error:
            return await self._there(iqn, error)
        return own_name(iqn)

    async def _there(self, iqn: str, error: Exception) -> str:
        """Return who has the initiator, after somebody else was quicker, or an answer was lost."""
        name = await self.having(iqn)
        if not name:
            raise error
        return name

    async def drop(self, iqn: str, name: str) -> None:
        """Let go of a host that was made here; one that still sees something stays."""
        if name == own_name(iqn):
            with suppress(Answered):
                await self._client.ask("DELETE", f"hosts/{part(name)}")
