"""Retention: what each rule keeps, stated a second time in plain words."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stuntdouble.backup import retention
from stuntdouble.backup.catalog import Catalog
from stuntdouble.backup.repository import Repository
from stuntdouble.backup.retention import DAY_SECONDS, Policy, expired
from stuntdouble.errors import Misuse
from stuntdouble.ports import Consistency, DiskPoint, Kind, RestorePoint
from stuntdouble.store import open_store


def point_of(number, moment, vm="web", method="storage", parent=""):
    return RestorePoint(
        f"{vm}-{method}-{number:03d}", vm, method, Kind.FULL, moment, Consistency.CRASH, (), parent
    )


def days_kept(policy, days, now_day):
    points = [point_of(n, day * DAY_SECONDS) for n, day in enumerate(days)]
    gone = set(expired(points, policy, now_day * DAY_SECONDS))
    return [p.moment / DAY_SECONDS for p in points if p not in gone]


def test_keep_last_counts_points():
    assert days_kept(Policy(keep_last=2), [0, 1, 1.5, 1.6], 100) == [1.5, 1.6]
    assert days_kept(Policy(keep_last=9), [0, 1], 100) == [0, 1]


def test_daily_keeps_the_newest_of_each_day_the_present_one_included():
    days = [0.1, 1.2, 1.9, 2.0, 2.5, 3.3]
    assert days_kept(Policy(daily=3), days, 3.5) == [1.9, 2.5, 3.3]


def test_weekly_and_monthly_keep_the_last_of_each_period():
    days = [float(day) for day in range(65)]
    assert days_kept(Policy(weekly=3), days, 64) == [55, 62, 64]
    assert days_kept(Policy(monthly=2), days, 64) == [59, 64]
    assert days_kept(Policy(daily=2, weekly=2, monthly=3), days, 64) == [29, 59, 62, 63, 64]


def test_the_newest_point_of_each_vm_and_method_always_stays():
    points = [
        point_of(1, 0.0),
        point_of(2, 1.0),
        point_of(1, 0.5, vm="db"),
        point_of(1, 0.2, method="software"),
    ]
    assert expired(points, Policy(daily=1), 1000 * DAY_SECONDS) == (points[0],)


POINTS = st.lists(
    st.tuples(
        st.floats(0, 100 * DAY_SECONDS), st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"])
    ),
    max_size=25,
).map(lambda rows: [point_of(n, m, vm, method) for n, (m, vm, method) in enumerate(rows)])
POLICIES = st.tuples(*[st.integers(0, 4)] * 4).filter(any).map(lambda counts: Policy(*counts))


@given(points=POINTS, policy=POLICIES, now=st.floats(0, 110 * DAY_SECONDS))
def test_any_policy_keeps_what_its_rules_say_and_nothing_else(points, policy, now):
    assume(all(point.moment <= now for point in points))
    gone = expired(points, policy, now)

    def rank(point):
        return (point.moment, point.id)

    def same(point, other):
        return (point.vm, point.method) == (other.vm, other.method)

    def kept_by_period(point, days, count):
        def period(moment):
            return moment // (days * DAY_SECONDS)

        newer = [p for p in points if same(p, point) and rank(p) > rank(point)]
        recent = period(now) - period(point.moment) < count
        return recent and all(period(p.moment) != period(point.moment) for p in newer)

    for point in points:
        newer = sum(same(p, point) and rank(p) > rank(point) for p in points)
        kept = (
            newer < max(1, policy.keep_last)
            or kept_by_period(point, 1, policy.daily)
            or kept_by_period(point, 7, policy.weekly)
            or kept_by_period(point, 30, policy.monthly)
        )
        assert (point in gone) != kept
    left = [point for point in points if point not in gone]
    assert expired(left, policy, now) == ()
    assert list(gone) == sorted(gone, key=rank)


@given(points=POINTS, policy=POLICIES, more=st.floats(0, 50 * DAY_SECONDS))
def test_time_alone_only_ever_expires_more(points, policy, more):
    now = 100 * DAY_SECONDS
    assert set(expired(points, policy, now)) <= set(expired(points, policy, now + more))


def test_a_policy_that_keeps_nothing_is_refused():
    for counts in ((0, 0, 0, 0), (1, -1, 0, 0)):
        with pytest.raises(Misuse, match="at least one above 0"):
            Policy(*counts)


def test_applying_deletes_and_forgets_and_breaks_no_other_point(tmp_path):
    catalog = Catalog(open_store())
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        parent, expected = "", bytearray(4096)
        for number in range(4):
            draft = repository.begin({1: 4096}, parent)
            draft.write(1, 600 * number, memoryview(bytes([number + 1]) * 700))
            expected[600 * number : 600 * number + 700] = bytes([number + 1]) * 700
            disks = (DiskPoint(1, 4096, ""),)
            facts = (
                "",
                "web",
                "storage",
                Kind.INCREMENTAL,
                float(number),
                Consistency.CRASH,
                disks,
            )
            point = draft.commit(RestorePoint(*facts))
            catalog.record(point)
            parent = point.id
        repository.delete("web-storage-2")  # behind the catalog's back
        gone = retention.apply(Policy(keep_last=1), repository, catalog, 10.0)
        catalog.reconcile(repository)
        assert [p.id for p in gone] == ["web-storage-1", "web-storage-3"]
        assert repository.points() == catalog.points() == (catalog.last("web", "storage"),)
        repository.collect()
        assert b"".join(repository.read("web-storage-4", 1, 0, 4096)) == bytes(expected)
        assert repository.verify() == []


def test_a_point_that_somebody_deleted_meanwhile_is_no_failure(tmp_path, monkeypatch):
    catalog = Catalog(open_store())
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        stale = (point_of(1, 0.0), point_of(2, 1.0))
        for point in stale:
            catalog.record(point)
        monkeypatch.setattr(repository, "points", lambda: stale)
        assert retention.apply(Policy(keep_last=1), repository, catalog, 2.0) == stale[:1]
        assert catalog.points() == stale[1:]
