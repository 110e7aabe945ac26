"""What the parameters of a hypervisor refuse, and how."""

from __future__ import annotations

from dataclasses import fields

import pytest

from hypervisor.bench import BLOCK, fill, rig, spec
from stuntdouble.errors import Misuse
from stuntdouble.hypervisor import Parameters, QuiesceProfile
from stuntdouble.site import IO_BLOCKS_MAX

FLOATS = [f.name for f in fields(Parameters) if f.type == "float"]
COUNTS = [f.name for f in fields(Parameters) if f.type == "int"]
MAY_BE_ZERO = {
    "snapshot_concurrency",
    "se_growth_ios",
    "metadata_ios_per_disk",
    "lock_ios",
    "tracking_page_bytes",
}


def assert_refused(**wrong):
    with pytest.raises(Misuse) as caught:
        Parameters(**wrong)
    text = str(caught.value)
    assert text.startswith(next(iter(wrong)))
    assert "\n" not in text


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [-1.0, -1e-9, float("nan"), float("inf"), "4", None, True])
def test_seconds_and_rates_are_finite_and_not_negative(name, value):
    assert_refused(**{name: value})


@pytest.mark.parametrize("name", FLOATS)
def test_seconds_and_rates_may_be_zero(name):
    assert getattr(Parameters(**{name: 0}), name) == 0


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [-1, 1.5, float("nan"), "8", None, True])
def test_counts_are_whole_and_not_negative(name, value):
    assert_refused(**{name: value})


@pytest.mark.parametrize("name", COUNTS)
def test_only_counts_that_mean_something_at_zero_may_be_zero(name):
    if name in MAY_BE_ZERO:
        assert getattr(Parameters(**{name: 0}), name) == 0
    else:
        assert_refused(**{name: 0})


@pytest.mark.parametrize("name", ["delta_format", "consolidation", "lock"])
def test_choices_are_named(name):
    assert_refused(**{name: "other"})
    assert_refused(**{name: []})


@pytest.mark.parametrize("budgets", [(), (300, 0), (float("nan"),), (-1,), ("300",), 300])
def test_budgets_are_seconds_above_zero_and_one_at_least(budgets):
    assert_refused(helper_budgets_seconds=budgets)


def test_a_tracking_grain_is_a_power_of_two():
    assert_refused(tracking_grain_bytes=3000)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_guest_freezes_for_a_time(seconds):
    with pytest.raises(Misuse, match="freeze_seconds"):
        QuiesceProfile(freeze_seconds=seconds)


def test_an_io_of_a_consolidation_is_no_longer_than_an_io_may_be():
    with pytest.raises(Misuse, match="consolidation_io_bytes"):
        rig(consolidation_io_bytes=(IO_BLOCKS_MAX + 1) * BLOCK)


@pytest.mark.parametrize("io_bytes", [1, BLOCK + 1, IO_BLOCKS_MAX * BLOCK])
def test_a_contiguous_delta_is_moved_in_ios_of_any_permitted_size(io_bytes):
    size = 2 * IO_BLOCKS_MAX * BLOCK
    bench = rig(consolidation_io_bytes=io_bytes, lun_bytes=4 * size)
    vm = bench.add_vm(spec(size=size))
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    fill(bench, vm.disks[2000].disk)
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    assert bench.last("consolidation")["bytes"] == size
    assert len(vm.disks[2000].chain.levels) == 1


def test_a_tracking_grain_is_no_smaller_than_a_block():
    with pytest.raises(Misuse, match="tracking_grain_bytes"):
        rig(tracking_grain_bytes=BLOCK // 2)
