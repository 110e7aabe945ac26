"""The scenarios that take long: a consolidation that does not converge, and a whole week."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scenarios.living import of
from stuntdouble.backup.repository import Repository
from stuntdouble.hypervisor import Parameters

HOUR = 3600.0
DAY = 24 * HOUR


@of("never-converges")
def test_a_guest_that_outruns_consolidation_is_stunned_for_minutes(outcome):
    software = outcome.result.methods["software"]
    merging = software.consolidation
    assert merging.converged is False
    assert merging.rounds == len(Parameters().helper_budgets_seconds)
    assert merging.seconds > 3600
    assert software.stuns.longest_seconds > 120
    assert software.stalls.over_60_seconds == 1
    # One to freeze the disks, one for each helper, and the one that ends it.
    assert software.stuns.count == 1 + merging.rounds + 1
    others = software.stuns.total_seconds - software.stuns.longest_seconds
    assert others < 1.0 * (software.stuns.count - 1)


@of("never-converges")
def test_helpers_do_not_shrink_from_round_to_round(outcome):
    software = outcome.result.methods["software"]
    stuns = [event.time for event in software.events if event.kind == "stun"]
    # From helper to helper; the snapshot comes before, the long stun at the end.
    rounds = [end - start for start, end in pairwise(stuns[1:-1])]
    assert min(rounds) > 0.5 * max(rounds)
    assert min(rounds) > 10 * Parameters().helper_stun_seconds_max


@of("never-converges")
def test_the_other_methods_converge_on_the_same_site(outcome):
    software = outcome.result.methods["software"]
    for name in ("storage", "mounted"):
        method = outcome.result.methods[name]
        assert method.consolidation.converged is True
        assert method.consolidation.rounds == 1
        assert method.stuns.longest_seconds < Parameters().helper_stun_seconds_max
        assert method.stalls.over_30_seconds == 0
        excess = method.foreground.whole.excess_latency_seconds
        assert excess < software.foreground.whole.excess_latency_seconds / 100


@of("never-converges")
def test_the_pool_is_as_busy_before_as_its_source_says(outcome):
    for method in outcome.result.methods.values():
        assert 0.30 <= method.array_utilisation.before <= 0.40


@of("never-converges")
def test_the_budgets_are_those_of_the_field(outcome):
    asked = outcome.scenario.hypervisor
    assert asked["consolidation"] == "helper"
    minutes = [int(text.removesuffix(" min")) for text in asked["helper_budgets_seconds"]]
    assert minutes == [seconds / 60 for seconds in Parameters().helper_budgets_seconds]


@of("incremental-week")
def test_losing_change_tracking_costs_the_whole_disk_every_night(outcome):
    (vm,) = outcome.result.site.vms
    kinds = outcome.result.methods
    assert [run.bytes_read for run in kinds["mounted"].runs] == [vm.capacity_bytes] * 7
    for name in ("software", "storage"):
        full, *nights = kinds[name].runs
        assert full.kind == "full"
        assert [run.kind for run in nights] == ["incremental"] * 6
        for night, reset in zip(nights, kinds["mounted"].runs[1:], strict=True):
            assert 0 < night.bytes_read < reset.bytes_read / 4
            assert night.end - night.start < (reset.end - reset.start) / 4
        excess = kinds[name].foreground.whole.excess_latency_seconds
        assert excess < kinds["mounted"].foreground.whole.excess_latency_seconds / 2


@of("incremental-week")
def test_every_run_begins_at_ten_and_what_is_at_risk_is_a_day_and_a_backup(outcome):
    for method in outcome.result.methods.values():
        starts = [run.start for run in method.runs]
        assert starts == pytest.approx([HOUR + night * DAY for night in range(7)])
        assert all(run.window_met for run in method.runs)
        assert method.runs[0].rpo_seconds_achieved is None
        for run in method.runs[1:]:
            took = run.end - run.start
            assert DAY + took - 60 < run.rpo_seconds_achieved < DAY + took
        assert method.phases[-1].end == pytest.approx(7 * DAY, rel=0.01)


@of("incremental-week")
def test_the_last_three_restore_points_are_kept(outcome):
    for name, method in outcome.result.methods.items():
        assert len(method.restore_points) == 7
        assert all(point.verified is True for point in method.restore_points)
        kept = Repository.open(outcome.directory / "repository" / name).points()
        assert [p.id for p in kept] == [p.id for p in method.restore_points[-3:]]


@of("incremental-week")
def test_days_are_busier_than_nights_and_the_mean_is_the_one_asked_for(outcome):
    load = outcome.scenario.vms[0].load
    for method in outcome.result.methods.values():
        series = method.series
        hours = [(load.begins + t + series.bin_seconds / 2) / HOUR % 24 for t in series.time]
        day = [x for hour, x in zip(hours, series.iops, strict=True) if 9 <= hour < 17]
        night = [x for hour, x in zip(hours, series.iops, strict=True) if hour < 7]
        assert sum(day) / len(day) == pytest.approx(1.8 * load.iops, rel=0.03)
        assert sum(night) / len(night) == pytest.approx(0.4 * load.iops, rel=0.03)
    for after in outcome.after.values():
        (guest,) = after.guests.values()
        assert guest.arrived == pytest.approx(load.iops * 7 * DAY, rel=0.02)


@of("incremental-week")
def test_new_data_goes_through_the_working_set_once_in_the_week(outcome):
    load = outcome.scenario.vms[0].load
    swept = load.iops * (1 - load.reads) * load.sweep * load.io * 7 * DAY
    assert swept == pytest.approx(load.working_set, rel=0.02)
    for name in ("software", "storage"):
        night = outcome.result.methods[name].runs[-1].bytes_read
        assert night == pytest.approx(load.hot + swept / 7, rel=0.1)
