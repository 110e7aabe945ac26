"""Physical copies, and the promotion that gives a volume back what a copy of it holds.

Both go on after their request has been answered, as tasks of the array.  A volume that was made a
physical copy of another one says so until it is one no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.array import Snapshot, Volume
from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi import vvs
from stuntdouble.arrayapi.wsapi.bodies import Shape, choice, flag, named, vv_name
from stuntdouble.arrayapi.wsapi.codes import Refusal, unsupported
from stuntdouble.arrayapi.wsapi.tasks import ONLINE_COPY, PROMOTE, RESYNC, VV_COPY

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array import Array
    from stuntdouble.arrayapi.wsapi.tasks import Tasks
    from stuntdouble.arrayapi.wsapi.vvs import Vv

_PRIORITY: Final = choice(1, 2, 3)

PHYSICAL: Final = Shape(
    {
        "destVolume": vv_name,
        "destCPG": named(),
        "online": flag,
        "tpvv": flag,
        "reduce": flag,
        "snapCPG": named(),
        "saveSnapshot": flag,
        "skipZero": flag,
        "priority": _PRIORITY,
    },
    ("destVolume",),
)
PROMOTION: Final = Shape(
    {
        "action": choice(4),
        "online": flag,
        "priority": _PRIORITY,
        "target": vv_name,
        "allowRemoteCopyParent": flag,
    }
)
_ONLINE_ONLY: Final = ("destCPG", "tpvv", "reduce", "snapCPG")


class Copies:
    """What makes physical copies, and promotes virtual ones."""

    def __init__(self, array: Array, tasks: Tasks) -> None:
        self._array = array
        self._tasks = tasks

    # Physical copies. --------------------------------------------------------------------------

    def create(self, source: Vv, found: dict[str, Any]) -> Generator[Event, Any, Reply]:
        """Copy a volume to another one, which is there already or, online, is made."""
        if found.get("saveSnapshot"):
            raise unsupported("a saved snapshot of a physical copy")
        if vvs.stale(source):
            raise Refusal("VV_IN_STALE_STATE", ref=source.name)
        self._check_idle(source)
        online = found.get("online", False)
        if not online:
            target = self._offline_target(source, found)
        else:
            target = yield from self._online_target(source, found)
        kind = ONLINE_COPY if online else VV_COPY
        number = yield from self._begin(kind, source, target, found.get("priority", 2))
        where = (("Location", f"/api/v1/volumes/{target.name}"),)
        return Reply(201, {"taskid": number}, where)

    def _offline_target(self, source: Vv, found: dict[str, Any]) -> Volume:
        for name in _ONLINE_ONLY:
            if name in found:
                raise Refusal("INV_INPUT_PARAM_CONFLICT", f"{name} is for online copies", name)
        target = vvs.get(self._array, found["destVolume"])
        if target is source:
            raise Refusal("INV_OPERATION_VV_COPY_TO_SELF", ref=target.name)
        if not isinstance(target, Volume) or vvs.parent(target) is not None:
            raise Refusal("INV_OPERATION_VV_NON_BASE_VOLUME", ref=target.name)
        self._check_idle(target)
        self._check_target(source, target)
        return target

    def _check_target(self, source: Vv, target: Volume) -> None:
        if vvs.exported(self._array, target):
            raise Refusal("INV_OPERATION_VV_EXPORTED", ref=target.name)
        if vvs.children(target):
            raise Refusal("HAS_CHILD", "a destination has no copies of its own", target.name)
        if source.size_bytes > target.size_bytes:
            raise Refusal("INV_OPERATION_VV_COPY_PARENT_TOO_BIG", ref=target.name)

    def _online_target(self, source: Vv, found: dict[str, Any]) -> Generator[Event, Any, Volume]:
        if "destCPG" not in found:
            raise Refusal("INV_INPUT_MISSING_REQUIRED", ref="destCPG")
        pool = vvs.pool_of(self._array, found["destCPG"])
        vvs.check_free(self._array, found["destVolume"])
        if found.get("reduce"):
            raise Refusal("UNLICENSED_FEATURE", "reduction of data is not emulated", "reduce")
        if not found.get("tpvv"):
            raise Refusal("INV_INPUT_ONE_REQUIRED", ref="tpvv,reduce")
        if "snapCPG" in found and vvs.pool_of(self._array, found["snapCPG"]) is not pool:
            raise unsupported("a snapCPG that is not the volume's own")
        if "priority" in found:
            raise Refusal("INV_INPUT_PARAM_CONFLICT", ref="online,priority")
        made: Volume = yield from self._array.make_volume(
            found["destVolume"], source.size_bytes, pool.name
        )
        return made

    def resync(self, target: Vv) -> Generator[Event, Any, Reply]:
        """Copy again what a physical copy was made of."""
        self._check_idle(target)
        source = self._source(target)
        assert isinstance(target, Volume), "only a volume is a physical copy"
        self._check_idle(source)
        self._check_target(source, target)
        number = yield from self._begin(RESYNC, source, target, 2)
        return Reply(200, {"taskid": number})

    def stop(self, target: Vv) -> Generator[Event, Any, Reply]:
        """Stop a physical copy that goes on: the destination is nobody's copy then."""
        if not isinstance(target, Volume) or target.writer is None:
            raise Refusal("NON_EXISTENT_VVCOPY", ref=target.name)
        yield from self._array.cancel_task(target.writer.id)
        return Reply(200)

    def _source(self, target: Vv) -> Volume:
        source = vvs.physical_parent(self._array, target)
        if source is None:
            raise Refusal("INV_OPERATION_VV_NO_PARENT", ref=target.name)
        return source

    def _begin(
        self, kind: int, source: Vv, target: Volume, priority: int
    ) -> Generator[Event, Any, int]:
        """Let a copy begin; return the number of its task."""
        task = yield from self._array.start_copy(source.name, target.name)
        kept = vvs.notes(target)
        kept["physical_copy_of"] = source.naa

        def over(_event: object) -> None:
            if kind == ONLINE_COPY or task.state != "done":
                kept["physical_copy_of"] = ""

        task.ended.callbacks.append(over)
        self._tasks.call(task, kind, priority)
        return task.id

    # Promotion. --------------------------------------------------------------------------------

    def promote(self, vv: Vv, found: dict[str, Any]) -> Generator[Event, Any, Reply]:
        """Give a volume back what a copy of it holds: its own content since then is lost."""
        parent = vvs.parent(vv)
        if parent is None:
            raise Refusal("INV_OPERATION_VV_BASE_VOLUME", ref=vv.name)
        if vvs.stale(vv):
            raise Refusal("VV_IN_STALE_STATE", ref=vv.name)
        target = vvs.get(self._array, found["target"]) if "target" in found else vvs.base(vv)
        if target is not vvs.base(vv):
            raise Refusal("INV_OPERATION_PROMOTE_TARGET_NOT_BASE_VV", ref=target.name)
        if not isinstance(vv, Snapshot) or vv.volume is not target:
            raise unsupported("a promotion of what is not a read-only copy of a base volume")
        if vvs.copying(target):
            raise Refusal("INV_OPERATION_PARENT_PCOPY_IN_PROGRESS", ref=target.name)
        if vvs.exported(self._array, target) and not found.get("online"):
            raise Refusal("INV_OPERATION_PARENT_VV_EXPORTED", ref=target.name)
        if vvs.exported(self._array, vv):
            raise Refusal("INV_OPERATION_VV_EXPORTED", ref=vv.name)
        if target.size_bytes != vv.size_bytes:
            raise Refusal("INV_OPERATION_PARENT_SIZE_HAS_INCREASED", ref=target.name)
        online = found.get("online", False)
        task = yield from self._array.revert(target.name, vv.name, mapped=online)
        self._tasks.call(task, PROMOTE, found.get("priority", 2))
        return Reply(200, {"taskid": task.id})

    def stop_promotion(self, vv: Vv) -> Reply:
        """Refuse: a promotion holds at once, and what goes on is its I/O."""
        if not self._tasks.active(vv.name, PROMOTE):
            raise Refusal("INV_OPERATION_VV_PROMOTE_IS_NOT_IN_PROGRESS", ref=vv.name)
        raise Refusal("INV_OPERATION_CANNOT_STOP_ONLINE_PROMOTE", ref=vv.name)

    def _check_idle(self, vv: Vv) -> None:
        doing = vvs.copying(vv)
        if doing:
            raise Refusal("INV_OPERATION_VV_PCOPY_IN_PROGRESS", doing, vv.name)
