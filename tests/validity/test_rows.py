"""Rows: verdicts with teeth, and a kept report that is what the code gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from plotly.graph_objects import Figure

from stuntdouble.errors import Misuse
from stuntdouble.iops import exponential
from stuntdouble.validity import (
    CHECKS,
    SEED,
    Check,
    Outcome,
    Point,
    Report,
    chosen,
    dump,
    load,
    places,
    run,
    run_grid,
)
from stuntdouble.validity.drawing import figure
from stuntdouble.validity.queueing import _SYSTEMS
from stuntdouble.validity.queues import mean_and_error, run_queue
from stuntdouble.validity.rig import fixed
from stuntdouble.validity.row import verdict_of

BASELINE = Path(__file__).resolve().parents[2] / "reports" / "baseline" / "validity.json"


def row(error: float | None, tolerance: float | None, *, known_miss: bool = False, **more):
    point = Point(label="a", measured=2.0, modelled=3.0)
    check = Check(
        id="a",
        section="theory",
        title="A",
        says="A.",
        source="nobody",
        compute=lambda _seed: Outcome((point,), error, "because"),
        tolerance=tolerance,
        known_miss=known_miss,
        **more,
    )
    return check.run(1)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("error", "tolerance", "verdict"),
    [
        (1.0, 1.0, "met"),
        (1.01, 1.0, "missed"),
        (float("nan"), 1.0, "missed"),
        (None, 1.0, "shown"),
        (1.0, None, "shown"),
    ],
)
def test_a_verdict_is_what_the_error_says(error, tolerance, verdict) -> None:
    assert verdict_of(error, tolerance) == verdict


@pytest.mark.plain
def test_a_miss_stops_unless_it_is_known_and_a_known_one_must_miss() -> None:
    assert row(0.5, 1.0).is_as_expected
    assert not row(1.5, 1.0).is_as_expected
    assert row(1.5, 1.0, known_miss=True).is_as_expected
    assert not row(0.5, 1.0, known_miss=True).is_as_expected
    assert row(None, None).is_as_expected


@pytest.mark.plain
def test_a_report_is_read_back_as_it_was_written() -> None:
    report = Report(seed=3, rows=(row(0.123456789, 1.0), row(None, None)))
    assert load(dump(report)) == report
    assert dump(load(dump(report))) == dump(report)
    with pytest.raises(Misuse, match=r"rows\.0\.verdict"):
        load(dump(report).replace('"met"', '"fine"'))
    with pytest.raises(Misuse, match="schema_version"):
        load(dump(report).replace('"schema_version": 1', '"schema_version": 2'))


@pytest.mark.plain
def test_rows_are_found_by_their_names() -> None:
    names = [check.id for check in CHECKS]
    assert len(set(names)) == len(names)
    assert chosen([]) == CHECKS
    assert [check.id for check in chosen(["mm4", "mm1"])] == ["mm1", "mm4"]
    assert all(check.quick for check in chosen([], quick=True))
    with pytest.raises(Misuse, match="did you mean mm"):
        chosen(["mm44"])
    slow = next(check.id for check in CHECKS if not check.quick)
    with pytest.raises(Misuse, match="leave --quick out"):
        chosen([slow], quick=True)


@pytest.mark.parametrize("check", [c for c in CHECKS if c.quick], ids=lambda c: c.id)
def test_the_kept_report_is_what_the_code_gives(check) -> None:
    kept = {row.id: row for row in load(BASELINE.read_text("utf-8")).rows}
    (now,) = run([check]).rows
    assert kept[check.id] == now, "run `make validity` and look at what has changed"
    assert now.is_as_expected


@pytest.mark.plain
def test_the_kept_report_is_whole() -> None:
    kept = load(BASELINE.read_text("utf-8"))
    assert [row.id for row in kept.rows] == [check.id for check in CHECKS]
    assert kept.seed == SEED
    assert all(row.is_as_expected for row in kept.rows)
    assert all(row.why for row in kept.rows if row.verdict == "missed")
    grid = kept.sensitivity
    assert grid is not None
    assert [cell.at for cell in grid.cells] == places()


@pytest.mark.plain
@pytest.mark.parametrize("kept", load(BASELINE.read_text("utf-8")).rows, ids=lambda row: row.id)
def test_plotly_knows_every_property_that_is_drawn(kept) -> None:
    drawn = figure(kept)
    assert len(Figure(drawn).data) == len(drawn["data"]) > 0


@pytest.mark.slow
def test_the_kept_grid_is_what_the_code_gives() -> None:
    kept = load(BASELINE.read_text("utf-8")).sensitivity
    (home, *_) = places()
    assert run_grid([home], SEED).cells == tuple(c for c in kept.cells if c.at == home)


def test_an_engine_that_is_a_little_slow_is_noticed() -> None:
    seconds = run_queue((exponential(1.0),), 4, 0.8, 200_000, SEED).seconds
    for known, wrong in ((1.745541, False), (1.745541 * 1.15, True), (1.745541 / 1.15, True)):
        mean, error = mean_and_error(seconds)
        assert (abs(mean - known) / error > 3) == wrong


@pytest.mark.parametrize("servers", [1, 3])
def test_a_wait_is_what_is_inside_less_the_service(servers) -> None:
    run = run_queue((fixed(1.0),), servers, 0.8, 5_000, SEED)
    waits = run.waits[: len(run.seconds)]
    assert waits == pytest.approx(run.seconds - 1.0, abs=1e-8)
    assert 0.2 < (waits > 0).mean() < 0.9
    (stripe,) = (s for s in _SYSTEMS if len(s.services) > 1)
    mixed = run_queue(stripe.services, 1, stripe.rho, 5_000, SEED)
    services = (mixed.seconds - mixed.waits[: len(mixed.seconds)])[:4_500]  # nobody is left inside
    known = [min(abs(x - s.overhead_seconds) for s in stripe.services) for x in services]
    assert max(known) < 1e-8


@pytest.mark.plain
def test_an_error_is_that_of_batches_not_of_neighbours() -> None:
    walk = np.repeat(np.random.default_rng(1).normal(size=400), 1000)
    _, error = mean_and_error(walk)
    naive = walk.std() / np.sqrt(len(walk))
    assert error > 10 * naive
