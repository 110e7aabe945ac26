"""The formulas that the engine is held against: against tables, and against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.validity import theory

pytestmark = pytest.mark.plain

rhos = st.floats(0.01, 0.99)
servers = st.integers(1, 64)


def test_m_m_4_at_80_percent_is_as_in_the_tables() -> None:
    assert theory.erlang_c(4, 0.8) == pytest.approx(0.596432, abs=5e-7)
    assert theory.mean_response_mmc(4, 0.8) == pytest.approx(1.745541, abs=5e-7)
    assert theory.percentile_mmc(4, 0.8, 99) == pytest.approx(6.8932, abs=5e-5)


@pytest.mark.parametrize(
    ("c", "responses"),
    [(1, (1.67, 5, 10, 20)), (4, (1.04, 1.75, 2.97, 5.46)), (8, (1.00, 1.29, 1.88, 3.11))],
)
def test_responses_are_as_in_the_tables(c, responses) -> None:
    for rho, response in zip((0.4, 0.8, 0.9, 0.95), responses, strict=True):
        assert theory.mean_response_mmc(c, rho) == pytest.approx(response, abs=0.006)


@given(rhos)
def test_one_exponential_server_is_told_alike_by_both_formulas(rho) -> None:
    assert theory.erlang_c(1, rho) == pytest.approx(rho)
    assert theory.mean_response_mmc(1, rho) == pytest.approx(theory.mean_response_mg1(rho, 1.0))


@given(servers, rhos, st.floats(1, 99.99))
def test_a_percentile_is_exceeded_as_often_as_it_says(c, rho, percent) -> None:
    time = theory.percentile_mmc(c, rho, percent)
    assert theory.slower_than_mmc(c, rho, time) == pytest.approx(1 - percent / 100, rel=1e-6)


@given(servers, rhos)
def test_the_mean_is_the_area_under_what_is_slower(c, rho) -> None:
    step, area, at = 0.01, 0.0, 0.0
    slow = 1.0
    while slow > 1e-9 and at < 100:
        after = theory.slower_than_mmc(c, rho, at + step)
        area += step * (slow + after) / 2
        slow, at = after, at + step
    if at < 100:  # heavier queues take too long to add up
        assert area == pytest.approx(theory.mean_response_mmc(c, rho), rel=1e-3)


def test_a_queue_that_drains_as_fast_as_it_serves_has_a_formula_of_its_own() -> None:
    near = theory.slower_than_mmc(4, 0.75 + 1e-7, 3.0)
    assert theory.slower_than_mmc(4, 0.75, 3.0) == pytest.approx(near, rel=1e-5)
