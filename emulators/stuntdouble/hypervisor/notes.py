"""What the hypervisor notes in the journal, and the notes that need a rule.

A wire turns these into events, so their names are an interface:

    kind                     subject     facts
    powered-on               VM
    powered-off              VM          whatever the reason
    paused                   VM          question
    resumed                  VM
    crash                    VM          line: of the host's log
    host-crash               host        vms: names of those that ran there
    host-up                  host
    stun                     VM          seconds, why, line
    freeze                   VM          seconds
    snapshot                 VM          id, consistency
    snapshot-removed         VM          id
    revert                   VM          id
    consolidation-start      VM
    consolidation            VM          started, rounds, seconds, bytes, converged, done
    needs-consolidation      VM          when it becomes true, and no task is at work on it
    delta-locked             VM          files, by: a removal left delta disks that somebody has open
    delta-released           VM
    tracking-lost            VM          disk: its key, cause: one of ``Cause``
    extended                 VM          disk, bytes, bytes_before
    datastore-usage          datastore   level: "yellow", "red", or "green" again; used: a share
    datastore-full           datastore   bytes_needed, bytes_free; once until space comes free
    mounted                  datastore   volumes
    unmounted                datastore
    rescanned                host        devices: how many arrays map to it
    registered               VM
    unregistered             VM
    relocated                VM          to, bytes, seconds
    destroyed                VM
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from stuntdouble.hypervisor.host import Host

Cause = Literal[
    "crash",
    "host crash",
    "power off",
    "revert",
    "disk removed",
    "switched off",
    "unregistered",
    "relocated",
]
"""Why the tracking state of a disk is gone; in each case, what was asked for next is a full."""

USAGE_LEVELS: Final = ((0.85, "red"), (0.75, "yellow"))
"""Share of a datastore in use: vCenter's default alarm "Datastore usage on disk" warns at 75 % and
alerts at 85 %."""


class UsageAlarm:
    """Notes when the usage of a datastore crosses a level, either way, and when it is full."""

    def __init__(self, host: Host, datastore: str) -> None:
        self._host = host
        self._datastore = datastore
        self._level = "green"
        self._full = False

    def look(self, free_bytes: int, capacity_bytes: int) -> None:
        """Look at how much is free by now."""
        used = 1.0 - free_bytes / max(capacity_bytes, 1)
        level = next((name for share, name in USAGE_LEVELS if used >= share), "green")
        if level != self._level:
            self._level = level
            self._host.note("datastore-usage", self._datastore, level=level, used=round(used, 4))

    def freed(self) -> None:
        """Say that space has come free."""
        self._full = False

    def refused(self, needed_bytes: int, free_bytes: int) -> None:
        """Say that there was not enough room for something."""
        if not self._full:
            self._full = True
            self._host.note(
                "datastore-full", self._datastore, bytes_needed=needed_bytes, bytes_free=free_bytes
            )
