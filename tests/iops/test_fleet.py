"""A fleet has the percentiles and correlations of the VMs that it is fitted to."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.iops import OFFICE_DAY, VmProfile, fleet
from stuntdouble.iops.fleet import (
    IOPS,
    PERCENTILES,
    RANK_CORRELATION,
    WEEK_SECONDS,
    WRITE_FRACTION,
    WRITE_WORKING_SET_GIB,
    WRITTEN_GIB,
)

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


@cache
def many() -> tuple[VmProfile, ...]:
    return fleet(20_000, 1)


def figures(vms: tuple[VmProfile, ...]) -> list[np.ndarray]:
    return [
        np.array([vm.iops for vm in vms]),
        np.array([vm.write_fraction for vm in vms]),
        np.array([vm.write_working_set_bytes / GIB for vm in vms]),
        np.array([vm.written_bytes_per_week / GIB for vm in vms]),
    ]


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


@pytest.mark.parametrize(
    ("column", "table", "tolerance"),
    [
        (0, IOPS, 0.05),
        (1, WRITE_FRACTION, 0.05),
        (2, WRITE_WORKING_SET_GIB, 0.06),
        # One in fifteen writes more than was drawn, to be able to touch its working set.
        (3, WRITTEN_GIB, 0.13),
    ],
    ids=["iops", "write fraction", "working set", "written"],
)
def test_a_fleet_has_the_percentiles_of_the_table(column, table, tolerance) -> None:
    found = figures(many())[column]
    assert np.percentile(found, PERCENTILES) == pytest.approx(table, rel=tolerance)
    assert found.min() >= table[0] * (1 - 1e-8)
    assert found.max() <= table[-1] * (1 + 1e-8)


def test_a_fleet_is_correlated_as_real_vms_are() -> None:
    found = np.corrcoef([ranks(values) for values in figures(many())])
    assert np.abs(found - np.array(RANK_CORRELATION)).max() < 0.07


def test_the_table_is_that_of_the_recorded_vms(shared_data: Path) -> None:
    path = shared_data / "cloudphysics_106vm_summary.csv"
    if not path.exists():
        pytest.skip(f"the statistics {path.name} are not there")
    with path.open(newline="") as file:
        vms = list(csv.DictReader(file))
    names = ("mean_iops", "write_frac", "write_wss_B", "requests", "write_size_avg_B")
    iops, fraction, working_set, requests, size = (
        np.array([float(vm[name]) for vm in vms]) for name in names
    )
    real = [iops, fraction, working_set / GIB, requests * fraction * size / GIB]
    tables = (IOPS, WRITE_FRACTION, WRITE_WORKING_SET_GIB, WRITTEN_GIB)
    for values, table in zip(real, tables, strict=True):
        assert np.percentile(values, PERCENTILES) == pytest.approx(table, rel=0.03, abs=0.006)
    found = np.corrcoef([ranks(values) for values in real])
    assert np.abs(found - np.array(RANK_CORRELATION)).max() < 0.001


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**63))
def test_a_vm_is_a_matter_of_its_index_and_the_seed(few, more, seed) -> None:
    assert fleet(few + more, seed)[:few] == fleet(few, seed)
    assert [vm.index for vm in fleet(few, seed)] == list(range(few))


def test_another_seed_is_another_fleet() -> None:
    assert not set(fleet(50, 1)) & set(fleet(50, 2))


def test_no_vm_asks_for_what_cannot_be() -> None:
    raised = 0
    for vm in many():
        assert vm.written_bytes_per_week >= vm.write_working_set_bytes
        raised += vm.written_bytes_per_week == vm.write_working_set_bytes
        assert vm.io_bytes % 512 == 0
        assert 512 <= vm.io_bytes <= 4 << 20
    assert 0.05 < raised / len(many()) < 0.08


def test_sizes_of_whole_sectors_write_what_was_drawn() -> None:
    asked = np.array([vm.written_bytes_per_week for vm in many()])
    made = [vm.io_bytes * vm.iops * vm.write_fraction * WEEK_SECONDS for vm in many()]
    ratio = made / asked
    assert ratio.mean() == pytest.approx(1.0, abs=0.01)
    assert np.percentile(np.abs(ratio - 1), 95) < 0.05


def shrunk(vm: VmProfile, writes: int) -> VmProfile:
    """Return a VM that makes *writes* in a week, of the same size and shape, in so much less."""
    by = writes / (vm.iops * vm.write_fraction * WEEK_SECONDS)
    return replace(
        vm,
        iops=vm.iops * by,
        write_working_set_bytes=max(round(vm.write_working_set_bytes * by), vm.io_bytes),
        written_bytes_per_week=round(vm.written_bytes_per_week * by),
    )


@settings(max_examples=6)
@given(st.integers(0, 10_000))
def test_a_week_writes_what_the_profile_says(seed) -> None:
    vm = shrunk(fleet(1, seed)[0], 20_000)
    disk = vm.write_working_set_bytes + vm.io_bytes
    ios = writes = 0
    touched: set[int] = set()
    for second, number, write, offset, length in vm.load(seed, disk_bytes=disk).ios():
        if second > WEEK_SECONDS:
            break
        assert number == 0
        assert offset + length <= disk
        ios += 1
        if write:
            writes += length
            touched.add(offset)
    assert ios / WEEK_SECONDS == pytest.approx(vm.iops, rel=0.05)
    assert writes == pytest.approx(vm.io_bytes * 20_000, rel=0.05)
    # A few hundred slots at the least; the sweep's count is Poisson's.
    slots = max(vm.write_working_set_bytes // vm.io_bytes, 1)
    reachable = min(slots, 20_000)
    assert len(touched) == pytest.approx(reachable, rel=0.02, abs=4 * np.sqrt(reachable))
    assert len(touched) <= slots


def test_a_load_refuses_a_disk_that_is_too_small_and_takes_a_curve() -> None:
    vm = fleet(3, 4)[2]
    assert vm.name == "fleet-3"
    with pytest.raises(ValueError, match=r"fleet-3 writes to .* is too small"):
        vm.load(1, disk_bytes=vm.write_working_set_bytes // 2)
    disk = vm.write_working_set_bytes
    day = list(islice(vm.load(1, disk_bytes=disk, curve=OFFICE_DAY).ios(), 100))
    flat = list(islice(vm.load(1, disk_bytes=disk).ios(), 100))
    assert [row[1:] for row in day] == [row[1:] for row in flat]
    times = np.array([row[0] for row in flat])
    assert [row[0] for row in day] == pytest.approx(times / 0.4)


def test_a_vm_that_only_writes_has_no_reads() -> None:
    vm = VmProfile(0, 10.0, 1.0, 1 << 20, 1 << 36)
    assert all(row[2] for row in islice(vm.load(1, disk_bytes=1 << 20).ios(), 1000))
