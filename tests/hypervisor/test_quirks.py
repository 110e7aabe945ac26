"""Quirks: each one acts, legal ones stay supersets, the others lose data, and it can be seen."""

from __future__ import annotations

import pytest

from hypervisor.bench import BLOCK, fill, rig, spec, tokens, written
from stuntdouble.errors import FileLocked, InvalidState, Misuse
from stuntdouble.extents import Runs
from stuntdouble.hypervisor import QUIRKS, Parameters, Quirks, changed_ranges
from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.units import GIB, KIB, MIB

SIZE = MIB
GRAIN = 16 * KIB
KEY = 2000


def tracked(*quirks, size=SIZE, load=None, on_snapshot=False, **parameters):
    """Return a rig whose VM is tracked, and its first snapshot."""
    bench = rig(quirks=quirks, **parameters)
    vm = bench.add_vm(spec(size=size), load=load)
    if on_snapshot:
        fill(bench, vm.disks[KEY].disk, 0, 32)
        bench.do(bench.hypervisor.create_snapshot(vm, "before"))
    bench.do(bench.hypervisor.enable_tracking(vm))
    return bench, vm, bench.do(bench.hypervisor.create_snapshot(vm, "first"))


def changed(bench, snapshot, since):
    """Walk all pages; return what they say has changed."""
    vm = bench.hypervisor.vm(snapshot.vm)
    size, at, found = vm.disks[KEY].spec.capacity_bytes, 0, Runs.empty()
    while at < size:
        page = changed_ranges(bench.hypervisor, vm, KEY, since, snapshot.id, at)
        found, at = found | page.extents, at + page.covered
    return found


def differing(bench, old, new):
    """Return where what the guest had written differs between two snapshots: the truth."""
    disk = bench.hypervisor.vm(new.vm).disks[KEY].disk
    before, after = (
        written(bench.site, disk, bench.hypervisor.moments[each.id, KEY]) for each in (old, new)
    )
    return Runs.of(
        (at, BLOCK)
        for at in range(0, len(after), BLOCK)
        if before[at : at + BLOCK] != after[at : at + BLOCK]
    )


# Switches. ----------------------------------------------------------------------------------------


def test_an_unknown_quirk_is_refused_and_the_known_ones_are_named():
    message = "quirks: 'extend-past-128' is none of extend-past-128-gib, changes-lost"
    with pytest.raises(Misuse, match=message):
        Parameters(quirks=("extend-past-128",))
    quirks = Quirks(["empty-pages"])
    with pytest.raises(Misuse, match="delayed-properties"):
        quirks.switch("unheard-of", on=True)
    with pytest.raises(Misuse, match="unheard-of"):
        assert "unheard-of" in quirks


def test_quirks_are_off_until_they_are_switched_on():
    bench = rig()
    assert not list(bench.hypervisor.quirks)
    bench.hypervisor.quirks.switch("false-positives", on=True)
    bench.hypervisor.quirks.switch("empty-pages", on=True)
    assert list(bench.hypervisor.quirks) == ["false-positives", "empty-pages"]
    bench.hypervisor.quirks.switch("false-positives", on=False)
    assert list(bench.hypervisor.host.quirks) == ["empty-pages"]


def test_each_quirk_says_what_it_does_and_whether_it_is_legal():
    assert {name for name, quirk in QUIRKS.items() if not quirk.legal} == {
        "extend-past-128-gib",
        "changes-lost-in-consolidation",
        "tracking-on-snapshot",
    }
    assert all(quirk.name == name and quirk.summary for name, quirk in QUIRKS.items())


# Those that lose data. ----------------------------------------------------------------------------


def grown(*quirks, start=127 * GIB, by=2 * GIB):
    """Return a tracked disk that was extended, a snapshot before the writes and one after."""
    bench = rig(quirks=quirks, tracking_grain_bytes=64 * KIB)
    vm = bench.add_vm(spec(size=start))
    bench.do(bench.hypervisor.enable_tracking(vm))
    first = bench.do(bench.hypervisor.create_snapshot(vm, "first"))
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    bench.do(bench.hypervisor.extend_disk(vm, KEY, start + by))
    bench.site.write(vm.disks[KEY].disk, 5 * MIB, BLOCK)
    return bench, vm, first, bench.do(bench.hypervisor.create_snapshot(vm, "second"))


def test_past_128_gib_areas_lie_where_nothing_was_written():
    bench, vm, first, last = grown("extend-past-128-gib")
    found = changed(bench, last, first.change_ids[KEY])
    assert found == Runs.single(10 * MIB, 128 * KIB)
    assert not found.covers(Runs.single(5 * MIB, BLOCK)), "data is lost"
    assert changed(bench, last, "*") == found, "the areas in use, too"
    bench.do(bench.hypervisor.remove_all_snapshots(vm))
    bench.do(bench.hypervisor.set_tracking(vm, enabled=False))
    bench.do(
        bench.hypervisor.remove_snapshot(vm, bench.do(bench.hypervisor.create_snapshot(vm, "s")).id)
    )
    bench.do(bench.hypervisor.enable_tracking(vm))  # what the article recommends
    third = bench.do(bench.hypervisor.create_snapshot(vm, "third"))
    bench.site.write(vm.disks[KEY].disk, 5 * MIB, BLOCK)
    fourth = bench.do(bench.hypervisor.create_snapshot(vm, "fourth"))
    assert changed(bench, fourth, third.change_ids[KEY]) == Runs.single(5 * MIB, 64 * KIB)


@pytest.mark.parametrize(
    ("quirks", "start", "by", "right"),
    [
        ((), 127 * GIB, 2 * GIB, True),
        (("extend-past-128-gib",), 100 * GIB, 28 * GIB, True),
        (("extend-past-128-gib",), 129 * GIB, 100 * GIB, True),
        (("extend-past-128-gib",), 128 * GIB, GIB, False),
        (("extend-past-128-gib",), 250 * GIB, 20 * GIB, False),
        (("extend-past-128-gib",), 100 * GIB, 900 * GIB, False),
    ],
)
def test_only_a_boundary_that_is_passed_counts(quirks, start, by, right):
    bench, _, first, last = grown(*quirks, start=start, by=by)
    found = changed(bench, last, first.change_ids[KEY])
    assert found.covers(Runs.single(5 * MIB, BLOCK)) == right


@pytest.mark.parametrize("quirk", [True, False])
@pytest.mark.parametrize("consolidation", ["mirror", "helper"])
def test_what_is_written_while_deltas_are_merged_may_be_missing(quirk, consolidation):
    load = PoissonLoad(1, "vm", 40.0, (Pattern(0.0, BLOCK, 4 * MIB),))
    names = ["changes-lost-in-consolidation"] * quirk
    bench, vm, first = tracked(
        *names,
        size=4 * MIB,
        load=load,
        consolidation=consolidation,
        consolidation_bytes_per_second=64.0 * KIB,
    )
    bench.env.run(until=bench.env.now + 1.0)
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    assert bench.last("consolidation")["seconds"] > 0.5
    last = bench.do(bench.hypervisor.create_snapshot(vm, "last"))
    found = changed(bench, last, first.change_ids[KEY])
    true = differing(bench, first, last)
    assert true
    assert found.covers(true) != quirk


def test_only_what_falls_into_the_consolidation_is_lost():
    bench, vm, first = tracked("changes-lost-in-consolidation")
    disk = vm.disks[KEY].disk
    bench.site.write(disk, 0, BLOCK)
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    bench.site.write(disk, 4 * GRAIN, BLOCK)
    last = bench.do(bench.hypervisor.create_snapshot(vm, "last"))
    wanted = Runs.of([(0, GRAIN), (4 * GRAIN, GRAIN)])
    assert changed(bench, last, first.change_ids[KEY]) == wanted


def test_tracking_over_a_snapshot_misses_what_is_older():
    with pytest.raises(InvalidState, match="on top of a snapshot"):
        tracked(on_snapshot=True)
    bench, vm, first = tracked("tracking-on-snapshot", on_snapshot=True)
    fill(bench, vm.disks[KEY].disk, 64, 4)
    last = bench.do(bench.hypervisor.create_snapshot(vm, "last"))
    in_use = Runs.of([(0, 32 * BLOCK), (64 * BLOCK, 4 * BLOCK)])
    disk = vm.disks[KEY]
    shown = tokens(vm.snapshot(last.id).frozen[KEY], disk.disk)
    assert Runs.of((n * BLOCK, BLOCK) for n, token in enumerate(shown) if token) == in_use
    assert changed(bench, last, "*") == Runs.single(64 * BLOCK, 4 * BLOCK), "a full that is none"
    assert changed(bench, last, first.change_ids[KEY]) == Runs.single(64 * BLOCK, 4 * BLOCK)


# Those that are legal. ----------------------------------------------------------------------------


def test_a_removal_may_succeed_and_leave_everything_to_do():
    bench, vm, first = tracked("consolidation-needed-silently")
    fill(bench, vm.disks[KEY].disk, 0, 8)
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    assert vm.consolidation_needed
    assert not vm.snapshots
    assert not list(bench.journal.of("consolidation"))
    assert len(list(bench.journal.of("needs-consolidation"))) == 1
    bench.do(bench.hypervisor.consolidate(vm))
    assert not vm.consolidation_needed
    assert not vm.disks[KEY].chain.deltas
    assert tokens(vm.disks[KEY].disk.head, vm.disks[KEY].disk)[:8] == [
        *range(2 << 62, (2 << 62) + 8)
    ]


def test_a_delta_that_somebody_has_open_is_not_merged_until_released():
    bench, vm, first = tracked("delta-stays-locked")
    fill(bench, vm.disks[KEY].disk, 0, 8)
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    name = vm.disks[KEY].disk.head.file.name
    assert bench.last("delta-locked") == {"files": (name,), "by": "a backup proxy"}
    assert vm.consolidation_needed
    bench.hypervisor.quirks.switch("delta-stays-locked", on=False)
    for _ in range(2):
        with pytest.raises(FileLocked, match=f"{name} is locked by a backup proxy"):
            bench.do(bench.hypervisor.consolidate(vm))
    assert vm.consolidation_needed
    bench.hypervisor.release_locks(vm)
    bench.hypervisor.release_locks(vm)
    assert len(list(bench.journal.of("delta-released"))) == 1
    bench.do(bench.hypervisor.consolidate(vm))
    assert not vm.consolidation_needed


def test_a_later_removal_fails_on_the_lock_too_and_its_snapshot_is_gone():
    bench, vm, first = tracked("delta-stays-locked")
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    bench.hypervisor.quirks.switch("delta-stays-locked", on=False)
    second = bench.do(bench.hypervisor.create_snapshot(vm, "second"))
    with pytest.raises(FileLocked):
        bench.do(bench.hypervisor.remove_snapshot(vm, second.id))
    assert not vm.snapshots
    assert vm.consolidation_needed


def test_late_properties_are_late_by_a_parameter():
    bench = rig(property_delay_seconds=3.0)
    assert bench.hypervisor.property_delay_seconds == 0.0
    bench.hypervisor.quirks.switch("delayed-properties", on=True)
    assert bench.hypervisor.property_delay_seconds == 3.0
