"""One method's run over a world, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stuntdouble.scenarios import judge
from stuntdouble.scenarios.stages import Stages

if TYPE_CHECKING:
    from stuntdouble.array import LocalArray
    from stuntdouble.backup import JobReport, Method
    from stuntdouble.backup.repository import Repository
    from stuntdouble.ports import Hypervisor, RestorePoint
    from stuntdouble.scenarios.build import World
    from stuntdouble.scenarios.judge import Difference
    from stuntdouble.site import Disk, Moment

SAME_SECONDS: Final = 2e-6
"""Instants that are one: an interface tells them by the microsecond, and two snapshots of a VM are
further apart."""


@dataclass
class Run:
    """One method's run over a world, and what came of it."""

    world: World
    method: Method
    repository: Repository
    hypervisor: Hypervisor
    array: LocalArray
    stages: Stages = field(init=False)
    noted_before: int = field(init=False)
    began: float = 0.0
    ended: float = 0.0
    reports: list[JobReport] = field(default_factory=list)
    points: list[RestorePoint] = field(default_factory=list)
    differences: dict[str, list[Difference]] = field(default_factory=dict)
    restores: list[tuple[str, str, bool]] = field(default_factory=list)
    not_restored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    leftovers: list[tuple[str, str]] = field(default_factory=list)
    phase: str = "before"
    late: dict[str, float] = field(default_factory=dict)
    """For how many seconds of the run each guest's clock stood still."""

    def __post_init__(self) -> None:
        self.noted_before = len(self.world.journal)
        self.stages = Stages(self.world.journal, self.world.engine.meter)

    def moments(self, point: RestorePoint) -> dict[int, Moment]:
        """Return the truth of a restore point's instant, by disk key."""
        disks = self.world.hypervisor.vm(point.vm).disks
        return {
            key: moment
            for (_, key), moment in self.world.hypervisor.moments.items()
            if key in disks
            and moment.disk is disks[key].disk
            and abs(moment.seconds - point.moment) < SAME_SECONDS
        }

    def verify(self, point: RestorePoint) -> None:
        """Compare a restore point with the truth, byte for byte."""
        moments = self.moments(point)
        found = judge.check_point(self.world.site, self.repository, point, moments)
        self.differences.setdefault(point.id, []).extend(found)

    def forget(self) -> None:
        """Let go of truth that no restore point can be compared with any more."""
        host = self.world.hypervisor
        kept: dict[Disk, list[float]] = {}
        for point in self.repository.points():
            for disk in host.vm(point.vm).disks.values():
                kept.setdefault(disk.disk, []).append(point.moment)
        host.forget_moments(
            lambda moment: any(
                abs(moment.seconds - seconds) < SAME_SECONDS
                for seconds in kept.get(moment.disk, ())
            )
        )
