"""A job's parameters, and what they mean for an inventory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.backup import JobSpec, LatencyLimits, Method, Selection
from stuntdouble.backup.select import Target, resolve, volume_groups
from stuntdouble.errors import InvalidState, Misuse, NotFound
from stuntdouble.ports import DiskInfo, Provisioning, VmInfo


def disk(key: int, *volumes: str, obstacle: str = "") -> DiskInfo:
    return DiskInfo(key, f"d{key}", 1024, Provisioning.THIN, "ds", volumes, obstacle)


def vm(name: str, *disks: DiskInfo) -> VmInfo:
    return VmInfo(name, True, disks, (), False, True)


INVENTORY = (
    vm("a", disk(1, "v1"), disk(2, "v2")),
    vm("b", disk(1, "v1", obstacle="independent"), disk(2)),
    vm("c", disk(1, "v1", obstacle="independent")),
    vm("d"),
)


def test_targets_come_in_the_order_of_the_selection():
    targets, refused = resolve(Selection(("b", "a")), INVENTORY)
    assert [target.vm.name for target in targets] == ["b", "a"]
    assert refused == {}
    assert targets[0].skipped == ("disk 1 d1: independent",)
    assert targets[1].capacities == {1: 1024, 2: 1024}


def test_what_cannot_be_taken_is_refused_by_name():
    targets, refused = resolve(Selection(("a", "c", "d", "x"), {"a": (9,)}), INVENTORY)
    assert targets == ()
    assert refused["a"] == NotFound("disk of a", 9)
    assert refused["x"] == NotFound("VM", "x")
    assert isinstance(refused["c"], InvalidState)
    assert "independent" in str(refused["c"])
    assert "no disk at all" in str(refused["d"])


def test_a_disk_off_the_array_is_skipped_by_methods_that_need_the_array():
    targets, refused = resolve(Selection(("a", "b")), INVENTORY, frozenset({"v1"}))
    assert [d.key for d in targets[0].disks] == [1]
    assert "does not lie on volumes of the array" in targets[0].skipped[0]
    assert "does not lie on volumes of the array" in str(refused["b"])


@given(st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=3), max_size=8))
def test_groups_are_the_connected_components_over_volumes(volumes):
    targets = [
        Target(vm(str(i)), (disk(1, *map(str, dict.fromkeys(v))),), ())
        for i, v in enumerate(volumes)
    ]
    groups = volume_groups(targets)
    assert sorted(t.vm.name for g in groups for t in g) == sorted(t.vm.name for t in targets)
    sets = [{v for t in group for v in t.volumes} for group in groups]
    assert sum(map(len, sets)) == len(set().union(*sets)), "no volume is in two groups"
    for group in groups:
        reached = set(group[0].volumes)
        for _ in group:
            for target in group:
                if reached & set(target.volumes):
                    reached |= set(target.volumes)
        assert all(reached.issuperset(target.volumes) for target in group), "no group is two"


@pytest.mark.parametrize(
    ("vms", "disks"),
    [
        ((), {}),
        (("a", "a"), {}),
        (("a",), {"b": (1,)}),
        (("a",), {"a": ()}),
        (("a",), {"a": (1, 1)}),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(vms, disks):
    with pytest.raises(Misuse, match="selection"):
        Selection(vms, disks)


@pytest.mark.parametrize(
    "fields",
    [
        {"concurrency": 0},
        {"snapshot_prefix": ""},
        {"snapshot_prefix": "a" * 12},
        {"retry_seconds": (1.0, -1.0)},
        {"run": -1},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(fields):
    with pytest.raises(Misuse, match=next(iter(fields))):
        JobSpec(Method.STORAGE, Selection(("a",)), **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"hold_seconds": 0.0},
        {"hold_seconds": 0.5, "throttle_seconds": 0.1},
        {"poll_seconds": 0.0},
        {"wait_seconds_max": 0.0},
    ],
)
def test_latency_limits_that_make_no_sense_are_refused(fields):
    with pytest.raises(Misuse, match="latency control"):
        LatencyLimits(**fields)
