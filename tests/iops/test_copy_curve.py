"""Copy-before-write and redirect, against a real block layer and first principles.

A closed loop of 8 random 4 KiB writes to a disk of 256 MiB on one station of 400 I/Os a second, in
chunks of 64 KiB: the share f of chunks that a snapshot still needs falls as they are written, and
each first write of a chunk costs k more I/Os: dW/dt = 400 / (1 + k f).
"""

from __future__ import annotations

import pytest

from stuntdouble.lab import closed_form, emulated, relative_rms, stored_curves

SEEDS = range(1, 5)


@pytest.mark.parametrize(
    ("name", "rms_max"), [("redirect-overlay", 0.02), ("copy-before-write", 0.03)]
)
def test_first_writes_cost_what_they_were_measured_to_cost(name: str, rms_max: float) -> None:
    measured = stored_curves()[name]
    case = measured.setup, measured.extra_ios, len(measured.iops)
    found, wanted = emulated(*case, seeds=SEEDS), closed_form(*case)
    assert relative_rms(found[1:], measured.settled) <= rms_max
    assert relative_rms(found, wanted) <= 0.015
    assert found.sum() == pytest.approx(wanted.sum(), rel=0.005)
    # and the judges agree with one another, so that the bound on us means something
    assert relative_rms(wanted[1:], measured.settled) <= rms_max


@pytest.mark.parametrize("extra_ios", [1, 2])
def test_a_single_draw_stays_near_what_is_expected(extra_ios: int) -> None:
    setup = stored_curves()["no-snapshot"].setup
    found = emulated(setup, extra_ios, 25, burst=False)
    wanted = closed_form(setup, extra_ios, 25, burst=False)
    assert relative_rms(found, wanted) <= 0.03
    other = closed_form(setup, 3 - extra_ios, 25, burst=False)
    assert relative_rms(found, other) > 0.1, "the bound does not tell copying from redirecting"


def test_reads_pay_nothing_extra() -> None:
    setup = stored_curves()["no-snapshot"].setup
    assert emulated(setup, 2, 5, read_fraction=1.0, burst=False) == pytest.approx(
        setup.iops, abs=1.0
    )


def test_without_a_snapshot_nothing_is_lost() -> None:
    setup = stored_curves()["no-snapshot"].setup
    assert emulated(setup, 0, 24, burst=False) == pytest.approx(setup.iops, abs=1.0)
