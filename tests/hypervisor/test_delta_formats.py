"""The two formats of delta disks: what differs in the emulation, and what does not."""

from __future__ import annotations

import pytest

from hypervisor.bench import BLOCK, FS_BLOCK, fill, rig, spec
from stuntdouble.units import MIB

FORMATS = ("vmfs-sparse", "se-sparse")


def grown(delta_format, blocks, **parameters):
    """Return a rig and VM on top of a snapshot, after writes to so many blocks, and their steps."""
    bench = rig(
        delta_format=delta_format,
        lun_bytes=64 * MIB,
        **{"growth_bytes": 16 * MIB, **parameters},
    )
    vm = bench.add_vm(spec(size=32 * MIB))
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    disk = vm.disks[2000].disk
    steps = [bench.site.write(disk, b * BLOCK, BLOCK) for b in range(blocks)]
    return bench, vm, steps


def delta_bytes(bench):
    return bench.engine.meter.gauges["delta_bytes", "vm"][-1][1]


@pytest.mark.parametrize("blocks", [0, 1, 256, 257, 600, 4096, 4097, 5000])
def test_the_same_writes_grow_them_in_steps_of_their_own(blocks):
    sizes = {kind: delta_bytes(grown(kind, blocks)[0]) for kind in FORMATS}
    steps = {"vmfs-sparse": 16 * MIB, "se-sparse": MIB}
    assert sizes == {
        kind: step * max(-(-blocks * BLOCK // step), 1) for kind, step in steps.items()
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_a_step_of_growth_costs_what_the_format_costs(kind):
    parameters = {"growth_bytes": 4 * FS_BLOCK, "se_growth_bytes": 4 * FS_BLOCK}
    for ios in (0, 1, 5):
        _, _, steps = grown(kind, 65, lock_ios=3, se_growth_ios=ios, **parameters)
        extra = len(steps[64]) - len(steps[63])  # 64 blocks fit a first step of four times 16
        assert extra == (3 if kind == "vmfs-sparse" else 3 + ios)


def test_the_formats_plan_the_same_io_while_neither_grows():
    plans = [grown(kind, 200, growth_bytes=MIB)[2] for kind in FORMATS]
    assert [len(steps) for steps in plans[0]] == [len(steps) for steps in plans[1]]


def test_a_delta_gives_nothing_back_before_it_is_merged():
    bench, vm, _ = grown("se-sparse", 600)
    size = delta_bytes(bench)
    fill(bench, vm.disks[2000].disk, 0, 600)
    assert delta_bytes(bench) == size
    bench.do(bench.hypervisor.remove_all_snapshots(vm))
    assert delta_bytes(bench) == 0
