"""The compiled engine against the executable specification: the same site, script and times, bit
for bit: I/Os, visits, content log, maps, truth, news for control.

``make differential`` plays ten thousand histories and prints how often each feature fired.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, note, settings

from iops.fired import Counted, missing, note_outcome, table
from iops.histories import ACTS, SERVICES, Plan, World, plans
from iops.second import BookedSite
from stuntdouble.iops import Meter, Raid, Recorder
from stuntdouble.iops.kernel import CompiledEngine

pytestmark = pytest.mark.plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = int(os.environ.get("DIFFERENTIAL", "0"))
FEWER = "NUMBA_DISABLE_JIT" in os.environ  # the same histories, a hundred times slower
MANY = 2_000  # in so many, the rarest feature (a merge below a helper that ends) was seen 31 times


@pytest.fixture(scope="module", autouse=True)
def _what_fired() -> Iterator[None]:
    """Print how often each feature fired, where many histories are asked for."""
    yield
    if EXAMPLES:
        print(f"\n\n{table()}\n")  # noqa: T201  (what it is run for)


def assert_same(plan: Plan, meter: Callable[[], Meter] = Recorder) -> dict[str, Any]:
    """Run *plan* on both engines, compare what came of it, and return that."""
    specified = World(plan, Counted, meter, BookedSite)
    expected = specified.outcome()
    specified.site.compare(specified.disks)
    note_outcome(specified)
    found = World(plan, CompiledEngine, meter).outcome()
    for what, value in expected.items():
        assert found[what] == value, what
    return expected


def held(*acts: tuple[int, str, int, int]) -> Plan:
    """Return a history in which a fence holds up writes that will need room, and *acts*."""
    rows = [(1, 0, True, 0, 1), (2, 0, True, 300, 1), (3, 0, False, 0, 4), (4, 0, True, 1, 2)]
    loads = [(0, rows), (2, rows)]
    fence = (0, "fence", 1, 9)
    return Plan(Raid.RAID0, "lattice", 1, False, 64, 60, False, loads, [fence, *acts])


# Items that are urgent and I/Os let go in one instant; growth while I/Os are being let go; a loss
# of power behind a fence.
@example(held((1, "scan", 8, 22), (1, "read", 6, 22)))
@example(
    Plan(
        Raid.RAID0, "lattice", 1, False, 64, 60, False,
        [(0, [(0, 0, True, 0, 2), (20, 0, True, 0, 2), (20, 0, False, 1, 4)])],
        [(18, "fence", 1, 9), (19, "scan", 8, 22)],
    )
)  # fmt: skip
@example(held((5, "drop", 1, 2), (8, "limit", 0, 1)))
@example(held((2, "restore", 8, 22), (3, "freeze", 0, 0), (9, "drained", 0, 0)))
@pytest.mark.timeout(1200)
@settings(max_examples=EXAMPLES or (100 if FEWER else 300))
@given(plans)
def test_every_history_is_the_same_on_both_engines(plan) -> None:
    note(repr(plan))
    assert_same(plan)


@settings(max_examples=50)
@given(plans)
def test_a_meter_hears_the_same_from_both_engines(plan) -> None:
    note(repr(plan))
    assert_same(plan, Meter)


class Hearing(Recorder):
    """A recorder that also keeps what kind of I/O each was."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    def io(self, guest: str, arrived: float, completed: float, kind: Any = None) -> None:
        self.heard.append((guest, arrived, completed, *kind))
        super().io(guest, arrived, completed, kind)

    def take_ios(self, names: list[str], numbers: Any, times: Any, kinds: Any = None) -> None:
        rows = zip(numbers.tolist(), times.tolist(), kinds.tolist(), strict=True)
        self.heard += [(names[number], *time, *kind) for number, time, kind in rows]
        super().take_ios(names, numbers, times, kinds)


@settings(max_examples=50)
@given(plans)
def test_both_engines_tell_disk_direction_and_bytes_of_each_io(plan) -> None:
    note(repr(plan))
    specified, found = (
        World(plan, Counted, Hearing, BookedSite),
        World(plan, CompiledEngine, Hearing),
    )
    for world in (specified, found):
        world.outcome()
    expected = sorted(specified.engine.meter.heard)
    assert sorted(found.engine.meter.heard) == expected
    assert len(expected) == sum(guest.completed for guest in specified.guests)


@pytest.mark.parametrize("services", sorted(SERVICES))
def test_a_long_history_is_the_same_on_both_engines(services: str) -> None:
    acts = [(3 * k % 57, ACTS[7 * k % len(ACTS)], 11 * k + k // 3, 5 * k) for k in range(70)]
    acts = [act for act in acts if act[1] not in {"retire", "drop", "fence", "stun", "cut"}]
    plan = Plan(
        Raid.RAID5, services, 2, True, 1 << 16, 200, False, [(-3, []), (7, []), (-3, [])], acts
    )
    told = assert_same(plan)
    assert sum(figures[0] for figures in told["guests"]) > 100  # arrived
    assert len(told["visits"]) > 100
    assert len(told["history"]) > 20


@pytest.mark.skipif(EXAMPLES < MANY, reason=f"asks for {MANY} histories (make differential)")
def test_many_histories_make_everything_happen() -> None:
    assert missing() == []
