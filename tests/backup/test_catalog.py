"""The catalog: last points, jobs and runs, through reopening and crashes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.backup.catalog import NEXT_STATES, Catalog, Job, RunState
from stuntdouble.backup.repository import Repository
from stuntdouble.errors import InvalidState, NotFound
from stuntdouble.ports import Consistency, DiskPoint, Kind, RestorePoint
from stuntdouble.store import open_store
from stuntdouble.store.embedded import Memory


def point_of(vm="web", number=1, moment=1.0, method="storage"):
    disks = (DiskPoint(2000, 4096, f"52 de/{number}"), DiskPoint(2001, 0, ""))
    id_ = f"{vm}-{method}-{number}"
    return RestorePoint(
        id_,
        vm,
        method,
        Kind.INCREMENTAL,
        moment,
        Consistency.APPLICATION,
        disks,
        "p",
        7,
        8,
        ("a: b",),
    )


def test_the_last_point_survives_reopening():
    memory = Memory()
    catalog = Catalog(memory.open())
    assert catalog.last("web", "storage") is None
    catalog.record(point_of())
    catalog.record(point_of(method="software", number=4, moment=9.0))
    reopened = Catalog(memory.open())
    assert reopened.last("web", "storage") == point_of()
    assert reopened.last("web", "mounted") is None
    assert reopened.last_change_id("web", "storage", 2000) == "52 de/1"
    assert reopened.last_change_id("web", "storage", 2001) == ""
    assert reopened.last_change_id("web", "storage", 7) == ""
    assert reopened.last_change_id("nobody", "storage", 2000) == ""
    assert Catalog(memory.open().space("other")).points() == ()


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["record", "forget"]),
            st.sampled_from(["a", "b"]),
            st.integers(1, 4),
            st.integers(0, 3),
        ),
        max_size=20,
    )
)
@settings(max_examples=40)
def test_the_last_point_is_the_newest_recorded_and_not_forgotten(steps):
    memory = Memory()
    known, last = {}, {}
    for act, vm, number, moment in steps:
        catalog = Catalog(memory.open())
        point = point_of(vm, number, float(moment))
        if act == "record":
            if point.id in known:
                continue
            known[point.id] = point
            before = last.get(vm)
            if before is None or before.moment <= point.moment:
                last[vm] = point
            catalog.record(point)
        else:
            catalog.forget(point.id)
            known.pop(point.id, None)
            if vm in last and last[vm].id == point.id:
                left = [p for p in known.values() if p.vm == vm]
                last.pop(vm)
                if left:
                    last[vm] = max(left, key=lambda p: (p.moment, p.id))
        assert catalog.points() == tuple(sorted(known.values(), key=lambda p: (p.moment, p.id)))
        for name in ("a", "b"):
            assert catalog.last(name, "storage") == last.get(name)


def test_a_point_that_was_never_committed_is_refused():
    catalog = Catalog(open_store())
    with pytest.raises(InvalidState, match="not committed"):
        catalog.record(replace(point_of(), id=""))
    assert catalog.points() == ()


def test_reconciling_brings_in_what_was_committed_and_drops_what_is_gone(tmp_path):
    catalog = Catalog(open_store())
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        committed = repository.begin({2000: 4096, 2001: 0}).commit(replace(point_of(), id=""))
        catalog.record(point_of("gone", 3))
        catalog.reconcile(repository)
        assert catalog.points() == (committed,)
        assert catalog.last("web", "storage") == committed
        assert catalog.last("gone", "storage") is None


def test_jobs_are_kept_by_name():
    memory = Memory()
    nightly = Job("nightly", "storage", ("web", "db"), '{"quiesce": true}')
    Catalog(memory.open()).define(nightly)
    catalog = Catalog(memory.open())
    catalog.define(Job("hourly", "software", ("db",)))
    assert catalog.job("nightly") == nightly
    assert [job.name for job in catalog.jobs()] == ["hourly", "nightly"]
    catalog.define(replace(nightly, vms=("web",)))
    assert catalog.job("nightly").vms == ("web",)
    catalog.remove("nightly")
    catalog.remove("nightly")
    with pytest.raises(NotFound, match="nightly"):
        catalog.job("nightly")


def test_a_point_that_another_process_commits_meanwhile_is_not_forgotten(tmp_path):
    memory = Memory()
    catalog, other = Catalog(memory.open()), Catalog(memory.open())

    class Repository:
        def points(self):
            other.record(point_of(number=2, moment=2.0))  # committed just after this listing
            return (point_of(),)

    catalog.reconcile(Repository())
    assert catalog.last("web", "storage") == point_of(number=2, moment=2.0)
    assert len(catalog.points()) == 2


def test_a_run_goes_only_where_the_table_leads():
    memory = Memory()
    catalog = Catalog(memory.open())
    catalog.define(Job("nightly", "storage", ("web",)))
    for state in RunState:
        for target in RunState:
            run = catalog.queue("nightly", 1.0)
            if state is not RunState.QUEUED:
                if state not in NEXT_STATES[RunState.QUEUED]:
                    catalog.move(run.id, RunState.RUNNING, 2.0)
                run = catalog.move(run.id, state, 3.0)
            if target in NEXT_STATES[state]:
                moved = catalog.move(run.id, target, 4.0, "why")
                assert moved.state is target
                assert (moved.started if target is RunState.RUNNING else moved.ended) == 4.0
                assert moved in Catalog(memory.open()).runs("nightly")
            else:
                with pytest.raises(
                    InvalidState, match=f"{run.id} is {state}: cannot become {target}"
                ):
                    catalog.move(run.id, target, 4.0)
                assert run in catalog.runs("nightly")
    numbers = [int(run.id.split("/")[1]) for run in catalog.runs()]
    assert numbers == list(range(1, len(RunState) ** 2 + 1))


def test_a_serial_tells_a_run_from_those_of_every_job():
    memory = Memory()
    for name in ("nightly", "hourly", "nightly"):
        catalog = Catalog(memory.open())
        catalog.define(Job(name, "storage", ()))
        catalog.queue(name, 1.0)
    runs = Catalog(memory.open()).runs()
    assert [(run.id, run.serial) for run in runs] == [
        ("nightly/1", 1),
        ("hourly/1", 2),
        ("nightly/2", 3),
    ]


def test_runs_of_a_process_that_ended_are_interrupted():
    memory = Memory()
    catalog = Catalog(memory.open())
    catalog.define(Job("nightly", "storage", ()))
    runs = [catalog.queue("nightly", float(n)) for n in range(3)]
    catalog.move(runs[0].id, RunState.RUNNING, 5.0)
    catalog.move(runs[1].id, RunState.RUNNING, 5.0)
    catalog.move(runs[1].id, RunState.FAILED, 6.0, "no space")
    reopened = Catalog.open(memory.open(), 7.0)
    interrupted = reopened.runs()[0]
    assert (interrupted.id, interrupted.started, interrupted.ended) == (runs[0].id, 5.0, 7.0)
    assert [run.state for run in reopened.runs()] == ["interrupted", "failed", "queued"]
    assert reopened.interrupt(8.0) == ()
    assert reopened.runs("hourly") == ()


def test_unknown_jobs_and_runs_are_not_found():
    catalog = Catalog(open_store())
    with pytest.raises(NotFound):
        catalog.queue("nightly", 0.0)
    with pytest.raises(NotFound):
        catalog.move("nightly/1", RunState.RUNNING, 0.0)
