"""What may be done with protection groups: volumes that are snapshotted together.

Their schedules, targets and members of other kinds are not emulated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.arrayapi.pure.estate import (
    DESTROYED,
    ERADICATION_SECONDS,
    GROUP,
    ProtectionGroup,
)
from stuntdouble.arrayapi.pure.names import check_name, same
from stuntdouble.arrayapi.pure.refusals import Refusal, gone, missing, taken

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array import Snapshot, Volume
    from stuntdouble.arrayapi.pure.eradication import Eradication
    from stuntdouble.arrayapi.pure.estate import Estate
    from stuntdouble.arrayapi.pure.snapshots import Snapshots


class Groups:
    """Operations on protection groups and their snapshots."""

    def __init__(self, estate: Estate, eradication: Eradication, snapshots: Snapshots) -> None:
        self._estate = estate
        self._eradication = eradication
        self._snapshots = snapshots
        self._made = 0

    def create(self, name: str) -> ProtectionGroup:
        """Make a group without members."""
        check_name("Protection group", name)
        if any(same(group.name, name) for group in self._estate.groups):
            raise taken("Protection group", name)
        self._made += 1
        group = ProtectionGroup(name, self._made, self._estate.now)
        self._estate.groups.append(group)
        return group

    def destroy(self, name: str) -> ProtectionGroup:
        """Let a group, and its snapshots, be gone but for their recovery."""
        group = self._estate.live_group(name)
        group.destroyed = self._estate.now
        for snapshot in self.snapshots(group):
            if DESTROYED not in snapshot.notes:
                self._eradication.begin(snapshot)
        self._estate.array.core.env.process(self._wait(group, group.destroyed))
        return group

    def _wait(self, group: ProtectionGroup, since: float) -> Generator[Event, Any, None]:
        """Forget a group a day after; its snapshots go by themselves at the same time."""
        yield self._estate.array.core.env.timeout(ERADICATION_SECONDS)
        if group.destroyed == since and group in self._estate.groups:
            self._estate.groups.remove(group)

    def recover(self, name: str) -> ProtectionGroup:
        """Let a destroyed group be there again, with the snapshots that it took along."""
        group = self._estate.group(name)
        if group.destroyed is None:
            raise Refusal("Protection group is not destroyed.", name)
        for snapshot in self.snapshots(group):
            if snapshot.notes.get(DESTROYED) == group.destroyed:
                del snapshot.notes[DESTROYED]
        group.destroyed = None
        return group

    def eradicate(self, name: str) -> Generator[Event, Any, None]:
        """Forget a destroyed group, and delete its snapshots for good."""
        group = self._estate.group(name)
        if group.destroyed is None:
            raise Refusal("Protection group is not destroyed.", name)
        for snapshot in self.snapshots(group):
            yield from self._eradication.end(snapshot)
        if group in self._estate.groups:
            self._estate.groups.remove(group)

    # Members. --------------------------------------------------------------------------------

    def add(self, name: str, volume_name: str) -> tuple[ProtectionGroup, Volume]:
        """Put a volume into a group."""
        group, volume = self._estate.live_group(name), self._estate.live_volume(volume_name)
        if volume in self._estate.members(group):
            raise Refusal("Protection group already includes the volume.", volume_name)
        group.members.append(volume)
        return group, volume

    def remove(self, name: str, volume_name: str) -> None:
        """Take a volume out of a group."""
        group, volume = self._estate.live_group(name), self._estate.volume(volume_name)
        if volume not in group.members:
            raise Refusal("Member could not be found.", volume_name)
        group.members.remove(volume)

    # Snapshots of groups. --------------------------------------------------------------------

    def snapshots(self, group: ProtectionGroup | None = None) -> list[Snapshot]:
        """Return the snapshots of volumes that belong to snapshots of groups."""
        return [
            snapshot
            for snapshot in self._estate.snapshots()
            if GROUP in snapshot.notes
            and (group is None or str(snapshot.notes[GROUP]).partition(".")[0] == group.name)
        ]

    def by_name(self) -> dict[str, list[Snapshot]]:
        """Return the snapshots of groups, each with those of its volumes."""
        found: dict[str, list[Snapshot]] = {}
        for snapshot in self.snapshots():
            found.setdefault(snapshot.notes[GROUP], []).append(snapshot)
        return found

    def snapshot(
        self, name: str, suffix: str | None
    ) -> Generator[Event, Any, tuple[str, list[Snapshot]]]:
        """Snapshot a group; return what the snapshot is called, and its parts."""
        group = self._estate.live_group(name)
        made = yield from self._snapshots.create_of_group(group, suffix)
        return made[0].notes[GROUP], made

    def parts(self, name: str) -> list[Snapshot]:
        """Return the parts of a group's snapshot; refuse where there is none of this name."""
        for called, parts in self.by_name().items():
            if same(called, name):
                return parts
        raise missing("Protection group snapshot", name)

    def destroy_snapshot(self, name: str) -> list[Snapshot]:
        """Let a group's snapshot be gone but for its recovery."""
        parts = self.parts(name)
        if all(self._estate.destroyed_at(part) is not None for part in parts):
            raise gone("Protection group snapshot", name)
        for part in parts:
            if DESTROYED not in part.notes:
                self._eradication.begin(part)
        return parts

    def recover_snapshot(self, name: str) -> list[Snapshot]:
        """Let a destroyed snapshot of a group be there again."""
        parts = self.parts(name)
        if not any(DESTROYED in part.notes for part in parts):
            raise Refusal("Protection group snapshot is not destroyed.", name)
        for part in parts:
            part.notes.pop(DESTROYED, None)
        return parts

    def eradicate_snapshot(self, name: str) -> Generator[Event, Any, None]:
        """Delete a destroyed snapshot of a group for good."""
        parts = self.parts(name)
        if not all(self._estate.destroyed_at(part) is not None for part in parts):
            raise Refusal("Protection group snapshot is not destroyed.", name)
        for part in parts:
            yield from self._eradication.end(part)
