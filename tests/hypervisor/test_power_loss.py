"""I/O that waits when a VM loses its power is lost with the guest's memory."""

from __future__ import annotations

import pytest

from hypervisor.bench import BLOCK, rig, seen, written
from stuntdouble.errors import NoSpace
from stuntdouble.iops import ClosedLoad, Pattern, PoissonLoad
from stuntdouble.units import MIB

PATTERN = Pattern(0.1, BLOCK, MIB)
LOADS = {
    "open": PoissonLoad(1, "vm", 200.0, (PATTERN,)),
    "closed": ClosedLoad(1, "vm", 4, 0.01, (PATTERN,)),
}


def power_off(bench, vm, _taken):
    bench.do(bench.hypervisor.power_off(vm))


def crash(bench, vm, _taken):
    bench.do(bench.hypervisor.crash(vm))


def revert(bench, vm, taken):
    bench.do(bench.hypervisor.revert(vm, taken.id))


def conserved(guest):
    ended = guest.completed + guest.dropped
    return guest.arrived == ended + guest.in_flight + len(guest.waiting)


def holding(load):
    """Return a rig whose VM, on top of a snapshot, has I/O that a fence keeps waiting."""
    bench = rig()
    vm = bench.add_vm(load=LOADS[load])
    bench.env.run(until=1)
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    bench.env.run(until=2)
    bench.engine.fence(bench.luns)
    bench.env.run(until=3)
    assert vm.guest.waiting
    return bench, vm, taken


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("lose", [power_off, crash, revert])
def test_what_waits_is_dropped_and_its_time_is_nobodys_latency(lose, load):
    bench, vm, taken = holding(load)
    guest, waited = vm.guest, len(vm.guest.waiting)
    lose(bench, vm, taken)
    assert (guest.dropped, len(guest.waiting)) == (waited, 0)
    assert not vm.powered_on
    disk = vm.disks[2000].disk
    left, off = written(bench.site, disk, disk.moment(bench.env.now)), bench.env.now
    bench.engine.unfence(bench.luns)
    bench.env.run(until=off + 1000)
    assert conserved(guest)
    assert seen(disk.head, disk) == left
    bench.do(bench.hypervisor.power_on(vm))
    bench.env.run(until=off + 1010)
    assert conserved(guest)
    assert guest.dropped == waited
    after = bench.engine.meter.latencies("vm").during(3.0, off + 1010)
    assert len(after.seconds) > 100
    assert after.arrived.min() >= off + 1000
    assert after.seconds.max() < 1.0


@pytest.mark.parametrize("lose", [power_off, crash, revert])
def test_a_closed_load_has_as_many_ios_under_way_after_as_before(lose):
    bench, vm, taken = holding("closed")
    lose(bench, vm, taken)
    bench.engine.unfence(bench.luns)
    bench.do(bench.hypervisor.power_on(vm))
    bench.env.run(until=bench.env.now + 1)
    bench.engine.fence(bench.luns)
    bench.env.run(until=bench.env.now + 1)
    assert len(vm.guest.waiting) == 4


@pytest.mark.parametrize("lose", [power_off, crash, revert])
def test_a_vm_paused_for_want_of_space_can_lose_its_power_and_start_again(lose):
    bench, vm, taken = holding("open")
    hypervisor = bench.hypervisor
    vm.guest.on_no_space(NoSpace("the snapshot reserve", BLOCK, 0))
    bench.engine.unfence(bench.luns)
    assert vm.question
    lose(bench, vm, taken)
    assert not vm.question
    assert vm.guest.stuns == 1
    assert not vm.guest.waiting
    bench.do(hypervisor.power_on(vm))
    before = vm.guest.arrived
    bench.env.run(until=bench.env.now + 1)
    assert vm.guest.arrived > before
    assert conserved(vm.guest)


def test_dropping_leaves_alone_what_is_in_flight_and_who_is_not_named():
    bench = rig()
    one = bench.add_vm(load=LOADS["closed"])
    other = bench.add_vm(load=LOADS["closed"], name="other")
    bench.env.run(until=1)
    bench.engine.set_limit(one.guest, 1)
    bench.engine.set_limit(other.guest, 1)
    while not (one.guest.in_flight and one.guest.waiting and other.guest.waiting):
        bench.env.step()
    flying, waiting = one.guest.in_flight, len(other.guest.waiting)
    bench.engine.drop_waiting(one.guest)
    assert (one.guest.in_flight, len(one.guest.waiting)) == (flying, 0)
    assert (other.guest.dropped, len(other.guest.waiting)) == (0, waiting)
    before = one.guest.completed
    bench.env.run(until=bench.env.now + 1)
    assert one.guest.completed > before + flying
    assert conserved(one.guest)
