"""The throttle group and the live commit: by their own rules, and against what they must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.clock import Environment, Priority
from stuntdouble.lab import stored_curves
from stuntdouble.validity.qemu import IN_FLIGHT_MAX, Laboratory, live_commit
from stuntdouble.validity.throttle import ThrottleGroup

pytestmark = pytest.mark.plain

visits = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=80
)


def passed(rows, *, rate: float = 4.0, burst: float = 2.0) -> list[tuple[float, int, int, int]]:
    """Return (time, write, member, number of the visit) in the order in which they get through."""
    env, through = Environment(), []
    group = ThrottleGroup(env, rate, burst, lambda _write, position, _purpose: position)

    def come(number: int, write: int, member: int) -> None:
        event = group.visit(write, member, 4096, 0)
        event.callbacks.append(lambda _: through.append((env.now, write, member, number)))

    for number, (ticks, write, member) in enumerate(sorted(rows, key=lambda row: row[0])):
        env.at(ticks / 10, Priority.ARRIVAL).callbacks.append(
            lambda _, n=number, w=write, m=member: come(n, w, m)
        )
    env.run()
    return through


@given(visits)
def test_everything_gets_through_in_line_of_its_queue_and_within_the_rate(rows) -> None:
    through = passed(rows)
    assert sorted(n for *_, n in through) == list(range(len(rows)))
    for write in (0, 1):
        for member in (0, 1):
            mine = [n for _, w, m, n in through if (w, m) == (write, member)]
            assert mine == sorted(mine)
    times = [t for t, *_ in through]
    for first in range(len(times)):
        for last in range(first, len(times)):
            # Each direction lets one through on its own timer: two beyond what the bucket holds.
            assert last - first + 1 <= 2.0 + 4.0 * (times[last] - times[first]) + 3


def test_all_four_queues_have_their_turn() -> None:
    rows = [(0, write, member) for write in (0, 1) for member in (0, 1) for _ in range(40)]
    through = [row for row in passed(rows) if 2.0 < row[0] < 22.0]
    counts = {(w, m): sum(row[1:3] == (w, m) for row in through) for w in (0, 1) for m in (0, 1)}
    assert sum(counts.values()) == pytest.approx(80, abs=3)
    assert all(count == pytest.approx(20, abs=2) for count in counts.values()), counts


def test_who_is_alone_has_the_whole_rate() -> None:
    times = [t for t, *_ in passed([(0, 1, 0)] * 60)]
    assert np.diff(times[3:]) == pytest.approx(0.25)


def test_a_live_commit_ends_with_nothing_left_and_a_guest_at_full_speed() -> None:
    curve = stored_curves()["live-commit"]
    run = live_commit(curve, 3)
    assert run.phases["copying"] == pytest.approx(150.4, rel=0.1)
    assert run.phases["after"] == pytest.approx(400, rel=0.01)
    assert 0 < run.caught_up_seconds <= run.seconds
    assert len(run.iops) == len(curve.iops)


def test_a_live_commit_keeps_to_its_rules() -> None:
    curve = stored_curves()["live-commit"]
    lab = Laboratory(curve, 1, by_turns=True)
    lab.env.run(5.0)
    assert lab.chunks.allocated == lab.chunks.dirty
    under_way: dict[int, object] = {}
    copied: list[int] = []
    copy = lab._copy

    def noted(chunk: int):
        done = {k for k, event in under_way.items() if event.processed}
        for k in done:
            del under_way[k]
        assert chunk not in under_way
        under_way[chunk] = copy(chunk)
        assert len(under_way) <= IN_FLIGHT_MAX
        copied.append(chunk)
        return under_way[chunk]

    lab._copy = noted
    before = set(lab.chunks.dirty)
    lab.env.run(lab.env.process(lab.commit()))
    assert before <= set(copied)
    assert lab.chunks.allocated <= set(copied)
    assert not lab.chunks.dirty
    assert lab.chunks.merged
    assert len(copied) > len(set(copied)), "nothing was written again meanwhile"
