"""The curves that are kept, and the formula they are held against."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.lab import Setup, closed_form, relative_rms, stored_curves

setups = st.builds(
    Setup,
    disk_bytes=st.integers(16, 4096).map(lambda chunks: chunks << 16),
    chunk_bytes=st.just(1 << 16),
    io_bytes=st.just(4096),
    outstanding=st.integers(1, 32),
    iops=st.floats(10, 10_000),
    burst_ios=st.floats(0, 1_000),
    bin_seconds=st.floats(0.1, 10),
)


def test_what_is_kept_is_what_was_measured() -> None:
    curves = stored_curves()
    assert list(curves) == ["no-snapshot", "redirect-overlay", "copy-before-write", "live-commit"]
    assert sum(curves["redirect-overlay"].iops) * 2 == 16_346
    assert sum(curves["copy-before-write"].iops) * 2 == 12_562
    assert curves["redirect-overlay"].settled[0] == 222
    assert curves["live-commit"].seconds == 70
    commit = curves["live-commit"].commit
    assert commit is not None
    assert commit.started_seconds + commit.ready_seconds < curves["live-commit"].seconds
    assert all(curve.setup.chunks == 4096 for curve in curves.values())


@given(
    setup=setups,
    extra=st.integers(0, 3),
    bins=st.integers(1, 30),
    reads=st.floats(0, 1),
    burst=st.booleans(),
)
def test_the_formula_solves_its_equation(setup, extra, bins, reads, burst) -> None:
    rates = closed_form(setup, extra, bins, read_fraction=reads, burst=burst)
    ios = np.cumsum(rates) * setup.bin_seconds
    budget = np.arange(1, bins + 1) * setup.bin_seconds * setup.iops + burst * setup.burst_ios
    # what the station gave is what the I/Os cost: each its own, and each chunk once the extra
    copied = setup.chunks * -np.expm1((1 - reads) * ios * np.log1p(-1 / setup.chunks))
    rate = -setup.chunks * np.log1p(-1 / setup.chunks)
    assert ios + extra * copied / rate == pytest.approx(budget, rel=1e-9)
    assert np.all(np.diff(rates[1:]) >= -1e-6 * setup.iops), "copied chunks only get more"
    assert np.all(rates[1:] <= setup.iops * (1 + 1e-9))


def test_a_mean_error_is_relative() -> None:
    assert relative_rms([110, 90], [100, 100]) == pytest.approx(0.1)
    assert relative_rms([400.0], [400.0]) == 0.0
