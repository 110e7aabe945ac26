"""Whatever step fails or is cancelled, nothing is left behind and the report says what happened."""

from __future__ import annotations

import asyncio

import pytest

from backup.bench import spec_of, two_vms
from stuntdouble.backup import Method
from stuntdouble.errors import TaskInProgress
from stuntdouble.ports import Kind

JOBS = [
    (Method.SOFTWARE, Kind.FULL),
    (Method.SOFTWARE, Kind.INCREMENTAL),
    (Method.STORAGE, Kind.FULL),
    (Method.STORAGE, Kind.INCREMENTAL),
    (Method.MOUNTED, Kind.FULL),
]
OF_ONE_VM = {"create_snapshot", "offset_table", "register_vm", "open_registered"}
JOB_LEVEL = 2  # the inventory and the array's volumes are asked for once, for all VMs


def _prepared(method: Method, kind: Kind):
    bench = two_vms()
    if kind is Kind.INCREMENTAL:
        assert bench.run(spec_of(method)).ok
    return bench


def _number_of_calls(method: Method, kind: Kind) -> int:
    bench = _prepared(method, kind)
    assert bench.run(spec_of(method, kind)).ok
    return len(bench.estate.calls)


@pytest.mark.parametrize(("method", "kind"), JOBS)
@pytest.mark.parametrize("fault", ["lost", "refused", "lost-after"])
def test_a_fault_at_any_call_leaves_nothing_behind(method, kind, fault):
    for number in range(_number_of_calls(method, kind)):
        bench = _prepared(method, kind)
        report = bench.run(spec_of(method, kind), {number: fault})
        where = (number, bench.estate.calls[number], [vm.lines for vm in report.vms])
        bench.check_nothing_left()
        bench.check_restorable()
        assert report.left_behind == (), where
        assert any("injected" in line for vm in report.vms for line in vm.lines), where
        assert all(bool(vm.error) == (vm.point is None) for vm in report.vms), where
        name = bench.estate.calls[number][0]
        if (method is Method.SOFTWARE and number >= JOB_LEVEL) or name in OF_ONE_VM:
            assert sum(vm.point is None for vm in report.vms) <= 1, where
        assert bench.run(spec_of(method, kind)).ok, where
        bench.check_restorable()


@pytest.mark.parametrize(("method", "kind"), JOBS)
@pytest.mark.parametrize("fault", ["cancel-before", "cancel-after", "cancel-all", "cut-after"])
def test_a_cancellation_at_any_call_leaves_nothing_behind(method, kind, fault):
    for number in range(_number_of_calls(method, kind)):
        bench = _prepared(method, kind)
        before = len(bench.repository.points())
        report = bench.run(spec_of(method, kind), {number: fault})
        where = (number, bench.estate.calls[number], [vm.lines for vm in report.vms])
        bench.check_nothing_left()
        bench.check_restorable()
        assert report.left_behind == (), where
        assert report.cancelled or fault == "cut-after", where
        for vm in report.vms:
            assert ("cancelled" in vm.error) == (vm.point is None), where
        made = sum(vm.point is not None for vm in report.vms)
        assert len(bench.repository.points()) == before + made, where


@pytest.mark.parametrize(("method", "kind"), JOBS)
def test_two_faults_and_a_cancellation_leave_nothing_behind(method, kind):
    calls = _number_of_calls(method, kind)
    for number in range(0, calls, 3):
        bench = _prepared(method, kind)
        faults = {number: "lost-after", number + 2: "cancel-before", number + 3: "cut-after"}
        report = bench.run(spec_of(method, kind), faults)
        bench.check_nothing_left()
        bench.check_restorable()
        assert report.left_behind == ()


def test_a_cancelled_clean_up_goes_on_and_the_cancellation_arrives():
    for number in range(_number_of_calls(Method.STORAGE, Kind.FULL)):
        bench = two_vms()
        faults = dict.fromkeys(range(number, number + 40, 2), "cancel-after")
        report = bench.run(spec_of(Method.STORAGE), faults)
        bench.check_nothing_left()
        assert report.cancelled


@pytest.mark.parametrize("method", list(Method))
def test_a_full_repository_fails_the_vm_and_discards_the_draft(method):
    bench = two_vms()
    bench.repository.full = True
    report = bench.run(spec_of(method))
    assert all("No space left" in vm.error for vm in report.vms)
    assert bench.repository.points() == ()
    bench.check_nothing_left()


@pytest.mark.parametrize("method", list(Method))
def test_what_does_not_arrive_is_not_committed(method):
    bench = two_vms()
    bench.estate.short_reads = True
    report = bench.run(spec_of(method))
    assert all("bytes arrived" in vm.error for vm in report.vms if vm.point is None)
    assert any(vm.point is None for vm in report.vms)
    bench.check_restorable()
    bench.check_nothing_left()


@pytest.mark.parametrize("method", [Method.STORAGE, Method.MOUNTED])
def test_an_array_snapshot_that_the_array_gave_up_is_not_trusted(method):
    bench = two_vms()
    bench.estate.invalidate_images = True
    report = bench.run(spec_of(method))
    assert all("no longer valid" in vm.error for vm in report.vms)
    assert bench.repository.points() == ()
    bench.check_nothing_left()


def test_a_lun_of_another_identity_is_not_read():
    bench = two_vms()
    bench.initiator.wrong_identity = True
    report = bench.run(spec_of(Method.STORAGE))
    assert all("naa.other" in vm.error for vm in report.vms)
    assert bench.estate.count("read") == 0
    bench.check_nothing_left()


def test_one_vm_that_fails_in_a_group_does_not_fail_the_others():
    bench = two_vms()
    numbers = [
        number
        for number in range(_number_of_calls(Method.STORAGE, Kind.FULL))
        if number >= JOB_LEVEL
    ]
    survivors = 0
    for number in numbers:
        bench = two_vms()
        report = bench.run(spec_of(Method.STORAGE), {number: "refused"})
        name, facts = bench.estate.calls[number]
        if name in {"create_snapshot", "offset_table"}:
            assert {vm.vm: vm.point is not None for vm in report.vms} == {
                vm: vm != facts[0] for vm in ("vm-1", "vm-2")
            }
            survivors += 1
    assert survivors == 5


def test_a_bug_is_raised_as_it_is_after_the_clean_up():
    for method, kind in JOBS:
        for number in range(0, _number_of_calls(method, kind), 4):
            bench = _prepared(method, kind)
            with pytest.raises(ZeroDivisionError):
                bench.run(spec_of(method, kind), {number: "bug"})
            if bench.estate.calls[number][0] not in {"remove_snapshot", "delete_snapshot"}:
                bench.check_nothing_left()


# lost replies


@pytest.mark.parametrize("name", ["create_snapshots", "promote", "map_volume"])
@pytest.mark.parametrize("method", [Method.STORAGE, Method.MOUNTED])
def test_what_a_lost_reply_made_on_the_array_is_used(method, name):
    bench = two_vms()
    bench.run(spec_of(method))
    numbers = [i for i, (called, _) in enumerate(bench.estate.calls) if called == name]
    assert len(numbers) == (1 if name == "create_snapshots" else 3)  # volumes
    for number in numbers:
        again = two_vms()
        report = again.run(spec_of(method), {number: "lost-after"})
        assert report.ok
        lines = [line for vm in report.vms for line in vm.lines]
        assert any("was carried out: going on" in line for line in lines)
        again.check_restorable()
        again.check_nothing_left()


def _creation(bench) -> int:
    bench.run(spec_of(Method.SOFTWARE, Kind.FULL, "vm-2"))
    return next(i for i, (name, _) in enumerate(bench.estate.calls) if name == "create_snapshot")


def test_a_snapshot_that_was_there_before_is_not_taken_for_ours():
    number = _creation(two_vms())
    bench = two_vms()
    asyncio.run(bench.hypervisor.create_snapshot("vm-2", "foreign", quiesce=False))
    before = bench.estate.leftovers()
    report = bench.run(spec_of(Method.SOFTWARE, Kind.FULL, "vm-2"), {number: "lost-after"})
    assert report.vms[0].point is None
    assert report.vms[0].taken_back
    assert bench.estate.leftovers() == before != []


@pytest.mark.parametrize("fault", ["lost", "lost-after"])
def test_a_snapshot_that_somebody_takes_meanwhile_is_not_taken_for_ours(fault):
    number = _creation(two_vms())
    bench = two_vms()
    bench.estate.intruder = "foreign"
    report = bench.run(spec_of(Method.SOFTWARE, Kind.FULL, "vm-2"), {number: fault})
    assert report.vms[0].point is None
    assert report.left_behind == ()
    assert list(bench.estate.vms["vm-2"].snapshots) == ["foreign"]
    assert bench.estate.count("remove_snapshot") == (fault == "lost-after")


def test_of_two_snapshots_of_our_name_none_is_touched_and_the_report_names_them():
    number = _creation(two_vms())
    bench = two_vms()
    bench.estate.intruder = "twin"
    report = bench.run(spec_of(Method.SOFTWARE, Kind.FULL, "vm-2"), {number: "lost-after"})
    assert len(bench.estate.vms["vm-2"].snapshots) == 2
    (left,) = report.left_behind
    assert "holding 2 snapshots named" in left


def test_a_mapping_of_another_volume_is_not_read():
    bench = two_vms()
    bench.estate.wrong_mapping = True
    report = bench.run(spec_of(Method.STORAGE))
    assert all("naa.other" in vm.error for vm in report.vms)
    assert bench.estate.count("attach") == 0
    bench.check_nothing_left()


# the consolidation ladder


@pytest.mark.parametrize("method", list(Method))
def test_a_delta_left_over_is_consolidated(method):
    bench = two_vms()
    bench.estate.leave_delta = 1
    report = bench.run(spec_of(method))
    assert report.ok
    assert bench.estate.count("consolidate") == 1
    assert "consolidated" in bench.kinds()
    bench.check_nothing_left()


def test_where_consolidation_is_refused_another_snapshot_takes_the_delta_along():
    bench = two_vms()
    bench.estate.leave_delta = 1
    bench.estate.consolidate_works = False
    report = bench.run(spec_of(Method.SOFTWARE, Kind.FULL, "vm-1"))
    assert report.ok
    assert bench.estate.count("create_snapshot") == 2
    assert any("consolidation was refused" in line for line in report.vms[0].lines)
    bench.check_nothing_left()


def test_a_busy_vm_is_waited_for_rather_than_given_another_snapshot():
    bench = two_vms()
    bench.estate.leave_delta = 1
    bench.estate.consolidate_error = TaskInProgress("vm-1", "a backup")
    report = bench.run(spec_of(Method.SOFTWARE, Kind.FULL, "vm-1"))
    assert report.ok
    assert bench.estate.count("consolidate") == 2
    assert bench.estate.count("create_snapshot") == 1
    bench.check_nothing_left()


def test_the_ladder_survives_a_fault_at_any_call():
    bench = two_vms()
    bench.estate.leave_delta = 1
    bench.estate.consolidate_works = False
    spec = spec_of(Method.SOFTWARE, Kind.FULL, "vm-1")
    bench.run(spec)
    for number in range(len(bench.estate.calls)):
        for fault in ("lost", "refused", "lost-after", "cancel-before", "cancel-after"):
            again = two_vms()
            again.estate.leave_delta = 1
            again.estate.consolidate_works = False
            report = again.run(spec, {number: fault})
            again.check_nothing_left()
            assert report.left_behind == (), (number, fault)


def test_what_cannot_be_removed_is_named():
    bench = two_vms()
    bench.estate.leave_delta = 99
    bench.estate.consolidate_works = False
    report = bench.run(spec_of(Method.STORAGE, Kind.FULL, "vm-2"))
    (vm,) = report.vms
    assert vm.point is not None
    assert not vm.ok
    assert not report.ok
    (left,) = report.left_behind
    assert "still in need of consolidation" in left
    assert bench.estate.leftovers() == ["vm-2: delta"]


LADDER = ["close", "unregister_vm", "unmount", "unmap_volume", "delete_volume", "delete_snapshot"]


@pytest.mark.parametrize(
    ("method", "rung"),
    [(Method.MOUNTED, rung) for rung in LADDER]
    + [(Method.STORAGE, rung) for rung in LADDER if rung not in {"unregister_vm", "unmount"}],
)
def test_nothing_is_pulled_from_under_what_is_still_in_use(method, rung):
    bench = two_vms()
    bench.estate.unwilling = {rung}
    report = bench.run(spec_of(method, Kind.FULL, "vm-2"))
    below = LADDER[LADDER.index(rung) + 1 :]
    assert [name for name in below if bench.estate.count(name)] == []
    assert report.vms[0].point is not None
    left = list(report.left_behind)
    assert "injected" in left[0]
    assert all("not touched, because" in line for line in left[1:])
    rungs = LADDER if method is Method.MOUNTED else [LADDER[0], *LADDER[3:]]
    assert len(left) == len(rungs) - rungs.index(rung)
    assert any("not touched" in line for line in report.vms[0].lines) == (len(left) > 1)


def test_what_is_in_use_keeps_only_what_it_stands_on():
    bench = two_vms()
    bench.estate.stuck_volumes = {"naa.b"}
    report = bench.run(spec_of(Method.STORAGE, Kind.FULL, "vm-1"))
    left = report.left_behind
    assert len(left) == 2
    assert {image.naa for image in bench.estate.images.values()} == {"naa.b"}
    assert [v.promoted_from for v in bench.estate.volumes.values() if v.promoted_from] == [
        *bench.estate.images
    ]
