"""Rates that change: an arrival moves to where the integral of the rate says."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.iops import BATCH_NIGHT, OFFICE_DAY, Pattern, PoissonLoad, RateCurve, load

pytestmark = pytest.mark.plain

DAY = 86400.0
PATTERN = (Pattern(0.5, 4096, 1 << 20),)

steps = st.lists(
    st.tuples(
        st.integers(1, 5000).map(lambda n: n / 8),
        st.one_of(st.just(0.0), st.integers(1, 400).map(lambda n: n / 64)),
    ),
    min_size=1,
    max_size=6,
).map(tuple)
curves = steps.filter(lambda steps: any(m for _, m in steps)).map(RateCurve)


def at(curve: RateCurve, second: float) -> float:
    """Return the multiplier at a time, by walking through the steps."""
    rest = second % sum(seconds for seconds, _ in curve.steps)
    for seconds, multiplier in curve.steps:
        if rest < seconds:
            return multiplier
        rest -= seconds
    return curve.steps[0][1]


@given(curves, st.lists(st.floats(0, 1e6), min_size=1, max_size=30).map(sorted))
def test_when_is_the_inverse_of_the_integral(curve, work) -> None:
    found = curve.when(np.array(work))
    assert (np.diff(found) >= -1e-9 * found[-1]).all()
    assert curve.integral(found) == pytest.approx(work, rel=1e-9, abs=1e-6)


@given(curves, st.floats(0, 20_000))
def test_no_arrival_falls_into_a_silence(curve, work) -> None:
    moment = float(curve.when(np.array([work]))[0])
    assert max(at(curve, moment), at(curve, moment + 1e-6)) > 0


@given(curves, st.integers(0, 40_000))
def test_the_integral_is_the_sum_of_the_steps(curve, eighths) -> None:
    fine = np.arange(eighths) / 8  # steps are multiples of 1/8 s
    wanted = sum(at(curve, second) for second in fine[:2000].tolist()) / 8
    found = curve.integral(np.array([len(fine[:2000]) / 8]))[0]
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert curve.integral(np.array([curve.period_seconds * 3]))[0] == pytest.approx(
        3 * curve.mean * curve.period_seconds
    )


@given(curves, st.integers(0, 100_000), st.floats(0, 10_000))
def test_a_curve_can_start_anywhere(curve, eighths, second) -> None:
    later = curve.starting(eighths / 8)
    assert later.period_seconds == pytest.approx(curve.period_seconds)
    assert later.mean == pytest.approx(curve.mean)
    shifted = curve.integral(np.array([eighths / 8, eighths / 8 + second]))
    assert later.integral(np.array([second]))[0] == pytest.approx(
        shifted[1] - shifted[0], rel=1e-9, abs=1e-6 * max(1.0, shifted[1])
    )


def arrivals(curve: RateCurve | None, count: int, iops: float = 0.25) -> np.ndarray:
    rows = islice(PoissonLoad(7, "vm", iops, PATTERN, curve=curve).ios(), count)
    return np.array([row[0] for row in rows])


@pytest.mark.parametrize("curve", [OFFICE_DAY, BATCH_NIGHT], ids=["office", "night"])
def test_a_day_has_its_shape(curve) -> None:
    moments = arrivals(curve, 60_000)
    days = int(moments[-1] // DAY)
    hours = (moments[moments < days * DAY] % DAY // 3600).astype(int)
    found = np.bincount(hours, minlength=24) / days
    wanted = np.array([at(curve, 3600.0 * hour) for hour in range(24)]) * 0.25 * 3600
    assert (np.abs(found - wanted) < 5 * np.sqrt(wanted / days)).all()
    assert curve.period_seconds == DAY
    assert curve.mean == pytest.approx(1.0)


def test_time_is_changed_and_nothing_else() -> None:
    even, uneven = arrivals(None, 5000), arrivals(OFFICE_DAY, 5000)
    assert OFFICE_DAY.integral(uneven) == pytest.approx(even, rel=1e-9)
    flat = arrivals(RateCurve(((60.0, 2.0),)), 5000)
    assert flat == pytest.approx(even / 2, rel=1e-9)
    loads = [PoissonLoad(7, "vm", 3.0, PATTERN, curve=c) for c in (None, BATCH_NIGHT)]
    what = [[row[1:] for row in islice(load.ios(), 500)] for load in loads]
    assert what[0] == what[1]


@pytest.mark.parametrize("size", [1, 13, 1000])
@pytest.mark.parametrize("curve", [None, OFFICE_DAY, RateCurve(((0.1, 0.3), (0.7, 0), (0.3, 9.0)))])
def test_a_curve_does_not_depend_on_the_size_of_a_batch(size, curve, monkeypatch) -> None:
    wanted = arrivals(curve, 3000, 20.0)
    monkeypatch.setattr(load, "_BATCH", size)
    assert (arrivals(curve, 3000, 20.0) == wanted).all()
    assert (np.diff(wanted) >= 0).all()


@given(st.lists(st.tuples(st.floats(1e-3, 1e6), st.just(0.0)), max_size=4).map(tuple))
def test_silence_for_ever_is_refused(steps) -> None:
    with pytest.raises(ValueError, match="one is above"):
        RateCurve(steps)


@pytest.mark.parametrize("steps", [(), ((0.0, 1.0),), ((1.0, -1.0), (1.0, 1.0)), ((np.inf, 1.0),)])
def test_a_step_that_cannot_be_is_refused(steps) -> None:
    with pytest.raises(ValueError, match="a curve of steps"):
        RateCurve(steps)
