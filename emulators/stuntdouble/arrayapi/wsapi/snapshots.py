"""Virtual copies, of a volume or of all volumes of a set in one instant.

A copy of what may be written to is a snapshot, read-only.  A writable copy of a snapshot is a
volume promoted from it.  A writable copy of what may be written to is both: a snapshot that nobody
sees, and a volume promoted from that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.array import Snapshot, Volume
from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi import vvs
from stuntdouble.arrayapi.wsapi.bodies import (
    INT32_MAX,
    NAME_LENGTH_MAX,
    Shape,
    comment,
    flag,
    text,
    vv_name,
    whole,
)
from stuntdouble.arrayapi.wsapi.codes import Refusal, unsupported
from stuntdouble.arrayapi.wsapi.times import HOURS, Times, times_of
from stuntdouble.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from simpy.events import Event

    from stuntdouble.array import Array
    from stuntdouble.arrayapi.wsapi.sets import Set
    from stuntdouble.arrayapi.wsapi.vvs import Vv

PATTERN_LENGTH_MAX: Final = 255  # chosen: what comes of a pattern is held to 31 characters

_MEMBERS: Final = {
    "id": whole(-INT32_MAX - 1),
    "comment": comment,
    "readOnly": flag,
    **HOURS,
}
OF_VOLUME: Final = Shape({"name": vv_name, **_MEMBERS}, ("name",))
OF_SET: Final = Shape({"name": text(PATTERN_LENGTH_MAX), **_MEMBERS}, ("name",))

_MARK: Final = re.compile(r"@[^@]*@")


@dataclass(frozen=True)
class _Wanted:
    """A copy that is to be made: of what, under which name."""

    parent: Vv
    name: str


class Snapshots:
    """What makes virtual copies.

    Args:
        array: whose volumes they are copies of.
        inside: returns the members of a volume set.
    """

    def __init__(self, array: Array, inside: Callable[[Set[Vv]], list[Vv]]) -> None:
        self._array = array
        self._inside = inside
        self._next = 0

    def of_volume(self, vv: Vv, found: dict[str, Any]) -> Generator[Event, Any, Reply]:
        """Make a copy of a volume."""
        yield from self._make([_Wanted(vv, found["name"])], found)
        return Reply(201, None, (("Location", f"/api/v1/volumes/{found['name']}"),))

    def of_set(self, one: Set[Vv], found: dict[str, Any]) -> Generator[Event, Any, Reply]:
        """Make a copy of each volume of a set, in one instant."""
        inside = self._inside(one)
        if not inside:
            raise Refusal("EMPTY_SET", ref=one.name)
        pattern = found["name"]
        if len(inside) > 1 and not _MARK.search(pattern):
            raise Refusal("INVALID_INPUT_VV_PATTERN", "no mark tells the copies apart", pattern)
        wanted = [
            _Wanted(vv, _filled(pattern, vv, one.name, count)) for count, vv in enumerate(inside)
        ]
        if len({each.name for each in wanted}) != len(wanted):
            raise Refusal("INV_INPUT_DUP_NAME", "names of copies", pattern)
        if len({vvs.base(each.parent).id for each in wanted}) != len(wanted):
            raise Refusal("INV_OPERATION_VV_SNAP_PARENT_SAME_BASE", ref=one.name)
        yield from self._make(wanted, found)
        return Reply(201, None, (("Location", f"/api/v1/volumesets/{one.name}"),))

    # Parts. ------------------------------------------------------------------------------------

    def _make(self, wanted: list[_Wanted], found: dict[str, Any]) -> Generator[Event, Any, None]:
        readonly, times = found.get("readOnly", False), times_of(found)
        for each in wanted:
            self._check(each, readonly)
        self._check_id(found)
        parents = [each.parent for each in wanted]
        made: list[Any]
        if readonly:
            made = yield from self._frozen(wanted)
        elif all(vvs.read_only(parent) for parent in parents):
            made = yield from self._thawed([(_image(w.parent), w.name) for w in wanted])
        elif any(vvs.read_only(parent) for parent in parents):
            raise Refusal("INV_INPUT", "some volumes are read-only, some are not", "readOnly")
        else:
            made = yield from self._writable(wanted)
        for vv in made:
            vvs.notes(vv)["comment"] = found.get("comment", "")
            if times != Times():
                yield from self._array.set_lifetime(vv.name, **times.said)

    def _check(self, wanted: _Wanted, readonly: bool) -> None:  # noqa: FBT001  (as the body has it)
        parent = wanted.parent
        vvs.check_free(self._array, wanted.name)
        if vvs.stale(parent):
            raise Refusal("VV_IN_STALE_STATE", ref=parent.name)
        if isinstance(parent, Volume) and parent.writer is not None:
            raise Refusal("INV_OPERATION_VV_IS_BUSY", vvs.copying(parent), parent.name)
        if readonly and vvs.read_only(parent):
            raise Refusal("INV_OPERATION_VV_READONLY_TO_READONLY_SNAP", ref=parent.name)
        limits = self._array.parameters
        if isinstance(parent, Volume) and not parent.read_only:
            if len(parent.snapshots) >= limits.snapshots_per_volume_max:
                raise Refusal("SNAPSHOT_LIMIT_REACHED", ref=parent.name)
        elif len(_image(parent).copies) >= limits.copies_per_snapshot_max:
            raise Refusal("SNAPSHOT_LIMIT_REACHED", ref=parent.name)

    def _check_id(self, found: dict[str, Any]) -> None:
        number = found.get("id", -1)
        if number >= 0:
            if any(vv.id == number for vv in vvs.every(self._array)):
                raise Refusal("EXISTENT_ID", ref="id")
            raise unsupported("a volume ID of one's choice")

    def _frozen(self, wanted: list[_Wanted]) -> Generator[Event, Any, list[Snapshot]]:
        """Freeze volumes in one instant, each under a name of its own."""
        made = yield from self._frozen_as(wanted, tuple(each.name for each in wanted))
        return list(made)

    def _frozen_as(
        self, wanted: list[_Wanted], names: str | tuple[str, ...]
    ) -> Generator[Event, Any, tuple[Snapshot, ...]]:
        """Freeze volumes in one instant, once they are ready for it: mirrors are synchronised first."""
        naas = tuple(each.parent.naa for each in wanted)
        yield from self._array.prepare(naas)
        return (yield from self._array.create_snapshots(naas, names))

    def _thawed(
        self, images: list[tuple[Snapshot, str]], *, independent: bool = False
    ) -> Generator[Event, Any, list[Volume]]:
        """Promote snapshots to writable volumes: all of them, or none."""
        made: list[Volume] = []
        try:
            for image, name in images:
                volume = yield from self._array.promote(
                    image.name, name, read_only=False, independent=independent
                )
                made.append(volume)
        except Error:
            for volume in made:
                yield from self._array.delete_volume(volume.name)
            raise
        return made

    def _writable(self, wanted: list[_Wanted]) -> Generator[Event, Any, list[Volume]]:
        """Make writable copies of what may be written to, with a snapshot between."""
        images = yield from self._frozen_as(wanted, self._spare())
        for image in images:
            vvs.notes(image)["hidden"] = True
        pairs = [(image, each.name) for image, each in zip(images, wanted, strict=True)]
        try:
            return (yield from self._thawed(pairs, independent=True))
        finally:
            yield from self._undone(images)

    def _undone(self, made: Iterable[Snapshot]) -> Generator[Event, Any, None]:
        for snapshot in made:
            yield from self._array.delete_snapshot(snapshot.name)

    def _spare(self) -> str:
        """Return a name that nothing has, nor any that begins with it, and that is given once."""
        there = [*self._array.inventory.volumes, *self._array.inventory.snapshots]
        while True:
            name = f"vcopy{self._next}"
            self._next += 1
            if not any(each.startswith(name) for each in there):
                return name


def _image(vv: Vv) -> Snapshot:
    """Return the snapshot that a read-only volume is, or shows."""
    if isinstance(vv, Snapshot):
        return vv
    assert vv.origin is not None, "only what was promoted is read-only"
    return vv.origin


def _filled(pattern: str, vv: Vv, set_name: str, count: int) -> str:
    """Return the name that a pattern gives to the copy of a volume."""
    marks = {"@vvname@": vv.name, "@vvset@": set_name, "@vvid@": str(vv.id), "@count@": str(count)}

    def fill(found: re.Match[str]) -> str:
        if found[0] not in marks:
            raise Refusal("INVALID_INPUT_VV_PATTERN", f"nothing is known of {found[0]}", pattern)
        return marks[found[0]]

    name = _MARK.sub(fill, pattern)
    if "@" in name:
        raise Refusal("INVALID_INPUT_VV_PATTERN", "an @ stands alone", pattern)
    if len(name) > NAME_LENGTH_MAX:
        raise Refusal("INV_INPUT_EXCEEDS_LENGTH", f"{name} is too long", "name")
    return str(vv_name("name", name))
