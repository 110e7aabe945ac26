"""Our client of WSAPI over the emulated interface, in virtual time."""

from __future__ import annotations

import httpx

from arrayapi.wsapi_rig import PASSWORD, URL, USER, build
from stuntdouble.adapters.wsapi import WsapiArray, WsapiClient
from stuntdouble.clock import run

OTHER = "iqn.2026-01.example:other"


class Broken(httpx.ASGITransport):
    """A connection that is cut looks to the client as it does on a network."""

    async def handle_async_request(self, request):
        try:
            return await super().handle_async_request(request)
        except ConnectionResetError as error:
            raise httpx.ReadError(str(error), request=request) from error


def using(talk, *, password=PASSWORD, **options):
    """Run ``talk(array, rig, client)`` with volumes v1 and v2."""

    async def main(env):
        rig = build(env, **options)
        rig.volume("v1")
        rig.volume("v2")
        transport = Broken(rig.app)
        async with WsapiClient(URL, USER, password, transport=transport) as client:
            return await talk(WsapiArray(client), rig, client)

    return run(main)


def naas(rig, *names):
    return tuple(rig.array.volume(name).naa for name in names)
