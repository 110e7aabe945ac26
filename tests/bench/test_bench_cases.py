"""Cases, turns and medians."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stuntdouble.bench import NAMES, Case, Row, Sample, cases, merge, run
from stuntdouble.bench.cases import rounds_of, rss_mib
from stuntdouble.cli.bench import BENCHMARKS
from stuntdouble.errors import Misuse


def sampler(*seconds: float, ios: int = 100):
    left = list(seconds)
    return lambda: Sample(ios, left.pop(0), served=2 * ios, facts={"left": float(len(left))})


def nothing() -> Sample:
    raise AssertionError("a case that is missing is not run")


def test_cases_take_turns() -> None:
    a, b, c = (Case("x", name, nothing, rounds=n) for name, n in (("a", 0), ("b", 2), ("c", 1)))
    missing = Case("x", "d", nothing, missing="gone")
    order = [case.name for case in rounds_of([a, b, c, missing], 3)]
    assert order == ["a", "b", "c", "a", "b", "a"]


def test_a_row_holds_medians_and_the_ratio_to_the_first_of_its_benchmark() -> None:
    slow = Case("x", "slow", sampler(1.0, 4.0, 2.0))
    gone = Case("x", "gone", nothing, missing="not here")
    fast = Case("x", "fast", sampler(0.5, 0.1, 0.2), content="counts")
    other = Case("y", "other", sampler(1.0, 1.0, 1.0, ios=7))
    begun: list[str] = []
    found = run([slow, gone, fast, other], 3, lambda case: begun.append(case.name))
    assert begun == 3 * ["slow", "fast", "other"]
    assert [row.name for row in found] == ["slow", "gone", "fast", "other"]
    assert found[0].ios_per_second == 50.0
    assert found[0].seconds == 2.0
    assert found[0].served_per_second == 100.0
    assert found[0].facts == {"left": 1.0}
    assert found[1] == Row("x", "gone", "", missing="not here")
    assert found[2].ratio == 10.0
    assert (found[3].ratio, found[3].rounds, found[3].ios) == (1.0, 3, 7)


def test_where_there_are_events_the_ratio_is_of_events() -> None:
    first = Case("x", "first", lambda: Sample(100, 1.0, events=1000))
    second = Case("x", "second", lambda: Sample(400, 2.0, events=3000))
    assert [row.ratio for row in run([first, second], 1, str)] == [1.0, 1.5]


def test_every_benchmark_has_cases_and_the_command_knows_them() -> None:
    assert BENCHMARKS == NAMES
    for quick in (True, False):
        assert tuple(dict.fromkeys(case.bench for case in cases([], quick=quick))) == NAMES


def test_a_billion_ios_are_for_those_who_ask() -> None:
    usual = {case.name for case in cases(["scaling"])}
    full = {case.name: case for case in cases(["scaling"], full=True)}
    assert set(full) - usual == {"100,000,000 I/Os", "1,000,000,000 I/Os"}
    assert full["1,000,000,000 I/Os"].rounds == 1


def test_an_unknown_benchmark_is_named() -> None:
    with pytest.raises(Misuse, match=r"'nope'.*queue, merge, snapshot"):
        cases(["nope"])


def test_figures_of_a_site_say_its_content_mode() -> None:
    for case in cases([]):
        assert (case.content in {"counts", "bytes"}) == (case.bench not in {"queue", "merge"})


def test_memory_is_read_where_the_system_tells_it(tmp_path: Path) -> None:
    status = tmp_path / "status"
    assert rss_mib(status) == 0.0
    status.write_text("Name:\tx\nVmRSS:\t   2048 kB\n")
    assert rss_mib(status) == 2.0
    status.write_text("Name:\tx\n")
    assert rss_mib(status) == 0.0


@pytest.mark.parametrize("sources", [2, 5, 16, 33])
def test_every_way_to_merge_gives_the_same_order(sources) -> None:
    arrivals = merge.drawn(sources, 40 * sources)
    arrivals[0, 3:] = arrivals[0, 3]  # ties
    wanted = np.sort(arrivals, axis=None)
    for way in (merge.by_agenda, merge.by_tree, merge.by_sorting):
        assert np.array_equal(way(arrivals), wanted)
