"""What the journal says: every kind is in the table, and those with a rule keep it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from hypervisor.bench import BLOCK, FS_BLOCK, LAZY, rig, spec
from stuntdouble import hypervisor
from stuntdouble.errors import Misuse, NoSpace
from stuntdouble.hypervisor import notes
from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.units import MIB

KEY = 2000


def kinds_in_the_source():
    for path in Path(hypervisor.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                named = node.args and isinstance(node.args[0], ast.Constant)
                if node.func.attr == "note" and named:
                    yield node.args[0].value


def test_the_table_has_every_kind_and_no_other():
    listed = re.findall(r"^    ([a-z-]+)  +(?:VM|host|datastore)\b", notes.__doc__, re.MULTILINE)
    assert sorted(listed) == sorted(set(kinds_in_the_source()))


def levels(bench):
    return [event.facts["level"] for event in bench.journal.of("datastore-usage")]


def test_usage_is_told_when_it_crosses_a_level():
    bench = rig(lun_bytes=101 * FS_BLOCK)  # one block is the file system's own
    vms = {}
    for name, blocks in (("a", 74), ("b", 1), ("c", 9), ("d", 1), ("e", 10)):
        vms[name] = bench.add_vm(spec(size=blocks * FS_BLOCK, provisioning=LAZY), name=name)
        if name == "a":
            assert levels(bench) == []
        if name in "bc":
            assert levels(bench) == ["yellow"]
    assert levels(bench) == ["yellow", "red"]
    assert bench.last("datastore-usage") == {"level": "red", "used": 0.85}
    vms["a"].delete_files()
    assert levels(bench) == ["yellow", "red", "green"]


def test_a_full_datastore_is_told_once_until_space_comes_free():
    bench = rig(lun_bytes=21 * FS_BLOCK)
    vm = bench.add_vm(spec(size=18 * FS_BLOCK, provisioning=LAZY))
    for _ in range(3):
        with pytest.raises(NoSpace):
            bench.add_vm(spec(size=9 * FS_BLOCK, provisioning=LAZY), name="b")
    (event,) = bench.journal.of("datastore-full")
    assert event.facts == {"bytes_needed": 9 * FS_BLOCK, "bytes_free": 2 * FS_BLOCK}
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))  # takes the last two
    with pytest.raises(NoSpace):
        bench.do(bench.hypervisor.create_snapshot(vm, "t"))
    assert len(list(bench.journal.of("datastore-full"))) == 1
    bench.do(bench.hypervisor.remove_all_snapshots(vm))
    with pytest.raises(NoSpace):
        bench.add_vm(spec(size=9 * FS_BLOCK, provisioning=LAZY), name="b")
    assert len(list(bench.journal.of("datastore-full"))) == 2


def test_a_need_for_consolidation_is_told_when_it_arises():
    bench = rig()
    bench.hypervisor.quirks.switch("consolidation-needed-silently", on=True)
    vm = bench.add_vm()
    told = []
    for _ in range(2):
        taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
        bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
        told.append(len(list(bench.journal.of("needs-consolidation"))))
    bench.do(bench.hypervisor.consolidate(vm))
    assert not vm.consolidation_needed
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    told.append(len(list(bench.journal.of("needs-consolidation"))))
    assert told == [1, 1, 2]


@pytest.mark.parametrize(
    ("cause", "lose"),
    [
        ("crash", lambda host: [host.crash("vm")]),
        ("host crash", lambda host: [host.crash_host("host-1")]),
        ("revert", lambda host: [host.revert("vm", host.vm("vm").snapshots[0].id)]),
        ("power off", lambda host: [host.power_off("vm")]),
        (
            "switched off",
            lambda host: [host.power_off("vm"), host.set_tracking("vm", enabled=False)],
        ),
        (
            "disk removed",
            lambda host: [
                host.power_off("vm"),
                host.remove_all_snapshots("vm"),
                host.reattach_disk("vm", KEY),
            ],
        ),
    ],
)
def test_each_cause_of_lost_tracking_is_told(cause, lose):
    how = "lost" if cause == "power off" else "kept"
    bench = rig(power_off_tracking=how)
    vm = bench.add_vm()
    bench.do(bench.hypervisor.enable_tracking(vm))
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    for call in lose(bench.hypervisor):
        bench.do(call)
    (event,) = bench.journal.of("tracking-lost")
    assert (event.subject, event.facts) == ("vm", {"disk": KEY, "cause": cause})


@pytest.mark.parametrize(("how", "same"), [("kept", True), ("lost", False)])
def test_powering_off_keeps_tracking_or_loses_it(how, same):
    bench = rig(power_off_tracking=how)
    vm = bench.add_vm()
    bench.do(bench.hypervisor.enable_tracking(vm))
    first = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    for _ in range(2):
        bench.do(bench.hypervisor.power_off(vm))
    second = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    bench.do(bench.hypervisor.power_off(vm))
    third = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    identities = [x.change_ids[KEY].split("/")[0] for x in (first, second, third)]
    assert (identities[0] == identities[1]) == same
    assert identities[1] == identities[2], "a VM that is off is not powered off again"


# A paused VM's question. --------------------------------------------------------------------------


def paused(**parameters):
    """Return a rig whose VM has filled its datastore."""
    bench = rig(lun_bytes=6 * FS_BLOCK, **parameters)
    load = PoissonLoad(1, "vm", 200.0, (Pattern(0.0, BLOCK, MIB),))
    vm = bench.add_vm(spec(size=MIB), load=load)
    bench.env.run(until=3)
    assert vm.question
    return bench, vm


def test_a_question_may_be_answered_with_cancel():
    bench, vm = paused(power_off_tracking="lost")
    assert len(list(bench.journal.of("paused"))) == 1
    with pytest.raises(Misuse, match="'ignore' is none of retry, cancel"):
        bench.hypervisor.answer(vm, "ignore")
    assert vm.question
    bench.hypervisor.answer(vm, "cancel")
    assert not vm.question
    assert not vm.powered_on
    bench.hypervisor.answer(vm, "cancel")
    writes = bench.site.writes
    bench.env.run(until=5)
    assert bench.site.writes == writes
    bench.do(bench.hypervisor.power_on(vm))
    bench.env.run(until=9)
    assert vm.question, "it asks again"


def test_a_question_may_be_answered_with_retry():
    bench, vm = paused()
    bench.hypervisor.answer(vm)
    bench.env.run(until=4)
    assert vm.question, "it asks again"
    assert len(list(bench.journal.of("resumed"))) == 1
    bench.hypervisor.answer(vm, "retry")
    assert len(list(bench.journal.of("resumed"))) == 2
