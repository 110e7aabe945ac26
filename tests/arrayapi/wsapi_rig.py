"""An array behind the interface, in virtual time, and a client that says what it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from stuntdouble.array import Array, Parameters, PoolSpec
from stuntdouble.arrayapi import LocalDoor, WireFaults, app
from stuntdouble.arrayapi.wsapi import CODES, MANNERS, Portal, Setting, Wsapi, WsapiSessions
from stuntdouble.clock import run
from stuntdouble.iops import FLASH_CHANNEL, Raid, Recorder, Reference
from stuntdouble.site import Site
from stuntdouble.trace import Journal, Streams
from stuntdouble.units import GIB, KIB, MIB

USER, PASSWORD = "3paradm", "3pardata"
URL = "http://array/api/v1"
TARGET = "iqn.2000-05.com.3pardata:20210002ac0000001"
PORTALS = (Portal("127.0.0.1", TARGET), Portal("127.0.0.2", TARGET, node=1))
SERVER = "iqn.2026-01.example:backup"


@dataclass
class Said:
    """An answer; ``code`` is 0 where it is no refusal."""

    status: int
    code: int
    body: Any
    location: str

    @property
    def names(self):
        return [each["name"] for each in self.body["members"]]


@dataclass
class Rig:
    """An array, its interface, and what is known of both."""

    env: Any
    array: Any
    pool: Any
    personality: Any
    sessions: Any
    faults: Any
    http: Any = None
    key: str = ""

    @property
    def app(self):
        door = LocalDoor(self.personality, self.env)
        return app(MANNERS, door, self.sessions, self.faults)

    def volume(self, name="v1", size=256 * MIB):
        return self.array.create_volume(name, size, self.pool)

    async def login(self):
        answer = await self.raw("POST", "credentials", {"user": USER, "password": PASSWORD})
        self.key = answer.body["key"]

    async def raw(self, method, path, body=None, *, query="", content=None, **headers):
        """Ask with exactly these headers."""
        path = path if path.startswith("/") else f"/api/v1/{path}"
        params = {"query": f'"{query}"'} if query else None
        given = {"content": content} if content is not None else {"json": body}
        if body is None and content is None:
            given = {}
        answer = await self.http.request(method, path, params=params, headers=headers, **given)
        found = answer.json() if answer.content else None
        code = found["code"] if answer.status_code >= 400 and found else 0
        return Said(answer.status_code, code, found, answer.headers.get("location", ""))

    async def __call__(self, method, path, body=None, **more):
        """Ask with the session's key."""
        key = {"X-HP3PAR-WSAPI-SessionKey": self.key}
        return await self.raw(method, path, body, **more, **key)

    async def fine(self, method, path, body=None, **more):
        answer = await self(method, path, body, **more)
        assert answer.status < 300, answer
        return answer

    async def snapshot(self, of, name, *, readonly=True, **more):
        parameters = {"name": name, "readOnly": readonly, **more}
        return await self("POST", f"volumes/{of}", action("createSnapshot", parameters))


def action(name, parameters):
    return {"action": name, "parameters": parameters}


def refused(answer, symbol):
    """Check that an answer is this refusal, by its number and its status."""
    code = CODES[symbol]
    assert (answer.status, answer.code) == (code.status, code.number), (symbol, answer)
    return True


def build(env, *, disk=2 * GIB, reserve=GIB, setting=None, **parameters):
    site = Site(block_bytes=4 * KIB, keep_log=True)
    engine = Reference(env, site, 1, Recorder())
    array = Array(engine, Streams(1), Journal(), Parameters(**parameters))
    spec = PoolSpec(
        "CPG1", FLASH_CHANNEL, raid=Raid.RAID0, disks=4, disk_bytes=disk, reserve_bytes=reserve
    )
    pool = array.add_pool(spec)
    personality = Wsapi(array, setting or Setting(lambda: PORTALS, user=USER))
    sessions = WsapiSessions(USER, PASSWORD)
    return Rig(env, array, pool, personality, sessions, WireFaults())


def talking(talk, **options):
    """Run ``talk(rig)`` with a session open, in virtual time; return what it returns."""

    async def main(env):
        rig = build(env, **options)
        transport = httpx.ASGITransport(rig.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://array") as http:
            rig.http = http
            await rig.login()
            return await talk(rig)

    return run(main)
