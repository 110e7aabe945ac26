"""Serve an estate in a process of its own: ``python -m stuntdouble.bench.vsphere``.

It prints its URL and, where there is a disk with changes, what to ask with, between tabs; then it
serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from stuntdouble.bench.vsphere.estates import DISK_KEY, WIDE, WIDE_BYTES, add_wide, center, estate
from stuntdouble.clock import PacedLoop, Pacer
from stuntdouble.vsphere import Dispatcher, VsphereEndpoint

if TYPE_CHECKING:
    from stuntdouble.vsphere import VirtualCenter


def facts(served: VirtualCenter, areas: int) -> list[str]:
    """Make a disk with changes; return the ids of its VM and snapshot, key, bytes and changeId."""
    changed = add_wide(served.hypervisor, areas)
    vm = served.roots.vm(WIDE)
    assert vm is not None, "it has just been made"
    (tree,) = vm.show("snapshot").rootSnapshotList
    snapshot_id = tree.snapshot._moId  # noqa: SLF001  (pyVmomi has no other name for it)
    return [vm.moid, snapshot_id, str(DISK_KEY), str(WIDE_BYTES), changed.since]


async def serve(served: VirtualCenter, told: list[str], pacer: Pacer) -> None:
    """Serve until the standard input ends."""
    endpoint = VsphereEndpoint(Dispatcher(served), plain_http=True)
    pacer.start()
    await endpoint.start()
    sys.stdout.write("\t".join([endpoint.url, *told]) + "\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()
    loop.remove_reader(sys.stdin)
    await endpoint.stop()


def main() -> None:
    """Build an estate and serve it."""
    parser = argparse.ArgumentParser(prog="python -m stuntdouble.bench.vsphere")
    parser.add_argument("--vms", type=int, default=1, help="VMs at rest")
    parser.add_argument("--areas", type=int, default=0, help="changes of a disk of 16 TiB")
    asked = parser.parse_args()
    served = center(estate(asked.vms))
    told = facts(served, asked.areas) if asked.areas else []
    loop = PacedLoop(1.0, served.env.now)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(serve(served, told, Pacer(served.env, loop)))


if __name__ == "__main__":
    main()
