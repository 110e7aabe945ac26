"""The grid: what is varied, who wins, and where that changes."""

from __future__ import annotations

import pytest
from plotly.graph_objects import Figure

from stuntdouble.errors import Misuse
from stuntdouble.units import MIB
from stuntdouble.validity import Axis, Cell, Sensitivity, places, sensitivity
from stuntdouble.validity.playing import table_of, varied
from stuntdouble.validity.sensing import figure, sentences
from stuntdouble.validity.sensitivity import _shared_out, axes

pytestmark = pytest.mark.plain


def cell(*at: str, **seconds: float) -> Cell:
    return Cell(at=at, excess_seconds=seconds)


GRID = Sensitivity(
    scenario="a",
    axes=(
        Axis(name="load", key="k", values=("low", "high")),
        Axis(name="cache", key="c", values=("off", "on")),
    ),
    cells=(
        cell("low", "off", software=1.0, storage=2.0, mounted=3.0),
        cell("high", "off", software=9.0, storage=2.0, mounted=2.1),
        cell("low", "on", software=1.0, storage=1.05, mounted=3.0),
    ),
)


def test_the_gentlest_is_told_from_what_is_about_the_same() -> None:
    one, two, three = GRID.cells
    assert one.winners == {"software"}
    assert one.margin == pytest.approx(2.0)
    assert two.winners == {"storage", "mounted"}
    assert two.margin == pytest.approx(4.5)
    assert three.winners == {"software", "storage"}
    assert cell("x", software=1.0, storage=1.0).margin is None
    assert cell("x", software=-1.0, storage=1.0).margin is None


def test_a_change_is_a_step_that_leaves_no_winner() -> None:
    assert GRID.changes() == [(0, GRID.cells[0], GRID.cells[1])]
    told = " ".join(sentences(GRID))
    assert "along load (1)" in told
    nothing = GRID.model_copy(update={"cells": GRID.cells[2:]})
    assert "No single step" in " ".join(sentences(nothing))
    assert sentences(GRID.model_copy(update={"cells": ()})) == ["No variation was run."]


def test_the_figure_has_every_cell_once_for_each_method() -> None:
    drawn = figure(GRID)
    assert len(Figure(drawn).data) == len(drawn["data"]) == 3, "plotly knows every property"
    for trace in drawn["data"]:
        assert len(trace["x"]) == len(trace["y"]) == len(GRID.cells)


def test_the_grid_is_whole_and_its_quick_part_varies_one_thing() -> None:
    every = places()
    assert len(set(every)) == len(every) == 72
    home, *steps = places(quick=True)
    assert set(steps) < set(every)
    assert home == tuple(axis.values[0] for axis in axes())
    assert all(sum(a != b for a, b in zip(home, s, strict=True)) == 1 for s in steps)


@pytest.mark.parametrize("count", [1, 4, 16])
def test_many_vms_hold_and_do_what_one_did(count) -> None:
    (vm,) = table_of(sensitivity.SCENARIO)["vms"]
    shared = varied(table_of(sensitivity.SCENARIO), {"vms": _shared_out(vm, count)}, "shared")
    assert len(shared.vms) == count
    assert sum(v.load.iops for v in shared.vms) == pytest.approx(vm["load"]["iops"])
    assert sum(k.size for v in shared.vms for k in v.disks) == 512 * MIB
    assert sum(k.written for v in shared.vms for k in v.disks) == 192 * MIB
    assert sum(v.load.working_set for v in shared.vms) == 192 * MIB


def test_keys_are_overridden_and_wrong_ones_are_refused() -> None:
    table = table_of("quickstart")
    made = varied(
        table, {"backup.throttle.rate": "1 MiB/s", "arrays.0.pools.0.disks": 8}, "quickstart"
    )
    assert made.backup.throttle.rate == MIB
    assert made.arrays[0].pools[0].disks == 8
    assert table == table_of("quickstart"), "the table was changed"
    with pytest.raises(Misuse, match="unknown key"):
        varied(table, {"hypervisor.snapshot_concurency": 1}, "quickstart")
