"""What is on a served site before and after: what is more than it was, a job has left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from stuntdouble.results import Leftover

if TYPE_CHECKING:
    from stuntdouble.scenarios.remote.site import RemoteSite


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that a job makes for a while, as (kind, name)."""

    found: tuple[tuple[str, str], ...]

    @classmethod
    async def of(cls, site: RemoteSite) -> Self:
        """Ask the site, by the interfaces that the job went through, and natively for mounts."""
        found: list[tuple[str, str]] = []
        for vm in await site.hypervisor.vms():
            found.append(("registered VM", vm.name))
            found += [("VM snapshot", f"{id_} of {vm.name}") for id_ in vm.snapshots]
            if vm.consolidation_needed:
                found.append(("delta disk", vm.name))
        found += [("mount", name) for name in (await site.native.site()).datastores]
        found += [("promoted volume", volume.name) for volume in await site.array.volumes()]
        found += [("array snapshot", each.name) for each in await site.array.snapshots()]
        found += [("mapping", f"{m.volume} at LUN {m.lun}") for m in await site.array.mappings()]
        return cls(tuple(found))

    def left_in(self, after: Inventory) -> tuple[Leftover, ...]:
        """Return what is there *after* and was not before."""
        before = set(self.found)
        new = [each for each in after.found if each not in before]
        return tuple(Leftover(kind=kind, name=name) for kind, name in new)
