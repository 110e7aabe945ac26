"""The library, lived through: every restore point is right, nothing is left, the claims hold."""

from __future__ import annotations

import math
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from scenarios.living import live, of
from stuntdouble.backup.repository import Repository
from stuntdouble.iops import Recorder
from stuntdouble.scenarios import library, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenarios.living import Outcome
    from stuntdouble.results import MethodResult

LIBRARY = [listed.name for listed in library()]
RECORDED_IOS = 113_872  # of the recorded trace

# Site time is a float: a bin or a phase may begin a hair's breadth early.
HAIR = 1e-6

everywhere = of(*LIBRARY)


def methods(outcome: Outcome, *, sound: bool = True) -> Iterator[tuple[str, MethodResult]]:
    """Yield the methods that are (not) there to fail, with what they gave."""
    for name, method in outcome.result.methods.items():
        if (name not in outcome.scenario.expect_failure) is sound:
            yield name, method


def events(method: MethodResult, kind: str) -> set[tuple[str, float]]:
    return {(event.subject, event.time) for event in method.events if event.kind == kind}


# Of every scenario. ------------------------------------------------------------------------------


@everywhere
def test_every_restore_point_holds_what_the_guest_had_written(outcome):
    vms = outcome.scenario.backup.vms or tuple(vm.name for vm in outcome.scenario.vms)
    for name, method in methods(outcome):
        assert [run.outcome for run in method.runs] == ["ok"] * len(outcome.scenario.backup.runs)
        assert len(method.restore_points) == len(vms) * len(method.runs)
        assert {point.vm for point in method.restore_points} == set(vms)
        assert all(point.verified is True for point in method.restore_points), name


@everywhere
def test_a_method_that_must_fail_says_so_and_leaves_no_restore_point(outcome):
    for name, method in methods(outcome, sound=False):
        assert all("no longer valid" in run.outcome for run in method.runs), name
        assert method.restore_points == ()
        assert not Repository.open(outcome.directory / "repository" / name).points()
    assert outcome.result.expected_failures == outcome.scenario.expect_failure


@everywhere
def test_nothing_is_left_behind(outcome):
    for name, method in outcome.result.methods.items():
        assert method.leftovers == (), name
        assert outcome.after[name].consolidation_needed == []
        had = {vm.name: vm.chain.snapshots for vm in outcome.scenario.vms}
        assert outcome.after[name].snapshots == had


@everywhere
def test_only_the_mounted_method_reads_everything_again(outcome):
    asked = outcome.scenario.backup.runs
    for name, method in methods(outcome):
        vms = len(method.restore_points) // len(asked)
        kinds = [point.kind for point in method.restore_points]
        expected = ["full"] * len(asked) if name == "mounted" else list(asked)
        assert kinds == [kind for kind in expected for _ in range(vms)], name


@everywhere
def test_no_guest_io_is_lost(outcome):
    for after in outcome.after.values():
        for guest in after.guests.values():
            assert guest.arrived == guest.completed + guest.in_flight + guest.dropped


@everywhere
def test_every_figure_is_a_number_that_can_be(outcome):
    for path, value in numbers(outcome.result.model_dump()):
        assert math.isfinite(value), path
        assert value >= 0 or path.endswith("excess_latency_seconds"), path


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of a result with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from numbers(inner, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


@everywhere
def test_percentiles_rise(outcome):
    for method in outcome.result.methods.values():
        loads = method.foreground
        for load_ in (loads.before, loads.reading, loads.consolidating, loads.after, loads.whole):
            seen = load_.latency_ms
            if seen.p50 is not None:
                assert seen.p50 <= seen.p95 <= seen.p99 <= seen.max


@everywhere
def test_the_time_line_is_one(outcome):
    """Phases, runs, restore points, events and series count from one zero, and fit together."""
    for name, method in outcome.result.methods.items():
        by_name = {phase.name: phase for phase in method.phases}
        begin, end = by_name["before"].start, by_name["after"].end
        assert begin == pytest.approx(0.0, abs=HAIR)
        assert by_name["before"].end == pytest.approx(method.runs[0].start)
        assert by_name["after"].start == pytest.approx(method.runs[-1].end)
        assert method.series.time[0] == pytest.approx(begin, abs=HAIR)
        assert end - method.series.time[-1] <= 2 * method.series.bin_seconds + HAIR
        for event in method.events:
            assert begin - HAIR <= event.time <= end + HAIR or outcome.scenario.after, name
        for point in method.restore_points:
            moment = point.moment - method.began
            run = next(r for r in method.runs if r.start <= moment <= r.end)
            assert moment + point.seconds <= run.end + HAIR
        for phase in method.phases:
            assert begin - HAIR <= phase.start < phase.end <= end + HAIR


@everywhere
def test_delta_disks_of_the_job_are_open_within_its_runs_only(outcome):
    """The series lines up with the phases: what grows in a run is gone before the next."""
    for method in outcome.result.methods.values():
        series = method.series
        had = series.delta_bytes[0]
        grown = outcome.scenario.name == "existing-snapshots"  # deltas of their own go on growing
        for start, size in zip(series.time, series.delta_bytes, strict=True):
            end = start + series.bin_seconds
            if all(end < run.start or start > run.end for run in method.runs):
                assert size >= had if grown else size == 0


@everywhere
def test_all_methods_keep_to_the_throttle(outcome):
    """No method reads faster than the throttle allows, and reading takes the time that it says."""
    rate = outcome.scenario.backup.throttle.rate
    for name, method in methods(outcome):
        assert method.backup.bytes_read <= method.foreground.reading.seconds * rate + 1, name


@everywhere
def test_the_foreground_is_the_same_until_the_job_begins(outcome):
    """Fair: the guests' I/O before the job is one and the same under every method."""
    first, *others = outcome.result.methods.values()
    for other in others:
        assert other.foreground.before == first.foreground.before
        assert other.array_utilisation.before == first.array_utilisation.before
    assert first.array_utilisation_backup_share.before == 0


@everywhere
def test_the_software_snapshot_is_open_while_it_is_read(outcome):
    """And the storage method's only until the array snapshot is taken: that is its point."""
    kinds = outcome.result.methods
    software, storage = kinds["software"], kinds["storage"]
    reading = max(phase.end - phase.start for phase in software.phases if phase.name == "reading")
    assert software.snapshot_open_seconds >= reading / len(outcome.scenario.vms)
    assert storage.snapshot_open_seconds < software.snapshot_open_seconds
    assert storage.snapshot_open_seconds < 30


# Of one scenario each. ---------------------------------------------------------------------------


@of("busy-exchange")
def test_consolidation_alone_saturates_the_pool(outcome):
    software, storage = outcome.result.methods["software"], outcome.result.methods["storage"]
    busy = software.array_utilisation
    assert 0.30 <= busy.before <= 0.40
    assert busy.reading < 0.80 <= busy.consolidating
    before, merging = software.foreground.before, software.foreground.consolidating
    assert merging.latency_ms.p50 > 5 * before.latency_ms.p50
    reading = [phase for phase in software.phases if phase.name == "reading"]
    merge = [phase for phase in software.phases if phase.name == "consolidating"]
    assert min(phase.start for phase in merge) >= max(phase.end for phase in reading)
    assert software.snapshot_open_seconds >= sum(phase.end - phase.start for phase in reading)
    assert storage.snapshot_open_seconds < 30
    assert storage.foreground.consolidating.seconds < merging.seconds / 10


def test_removing_a_snapshot_takes_one_disk_from_35_past_80_ios_a_second(tmp_path):
    table = tomllib.loads(
        next(x.path for x in library() if x.name == "one-disk").read_text("utf-8")
    )
    lived = live(table, tmp_path, methods=("software",))
    software, run = lived.result.methods["software"], lived.runs["software"]
    meter = run.world.engine.meter
    assert isinstance(meter, Recorder)
    (disk,) = run.world.stations
    visits = [start - run.began for station, _, start, _ in meter.visit_rows() if station == disk]

    def rate(name: str) -> float:
        (phase,) = (p for p in software.phases if p.name == name)
        inside = sum(phase.start <= time < phase.end for time in visits)
        return inside / (phase.end - phase.start)

    assert 30 <= rate("before") <= 40
    assert rate("consolidating") >= 80
    busy = software.array_utilisation
    assert busy.reading < 0.80 <= busy.consolidating


@of("busy-exchange")
def test_every_parameter_that_saturates_the_pool_names_its_source(outcome):
    scenario = outcome.scenario
    chosen = [f"hypervisor.{key}" for key in scenario.hypervisor]
    for vm in scenario.vms:
        chosen += [f"vms.{vm.name}.load.{key}" for key in vm.load.model_fields_set]
    chosen += [f"backup.throttle.{key}" for key in scenario.backup.throttle.model_fields_set]
    pool = "arrays.array-1.pools.pool-1"
    chosen += [f"{pool}.{key}" for key in ("media", "raid", "disks")]
    chosen += ["arrays.array-1.parameters", "datastores.datastore-1.fragmentation"]
    assert set(chosen) <= set(scenario.sources)
    stated = {line.source for line in outcome.result.assumptions}
    assert set(scenario.sources.values()) <= stated


@of("incrementals")
def test_the_mounted_method_reads_the_whole_capacity_every_time(outcome):
    capacity = sum(vm.capacity_bytes for vm in outcome.result.site.vms)
    kinds = outcome.result.methods
    assert [run.bytes_read for run in kinds["mounted"].runs] == [capacity] * 3
    for name in ("software", "storage"):
        full, *later = [run.bytes_read for run in kinds[name].runs]
        assert full < capacity / 2
        assert all(0 < size < full / 4 for size in later)
        assert [run.kind for run in kinds[name].runs] == ["full", "incremental", "incremental"]


@of("array-shared-by-many")
def test_one_array_snapshot_serves_all_vms_of_a_volume(outcome):
    kinds = outcome.result.methods
    assert len(events(kinds["storage"], "array-snapshot")) == 1
    assert len(events(kinds["mounted"], "array-snapshot")) == 1
    assert len(events(kinds["software"], "array-snapshot")) == 0
    assert len(kinds["storage"].restore_points) == 4


@of("array-shared-by-many")
def test_a_neighbour_that_is_not_backed_up_feels_the_array_snapshot(outcome):
    storage = outcome.result.methods["storage"]
    neighbour = next(vm for vm in storage.vms if vm.name == "neighbour-1")
    assert neighbour.stuns.count == 0
    assert neighbour.snapshot_open_seconds == 0
    before, whole = neighbour.foreground.before.latency_ms, neighbour.foreground.whole.latency_ms
    assert whole.max >= 100  # the fence of 100 ms, at least
    assert whole.p99 > 2 * before.p99
    assert neighbour.foreground.whole.excess_latency_seconds > 0


@of("array-shared-by-many")
def test_the_first_vm_waits_for_the_last(outcome):
    """Every VM snapshot of the group stays open until the one array snapshot is taken."""
    storage = outcome.result.methods["storage"]
    ((_, taken),) = events(storage, "array-snapshot")
    opened = dict(events(storage, "snapshot-open"))
    removed = [time for _, time in events(storage, "snapshot-removed")]
    assert len(opened) == 4
    assert max(opened.values()) <= taken <= min(removed)
    slowest = max(opened, key=lambda vm: opened[vm])
    assert slowest == "db-1"  # its freeze is the longest
    waits = {vm: taken - time for vm, time in opened.items()}
    assert all(waits[vm] > waits[slowest] for vm in waits if vm != slowest)


@of("spanning-luns")
def test_disks_on_several_volumes_are_frozen_at_one_instant(outcome):
    storage = outcome.result.methods["storage"]
    taken = events(storage, "array-snapshot")
    instants = sorted({time for _, time in taken})
    assert len(instants) == len(storage.runs)
    for instant in instants:
        volumes = {
            event.text.split("volume ")[1].split(",")[0]
            for event in storage.events
            if event.kind == "array-snapshot" and event.time == instant
        }
        assert volumes == {"vol-1", "vol-2", "vol-3"}


@of("spanning-luns")
def test_an_independent_disk_is_reported_as_left_out(outcome):
    for method in outcome.result.methods.values():
        for point in method.restore_points:
            (skipped,) = point.skipped
            assert "2002" in skipped
            assert "independent" in skipped


@of("existing-snapshots")
def test_snapshots_that_were_there_are_still_there(outcome):
    for after in outcome.after.values():
        assert after.snapshots == {"app-1": 3, "app-2": 1}
    for method in outcome.result.methods.values():
        assert all(size > 0 for size in method.series.delta_bytes)


@of("snapshot-reserve-full")
def test_an_array_snapshot_that_is_given_up_fails_its_backup(outcome):
    kinds = outcome.result.methods
    reserve = outcome.scenario.arrays[0].pools[0].reserve
    assert [point.verified for point in kinds["software"].restore_points] == [True]
    for name in ("storage", "mounted"):
        method = kinds[name]
        assert "no longer valid" in method.runs[0].outcome
        assert len(events(method, "array-snapshot-invalid")) == 1
        assert 0.99 * reserve <= method.array_snapshot_peak_bytes <= reserve
    begun = events(kinds["storage"], "reading-start")
    assert begun, "it was being read"
    assert min(t for _, t in begun) < min(
        t for _, t in events(kinds["storage"], "array-snapshot-invalid")
    )


@of("production-corrupted")
def test_a_kept_array_snapshot_shares_the_damage_and_the_backup_does_not(outcome):
    notes = outcome.result.notes
    for name in outcome.result.methods:
        own = [note for note in notes if note.startswith(f"{name}: ")]
        assert any("64 MiB of vol-1 went bad" in note for note in own)
        assert any("shares the damaged blocks" in note for note in own)
        assert any("every byte as the guest had written it" in note for note in own)
        assert [ok for _, _, ok in outcome.after[name].restores] == [True]


@of("array-lost")
def test_a_lost_array_takes_its_snapshots_along_and_the_backup_is_restored_elsewhere(outcome):
    for name in outcome.result.methods:
        own = [note for note in outcome.result.notes if note.startswith(f"{name}: ")]
        assert any("array-1 is lost" in note for note in own)
        assert any("kept array snapshot cannot be read" in note for note in own)
        restored = [(place, ok) for _, place, ok in outcome.after[name].restores]
        assert restored == [("datastore-2", True)] * 2


@of("quickstart")
def test_the_storage_method_pays_for_what_it_writes_beside(outcome):
    """Redirected pages stay where they are: the array is busier after the job than before."""
    storage = outcome.result.methods["storage"]
    assert storage.array_snapshot_peak_bytes > 0
    assert storage.array_utilisation.after > storage.array_utilisation.before


@of("split-mirror")
def test_mirrors_are_synchronised_before_the_vm_snapshot_and_again_for_what_changed(outcome):
    volume = outcome.scenario.arrays[0].volumes[0].size
    for name in ("storage", "mounted"):
        method = outcome.result.methods[name]
        synchronised = sorted(t for _, t in events(method, "mirrors-synchronised"))
        opened = sorted(t for _, t in events(method, "snapshot-open"))
        split = sorted(t for _, t in events(method, "array-snapshot"))
        assert len(synchronised) == len(opened) == len(split) == 2
        for before, open_, taken in zip(synchronised, opened, split, strict=True):
            assert before < open_ < taken
        waits = [t - run.start for t, run in zip(synchronised, method.runs, strict=True)]
        assert waits[0] > volume / (24 << 20)  # all of it, at its pace
        assert waits[1] < waits[0] / 5  # what has changed since
        assert method.array_snapshot_peak_bytes == volume  # a mirror, and nothing of the reserve
        assert method.snapshot_open_seconds < 30
    software = outcome.result.methods["software"]
    assert not events(software, "mirrors-synchronised")
    assert software.array_snapshot_peak_bytes == 0


@of("trace-replay")
def test_every_recorded_io_arrives_under_every_method(outcome):
    assert len(outcome.result.methods) == 3
    for name, after in outcome.after.items():
        assert after.guests["recorded-1"].arrived == RECORDED_IOS, name
        assert after.guests["recorded-1"].dropped == 0


@pytest.mark.parametrize("name", LIBRARY)
def test_every_scenario_compares_all_three_methods(name):
    assert load(name).methods == ("software", "storage", "mounted")
