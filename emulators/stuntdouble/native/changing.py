"""Paths that change something: the clock, quirks, faults, the array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from stuntdouble.native import models as m

if TYPE_CHECKING:
    from stuntdouble.native.control import Control
    from stuntdouble.native.crossing import Crossing


def clock_paths(control: Control, cross: Crossing) -> APIRouter:
    """Return the paths of the clock."""
    paths = APIRouter(prefix="/clock", tags=["clock"])

    @paths.get("")
    async def clock() -> m.Clock:
        """Show site time."""
        return await cross(control.clock())

    @paths.put("/rate")
    async def set_rate(wanted: m.Rate) -> m.Clock:
        """Let a wall second be so many site seconds from now on."""
        return await cross(control.set_rate(wanted.rate))

    @paths.post("/pause")
    async def pause() -> m.Clock:
        """Stop the clock: requests are answered, but nothing that takes site time ends."""
        return await cross(control.pause())

    @paths.post("/resume")
    async def resume() -> m.Clock:
        """Let the clock go on."""
        return await cross(control.resume())

    @paths.post("/advance")
    async def advance(wanted: m.Advance) -> m.Clock:
        """Let site time pass as fast as it can, paused or not; answer when it has."""
        return await cross(control.advance(wanted.seconds), m.WAIT_SECONDS_MAX)

    return paths


def quirk_paths(control: Control, cross: Crossing) -> APIRouter:
    """Return the paths of quirks and paging modes."""
    paths = APIRouter(tags=["quirks"])

    @paths.get("/quirks")
    async def quirks() -> list[m.Quirk]:
        """List every quirk."""
        return await cross(control.quirks())

    @paths.put("/quirks/{name}")
    async def set_quirk(name: str, wanted: m.Switch) -> m.Quirk:
        """Switch a quirk on or off."""
        return await cross(control.set_quirk(name, on=wanted.on))

    @paths.get("/paging")
    async def paging() -> m.Paging:
        """Show how the change tracker cuts its answers."""
        return await cross(control.paging())

    @paths.put("/paging")
    async def set_paging(choice: m.PagingChoice) -> m.Paging:
        """Choose how the change tracker cuts its answers."""
        return await cross(control.set_paging(choice))

    return paths


def fault_paths(control: Control, cross: Crossing) -> APIRouter:
    """Return the paths that break something, or make up for it."""
    paths = APIRouter(tags=["faults"])

    @paths.post("/faults/vm-crash", status_code=204)
    async def crash_vm(wanted: m.VmName) -> None:
        """Let a VM's process die: it is off, and its change tracking is lost."""
        await cross(control.act("crash-vm", vm=wanted.vm))

    @paths.post("/faults/host-crash", status_code=204)
    async def crash_host(wanted: m.HostName) -> None:
        """Let a host crash: every VM that ran on it is off, and its change tracking is lost."""
        await cross(control.act("crash-host", host=wanted.host))

    @paths.post("/faults/power-loss", status_code=204)
    async def power_loss() -> None:
        """Let every host lose its power: to their VMs it is as a crash of each in one instant."""
        await cross(control.act("power-loss"))

    @paths.post("/hosts/{host}/restart", status_code=204)
    async def restart_host(host: str) -> None:
        """Let a host be up again; its VMs stay off until they are powered on."""
        await cross(control.act("restart-host", host=host))

    @paths.post("/faults/array-loss", status_code=204)
    async def lose_array(wanted: m.ArrayName) -> None:
        """Lose an array, for good: every LUN of it stops to answer."""
        await cross(control.act("lose-array", array=wanted.array))

    @paths.post("/faults/damage", status_code=204)
    async def damage(wanted: m.Damage) -> None:
        """Let blocks of a volume go bad, until they are written over."""
        await cross(control.act("damage", **wanted.model_dump()))

    @paths.post("/vms/{vm}/answer", status_code=204)
    async def answer(vm: str, wanted: m.Answer) -> None:
        """Answer the question of a paused VM; nothing happens where it asks none."""
        await cross(control.act("answer", vm=vm, choice=wanted.choice))

    @paths.post("/vms/{vm}/power-on", status_code=204)
    async def power_on(vm: str) -> None:
        """Start a VM, as after a crash; done when its load goes on."""
        await cross(control.act("power-on", vm=vm))

    return paths


def array_paths(control: Control, cross: Crossing) -> APIRouter:
    """Return the paths of an array: what a backup server asks of one."""
    paths = APIRouter(prefix="/arrays/{array}", tags=["array"])

    @paths.get("/volumes")
    async def volumes(array: str) -> list[m.Volume]:
        """List every volume, promoted ones included."""
        return await cross(control.volumes(array))

    @paths.get("/snapshots")
    async def snapshots(array: str) -> list[m.ArraySnapshot]:
        """List every array snapshot."""
        return await cross(control.array_snapshots(array))

    @paths.post("/prepare")
    async def prepare(array: str, wanted: m.Naas) -> m.Prepared:
        """Make ready for a snapshot of volumes: where snapshots are split mirrors, synchronise."""
        done: m.Prepared = await cross(control.act("prepare", array=array, naas=wanted.naas))
        return done

    @paths.post("/snapshots", status_code=201)
    async def create_snapshots(array: str, wanted: m.SnapshotRequest) -> list[m.ArraySnapshot]:
        """Snapshot volumes in one instant."""
        made: list[m.ArraySnapshot] = await cross(
            control.act("create-snapshots", array=array, naas=wanted.naas, name=wanted.name)
        )
        return made

    @paths.delete("/snapshots/{snapshot}", status_code=204)
    async def delete_snapshot(array: str, snapshot: str) -> None:
        """Delete an array snapshot that has no promoted volume; idempotent."""
        await cross(control.act("delete-snapshot", array=array, snapshot=snapshot))

    @paths.post("/snapshots/{snapshot}/promote", status_code=201)
    async def promote(array: str, snapshot: str, wanted: m.Promote) -> m.Volume:
        """Make an array snapshot a volume with an identity of its own."""
        made: m.Volume = await cross(
            control.act("promote", array=array, snapshot=snapshot, **wanted.model_dump())
        )
        return made

    @paths.delete("/volumes/{volume}", status_code=204)
    async def delete_volume(array: str, volume: str) -> None:
        """Delete a volume that is not mapped and has no snapshots; idempotent."""
        await cross(control.act("delete-volume", array=array, volume=volume))

    return paths


def mapping_paths(control: Control, cross: Crossing) -> APIRouter:
    """Return the paths of an array's masking: who sees what."""
    paths = APIRouter(prefix="/arrays/{array}/mappings", tags=["array"])

    @paths.get("")
    async def mappings(array: str) -> list[m.Mapping]:
        """List who sees which volume, and the NBD export to read it by."""
        return await cross(control.mappings(array))

    @paths.post("", status_code=201)
    async def map_volume(array: str, wanted: m.MapRequest) -> m.Mapping:
        """Let an initiator see a volume at the lowest free LUN number."""
        made: m.Mapping = await cross(control.act("map", array=array, **wanted.model_dump()))
        return made

    @paths.delete("/{volume}/{initiator_iqn}", status_code=204)
    async def unmap_volume(array: str, volume: str, initiator_iqn: str) -> None:
        """Take a mapping away; idempotent."""
        await cross(control.act("unmap", array=array, volume=volume, initiator_iqn=initiator_iqn))

    return paths
