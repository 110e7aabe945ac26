"""The compiled engine under the pacer: in wall time it makes the same I/Os as in virtual time."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest

from clockwork import Clockwork
from iops.histories import Plan, World
from iops.mutants import plan_of
from stuntdouble.clock import Pacer
from stuntdouble.iops.kernel import CompiledEngine

pytestmark = pytest.mark.plain

RATE = 10.0


class Late(Clockwork):
    """A loop that is woken late: a little, or by several polls at once."""

    def __init__(self, delays: tuple[float, ...]) -> None:
        super().__init__(RATE)
        self.delays = cycle(delays)
        self.wakes, self.until = 0, 0.0

    def wake(self) -> None:
        self.now = min(max(self.now, self.next_wake()) + next(self.delays), self.until)
        self.wakes += 1
        super().wake()


def paced(world: World, loop: Late) -> dict[str, Any]:
    """Return what the history makes of the world when the pacer drives it."""
    pacer = Pacer(world.env, loop)
    pacer.start()

    def run(until: float) -> None:
        loop.until = until
        while loop.next_wake() <= until and loop.now < until:
            loop.wake()
        loop.now = until
        with world.env.entered():
            assert pacer.lag_seconds == 0
            assert world.env.now == until

    return world.outcome(run)


def lively(seed: int) -> Plan:
    """Return a fixed history in which nobody's load comes to an end."""
    plan = plan_of(seed)
    plan.acts = [act for act in plan.acts if act[1] not in {"retire", "drop", "cut"}]
    return plan


@pytest.mark.parametrize("delays", [(0.0,), (0.0, 0.0037, 0.0, 0.41, 2.3)])
@pytest.mark.parametrize("seed", range(6))
def test_the_pacer_makes_the_same_ios_as_virtual_time(seed: int, delays: tuple[float, ...]) -> None:
    expected = World(lively(seed), CompiledEngine).outcome()
    loop = Late(delays)
    found = paced(World(lively(seed), CompiledEngine), loop)
    assert len(expected["visits"]) > 30
    assert loop.wakes > 50
    assert found == expected
