"""The three methods: what they read, in which order, and that it restores."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.bench import Bench, spec_of, two_vms
from backup.fakes import BLOCK, HOST_IQN, SERVER_IQN
from stuntdouble.backup import Method, QuiesceFallback, Selection
from stuntdouble.backup.work import stamp
from stuntdouble.clock import run
from stuntdouble.errors import QuiesceFailed
from stuntdouble.extents import State
from stuntdouble.ports import Consistency, Kind, Transport

METHODS = list(Method)
TRACKED = [Method.SOFTWARE, Method.STORAGE]


@pytest.mark.parametrize("method", METHODS)
def test_a_full_and_its_incrementals_restore_the_frozen_images(method):
    bench = two_vms()
    for kind in (Kind.FULL, Kind.INCREMENTAL, Kind.INCREMENTAL):
        report = bench.run(spec_of(method, kind))
        assert report.ok, [vm.lines for vm in report.vms]
        bench.check_nothing_left()
    assert len(bench.repository.points()) == 6
    assert bench.estate.open_devices == []
    bench.check_restorable()


@pytest.mark.parametrize("method", TRACKED)
def test_an_incremental_reads_less_and_builds_on_the_last_point(method):
    bench = two_vms()
    full = bench.run(spec_of(method))
    bench.estate.churning = False
    bench.run(spec_of(method, Kind.INCREMENTAL))
    report = bench.run(spec_of(method, Kind.INCREMENTAL))
    assert report.bytes_read == 0 < full.bytes_read
    points = {point.id: point for point in bench.repository.points()}
    for outcome in report.vms:
        assert outcome.point.kind is Kind.INCREMENTAL
        assert points[outcome.point.parent].vm == outcome.vm
    bench.check_restorable()


@settings(max_examples=25)
@given(
    method=st.sampled_from(METHODS),
    paging=st.sampled_from(["one", "areas", "span", "empty"]),
    writes=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from([("vm-1", 2000), ("vm-1", 2001), ("vm-2", 2000)]),
                st.integers(0, 4),
                st.one_of(st.none(), st.integers(1, 255)),
            ),
            max_size=8,
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_any_history_of_writes_restores(method, paging, writes):
    bench = two_vms()
    bench.estate.paging = paging
    for batch in writes:
        report = bench.run(spec_of(method, Kind.INCREMENTAL))
        assert report.ok
        for (name, key), block, value in batch:
            vm = bench.estate.vms[name]
            data = None if value is None else bytes([value]) * BLOCK
            bench.estate.write(vm, vm.disks[key], block, data)
    assert bench.run(spec_of(method, Kind.INCREMENTAL)).ok
    bench.check_restorable()
    bench.check_nothing_left()


def test_storage_takes_the_eight_steps_in_order():
    bench = two_vms()
    report = bench.run(spec_of(Method.STORAGE, Kind.FULL, "vm-2"))
    assert report.ok
    assert bench.kinds() == [
        "job-start",
        "snapshot-open",
        "array-snapshot",
        "snapshot-removed",
        "promoted",
        "mapped",
        "reading-start",
        "reading-end",
        "restore-point",
        "unmapped",
        "volume-deleted",
        "array-snapshot-deleted",
        "job-end",
    ]
    assert [phase.name for phase in report.vms[0].phases] == ["snapshot", "removing", "reading"]


def test_software_keeps_the_snapshot_open_while_it_reads():
    bench = two_vms()
    assert bench.run(spec_of(Method.SOFTWARE, Kind.FULL, "vm-2")).ok
    assert bench.kinds() == [
        "job-start",
        "snapshot-open",
        "reading-start",
        "reading-end",
        "restore-point",
        "snapshot-removed",
        "job-end",
    ]


def test_mounted_goes_through_the_host():
    bench = two_vms()
    assert bench.run(spec_of(Method.MOUNTED, Kind.FULL, "vm-2")).ok
    assert bench.kinds() == [
        "job-start",
        "snapshot-open",
        "array-snapshot",
        "snapshot-removed",
        "promoted",
        "mapped",
        "mounted",
        "registered",
        "reading-start",
        "reading-end",
        "restore-point",
        "unregistered",
        "unmounted",
        "unmapped",
        "volume-deleted",
        "array-snapshot-deleted",
        "job-end",
    ]


@pytest.mark.parametrize(
    ("method", "iqn"), [(Method.STORAGE, SERVER_IQN), (Method.MOUNTED, HOST_IQN)]
)
def test_copies_are_mapped_to_whoever_reads_them(method, iqn):
    bench = two_vms()
    assert bench.run(spec_of(method)).ok
    mapped = {facts[0] for name, facts in bench.estate.calls if name == "map_volume"}
    assert mapped == {iqn}


def test_vms_that_share_a_volume_share_one_array_snapshot():
    bench = two_vms()
    bench.estate.add_datastore("ds-d", "naa.d")
    bench.estate.add_vm("vm-3", d2000=("ds-d", 4))
    assert bench.run(spec_of(Method.STORAGE, Kind.FULL, "vm-1", "vm-2")).ok
    (call,) = [facts for name, facts in bench.estate.calls if name == "create_snapshots"]
    naas, open_then = call
    assert set(naas) == {"naa.a", "naa.b", "naa.c"}
    assert set(open_then) == {"vm-1", "vm-2"}
    assert bench.run(spec_of(Method.STORAGE, Kind.FULL, "vm-1", "vm-2", "vm-3")).ok
    calls = [facts[0] for name, facts in bench.estate.calls if name == "create_snapshots"]
    assert sorted(map(len, calls)) == [1, 3]
    bench.check_restorable()


def test_storage_deletes_vm_snapshots_before_anything_is_promoted_or_read():
    bench = two_vms()
    assert bench.run(spec_of(Method.STORAGE)).ok
    names = [name for name, _ in bench.estate.calls]
    last_removal = max(i for i, name in enumerate(names) if name == "remove_snapshot")
    assert last_removal < names.index("promote") < names.index("read")
    assert all(facts == ((),) for name, facts in bench.estate.calls if name == "promote")


def test_a_volume_is_read_in_the_order_of_the_volume():
    bench = two_vms()
    assert bench.run(spec_of(Method.STORAGE, Kind.FULL, "vm-1")).ok
    offsets: dict[str, list[int]] = {}
    for name, facts in bench.estate.calls:
        if name == "read":
            offsets.setdefault(facts[0], []).append(facts[1])
    assert len(offsets) == 3
    assert all(found == sorted(found) for found in offsets.values())


def test_storage_reads_no_byte_that_was_never_written():
    bench = two_vms()
    bench.estate.churning = False
    written = sum(
        state is State.WRITTEN
        for vm in bench.estate.vms.values()
        for disk in vm.disks.values()
        for state, _, _ in disk.blocks
    )
    report = bench.run(spec_of(Method.STORAGE))
    assert report.bytes_read == written * BLOCK
    assert all(point.bytes_read for point in bench.repository.points())
    bench.check_restorable()


def test_mounted_incrementals_read_everything_and_say_so():
    bench = two_vms()
    capacity = sum(d.capacity for vm in bench.estate.vms.values() for d in vm.disks.values())
    for kind in (Kind.FULL, Kind.INCREMENTAL):
        report = bench.run(spec_of(Method.MOUNTED, kind))
        assert report.bytes_read == capacity
        assert {vm.point.kind for vm in report.vms} == {Kind.FULL}
    assert all("resets its change tracking" in vm.why for vm in report.vms)


@pytest.mark.parametrize("transport", list(Transport))
def test_software_reads_by_the_transport_it_is_told(transport):
    bench = two_vms()
    assert bench.run(spec_of(Method.SOFTWARE, transport=transport)).ok
    used = {facts[1] for name, facts in bench.estate.calls if name == "open_disk"}
    assert used == {transport}


def test_software_reads_the_whole_disk_where_nothing_is_tracked():
    bench = two_vms()
    vm = bench.estate.vms["vm-2"]
    vm.tracking = vm.tracking_active = False
    report = bench.run(spec_of(Method.SOFTWARE, Kind.FULL, "vm-2", enable_tracking=False))
    assert report.bytes_read == vm.disks[2000].capacity
    assert report.vms[0].point.disks[0].change_id == ""
    report = bench.run(spec_of(Method.SOFTWARE, Kind.INCREMENTAL, "vm-2", enable_tracking=False))
    assert "not tracked" in report.vms[0].why
    bench.check_restorable()


def test_software_reads_the_whole_disk_where_the_areas_in_use_are_unknown():
    bench = two_vms()
    bench.estate.in_use_known = False
    report = bench.run(spec_of(Method.SOFTWARE, Kind.FULL, "vm-2"))
    assert report.bytes_read == bench.estate.vms["vm-2"].disks[2000].capacity
    assert report.vms[0].point.disks[0].change_id
    bench.check_restorable()


def test_tracking_that_cannot_be_switched_on_is_said_and_fails_nothing():
    bench = two_vms()
    vm = bench.estate.vms["vm-2"]
    vm.tracking = vm.tracking_active = False
    report = bench.run(spec_of(Method.STORAGE, Kind.FULL, "vm-2"), {3: "refused"})
    assert bench.estate.calls[3][0] == "enable_tracking"
    assert report.ok
    assert any("tracking stays off" in line for line in report.vms[0].lines)


def test_a_vm_with_snapshots_does_not_get_tracking_switched_on():
    bench = two_vms()
    vm = bench.estate.vms["vm-2"]
    vm.tracking = vm.tracking_active = False
    bench.estate.churning = False
    asyncio.run(bench.hypervisor.create_snapshot("vm-2", "foreign", quiesce=False))
    assert bench.run(spec_of(Method.SOFTWARE, Kind.FULL, "vm-2")).ok
    assert not vm.tracking
    bench.check_restorable()


def test_mounted_registers_once_per_datastore_and_misses_no_disk():
    bench = two_vms()
    bench.estate.add_vm("vm-3", d2000=("ds-a", 3), d2001=("ds-bc", 3), d2002=("ds-a", 4))
    report = bench.run(spec_of(Method.MOUNTED, Kind.FULL, "vm-3"))
    assert report.ok
    assert bench.estate.count("mount_copy") == bench.estate.count("register_vm") == 2
    bench.check_restorable()
    bench.estate.lost_disk = 2002
    report = bench.run(spec_of(Method.MOUNTED, Kind.FULL, "vm-3"))
    assert report.vms[0].error == "no disk of the registered copy of vm-3 named 2002"
    bench.check_nothing_left()


def test_mounted_takes_one_array_snapshot_and_one_mount_for_all_vms_of_a_datastore():
    bench = two_vms()
    bench.estate.add_vm("vm-3", d2000=("ds-a", 3))
    report = bench.run(spec_of(Method.MOUNTED, Kind.FULL, "vm-1", "vm-2", "vm-3"))
    assert report.ok
    count = bench.estate.count
    assert count("create_snapshots") == 1
    assert count("promote") == count("map_volume") == 3  # volumes
    assert count("mount_copy") == count("unmount") == 2  # datastores
    assert count("register_vm") == count("unregister_vm") == 4  # vm-1 lies on both
    names = [name for name, _ in bench.estate.calls]
    assert max(i for i, name in enumerate(names) if name == "read") < names.index("unregister_vm")
    assert max(i for i, n in enumerate(names) if n == "unregister_vm") < names.index("unmount")
    frozen = next(facts for name, facts in bench.estate.calls if name == "create_snapshots")
    assert set(frozen[1]) == {"vm-1", "vm-2", "vm-3"}
    bench.check_restorable()
    bench.check_nothing_left()


@pytest.mark.parametrize("method", TRACKED)
def test_tracking_is_switched_on_so_that_the_next_backup_is_an_incremental(method):
    bench = two_vms()
    vm = bench.estate.vms["vm-2"]
    vm.tracking = vm.tracking_active = False
    bench.run(spec_of(method, Kind.FULL, "vm-2"))
    assert "tracking-enabled" in bench.kinds()
    report = bench.run(spec_of(method, Kind.INCREMENTAL, "vm-2"))
    assert report.vms[0].point.kind is Kind.INCREMENTAL
    bench.check_restorable()


def _lose_history(bench: Bench) -> None:
    bench.estate.vms["vm-1"].disks[2001].uuid = "53aa"


def _lose_point(bench: Bench) -> None:
    bench.repository.delete(bench.history.last("vm-1", "storage").id)


def _grow(bench: Bench) -> None:
    bench.estate.vms["vm-1"].disks[2000].blocks.append((State.HOLE, "", 0))


def _forget_disk(bench: Bench) -> None:
    last = bench.history.last("vm-1", "storage")
    bench.history.record(replace(last, disks=last.disks[:1]))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_lose_history, "take a full backup"),
        (_lose_point, "no longer in the repository"),
        (_grow, "another capacity"),
        (_forget_disk, "disk 2001 is not in restore point"),
        (lambda bench: bench.history.newest.clear(), "no earlier restore point"),
    ],
)
def test_an_incremental_that_cannot_be_is_a_full_and_says_why(spoil, why):
    bench = two_vms()
    assert bench.run(spec_of(Method.STORAGE)).ok
    spoil(bench)
    outcome = bench.run(spec_of(Method.STORAGE, Kind.INCREMENTAL)).vms[0]
    assert outcome.ok
    assert outcome.kind is outcome.point.kind is Kind.FULL
    assert outcome.point.parent == ""
    assert why in outcome.why
    bench.check_restorable()


def test_a_guest_that_cannot_be_quiesced_fails_or_is_crash_consistent_as_the_job_says():
    bench = two_vms()
    bench.estate.quiesce_error = QuiesceFailed("vm-2", 900)
    strict = bench.run(spec_of(Method.STORAGE, Kind.FULL, "vm-2", quiesce=True))
    assert "could not be quiesced" in strict.vms[0].error
    lenient = spec_of(
        Method.STORAGE,
        Kind.FULL,
        "vm-2",
        quiesce=True,
        quiesce_fallback=QuiesceFallback.CRASH_CONSISTENT,
    )
    report = bench.run(lenient)
    assert report.ok
    assert report.vms[0].point.consistency is Consistency.CRASH
    bench.estate.quiesce_error = None
    assert bench.run(lenient).vms[0].point.consistency is Consistency.APPLICATION
    bench.check_nothing_left()


@pytest.mark.parametrize("method", METHODS)
def test_disks_with_an_obstacle_are_skipped_and_named(method):
    bench = two_vms()
    bench.estate.vms["vm-1"].disks[2000].obstacle = "independent"
    bench.estate.vms["vm-2"].disks[2000].obstacle = "raw mapping"
    report = bench.run(spec_of(method))
    taken, refused = report.vms
    assert [disk.key for disk in taken.point.disks] == [2001]
    assert taken.point.skipped == ("disk 2000 vm-1-2000.vmdk: independent",)
    assert refused.point is None
    assert "raw mapping" in refused.error
    bench.check_restorable()
    bench.check_nothing_left()


@pytest.mark.parametrize("method", METHODS)
def test_unknown_names_fail_alone(method):
    bench = two_vms()
    selection = Selection(("vm-1", "vm-9", "vm-2"), {"vm-2": (2007,)})
    report = bench.run(spec_of(method, selection=selection))
    assert [vm.error for vm in report.vms] == [
        "",
        "no VM named 'vm-9'",
        "no disk of vm-2 named 2007",
    ]
    assert report.vms[0].ok
    assert not report.ok


@pytest.mark.parametrize("method", METHODS)
def test_only_the_selected_disks_are_taken(method):
    bench = two_vms()
    report = bench.run(spec_of(method, selection=Selection(("vm-1",), {"vm-1": (2001,)})))
    assert [disk.key for disk in report.vms[0].point.disks] == [2001]
    bench.check_restorable()


def test_concurrency_bounds_how_many_vms_are_frozen_at_a_time():
    bench = two_vms()
    assert bench.run(spec_of(Method.SOFTWARE, concurrency=1)).ok
    names = [(name, facts[0]) for name, facts in bench.estate.calls if "_snapshot" in name]
    assert names == [
        ("create_snapshot", "vm-1"),
        ("remove_snapshot", "vm-1"),
        ("create_snapshot", "vm-2"),
        ("remove_snapshot", "vm-2"),
    ]


@pytest.mark.parametrize("run_number", [0, 1, 10**9])
def test_names_stay_short_enough_for_an_array_after_years_of_site_time(run_number):
    bench = two_vms()

    async def main(env):
        await asyncio.sleep(5 * 365 * 86400.0)
        return await bench.job(spec_of(Method.STORAGE, run=run_number))

    assert run(main).ok


def test_jobs_that_start_at_the_same_instant_do_not_meet_by_name():
    bench = two_vms()
    bench.estate.add_datastore("ds-d", "naa.d")
    bench.estate.add_vm("vm-3", d2000=("ds-d", 4))

    async def main(env):
        return await asyncio.gather(
            bench.job(spec_of(Method.STORAGE, Kind.FULL, "vm-1", "vm-2", run=1)),
            bench.job(spec_of(Method.STORAGE, Kind.FULL, "vm-1", "vm-3", run=2)),
        )

    reports = run(main)
    assert all(report.ok for report in reports), [vm.lines for r in reports for vm in r.vms]
    for kind in ("array-snapshot", "promoted"):
        names = [subject for told, subject, _ in bench.notes if told == kind]
        assert len(set(names)) == len(names) == 7
    bench.check_nothing_left()


@given(
    run_numbers=st.lists(st.integers(0, 1295), min_size=2, max_size=2, unique=True),
    seconds=st.floats(0, 1e9),
)
def test_a_name_says_the_run_and_has_one_length(run_numbers, seconds):
    one, other = (stamp(seconds, number) for number in run_numbers)
    assert one != other
    assert len(one) == len(other) == 7
    assert stamp(seconds, run_numbers[0]) == one
