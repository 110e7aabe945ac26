"""What there is, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.array import Snapshot, Volume
from stuntdouble.arrayapi.wsapi import vvs
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.array import Array, Host, Pool
    from stuntdouble.arrayapi.wsapi.setting import Setting
    from stuntdouble.arrayapi.wsapi.vvs import Vv

_THIN, _SNAPSHOT = 2, 3  # provisioningType: TPVV, SNP
_NORMAL, _FAILED = 1, 3  # state
_STALE: Final = 8  # a detailed state


def members(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return a list as every list is told."""
    listed = list(found)
    return {"total": len(listed), "members": listed}


def wwn(naa: str) -> str:
    """Return an NAA identifier as this interface writes it."""
    return naa.upper()


def show_volume(array: Array, setting: Setting, vv: Vv) -> dict[str, Any]:
    """Return a virtual volume."""
    above, physical = vvs.parent(vv), vvs.physical_parent(array, vv)
    kept = vvs.notes(vv)
    stale = vvs.stale(vv)
    shown: dict[str, Any] = {
        "id": vv.id,
        "name": vv.name,
        "uuid": vv.uuid,
        "wwn": wwn(vv.naa),
        "sizeMiB": vv.size_bytes // MIB,
        "provisioningType": _THIN if above is None else _SNAPSHOT,
        "copyType": vvs.BASE,
        "baseId": vvs.base(vv).id,
        "readOnly": vvs.read_only(vv),
        "state": _FAILED if stale else _NORMAL,
        "failedStates": [_STALE] if stale else [],
        "degradedStates": [],
        "additionalStates": [],
        "userCPG": vv.pool.name,
        "snapCPG": vv.pool.name,
        "policies": show_policies(array),
        "deduplicationState": 2,
        "compressionState": 2,
        "userSpace": _space(_user_bytes(vv)),
        "snapshotSpace": _space(_snapshot_bytes(vv)),
        "adminSpace": _space(0),
        "ssSpcAllocWarningPct": 0,
        "ssSpcAllocLimitPct": 0,
        "usrSpcAllocWarningPct": 0,
        "usrSpcAllocLimitPct": 0,
        **setting.stamp("creation", vv.created),
    }
    if above is not None:
        shown |= {"copyType": vvs.VIRTUAL_COPY, "copyOf": above.name, "parentId": above.id}
    elif physical is not None:
        shown |= {"copyType": vvs.PHYSICAL_COPY, "copyOf": physical.name, "parentId": physical.id}
        shown["physParentId"] = physical.id
    if kept.get("comment"):
        shown["comment"] = kept["comment"]
    if vv.expires is not None:
        shown |= setting.stamp("expiration", vv.expires)
    if vv.retain_until is not None:
        shown |= setting.stamp("retention", vv.retain_until)
    return shown


def show_policies(array: Array) -> dict[str, bool]:
    """Return the policies of a volume: all of an array are alike."""
    return {
        "staleSS": array.parameters.exhaustion == "invalidate",
        "oneHost": False,
        "zeroDetect": True,
        "system": False,
        "caching": True,
    }


def _user_bytes(vv: Vv) -> int:
    """Return what a volume has taken of its pool: its whole size; a copy takes none."""
    return vv.size_bytes if isinstance(vv, Volume) and vv.origin is None else 0


def _snapshot_bytes(vv: Vv) -> int:
    if isinstance(vv, Snapshot):
        return vv.space_bytes
    return sum(snapshot.space_bytes for snapshot in vv.snapshots)


def _space(size: int) -> dict[str, int]:
    """Return an amount of space; raw is as usable, since only usable space is counted here."""
    used = -(-size // MIB)
    return {"reservedMiB": used, "rawReservedMiB": used, "usedMiB": used, "freeMiB": 0}


def show_cpg(array: Array, pool: Pool) -> dict[str, Any]:
    """Return a pool."""
    bases = [
        volume
        for volume in array.inventory.volumes.values()
        if volume.pool is pool and volume.origin is None
    ]
    return {
        "id": pool.number,
        "uuid": f"{array.name}/{pool.name}",
        "name": pool.name,
        "numFPVVs": 0,
        "numTPVVs": len(bases),
        "numTDVVs": 0,
        "UsrUsage": _usage(pool.area_bytes, pool.area_bytes - pool.free_bytes),
        "SAUsage": _usage(0, 0),
        "SDUsage": _usage(pool.reserve_bytes, pool.reserve_used_bytes),
        "SAGrowth": {"incrementMiB": 8192},
        "SDGrowth": {
            "incrementMiB": 8192,
            "limitMiB": (pool.area_bytes + pool.reserve_bytes) // MIB,
        },
        "state": _NORMAL,
        "failedStates": [],
        "degradedStates": [],
        "additionalStates": [],
    }


def _usage(total: int, used: int) -> dict[str, int]:
    return {
        "totalMiB": total // MIB,
        "rawTotalMiB": total // MIB,
        "usedMiB": -(-used // MIB),
        "rawUsedMiB": -(-used // MIB),
    }


def show_host(host: Host, setting: Setting) -> dict[str, Any]:
    """Return a host; a path for each initiator and port."""
    kept, chap = vvs.notes(host), host.chap
    paths = [
        {"name": iqn, "hostSpeed": 0, "portPos": port.position}
        for iqn in host.iqns
        for port in setting.portals()
    ] or [{"name": iqn, "hostSpeed": 0} for iqn in host.iqns]
    shown = {
        "id": host.number,
        "name": host.name,
        "persona": kept.get("persona", 2),
        "FCPaths": [],
        "iSCSIPaths": paths,
        "initiatorChapEnabled": chap is not None,
        "targetChapEnabled": chap is not None and bool(chap.mutual_secret),
    }
    if chap is not None:
        shown["initiatorChapName"] = chap.user
        if chap.mutual_secret:
            shown["targetChapName"] = chap.mutual_user
    if kept.get("descriptors"):
        shown["descriptors"] = kept["descriptors"]
    return shown
