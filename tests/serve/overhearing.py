"""A proxy that keeps every byte that a target says, and what none of them may say to a stranger."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

MARKER = b"what guests wrote; for nobody's "
"""Fills a volume: of any 63 bytes of it, 32 are these."""


class Proxy:
    """Passes connections on to a portal; ``heard`` is what came back."""

    def __init__(self, portal):
        self.host, _, port = portal.rpartition(":")
        self.port = int(port)
        self.heard = bytearray()
        self.portal = ""
        self._tasks = set()

    async def _passed(self, reader, writer, heard=None):
        while data := await reader.read(1 << 16):
            if heard is not None:
                heard += data
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _met(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        there, back = await asyncio.open_connection(self.host, self.port)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):  # an end of either
                await asyncio.gather(
                    self._passed(reader, back), self._passed(there, writer, self.heard)
                )
        finally:
            writer.close()
            back.close()
            self._tasks.discard(task)


@asynccontextmanager
async def overheard(portal):
    """Yield a proxy of a portal."""
    proxy = Proxy(portal)
    server = await asyncio.start_server(proxy._met, "127.0.0.1", 0)
    proxy.portal = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(proxy._tasks):
            task.cancel()
        await asyncio.gather(*proxy._tasks, return_exceptions=True)


def secrets_of(array):
    """Return all that tells of an array's volumes, snapshots and data, as it may be written."""
    found = {"data": MARKER}
    inventory = array.inventory
    for each in (*inventory.volumes.values(), *inventory.snapshots.values()):
        found[f"name of {each.name}"] = each.name.encode()
        for what, text in (("NAA", each.naa), ("UUID", each.uuid)):
            plain = text.replace("-", "")
            found[f"{what} of {each.name} in lower case"] = text.lower().encode()
            found[f"{what} of {each.name} in upper case"] = text.upper().encode()
            found[f"{what} of {each.name} in binary"] = bytes.fromhex(plain)
    for volume in inventory.mappable():
        found[f"serial number of {volume.name}"] = volume.serial.encode()
    assert all(found.values())
    return found


def told(heard, secrets):
    """Return which of the secrets were told."""
    return {what for what, secret in secrets.items() if secret in heard}
