"""The array's part of a job: prepare, snapshot, promote, map; and the way back."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from stuntdouble.backup.cleanup import adopted
from stuntdouble.errors import Corrupt, InvalidState, Refused
from stuntdouble.units import format_size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from stuntdouble.backup.cleanup import Step, Undo
    from stuntdouble.backup.report import Diary
    from stuntdouble.backup.work import Work
    from stuntdouble.ports import ArraySnapshot, Mapping, VolumeInfo


@dataclass(slots=True)
class Presented:
    """A promoted volume as it is mapped, and the NAA identifier of its original.

    ``step`` takes the mapping away: what is done with the LUN needs it.
    """

    original: str
    mapping: Mapping
    step: Step


class ArraySide:
    """Make array objects for one group of VMs, each with its way back on *undo* first.

    Names are the job's own, so what a lost reply made can be found, and removed, by name.
    """

    def __init__(self, work: Work, undo: Undo, diaries: tuple[Diary, ...]) -> None:
        self._note = work.note
        self._array = work.the_array()
        self._undo = undo
        self._diaries = diaries
        self._name = work.new_name()
        self._originals: dict[str, str] = {}
        self._deletions: dict[str, Step] = {}
        self._prepared: set[str] = set()

    async def prepare(self, naas: Iterable[str]) -> None:
        """Let the array make ready for a snapshot of the volumes: before VMs are held still for it.

        Mirrors that this synchronises stay when the job is over: the next one copies the less.
        """
        wanted = tuple(naa for naa in dict.fromkeys(naas) if naa not in self._prepared)
        if not wanted:
            return
        copied = await self._array.prepare(wanted)
        self._prepared.update(wanted)
        if copied:
            text = f"{format_size(copied)} copied to mirrors of {len(wanted)} volumes"
            self._tell("mirrors-synchronised", self._name, text, copied_bytes=copied)

    async def snapshot(self, naas: Iterable[str]) -> tuple[ArraySnapshot, ...]:
        """Snapshot the volumes in one call, hence in one instant.

        What only an offset table has named by now is prepared late.
        """
        wanted = tuple(naas)
        await self.prepare(wanted)
        await self._learn_names(wanted)

        async def find() -> tuple[ArraySnapshot, ...] | None:
            found = await self._ours()
            return found if len(found) == len(wanted) else None

        step = self._undo.add(f"array snapshot {self._name}", self._delete_snapshots)
        try:
            create = self._array.create_snapshots(wanted, self._name)
            made = await adopted(create, find, self._diaries)
        except Refused:
            self._undo.forget(step)
            raise
        for snapshot in made:
            delete = partial(self._delete_snapshot, snapshot.name)
            name = f"array snapshot {snapshot.name}"
            self._deletions[snapshot.name] = self._undo.add(name, delete)
            self._tell(
                "array-snapshot",
                snapshot.name,
                f"array snapshot {snapshot.name} of {snapshot.volume} taken",
                volume=snapshot.volume,
            )
        self._undo.forget(step)  # each has its own by now, so that one in use keeps no other
        return made

    async def present(self, snapshot: ArraySnapshot, initiator_iqn: str) -> Presented:
        """Promote an array snapshot to a volume and map it to an initiator.

        Raises:
            InvalidState: the mapping is of another volume than the promoted one.
        """
        volume, promoted = await self._promote(snapshot)
        mapping, mapped = await self._map(volume, promoted, initiator_iqn)
        return Presented(self._originals[snapshot.volume], mapping, mapped)

    @asynccontextmanager
    async def trusted(self) -> AsyncIterator[None]:
        """Read within; what was read may be used where this ends without an error.

        Raises:
            InvalidState: as ``check_valid``; also where reading failed for that reason.
        """
        try:
            yield
        except Corrupt:
            await self.check_valid()
            raise
        await self.check_valid()

    async def check_valid(self) -> None:
        """Make sure that the snapshots are still what they were.

        Raises:
            InvalidState: the array gave a snapshot up while it was read (its reserve was full):
                what was read of it cannot be trusted.
        """
        ours = await self._ours()
        for snapshot in ours:
            if not snapshot.valid:
                name = f"array snapshot {snapshot.name}"
                raise InvalidState(name, "no longer valid", "trust what was read of it")

    async def _learn_names(self, wanted: tuple[str, ...]) -> None:
        """Note which volume name means which NAA identifier; snapshots name their volume."""
        known = {info.name: info.naa for info in await self._array.volumes()}
        self._originals = {naa: naa for naa in wanted}
        self._originals.update({name: naa for name, naa in known.items() if naa in wanted})

    async def _promote(self, snapshot: ArraySnapshot) -> tuple[VolumeInfo, Step]:
        name = f"{snapshot.name}-copy"

        async def find() -> VolumeInfo | None:
            return next((v for v in await self._array.volumes() if v.name == name), None)

        async def delete() -> None:
            await self._array.delete_volume(name)
            self._tell("volume-deleted", name, f"promoted volume {name} deleted")

        below = self._deletions[snapshot.name]
        step = self._undo.add(f"promoted volume {name}", delete, needs=(below,))
        try:
            create = self._array.promote(snapshot.name, name)
            volume = await adopted(create, find, self._diaries)
        except Refused:
            self._undo.forget(step)
            raise
        self._tell("promoted", name, f"{snapshot.name} promoted to volume {name}", naa=volume.naa)
        return volume, step

    async def _map(
        self, volume: VolumeInfo, promoted: Step, initiator_iqn: str
    ) -> tuple[Mapping, Step]:
        async def find() -> Mapping | None:
            for mapping in await self._array.mappings():
                if (mapping.volume, mapping.initiator_iqn) == (volume.name, initiator_iqn):
                    return mapping
            return None

        async def unmap() -> None:
            await self._array.unmap_volume(volume.name, initiator_iqn)
            self._tell("unmapped", volume.name, f"{volume.name} unmapped")

        name = f"mapping of {volume.name} to {initiator_iqn}"
        step = self._undo.add(name, unmap, needs=(promoted,))
        try:
            create = self._array.map_volume(volume.name, initiator_iqn)
            mapping = await adopted(create, find, self._diaries)
        except Refused:
            self._undo.forget(step)
            raise
        if mapping.naa != volume.naa:
            raise InvalidState(f"LUN {mapping.lun}", f"volume {mapping.naa}", f"read {volume.naa}")
        text = f"{volume.name} mapped to {initiator_iqn} as LUN {mapping.lun}"
        self._tell("mapped", volume.name, text, lun=mapping.lun)
        return mapping, step

    async def _ours(self) -> tuple[ArraySnapshot, ...]:
        """Return the snapshots that carry the job's name, alone or as a part of theirs.

        Arrays name the members of a consistency group each in their own way: ``name.1``,
        ``volume.name``, ``name-volume``.
        """
        part = re.compile(rf"(?<![0-9A-Za-z]){re.escape(self._name)}(?![0-9A-Za-z])")
        return tuple(
            snapshot
            for snapshot in await self._array.snapshots()
            if snapshot.volume in self._originals and part.search(snapshot.name)
        )

    async def _delete_snapshots(self) -> None:
        for snapshot in await self._ours():
            await self._delete_snapshot(snapshot.name)

    async def _delete_snapshot(self, name: str) -> None:
        await self._array.delete_snapshot(name)
        self._tell("array-snapshot-deleted", name, f"array snapshot {name} deleted")

    def _tell(self, kind: str, subject: str, text: str, **facts: object) -> None:
        self._note(kind, subject, vms=tuple(diary.vm for diary in self._diaries), **facts)
        for diary in self._diaries:
            diary.line(text)
