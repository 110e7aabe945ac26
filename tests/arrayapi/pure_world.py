"""A FlashArray over a small array, asked in process; and ways to read its answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from stuntdouble.array import Array, Parameters, PoolSpec
from stuntdouble.arrayapi import Reply, Request
from stuntdouble.arrayapi.pure import OUI, Estate, FlashArray, Port
from stuntdouble.clock import Environment
from stuntdouble.iops import FLASH_CHANNEL, Raid, Recorder, Reference
from stuntdouble.site import Site
from stuntdouble.trace import Journal, Streams
from stuntdouble.units import KIB, MIB

BLOCK = 4 * KIB
TARGET = "iqn.2010-06.com.purestorage:flasharray.1"
PORTS = (Port("127.0.0.1:3260", TARGET), Port("[::1]:3261", TARGET))
EPOCH = 1_767_225_600.0  # 2026-01-01
IQN = "iqn.2026-01.example:backup"
OTHER = "iqn.2026-01.example:other"
INSTANT = dict.fromkeys(("fence_seconds", "snapshot_create_seconds", "promote_seconds", "create_seconds", "grow_seconds", "map_seconds", "unmap_seconds", "delete_seconds", "reclaim_bytes_per_second"), 0.0)  # fmt: skip


@dataclass
class World:
    """An array, what stands around it, and the vendor's interface to it."""

    env: Environment
    site: Site
    array: Array
    journal: Journal
    pure: FlashArray

    def do(self, model):
        """Run a request, and everything before its end."""
        return self.env.run(until=self.env.process(model))

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Reply:
        """Ask for a path below /api; a list in the query is joined by commas."""
        pairs = tuple((name, _text(value)) for name, value in query.items())
        data = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        return self.do(self.pure.handle(Request(method, f"/api/{path}", pairs, {}, data)))

    def two(self, method: str, resource: str, body: Any = None, **query: Any) -> list[dict]:
        """Ask REST 2, which must do it; return the items, none where there is no body."""
        reply = self.ask(method, f"2.26/{resource}", body, **query)
        assert reply.status == 200, reply
        json.dumps(reply.body, allow_nan=False)
        return [] if reply.body is None else reply.body["items"]

    def refused(self, method: str, resource: str, body: Any = None, status=400, **query: Any):
        """Ask REST 2, which must refuse it; return pairs of message and context."""
        reply = self.ask(method, f"2.26/{resource}", body, **query)
        assert reply.status == status, reply
        assert set(reply.body) == {"errors"}
        return [(each["message"], each["context"]) for each in reply.body["errors"]]

    def one(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Ask REST 1, which must do it."""
        reply = self.ask(method, f"1.19/{path}", body, **query)
        assert reply.status == 200, reply
        return reply.body

    def refused_by_one(self, method: str, path: str, body: Any = None, status=400, **query: Any):
        """Ask REST 1, which must refuse it; return pairs of message and context."""
        reply = self.ask(method, f"1.19/{path}", body, **query)
        assert reply.status == status, reply
        return [(each["msg"], each["ctx"]) for each in reply.body]

    def volume(self, name: str = "v1", size: int = 4 * MIB) -> dict:
        return self.two("POST", "volumes", {"provisioned": size}, names=name)[0]

    def names(self, resource: str, **query: Any) -> list[str]:
        return [item["name"] for item in self.two("GET", resource, **query)]

    def wait(self, seconds: float) -> None:
        self.env.run(until=self.env.now + seconds)

    def write(self, volume: str, block: int, count: int = 1) -> None:
        lun = self.array.inventory.volumes[volume].lun
        self.site.volume_write(lun, block * BLOCK, count * BLOCK)

    def tokens(self, volume: str) -> list[int]:
        lun = self.array.inventory.volumes[volume].lun
        return lun.tokens(0, lun.size_bytes // BLOCK).tolist()


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def build(env: Environment | None = None, *, disk_bytes: int = 64 * MIB, **parameters) -> World:
    """Return a FlashArray of one pool on four flash channels."""
    env = Environment() if env is None else env
    site = Site(block_bytes=BLOCK, keep_log=True)
    engine = Reference(env, site, 1, Recorder())
    journal = Journal()
    wanted = {"naa_prefix": OUI, "name_length_max": 127} | INSTANT | parameters
    array = Array(engine, Streams(1), journal, Parameters(**wanted))
    array.add_pool(PoolSpec("pool-1", FLASH_CHANNEL, raid=Raid.RAID0, disks=4, disk_bytes=disk_bytes, reserve_bytes=16 * MIB))  # fmt: skip
    return World(env, site, array, journal, FlashArray(Estate(array, EPOCH, lambda: PORTS)))
