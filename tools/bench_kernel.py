"""Measure I/Os per second of both engines, side by side in one run: medians and their ratio.

    python tools/bench_kernel.py [rounds]

The load: 20 guests, Poisson arrivals of 8 KiB, 70 % reads, on 24 disks in RAID 10 at half load.
"""

from __future__ import annotations

import sys
from statistics import median
from time import perf_counter
from typing import Any

from stuntdouble.clock import Environment
from stuntdouble.iops import DISK_10K, Geometry, Meter, Pattern, PoissonLoad, Raid, Reference
from stuntdouble.iops.kernel import CompiledEngine
from stuntdouble.site import Site

GUESTS, DISKS, BLOCK, FS_BLOCKS = 20, 24, 4096, 256
BLOCKS = 1 << 18  # 1 GiB to a guest
IOPS = 70.0  # of each guest
EARLY = 5.0  # seconds: until then the engines are compared


class Keeper:
    """Hands out file-system blocks one after the other."""

    def __init__(self) -> None:
        self.used = 0

    def provide(self, file: Any, index: int) -> int:
        """Place a block."""
        file.place(index, 0, self.used)
        self.used += 1
        return 0


def build(engine_class: Any, content: Any) -> Any:
    """Return an engine whose guests have begun."""
    env, site = Environment(), Site(content=content)
    pool = site.create_pool(1 << 30, 1 << 20)
    lun = site.create_lun(GUESTS * BLOCKS, 256, pool, 0)
    store = site.create_store([lun], FS_BLOCKS, FS_BLOCKS)
    store.keeper = keeper = Keeper()
    names = [f"vm-{number}" for number in range(GUESTS)]
    engine = engine_class(env, site, 1, Meter(before={name: [EARLY] for name in names}))
    stations = [engine.add_station(DISK_10K, 1, 1 << 34) for _ in range(DISKS)]
    engine.add_pool(pool, Geometry(Raid.RAID10, stations[0], DISKS, 1 << 18))
    for number in range(GUESTS):
        file = store.create_file(f"disk-{number}", BLOCKS, sparse=False, zeroed=True)
        for index in range(BLOCKS // FS_BLOCKS):
            keeper.provide(file, index)
        disk = site.create_disk(f"disk-{number}", BLOCKS, file)
        patterns = (Pattern(0.7, 8192, BLOCKS * BLOCK, 2.0),)
        load = PoissonLoad(number, f"vm-{number}", IOPS, patterns)
        engine.start(engine.add_guest(f"vm-{number}", [disk], [lun], load))
    return engine


def rate(engine_class: Any, seconds: float, content: Any) -> tuple[float, float]:
    """Return I/Os per second of wall time, and the sum of latencies."""
    engine = build(engine_class, content)
    engine.env.run(0.5)  # the first batch of every load
    before = sum(guest.completed for guest in engine.guests)
    begun = perf_counter()
    engine.env.run(seconds)
    took = perf_counter() - begun
    done = sum(guest.completed for guest in engine.guests) - before
    early = sum(engine.meter.until(guest.name, EARLY)[1] for guest in engine.guests)
    return done / took, early


def main() -> None:
    """Print the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rate(CompiledEngine, 2.0, "bytes")
    for content in ("bytes", "counts"):
        slow = [rate(Reference, 8.0, content) for _ in range(rounds)]
        fast = [rate(CompiledEngine, 400.0, content) for _ in range(rounds)]
        assert slow[0][1] == fast[0][1], "the engines disagree"
        reference, compiled = (median(r for r, _ in runs) for runs in (slow, fast))
        print(
            f"content {content}: reference {reference:,.0f} I/Os a second, "
            f"compiled {compiled:,.0f}, ratio {compiled / reference:.0f} "
            f"(medians of {rounds})"
        )


if __name__ == "__main__":
    main()
