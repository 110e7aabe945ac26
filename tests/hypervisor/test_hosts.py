"""Hosts: where VMs run, what a crash takes along, and how many disks a host tracks."""

from __future__ import annotations

import re

import pytest

from hypervisor.bench import BLOCK, fill, rig, seen, spec, tokens
from stuntdouble.errors import (
    ChangeHistoryLost,
    Interrupted,
    InvalidState,
    LimitReached,
    Misuse,
    NotFound,
    Unreachable,
)
from stuntdouble.hypervisor import Parameters, changed_ranges
from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.units import MIB

KEY = 2000


def two_hosts(**parameters):
    """Return a rig of two hosts; "a" and "b" run on the first, "c" on the second."""
    bench = rig(hosts=("main", "recovery"), **parameters)
    for name in "abc":
        vm = bench.add_vm(spec(), name=name, powered_on=False)
        bench.do(bench.hypervisor.enable_tracking(vm))
        bench.do(bench.hypervisor.power_on(vm, "recovery" if name == "c" else ""))
    return bench


def ids(bench):
    """Return a changeId of each VM, of a snapshot that is gone again."""
    found = {}
    for name in bench.hypervisor.vms:
        taken = bench.do(bench.hypervisor.create_snapshot(name, "s"))
        found[name] = taken.change_ids[KEY]
        bench.do(bench.hypervisor.remove_snapshot(name, taken.id))
    return found


def test_vms_are_on_the_first_host_unless_started_elsewhere():
    bench = two_hosts()
    assert {vm.name: vm.server.name for vm in bench.hypervisor.vms.values()} == {
        "a": "main", "b": "main", "c": "recovery",
    }  # fmt: skip
    assert list(rig().hypervisor.hosts) == ["host-1"]


def test_a_crash_takes_every_vm_of_the_host_and_their_tracking():
    bench = two_hosts()
    bench.do(bench.hypervisor.power_off("b"))
    old = ids(bench)
    fill(bench, bench.hypervisor.vm("a").disks[KEY].disk, 0, 8)
    bench.do(bench.hypervisor.crash_host("main"))
    assert [vm.powered_on for vm in bench.hypervisor.vms.values()] == [False, False, True]
    assert bench.last("host-crash") == {"vms": ("a",)}
    assert [event.subject for event in bench.journal.of("crash")] == ["a"]
    assert bench.last("crash")["line"] == "change tracking state was not flushed"
    lost = [(event.subject, event.facts) for event in bench.journal.of("tracking-lost")]
    assert lost == [("a", {"disk": KEY, "cause": "host crash"})]
    bench.hypervisor.restart_host("main")
    new = ids(bench)
    same = {name: new[name].split("/")[0] == old[name].split("/")[0] for name in new}
    assert same == {"a": False, "b": True, "c": True}
    taken = bench.do(bench.hypervisor.create_snapshot("a", "s"))
    with pytest.raises(ChangeHistoryLost):
        changed_ranges(bench.hypervisor, "a", KEY, old["a"], taken.id, 0)
    frozen = bench.hypervisor.vm("a").snapshot(taken.id).frozen[KEY]
    assert all(tokens(frozen, bench.hypervisor.vm("a").disks[KEY].disk)[:8]), "no data is lost"


def test_a_crash_cuts_off_tasks_of_running_and_other_vms():
    bench = two_hosts(task_seconds=5.0)
    bench.do(bench.hypervisor.power_off("b"))
    calls = {name: bench.env.process(bench.hypervisor.create_snapshot(name, "s")) for name in "abc"}
    for call in calls.values():
        call.defused = True
    bench.env.run(until=bench.env.now + 1)
    bench.do(bench.hypervisor.crash_host("main"))
    bench.env.run(until=bench.env.now + 10)
    for name in "ab":
        assert calls[name].value == Interrupted(f"CreateSnapshot_Task of {name}")
    assert calls["c"].value.vm == "c"


def test_a_host_that_is_down_does_nothing_until_it_is_up():
    bench = two_hosts()
    bench.do(bench.hypervisor.crash_host("main"))
    for call in (
        bench.hypervisor.power_on("a"),
        bench.hypervisor.create_snapshot("a", "s"),
        bench.hypervisor.extend_disk("a", KEY, 2 * MIB),
    ):
        with pytest.raises(Unreachable, match="host main does not answer"):
            bench.do(call)
    with pytest.raises(InvalidState, match="host main is down"):
        bench.do(bench.hypervisor.crash_host("main"))
    for _ in range(2):
        bench.hypervisor.restart_host("main")
    assert [event.subject for event in bench.journal.of("host-up")] == ["main"]
    bench.do(bench.hypervisor.power_on("a"))
    assert bench.hypervisor.vm("a").powered_on


def test_high_availability_starts_a_vm_elsewhere_and_its_load_goes_on():
    bench = rig(hosts=("main", "recovery"))
    load = PoissonLoad(1, "vm", 100.0, (Pattern(0.0, BLOCK, MIB),))
    vm = bench.add_vm(spec(), load=load)
    bench.env.run(until=1)
    bench.do(bench.hypervisor.crash_host("main"))
    before = bench.site.writes
    bench.env.run(until=2)
    assert bench.site.writes == before, "nobody writes"
    bench.do(bench.hypervisor.power_on(vm, "recovery"))
    bench.env.run(until=3)
    assert bench.site.writes > before
    assert vm.server.name == "recovery"
    disk = vm.disks[KEY].disk
    truth = bench.site.truth(disk.moment(bench.env.now), 0, disk.blocks)
    assert seen(disk.head, disk) == bench.site.render(truth).tobytes()


def test_hosts_that_are_not_there():
    bench = two_hosts()
    for call in (bench.hypervisor.crash_host("x"), bench.hypervisor.power_on("a", "x")):
        with pytest.raises(NotFound, match="host named 'x'"):
            bench.do(call)
    with pytest.raises(NotFound, match="host named 'x'"):
        bench.hypervisor.restart_host("x")
    with pytest.raises(InvalidState, match="running on main"):
        bench.do(bench.hypervisor.power_on("a", "recovery"))


@pytest.mark.parametrize("hosts", [(), ("a", "a"), ("a", ""), "a"])
def test_names_of_hosts_are_checked(hosts):
    with pytest.raises(Misuse, match="hosts: "):
        Parameters(hosts=hosts)


def test_a_host_tracks_so_many_disks_and_no_more():
    bench = two_hosts(tracking_disks_max=2)
    message = re.escape("tracked disks open on host main: the limit of 2 is reached")
    fourth = bench.add_vm(spec(), name="d")
    with pytest.raises(LimitReached, match=message):
        bench.do(bench.hypervisor.enable_tracking(fourth))
    assert not fourth.tracking
    bench.do(bench.hypervisor.power_off("a"))
    bench.do(bench.hypervisor.enable_tracking(fourth))
    bench.do(bench.hypervisor.enable_tracking(fourth))
    with pytest.raises(LimitReached, match=message):
        bench.do(bench.hypervisor.power_on("a"))
    bench.do(bench.hypervisor.power_on("a", "recovery"))
