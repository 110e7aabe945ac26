"""The judge tells a curve from a wrong one, and its reports say what it found."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from plotly.graph_objects import Figure
from rich.console import Console

from stuntdouble.lab import Commit, closed_form, stored_curves
from stuntdouble.lab.judging import TOLERANCES, judge
from stuntdouble.lab.page import figure, page_html
from stuntdouble.lab.report import as_json, table

KEPT = stored_curves()
SHAPES = ["redirect-overlay", "copy-before-write"]
VERSIONS = {"qemu-storage-daemon": "QEMU 7.2 <beta>", "fio": "fio-3.33"}


def again(name: str, iops=None, **changes):
    curve = replace(KEPT[name], source="measured now", **changes)
    return curve if iops is None else replace(curve, iops=tuple(float(x) for x in iops))


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_meets_itself_and_the_models(name: str) -> None:
    judged = judge(again(name), KEPT[name])
    assert judged.met
    assert all(x.comparisons[0].error == 0 for x in judged.findings)
    for finding in judged.findings:
        assert finding.measured > 0
        assert finding.comparisons[0].against == "kept"


def test_a_curve_without_a_snapshot_is_held_to_the_throttle() -> None:
    slow = np.array(KEPT["no-snapshot"].iops) * 0.97
    assert not judge(again("no-snapshot", slow), KEPT["no-snapshot"]).met


@pytest.mark.parametrize("name", SHAPES)
def test_a_curve_of_another_kind_is_missed(name: str) -> None:
    kept = KEPT[name]
    for extra in {0, 1, 2, 3} - {kept.extra_ios}:
        wrong = closed_form(kept.setup, extra, len(kept.iops))
        judged = judge(again(name, wrong), kept)
        (finding,) = judged.findings
        assert not finding.met
        assert not any(comparison.met for comparison in finding.comparisons)


@pytest.mark.parametrize("name", SHAPES)
def test_a_right_mean_does_not_excuse_a_wrong_shape(name: str) -> None:
    kept = KEPT[name]
    flat = np.full(len(kept.iops), np.mean(kept.settled))
    assert not judge(again(name, flat), kept).met
    late = [*kept.iops[:1], *kept.iops[:1], *kept.iops[1:-1]]
    assert not judge(again(name, np.array(late)), kept).met


@pytest.mark.parametrize("name", SHAPES)
def test_a_throttle_that_is_off_is_missed(name: str) -> None:
    wrong = np.array(KEPT[name].iops) * (1 + 2 * TOLERANCES[name, "settled"])
    assert not judge(again(name, wrong), KEPT[name]).met


def missed(judged) -> list[str]:
    return [finding.part for finding in judged.findings if not finding.met]


def test_each_part_of_a_commit_is_judged() -> None:
    kept = KEPT["live-commit"]
    iops = np.array(kept.iops)
    for first, last, part in [(2, 8, "before"), (11, 20, "during"), (27, 35, "after")]:
        wrong = iops.copy()
        wrong[first:last] *= 0.7
        assert missed(judge(again("live-commit", wrong), kept)) == [f"{part} commit"]


def test_a_commit_of_another_length_is_missed() -> None:
    kept = KEPT["live-commit"]
    longer = again("live-commit", commit=Commit(20.0, 46.0, 0.02))
    assert missed(judge(longer, kept)) == ["commit took"]
    # ready early and a pivot that waits for it comes to the same
    assert judge(again("live-commit", commit=Commit(20.0, 21.7, 8.3)), kept).met


def test_a_commit_that_outlives_the_load_leaves_nothing_to_compare() -> None:
    endless = again("live-commit", commit=Commit(20.0, 100.0, 0.02))
    judged = judge(endless, KEPT["live-commit"])
    assert missed(judged) == ["after commit", "commit took"]
    assert '"error": null' in as_json([judged], VERSIONS, quick=False)
    assert "no bins" in shown([judged])


def test_a_quick_curve_is_judged_as_far_as_it_goes() -> None:
    kept = KEPT["live-commit"]
    quick = judge(again("live-commit").first(29), kept)
    assert quick.met
    assert len(quick.measured.iops) == 29


def shown(judged) -> str:
    sink = StringIO()
    Console(file=sink, width=80).print(table(judged))
    return sink.getvalue()


def test_the_table_says_how_far_off_each_curve_is() -> None:
    name = "redirect-overlay"
    good = judge(again(name), KEPT[name])
    bad = judge(again(name, np.array(KEPT[name].iops) * 1.5), KEPT[name])
    text = shown([good])
    assert name in text
    assert "0.0 %" in text
    assert "MISSED" not in text
    assert "MISSED" in shown([bad])
    assert "50.0 %" in shown([bad])
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown([good, bad]), "a cell was cut"


def test_the_json_has_every_bin_and_every_verdict() -> None:
    judged = [judge(again(name), KEPT[name]) for name in ("no-snapshot", "live-commit")]
    content = json.loads(as_json(judged, VERSIONS, quick=True))
    assert content["met"] is True
    assert content["quick"] is True
    assert content["versions"] == VERSIONS
    commit = content["curves"][1]
    assert tuple(commit["measured"]["iops"]) == KEPT["live-commit"].iops
    assert commit["measured"]["commit"]["ready_seconds"] == 30.4
    assert [x["part"] for x in commit["findings"]][-1] == "commit took"
    assert set(commit["findings"][0]["comparisons"]) == {"kept", "formula", "engine"}
    assert len(commit["models"]["formula"]) == len(commit["models"]["engine"]) == 9


def test_the_page_shows_every_curve_and_escapes_what_others_say() -> None:
    judged = [judge(again(name), KEPT[name]) for name in KEPT]
    text = page_html(judged, VERSIONS)
    assert "QEMU 7.2 &lt;beta&gt;" in text
    assert "Every curve is met." in text
    assert all(f"plot-{name}" in text and KEPT[name].title in text for name in KEPT)
    wrong = judge(again("no-snapshot", [1.0] * 8), KEPT["no-snapshot"])
    assert "Missed: no-snapshot." in page_html([wrong], VERSIONS)


@pytest.mark.parametrize("name", KEPT)
def test_plotly_knows_every_property_that_is_drawn(name) -> None:
    drawn = figure(judge(again(name), KEPT[name]))
    assert len(Figure(drawn).data) == len(drawn["data"]) == 4
