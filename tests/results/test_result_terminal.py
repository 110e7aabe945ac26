"""The comparison in the terminal: 80 columns, nothing cut, best figures marked without colour."""

from __future__ import annotations

import io
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from results.made_up import arbitrary, method_result, plausible, point, vm_result
from stuntdouble.results import METHOD_NAMES, Leftover, RunResult, Stalls, comparison_table
from stuntdouble.results.comparison import Cell, Row, compare, headlines, tightest
from stuntdouble.results.terminal import VMS_SHOWN_MAX
from stuntdouble.results.verdict import is_sound, plain_verdict, verdict_parts

CHOICES = [c for n in (1, 2, 3) for c in itertools.combinations(METHOD_NAMES, n)]


def printed(result, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(comparison_table(result))
    return console.file.getvalue()


def bothersome():
    """A comparison in which no row is empty."""
    facts = {
        "runs": (
            RunResult(
                kind="full",
                start=0.0,
                end=9.0,
                bytes_read=0,
                bytes_stored=0,
                outcome="no",
                window_met=False,
                rpo_seconds_achieved=9.0,
            ),
            *method_result("software").runs,
        )
    }
    points = tuple(
        point("software", f"vm-{i}", verified=v) for i, v in enumerate([None, False, True])
    )
    points += (point("software", "files-03"),)
    software = method_result(
        "software", stalls=Stalls(over_5_seconds=1, over_30_seconds=1, over_60_seconds=1),
        restore_points=points, **facts,
    )  # fmt: skip
    rest = {name: method_result(name) for name in ("storage", "mounted")}
    return plausible(methods={"software": software, **rest})


def line_with(text, label):
    return next(line for line in text.splitlines() if line.strip().startswith(label))


@pytest.mark.parametrize("methods", CHOICES, ids="-".join)
def test_everything_fits_80_columns_with_methods_named_in_full(methods):
    text = printed(plausible(methods))
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.splitlines()[1].split() == list(methods)


def test_every_figure_of_a_comparison_is_there():
    text = printed(bothersome())
    for label in [
        "open, longest", "delta, peak", "datastore free", "stuns", "stunned, total", "stunned, longest",
        "client stalls over 5 s", "client stalls over 30 s", "client stalls over 60 s", "rounds",
        "duration", "converged", "IOPS", "latency p50", "latency p95", "latency p99", "latency max",
        "before the job", "while reading", "while consolidating", "after the job", "excess latency",
        "snapshot space, peak", "full, duration (mean)", "full, read (mean)", "stored", "windows met",
        "RPO achieved", "restore points verified", "restore points wrong", "restore points not checked",
        "runs that failed", "with disks skipped", "per I/O of the run",
    ]:  # fmt: skip
        assert line_with(text, label)
    assert "Zero with every method" not in text
    assert "All 9 restore points equal" in printed(plausible())
    assert "Nothing was left behind" in text


def test_rows_that_say_nothing_are_named_in_a_line():
    lines = " ".join(printed(plausible()).split())
    assert "client stalls over 30 s; client stalls over 60 s; runs that failed;" in lines
    comparison = compare(plausible())
    assert "client stalls over 5 s" in {row.label for g in comparison.groups for row in g.rows}
    none = method_result("storage", runs=(), restore_points=())
    comparison = compare(plausible(methods={"storage": none, "software": none}))
    assert any(s.startswith("No figure: windows met; RPO achieved") for s in comparison.folded)


@settings(max_examples=50)
@given(arbitrary())
def test_every_row_is_either_shown_or_folded(result):
    comparison = compare(result)
    shown = [row for group in comparison.groups for row in group.rows]
    assert all(
        any(cell.text not in {"0", "0 s", "0 B", "–", "– (–)"} for cell in r.cells) for r in shown
    )
    # What a reader must never miss, however bad it is.
    assert sum(row.label == "restore points verified" for row in shown) == 1


def test_the_best_figure_is_marked_without_colour_and_ties_share_the_mark():
    text = printed(plausible())
    assert line_with(text, "open, longest").split() == (
        ["open,", "longest", "29", "min", "08", "s", "9.1", "s", "*", "9.1", "s", "*"]
    )
    assert "*" not in line_with(text, "converged")


def test_one_method_alone_is_never_the_best():
    for group in compare(plausible(("storage",))).groups:
        assert all(row.best == frozenset() for row in group.rows)


def test_phases_are_not_ranked():
    for group in compare(plausible()).groups:
        if group.title.startswith("Guest I/O") and "whole" not in group.title:
            assert all(not row.best for row in group.rows), group.title


ranks = st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=3)


@given(ranks, st.sampled_from(["lower", "higher"]))
def test_a_mark_means_better_than_every_unmarked_figure(values, better):
    row = Row("x", tuple(Cell("", value) for value in values), better)
    known = {i: v for i, v in enumerate(values) if v is not None}
    assert row.best <= known.keys()
    worse = known.keys() - row.best
    for good, bad in itertools.product(row.best, worse):
        assert known[good] < known[bad] if better == "lower" else known[good] > known[bad]
    assert not row.best or worse


@settings(max_examples=25)
@given(arbitrary())
def test_no_result_prints_control_characters(result):
    text = printed(result)
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    heading = [name for name in METHOD_NAMES if name in result.methods]
    assert heading in [line.split() for line in text.splitlines()]
    assert plain_verdict(result)


def with_points(*points):
    """A comparison of one method that made *points*."""
    return plausible(methods={"storage": method_result("storage", restore_points=points)})


def test_what_is_wrong_comes_first_in_the_verdict():
    wrong = with_points(point("storage", "db-01", verified=False))
    assert plain_verdict(wrong).startswith("Of 1 restore point: 1 WRONG.")
    assert not is_sound(wrong)
    mapping = (Leftover(kind="mapping", name="lun 3"),)
    left = plausible(methods={"storage": method_result("storage", leftovers=mapping)})
    assert plain_verdict(left).startswith("Left behind: mapping lun 3 (storage).")
    assert "mapping lun 3" in printed(left)
    assert not is_sound(left)


def test_a_failed_run_is_named_with_its_error():
    run = RunResult(
        kind="full", start=0.0, end=9.0, bytes_read=0, bytes_stored=0, outcome="ds is full."
    )
    failed = method_result("software").model_copy(update={"runs": (run,)})
    result = plausible(("software",), methods={"software": failed})
    assert "With the software snapshot, 1 of 1 run failed: ds is full." in plain_verdict(result)
    assert not is_sound(result)


def test_the_verdict_of_a_sound_comparison():
    result = plausible()
    assert is_sound(result)
    text = plain_verdict(result)
    assert text.startswith("The storage snapshot cost the guests least")
    headline = verdict_parts(result)[0]
    assert "Stalls of more than 5 s" in headline, "what clients notice is no detail"
    assert "1 (software), 0 (storage) and 0 (mounted)" in headline
    assert "All 9 restore points" in text
    assert "cost the guests least" not in plain_verdict(plausible(("mounted",)))


def test_methods_that_cost_the_same_have_no_winner():
    same = method_result("storage")
    result = plausible(("storage", "mounted"), methods={"storage": same, "mounted": same})
    assert plain_verdict(result).startswith(
        "The storage snapshot and the mounted snapshot cost the guests about the same"
    )
    assert "The price of" not in plain_verdict(result)


def costing(name, seconds):
    """A method whose guests waited *seconds* longer."""
    whole = method_result(name).foreground.whole
    whole = whole.model_copy(update={"excess_latency_seconds": float(seconds)})
    foreground = method_result(name).foreground.model_copy(update={"whole": whole})
    return method_result(name, foreground=foreground)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=3))
def test_the_verdict_and_the_mark_agree_on_who_cost_least(seconds):
    chosen = METHOD_NAMES[: len(seconds)]
    methods = {n: costing(n, s) for n, s in zip(chosen, seconds, strict=True)}
    result = plausible(chosen, methods=methods)
    row = headlines(result)[0]
    outcome = plain_verdict(result).split(" cost the guests ")[0].lower()
    named = {i for i, name in enumerate(chosen) if f"the {name}" in outcome}
    assert named == (row.best or set(range(len(chosen))))


def test_the_best_has_its_price_told():
    result = plausible()
    text = plain_verdict(result)
    assert "The price of the storage snapshot: more array space for snapshots (14.2 GiB" in text
    assert "Merging the deltas back took" in text


def test_a_method_that_failed_is_not_ranked():
    run = RunResult(kind="full", start=0.0, end=9.0, bytes_read=0, bytes_stored=0, outcome="no")
    failed = method_result("storage", runs=(run,))
    methods = {"software": method_result("software"), "storage": failed}
    text = plain_verdict(plausible(methods=methods))
    assert "cost the guests" not in text
    assert "With the software snapshot, the guests' I/O took" in text
    rows = [row for group in compare(plausible(methods=methods)).groups for row in group.rows]
    assert not any(row.best for row in rows)


def test_an_expected_failure_is_told_as_one():
    run = RunResult(kind="full", start=0.0, end=9.0, bytes_read=0, bytes_stored=0, outcome="gone")
    failed = method_result("storage", runs=(run,), restore_points=())
    methods = {"software": method_result("software"), "storage": failed}
    result = plausible(methods=methods, expected_failures=("storage",))
    assert is_sound(result)
    assert plain_verdict(result).startswith("As this scenario means to show, the storage snapshot")
    surprise = plausible(expected_failures=("storage",))
    assert not is_sound(surprise)
    assert "The storage snapshot was expected to fail, and did not." in plain_verdict(surprise)


def test_a_method_that_cannot_run_incrementals_is_named():
    both = tuple(
        RunResult(kind=kind, start=0.0, end=9.0, bytes_read=1, bytes_stored=1)
        for kind in ("full", "incremental")
    )
    methods = {
        "storage": method_result("storage", runs=both),
        "mounted": method_result("mounted", runs=(both[0], both[0])),
    }
    text = plain_verdict(plausible(methods=methods))
    assert "Every run of the mounted snapshot had to read in full." in text


def test_no_restore_point_is_said_and_not_taken_for_verified():
    text = plain_verdict(with_points())
    assert "No restore point was made." in text
    mixed = with_points(point("storage", "a", verified=None), point("storage", "b"))
    assert "Of 2 restore points: 1 verified byte for byte and 1 not checked." in printed(
        mixed
    ).replace("\n", "")


def test_many_vms_are_cut_with_a_count_and_the_worst_shown():
    many = tuple(vm_result("storage", i, f"vm-{i:03d}") for i in range(30))
    method = method_result("storage").model_copy(update={"vms": many})
    text = printed(plausible(("storage",), methods={"storage": method}))
    assert f"{30 - VMS_SHOWN_MAX} more VMs" in text
    longest = max(many, key=lambda vm: vm.stuns.longest_seconds)
    assert longest.name in text


def test_several_runs_show_full_and_incremental_and_their_sum():
    runs = tuple(
        RunResult(kind=k, start=100.0 * i, end=100.0 * i + s, bytes_read=b, bytes_stored=b)
        for i, (k, s, b) in enumerate([("full", 50.0, 1000), ("incremental", 4.0, 10), ("incremental", 6.0, 30)])
    )  # fmt: skip
    method = method_result("storage").model_copy(update={"runs": runs})
    text = printed(plausible(("storage",), methods={"storage": method}))
    assert line_with(text, "incremental, duration").split()[-2:] == ["5", "s"]
    assert line_with(text, "incremental, read").split()[-2:] == ["20", "B"]
    assert line_with(text, "all runs, duration")


def test_the_tightest_datastore_counts_by_share():
    stores = method_result("software").datastores
    assert tightest(stores).name == "ds-gold"
    assert tightest(()) is None
    assert {row.label for row in headlines(plausible())} >= {"longest stun", "VM snapshot open"}
