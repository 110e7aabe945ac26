"""A small site in wall time, with an NBD server in front of its hypervisor."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from hypervisor.bench import BLOCK, LAZY, THIN, Rig, fill, rig, spec
from nbd.talking import talk
from stuntdouble.clock import perform, run
from stuntdouble.codecs.nbd import Option, Reply
from stuntdouble.extents import Runs
from stuntdouble.hypervisor import LocalHypervisor
from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.iops.kernel import CompiledEngine
from stuntdouble.nbd import HypervisorExports, Limits, Server
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stuntdouble.hypervisor import Vm
    from stuntdouble.site import Level

RATE = 5.0
SIZE = 4 * MIB
NAME = "vm/vm/2000"
FROZEN = "snapshot/snapshot-1/2000"
CI = bool(os.environ.get("CI"))


@dataclass
class World:
    """The site, its hypervisor, and where the server listens."""

    rig: Rig
    port: LocalHypervisor
    server: Server
    vm: Vm

    def uri(self, name: str) -> str:
        host, port = self.server.address
        return f"nbd://{host}:{port}/{name}"

    def shown(self, level: Level, key: int = 2000) -> bytes:
        """Return a disk as seen from a level, straight from the site."""
        with self.rig.env.entered():
            blocks = self.vm.disks[key].disk.blocks
            return self.rig.site.show(level, 0, blocks, "test").tobytes()

    async def snapshot(self, name: str = "s") -> Any:
        return await self.port.create_snapshot("vm", name, quiesce=False)

    def frozen(self, snapshot: Any, key: int = 2000) -> bytes:
        return self.shown(self.vm.snapshot(snapshot.id).frozen[key], key)

    def tool(self, *words: str) -> Awaitable[str]:
        return asyncio.to_thread(tool, *words)


def tool(*words: str) -> str:
    """Run a foreign tool; return what it says."""
    if shutil.which(words[0]) is None:
        if CI:
            pytest.fail(f"{words[0]} is not installed")
        pytest.skip(f"{words[0]} is not installed")
    found = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, f"{words}: {found.stderr or found.stdout}"
    return found.stdout


def serve(
    scenario: Callable[[World], Awaitable[Any]],
    *,
    rate: float = RATE,
    iops: float = 40.0,
    limits: Limits | None = None,
    paced: bool = False,
    size: int = SIZE,
    **kw: Any,
) -> Any:
    """Play *scenario* against a running VM with two disks, tracked, under load."""

    async def main(env: Any) -> Any:
        options = {"lun_bytes": 4 * size + 16 * MIB, "fragmentation": 0.5}
        bench = rig(env=env, engine_kind=CompiledEngine, **options | kw)
        port = LocalHypervisor(bench.hypervisor, lambda naa: bench.opened[naa])
        load = PoissonLoad(1, "vm", iops, (Pattern(0.2, BLOCK, size),) * 2) if iops else None
        vm = bench.hypervisor.add_vm(
            "vm", [spec(2000, size, THIN), spec(2001, size, LAZY)], load, powered_on=False
        )
        with env.entered():
            for disk in vm.disks.values():
                fill(bench, disk.disk, 100, 150)
                fill(bench, disk.disk, disk.disk.blocks - 3, 3)
        wall = lambda seconds: seconds * rate  # noqa: E731
        server = Server(
            HypervisorExports(bench.hypervisor, paced=paced), wall_seconds=wall, limits=limits
        )
        await perform(env, bench.hypervisor.enable_tracking("vm"))
        await perform(env, bench.hypervisor.power_on("vm"))
        await server.start("127.0.0.1", 0)
        try:
            return await scenario(World(bench, port, server, vm))
        finally:
            await server.close()

    return run(main, rate=rate)


def mapped(text: str) -> list[tuple[int, int, int]]:
    """Return (offset, length, flags) of what ``nbdinfo --map --json`` prints."""
    return [(row["offset"], row["length"], row["type"]) for row in json.loads(text)]


def areas(rows: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Return (offset, length) of the runs whose flag is set."""
    return [tuple(x) for x in Runs.of([(at, size) for at, size, flags in rows if flags])]


def with_server(dialogue, *, off=False, snapshot=True, **kw):
    """Run ``dialogue(address)`` in a thread, beside the loop that serves."""

    async def scenario(world):
        if off:
            await perform(world.rig.env, world.rig.hypervisor.power_off("vm"))
        elif snapshot:
            await world.snapshot()
        found = await asyncio.to_thread(dialogue, world.server.address)
        assert await asyncio.to_thread(still_serves, world.server.address)
        return found, world.shown(
            world.vm.image(2000) if not off else world.vm.disks[2000].disk.head
        )

    return serve(scenario, **kw)


def still_serves(address):
    with talk(address) as client:
        client.greet()
        return client.ask(Option.LIST)[-1] == (Reply.ACK, b"")
