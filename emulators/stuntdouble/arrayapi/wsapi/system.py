"""The system itself: what it is, its pools, its ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi import vvs
from stuntdouble.arrayapi.wsapi.bodies import Shape, named
from stuntdouble.arrayapi.wsapi.codes import Refusal
from stuntdouble.arrayapi.wsapi.query import asked
from stuntdouble.arrayapi.wsapi.setting import BUILD, VERSION
from stuntdouble.arrayapi.wsapi.showing import members, show_cpg
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from stuntdouble.array import Array
    from stuntdouble.arrayapi.messages import Request
    from stuntdouble.arrayapi.wsapi.setting import Portal, Setting

_TARGET, _READY, _ISCSI_TYPE, _ISCSI = 2, 4, 8, 2  # mode, linkState, type, protocol

_LICENSES: Final = ("Thin Provisioning", "Virtual Copy", "Virtual Lock")

_SPACE: Final = Shape({"cpg": named()}, ("cpg",))


class System:
    """The paths that tell of the machine."""

    def __init__(self, array: Array, setting: Setting) -> None:
        self._array = array
        self._setting = setting

    def version(self, _request: Request) -> Reply:
        """Return the version of the interface."""
        major, minor, revision = VERSION
        return Reply(200, {"major": major, "minor": minor, "revision": revision, "build": BUILD})

    def system(self, _request: Request) -> Reply:
        """Return what the array is, and how full."""
        pools = self._array.pools.values()
        total = sum(pool.area_bytes + pool.reserve_bytes for pool in pools)
        free = sum(pool.free_bytes + pool.reserve_free_bytes for pool in pools)
        nodes = sorted({portal.node for portal in self._setting.portals()}) or [0]
        return Reply(
            200,
            {
                "id": 1,
                "name": self._array.name,
                "systemVersion": "4.5.0",
                "model": self._setting.model,
                "serialNumber": self._setting.serial,
                "totalNodes": len(nodes),
                "masterNode": nodes[0],
                "onlineNodes": nodes,
                "clusterNodes": nodes,
                "totalCapacityMiB": total // MIB,
                "allocatedCapacityMiB": total // MIB - free // MIB,
                "freeCapacityMiB": free // MIB,
                "failedCapacityMiB": 0,
                "licenseInfo": {"licenses": [{"name": name} for name in _LICENSES]},
            },
        )

    def configuration(self, _request: Request) -> Reply:
        """Return how the interface is configured."""
        shown = {
            "httpState": "Disabled" if self._setting.tls else "Enabled",
            "httpsState": "Enabled" if self._setting.tls else "Disabled",
            "version": ".".join(map(str, VERSION)),
        }
        return Reply(200, shown)

    def capacity(self, _request: Request) -> Reply:
        """Return how much there is, and what for."""
        pools = list(self._array.pools.values())
        area, reserve = (
            sum(pool.area_bytes for pool in pools),
            sum(pool.reserve_bytes for pool in pools),
        )
        free = sum(pool.free_bytes for pool in pools)
        kept = sum(pool.reserve_used_bytes for pool in pools)
        volumes = {
            "totalVolumesMiB": (area - free + kept) // MIB,
            "CPGsMiB": (area - free + kept) // MIB,
            "CPGUserMiB": (area - free) // MIB,
            "CPGUserUsedMiB": (area - free) // MIB,
            "CPGUserUnusedMiB": 0,
            "CPGSnapshotMiB": reserve // MIB,
            "CPGSnapshotUsedMiB": kept // MIB,
            "CPGSnapshotUnusedMiB": (reserve - kept) // MIB,
            "unmappedMiB": 0,
        }
        every = {
            "totalMiB": (area + reserve) // MIB,
            "allocated": {
                "totalAllocatedMiB": (area - free + reserve) // MIB,
                "volumes": volumes,
            },
            "freeMiB": free // MIB,
            "freeInitializedMiB": free // MIB,
            "freeUninitializedMiB": 0,
            "unavailableCapacityMiB": 0,
            "failedCapacityMiB": 0,
        }
        return Reply(200, {"allCapacity": every})

    def cpgs(self, request: Request) -> Reply:
        """Return every pool."""
        if asked(request.query):
            raise Refusal("INV_INPUT", "pools are not queried", "query")
        return Reply(200, members(show_cpg(self._array, p) for p in self._array.pools.values()))

    def cpg(self, _request: Request, name: str) -> Reply:
        """Return a pool."""
        named()("name", name)
        return Reply(200, show_cpg(self._array, vvs.pool_of(self._array, name)))

    def fixed(self, _request: Request, *_name: str) -> Reply:
        """Refuse to change pools."""
        raise Refusal("PERM_DENIED", "the pools of this array are as they were built")

    def space(self, request: Request) -> Reply:
        """Return how much of a pool is free."""
        pool = vvs.pool_of(self._array, _SPACE.read(request.body)["cpg"])
        free = pool.free_bytes // MIB
        return Reply(200, {"rawFreeMiB": free, "usableFreeMiB": free})

    def ports(self, request: Request) -> Reply:
        """Return every port."""
        if asked(request.query):
            raise Refusal("INV_INPUT", "ports are not queried", "query")
        return Reply(200, members(_port(portal) for portal in self._setting.portals()))

    def port(self, _request: Request, name: str) -> Reply:
        """Return a port by its node, slot and card port."""
        found = next((p for p in self._setting.portals() if str(p) == name), None)
        if found is None:
            raise Refusal("NON_EXISTENT_PORT", ref=name)
        return Reply(200, _port(found))


def _port(portal: Portal) -> dict[str, Any]:
    return {
        "portPos": portal.position,
        "mode": _TARGET,
        "linkState": _READY,
        "type": _ISCSI_TYPE,
        "protocol": _ISCSI,
        "IPAddr": portal.address,
        "iSCSIName": portal.iqn,
        "label": f"iscsi-{portal}",
        "iSCSIPortInfo": {"IPAddr": portal.address, "iSCSIName": portal.iqn, "vlan": 0},
    }
