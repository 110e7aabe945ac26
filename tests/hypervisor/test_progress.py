"""The progress of tasks: a fraction that rises as work is done, and is 0 between tasks."""

from __future__ import annotations

import pytest

from hypervisor.bench import BLOCK, EAGER, fill, rig, spec
from stuntdouble.clock import Environment
from stuntdouble.hypervisor.progress import Progress
from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.units import MIB


def watched(bench, vm, model):
    """Run a task; return how far it was after each event, without its end."""
    process = bench.env.process(model)
    found = []
    while not process.triggered:
        found.append((bench.env.now, vm.progress))
        bench.env.step()
    assert vm.progress == 0.0
    fractions = [fraction for _, fraction in found]
    assert fractions == sorted(fractions), "it never falls"
    assert all(0.0 <= fraction <= 1.0 for fraction in fractions)
    return found


@pytest.mark.parametrize("consolidation", ["mirror", "helper"])
def test_consolidation_counts_the_bytes_that_have_moved(consolidation):
    bench = rig(
        lun_bytes=32 * MIB,
        consolidation=consolidation,
        consolidation_bytes_per_second=float(MIB),
        consolidation_io_bytes=BLOCK,
        task_seconds=0.5,
    )
    load = PoissonLoad(1, "vm", 20.0, (Pattern(0.5, BLOCK, 4 * MIB),))
    vm = bench.add_vm(spec(size=4 * MIB), load=load)
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    fill(bench, vm.disks[2000].disk, 0, 512)
    began = bench.env.now
    found = watched(bench, vm, bench.hypervisor.remove_snapshot(vm, taken.id))
    halfway = [fraction for now, fraction in found if now - began < 1.5]
    assert 0.45 <= halfway[-1] <= 0.65, "a second of two has passed, after the task's own time"
    assert found[-1][1] > 0.9


def test_a_snapshot_and_what_it_waits_for():
    bench = rig(task_seconds=4.0)
    vm = bench.add_vm()
    process = bench.env.process(bench.hypervisor.create_snapshot(vm, "s"))
    bench.env.run(until=2.0)
    assert vm.progress == pytest.approx(0.25)
    bench.env.run(until=4.05)
    assert vm.progress >= 0.5
    bench.env.run(until=process)
    assert vm.progress == 0.0


def test_zeroing_a_new_vm():
    bench = rig()
    process = bench.env.process(
        bench.hypervisor.create_vm(
            "new", [spec(provisioning=EAGER), spec(2001, provisioning=EAGER)]
        )
    )
    bench.env.step()
    found = []
    while not process.triggered:
        if "new" in bench.hypervisor.vms:
            found.append(bench.hypervisor.vm("new").progress)
        bench.env.step()
    assert found == sorted(found)
    assert len(set(found)) > 30, "sixteen blocks of either disk"
    assert bench.hypervisor.vm("new").progress == 0.0


def test_a_failed_task_leaves_no_progress():
    bench = rig(lun_bytes=4 * MIB, task_seconds=1.0)
    vm = bench.add_vm()
    process = bench.env.process(bench.hypervisor.create_snapshot(vm, "s"))
    process.defused = True
    bench.env.run(until=0.5)
    assert vm.progress > 0.0
    bench.do(bench.hypervisor.crash(vm))
    assert vm.progress == 0.0


def test_parts_never_go_back():
    progress = Progress()
    assert progress.fraction == 0.0
    done = [0.5]
    progress.part(0.0, 0.5, lambda: done[0])
    assert progress.fraction == 0.25
    done[0] = 0.2
    assert progress.fraction == 0.25
    done[0] = 7.0
    assert progress.fraction == 0.5
    progress.part(0.4, 0.8, lambda: 0.0)
    assert progress.fraction == 0.5
    assert list(progress.counted("ab", 2)) == ["a", "b"]
    assert progress.fraction == 1.0
    progress.reset()
    assert progress.fraction == 0.0


def test_a_part_without_time_is_done_at_once():
    env, progress = Environment(), Progress()
    env.run(until=env.process(progress.wait(env, 0.0, 0.0, 0.5)))
    assert progress.fraction == 0.5
