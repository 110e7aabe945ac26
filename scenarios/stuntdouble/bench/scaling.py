"""How the cost of an I/O changes with the number of VMs, of I/Os and of control events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from stuntdouble.bench.cases import Case, Sample
from stuntdouble.bench.pooled import SIMPLE, Pooled, PooledWorld
from stuntdouble.bench.runs import measure

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.bench.worlds import Content, EngineName, Scenario

NAME: Final = "scaling"
IOPS: Final = SIMPLE.vms * SIMPLE.vm_iops  # of all VMs, however many: the queue stays the same
VMS: Final = (10, 30, 100, 300, 1000)
IOS: Final = (10**5, 10**6, 10**7)
FULL_IOS: Final = (10**8, 10**9)
CONTROL: Final = (10, 1000, 100_000)  # events in the measured time


@dataclass(frozen=True, slots=True)
class Controlled:
    """The simple scenario, interrupted by so many control events that do nothing."""

    inner: Pooled
    events: int

    @property
    def warm_up_seconds(self) -> float:
        """Site time before the measurement."""
        return self.inner.warm_up_seconds

    @property
    def seconds(self) -> float:
        """Site time that is measured."""
        return self.inner.seconds

    def build(self, engine: EngineName, content: Content) -> PooledWorld:
        """Return the world at time 0."""
        world = self.inner.build(engine, content)
        gap = self.inner.seconds / self.events

        def tick() -> Generator[Event, object, None]:
            yield world.env.timeout(self.inner.warm_up_seconds)
            while True:
                yield world.env.timeout(gap)

        world.env.process(tick())
        return world


def cases(*, quick: bool, full: bool) -> list[Case]:
    """Return a case for each number of VMs, of I/Os and of control events."""
    usual = 10**5 if quick else 10**6
    counts = IOS[:2] if quick else (*IOS, *(FULL_IOS if full else ()))
    vms = [(f"{n:,} VMs", _of(n, usual), 0) for n in VMS]
    ios = [(f"{n:,} I/Os", _of(SIMPLE.vms, n), 0) for n in counts]
    control = [(f"{n:,} control events", _of(SIMPLE.vms, usual), n) for n in CONTROL]
    return [
        Case(NAME, name, partial(_run, world, events), "counts", rounds=_rounds(world))
        for name, world, events in (*vms, *ios, *control)
    ]


def _of(vms: int, ios: int) -> Pooled:
    return replace(SIMPLE, vms=vms, vm_iops=IOPS / vms, warm_up_seconds=0.5, seconds=ios / IOPS)


def _rounds(world: Pooled) -> int:
    return 1 if world.seconds * IOPS > 2 * 10**7 else 0  # it averages over itself


def _run(world: Pooled, events: int) -> Sample:
    scenario: Scenario = Controlled(world, events) if events else world
    sample = measure(scenario, "compiled", "counts")
    sample.facts["ns per I/O"] = 1e9 * sample.seconds / sample.ios
    return sample
