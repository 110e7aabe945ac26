"""Quiescing: the guest flushes and freezes, is snapshotted, and thaws, all within a time limit.

A frozen guest still computes, but its file systems take no write; the emulated guest issues no I/O
at all meanwhile, as in a stun, which is longer than a real one by its reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.errors import QuiesceFailed
from stuntdouble.ports import Consistency

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.hypervisor.inventory import Vm


class Freeze:
    """A guest's freeze, or none where it was not asked for or cannot be had.

    Without guest tools, and for a VM that is off, a request to quiesce is ignored, as the vSphere
    API has it.
    """

    def __init__(self, vm: Vm, *, wanted: bool) -> None:
        profile, parameters = vm.quiesce, vm.host.parameters
        self.consistency = Consistency.CRASH
        self._vm = vm
        self._held = False
        self._began = 0.0
        self._wanted = wanted and profile.tools and vm.powered_on
        self._seconds_max = parameters.freeze_seconds_max
        if self._wanted:
            self.consistency = Consistency.FILE_SYSTEM
        if self._wanted and profile.vss:
            self.consistency = Consistency.APPLICATION
            self._seconds_max = parameters.quiesce_seconds_max

    def begin(self) -> Generator[Event, object, None]:
        """Freeze; QuiesceFailed where the guest does not manage in time."""
        if not self._wanted:
            return
        env = self._vm.host.env
        self._held, self._began = True, env.now
        self._vm.host.engine.stun(self._vm.guest)
        yield env.timeout(min(self._vm.quiesce.freeze_seconds, self._seconds_max))
        if self._vm.quiesce.freeze_seconds > self._seconds_max:
            raise QuiesceFailed(self._vm.name, self._seconds_max)

    def check(self) -> None:
        """Raise QuiesceFailed where the guest has been frozen for too long by now."""
        if self._held and self._vm.host.env.now - self._began > self._seconds_max:
            raise QuiesceFailed(self._vm.name, self._seconds_max)

    def end(self) -> None:
        """Thaw, where frozen."""
        if self._held:
            self._held = False
            host = self._vm.host
            host.engine.resume(self._vm.guest)
            host.note("freeze", self._vm.name, seconds=host.env.now - self._began)
