"""Targets for foreign tools to judge: ours over three kinds of volumes, and tgtd over the same bytes."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from interop import served, tgt
from stuntdouble.array import Array, Parameters, PoolSpec
from stuntdouble.clock import Environment, PacedLoop, Pacer
from stuntdouble.codecs.iscsi import Credentials
from stuntdouble.iops import FLASH_CHANNEL, Raid, Recorder
from stuntdouble.iops.kernel import CompiledEngine
from stuntdouble.iscsi import Node, Server, Target
from stuntdouble.iscsi.units import ArrayLuns, ArrayUnit
from stuntdouble.scsi import DeviceServer
from stuntdouble.site import Site
from stuntdouble.trace import Journal, Streams
from stuntdouble.units import GIB, KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TARGETS: Final = "iqn.2026-01.com.example:array-1-"
GUARDED: Final = "iqn.2026-01.com.example:guarded"
STRANGER: Final = "iqn.2026-01.com.example:stranger"
JUDGE: Final = (
    "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test"  # as iscsi-test-cu calls itself
)
SECOND: Final = f"{JUDGE}-2"
QEMU: Final = "iqn.2008-11.org.linux-kvm"  # as QEMU calls itself
SIZE: Final = 64 * MIB
SECRETS: Final = {GUARDED: Credentials("guard", "asecretof16bytes", "array", "anotherof16bytes")}

LUNS: Final = {"tokens": 1, "bytes": 2, "snapshot": 3}
"""Volumes of ours: what guests wrote, what came from outside, and a promoted, read-only snapshot.
Each is behind a target of its own, so that a reset of one is none of the others."""

FOREIGN: Final = {"tgtd": "tokens", "tgtd, read-only": "snapshot"}
"""Daemons of tgtd, and over whose bytes."""

_BLOCK: Final = 4 * KIB
_MEMORY: Final = Path("/dev/shm")  # so that no test waits for tgtd to write to a busy disk


@dataclass(frozen=True)
class Judged:
    """A LUN that is judged, and where it is."""

    portal: str
    target: str
    lun: int
    vendor: str
    read_only: bool
    truth: Callable[[], bytes]

    @property
    def server(self) -> str:
        return f"iscsi://{self.portal}"

    @property
    def url(self) -> str:
        return f"{self.server}/{self.target}/{self.lun}"


@dataclass(frozen=True)
class Ours:
    """An array that is served, and where."""

    array: Array
    portal: str

    def judged(self, name: str) -> Judged:
        """Return one of its LUNs."""
        volume = self.array.volume(name)

        def truth() -> bytes:
            return self.array.show(volume, 0, SIZE // _BLOCK).tobytes()

        place = (self.portal, TARGETS + name, LUNS[name])
        return Judged(*place, "STUNTDBL", volume.read_only, truth)


class Only:
    """Of what an array maps, one volume; implements ``scsi.LunMap``."""

    def __init__(self, luns: ArrayLuns, name: str) -> None:
        self.luns, self.name = luns, name

    def units(self, initiator_iqn: str) -> dict[int, ArrayUnit]:
        found = self.luns.units(initiator_iqn).items()
        return {lun: unit for lun, unit in found if unit.volume.name == self.name}


def build() -> Array:
    """An array with a volume of each kind, mapped to tools under the names that they have."""
    env = Environment()
    site = Site(block_bytes=_BLOCK)
    engine = CompiledEngine(env, site, 1, Recorder())
    array = Array(engine, Streams(1), Journal(), Parameters())
    spec = {"raid": Raid.RAID0, "disks": 4, "disk_bytes": GIB, "reserve_bytes": GIB}
    pool = array.add_pool(PoolSpec("pool-1", FLASH_CHANNEL, **spec))
    tokens = array.create_volume("tokens", SIZE, pool)
    outside = array.create_volume("bytes", SIZE, pool)
    random = np.random.default_rng(1)
    for at in range(SIZE // MIB):
        if at % 3:
            site.volume_write(tokens.lun, at * MIB, MIB)
            site.volume_write(outside.lun, at * MIB, MIB, random.bytes(MIB))
        else:
            site.volume_zero(tokens.lun, at * MIB, MIB)
            site.volume_zero(outside.lun, at * MIB, MIB)

    def do(request: Any) -> None:
        env.run(until=env.process(request))

    do(array.create_snapshots((tokens.naa,), "frozen"))
    site.volume_write(tokens.lun, 2 * MIB, MIB)
    do(array.promote("frozen", "snapshot"))
    for host in (JUDGE, SECOND, QEMU):
        for name, lun in LUNS.items():
            do(array.map_volume(name, host, lun))
    do(array.map_volume("snapshot", GUARDED, 7))
    return array


@contextmanager
def serving(array: Array) -> Iterator[Ours]:
    """Serve an array from a thread with a loop of its own."""
    env = array.core.env
    loop = PacedLoop(1.0, env.now)
    ready: list[str] = []
    started, ended = threading.Event(), asyncio.Event()

    async def main() -> None:
        Pacer(env, loop).start()
        luns, targets = ArrayLuns(array), {}
        for name in LUNS:
            device = DeviceServer(Only(luns, name), TARGETS + name)
            targets[device.target_name] = Target(
                device.target_name,
                device,
                lambda iqn: array.hosts.by_iqn(iqn) is not None,
                SECRETS.get,
            )
        node = Node(targets)
        server = Server(node, entered=env.entered, call_later=loop.call_later_wall)
        await server.start("127.0.0.1", 0)
        ready.append("{}:{}".format(*server.address))
        started.set()
        await ended.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.Runner(loop_factory=lambda: loop).run(main()))
    thread.start()
    assert started.wait(served.SECONDS_MAX)
    try:
        yield Ours(array, ready[0])
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


@contextmanager
def beside_tgtd() -> Iterator[dict[str, Judged]]:
    """Serve each LUN of ours, and the same bytes by tgtd; who changes one changes no other."""
    with ExitStack() as stack:
        ours = stack.enter_context(serving(build()))
        judged = {name: ours.judged(name) for name in LUNS}
        for name, source in FOREIGN.items():
            judged[name] = stack.enter_context(_tgtd(judged[source]))
        yield judged


@contextmanager
def _tgtd(like: Judged) -> Iterator[Judged]:
    """Serve what a LUN holds now by tgtd."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        raw = Path(folder) / "raw"
        raw.write_bytes(like.truth())
        with tgt.tgtd(Path(folder)) as daemon:
            daemon.unit(1, raw, readonly=int(like.read_only))
            yield Judged(daemon.portal, tgt.TARGET, 1, "IET", like.read_only, raw.read_bytes)
