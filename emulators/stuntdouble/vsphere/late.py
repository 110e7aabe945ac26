"""Properties that appear late: a task has succeeded, and the inventory does not show it yet.

vCenter tells of a task's success by one way and of what it changed by another.  A client that reads
a snapshot's changeIds as soon as the task is done may find the snapshot missing, or see the VM as it
was.  Off by default: a quirk of the hypervisor, which says for how long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.vsphere.vm import VirtualMachine

NAMES: Final = ("config", "snapshot", "rootSnapshot", "runtime", "summary", "storage", "layoutEx")
"""Properties of a VM that a task may change."""


class LateProperties:
    """What a VM showed before its latest task, for as long as that is still what it shows."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.values: dict[str, Any] = {}
        self._machine = machine
        self._task = 0

    def behind(
        self, model: Generator[Event, Any, Any], seconds: float
    ) -> Generator[Event, Any, Any]:
        """Run a task's model; show what it has done *seconds* after it has ended."""
        self._task += 1
        self.values = {name: self._machine.show(name) for name in NAMES}
        try:
            return (yield from model)
        finally:
            env = self._machine.center.env
            env.process(self._reveal(self._task, seconds))

    def _reveal(self, task: int, seconds: float) -> Generator[Event, Any, None]:
        yield self._machine.center.env.timeout(seconds)
        if task == self._task:  # no other has begun meanwhile, which is late in turn
            self.values = {}
            self._machine.center.changes.touch(self._machine)
