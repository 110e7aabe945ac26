"""Volumes: made, looked at, changed, grown, and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.array import Snapshot
from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi import vvs
from stuntdouble.arrayapi.wsapi.bodies import (
    INT32_MAX,
    Shape,
    comment,
    flag,
    inner,
    named,
    no_body,
    vv_name,
    whole,
)
from stuntdouble.arrayapi.wsapi.codes import Refusal, unsupported
from stuntdouble.arrayapi.wsapi.query import asked, matching
from stuntdouble.arrayapi.wsapi.showing import members, show_policies, show_volume
from stuntdouble.arrayapi.wsapi.times import HOURS, Times, times_of
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.array import Array
    from stuntdouble.arrayapi.messages import Request
    from stuntdouble.arrayapi.wsapi.setting import Setting
    from stuntdouble.arrayapi.wsapi.vvs import Vv

SIZE_MIB_MIN: Final = 256
"""The least a volume may have, and what sizes are rounded up to ("the minimum volume size")."""

SIZE_MIB_MAX: Final = 16 << 20  # 16 TiB: the architectural limit, "TOO_LARGE"

_POLICIES: Final = inner(
    Shape(dict.fromkeys(("staleSS", "oneHost", "zeroDetect", "system", "caching"), flag))
)
_PERCENT: Final = whole(-INT32_MAX - 1, 100)
_SPACE: Final = dict.fromkeys(
    ("ssSpcAllocWarningPct", "ssSpcAllocLimitPct", "usrSpcAllocWarningPct", "usrSpcAllocLimitPct"),
    _PERCENT,
)
_REMOVALS: Final = dict.fromkeys(
    (
        "rmSsSpcAllocWarning",
        "rmUsrSpcAllocWarning",
        "rmExpTime",
        "rmSsSpcAllocLimit",
        "rmUsrSpcAllocLimit",
    ),
    flag,
)
_NEW: Final = Shape(
    {
        "name": vv_name,
        "cpg": named(),
        "sizeMiB": whole(1, SIZE_MIB_MAX, beyond="TOO_LARGE"),
        "id": whole(-INT32_MAX - 1),
        "comment": comment,
        "snapCPG": named(),
        "tpvv": flag,
        "reduce": flag,
        "policies": _POLICIES,
        **_SPACE,
        **HOURS,
    },
    ("name", "cpg", "sizeMiB"),
)
CHANGE: Final = Shape(
    {
        "newName": vv_name,
        "comment": comment,
        "snapCPG": named(),
        "userCPG": named(),
        "policies": _POLICIES,
        **_SPACE,
        **HOURS,
        **_REMOVALS,
    }
)
_KEYS: Final = ("name", "id", "wwn", "uuid", "copyOf", "userCPG", "snapCPG", "copyType", "baseId")


class Volumes:
    """The paths below ``/volumes``, but for what makes copies.

    Args:
        array: whose volumes they are.
        setting: how the array presents itself.
        sets_of: the volume sets that a volume is in.
    """

    def __init__(self, array: Array, setting: Setting, sets_of: Callable[[Vv], list[str]]) -> None:
        self._array = array
        self._setting = setting
        self._sets_of = sets_of

    def listed(self, request: Request) -> Reply:
        """Return every volume, or those that a query picks."""
        shown = [show_volume(self._array, self._setting, vv) for vv in vvs.every(self._array)]
        return Reply(200, members(matching(shown, asked(request.query), _KEYS)))

    def one(self, _request: Request, name: str) -> Reply:
        """Return a volume."""
        return Reply(200, show_volume(self._array, self._setting, vvs.get(self._array, name)))

    def create(self, request: Request) -> Generator[Event, Any, Reply]:
        """Make a base volume, which reads as zeros."""
        found = _NEW.read(request.body)
        name, pool = found["name"], vvs.pool_of(self._array, found["cpg"])
        vvs.check_free(self._array, name)
        self._check_new(found)
        size = -(-found["sizeMiB"] // SIZE_MIB_MIN) * SIZE_MIB_MIN * MIB
        times = times_of(found)
        volume = yield from self._array.make_volume(name, size, pool.name)
        if times != Times():
            yield from self._array.set_lifetime(name, **times.said)
        vvs.notes(volume)["comment"] = found.get("comment", "")
        return Reply(201, None, (("Location", f"/api/v1/volumes/{name}"),))

    def _check_new(self, found: dict[str, Any]) -> None:
        if found["sizeMiB"] < SIZE_MIB_MIN:
            why = f"the minimum volume size is {SIZE_MIB_MIN} MiB"
            raise Refusal("INV_INPUT_EXCEEDS_RANGE", why, "sizeMiB")
        if found.get("tpvv") and found.get("reduce"):
            raise Refusal("INV_INPUT_PARAM_CONFLICT", ref="tpvv,reduce")
        if found.get("reduce"):
            raise Refusal("UNLICENSED_FEATURE", "reduction of data is not emulated", "reduce")
        if not found.get("tpvv"):
            raise Refusal("INV_INPUT_ONE_REQUIRED", ref="tpvv,reduce")
        self._check_id(found)
        self._check_settings(found)
        times_of(found)

    def _check_id(self, found: dict[str, Any]) -> None:
        number = found.get("id", -1)
        if number >= 0:
            if any(vv.id == number for vv in vvs.every(self._array)):
                raise Refusal("EXISTENT_ID", ref="id")
            raise unsupported("a volume ID of one's choice")

    def _check_settings(self, found: dict[str, Any]) -> None:
        """Refuse what cannot be otherwise than it is; what is as it is may be said."""
        policies = found.get("policies", {})
        for name in ("caching", "system"):
            if policies.get(name):
                raise Refusal("INV_INPUT_VV_POLICY", ref=name)
        there = show_policies(self._array)
        for name, value in policies.items():
            if name != "caching" and value != there[name]:
                raise unsupported(f"the policy {name} being {str(value).lower()}")
        if "snapCPG" in found:
            pool = vvs.pool_of(self._array, found["snapCPG"])
            own = found.get("cpg") or found.get("pool")
            if own is not None and pool.name != own:
                raise unsupported("a snapCPG that is not the volume's own")
        for name in _SPACE:
            if found.get(name, 0) > 0:
                raise unsupported(f"{name}, an alert or a limit of space,")

    # Changing. ---------------------------------------------------------------------------------

    def change(self, vv: Vv, found: dict[str, Any]) -> Generator[Event, Any, Reply]:
        """Change a volume: all that is asked for, or nothing."""
        if not found:
            raise Refusal("INV_INPUT_ONE_REQUIRED", ref="newName,comment,action")
        new = found.get("newName", vv.name)
        if new != vv.name:
            vvs.check_free(self._array, new)
            self.check_idle(vv)
        self._check_changes(vv, found)
        asked_times, forget = times_of(found), found.get("rmExpTime", False)
        times = asked_times.after(vv, self._array.core.env.now, forget=forget)
        if new != vv.name:
            yield from self._array.rename(vv.name, new)
        if asked_times != Times() or forget:
            yield from self._array.set_lifetime(new, **times.said)
        if "comment" in found:
            vvs.notes(vv)["comment"] = found["comment"]
        return Reply(200, None, (("Location", f"/api/v1/volumes/{vv.name}"),))

    def _check_changes(self, vv: Vv, found: dict[str, Any]) -> None:
        for name in ("userCPG", "snapCPG"):
            if name in found and vvs.parent(vv) is not None:
                raise Refusal("INV_OPERATION_VV_CPG_ON_SNAPSHOT", ref=name)
        if "userCPG" in found and vvs.pool_of(self._array, found["userCPG"]) is not vv.pool:
            raise unsupported("moving a volume to another CPG")
        self._check_settings(found | {"pool": vv.pool.name})

    def grow(self, vv: Vv, grow_mib: int) -> Generator[Event, Any, Reply]:
        """Let a base volume have so much more."""
        if vvs.parent(vv) is not None or isinstance(vv, Snapshot):
            raise Refusal("INV_OPERATION_UNSUPPORTED_VV_TYPE", "it is a copy", vv.name)
        self.check_idle(vv)
        size = vv.size_bytes + -(-grow_mib // SIZE_MIB_MIN) * SIZE_MIB_MIN * MIB
        if size > SIZE_MIB_MAX * MIB:
            raise Refusal("VV_NEW_SIZE_EXCEED_CPG_LIMIT", ref="sizeMiB")
        yield from self._array.grow_volume(vv.name, size)
        return Reply(200, None, (("Location", f"/api/v1/volumes/{vv.name}"),))

    def check_idle(self, vv: Vv) -> None:
        """Refuse while a physical copy or a promotion goes on."""
        if vvs.copying(vv):
            raise Refusal("INV_OPERATION_VV_IS_BUSY", vvs.copying(vv), vv.name)

    # Deleting. ---------------------------------------------------------------------------------

    def delete(self, request: Request, name: str) -> Generator[Event, Any, Reply]:
        """Delete a volume or a copy that nobody sees and nothing descends from."""
        no_body(request.body)
        vv = vvs.get(self._array, name)
        self._check_unused(vv)
        if isinstance(vv, Snapshot):
            yield from self._array.delete_snapshot(name)
            return Reply(200)
        yield from self._array.delete_volume(name)
        return Reply(200)

    def _check_unused(self, vv: Vv) -> None:
        now = self._array.core.env.now
        if vv.retain_until is not None and now < vv.retain_until:
            raise Refusal("RETAINED", ref=vv.name)
        if vvs.exported(self._array, vv):
            raise Refusal("EXPORTED_VV", ref=vv.name)
        user = self._setting.user_of(vv.naa)
        if user:
            raise Refusal("EXPORTED_VV", f"{user} lies on it", vv.name)
        self.check_idle(vv)
        below = vvs.children(vv)
        if below:
            names = ", ".join(child.name for child in below)
            only_read = all(vvs.read_only(child) for child in below)
            raise Refusal("HAS_CHILD", f"{names}, read-only" if only_read else names, vv.name)
        if self._sets_of(vv):
            raise Refusal("IN_USE", f"in volume set {', '.join(self._sets_of(vv))}", vv.name)
