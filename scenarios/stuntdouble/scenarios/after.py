"""What happens after the backups: damage, loss, and the restore that makes up for it.

A storage snapshot alone is no backup: it shares its blocks with the volume it was taken of, and it
lives in the same array.  These steps show both, and that a restore point survives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.array import LocalArray, LocalInitiator
from stuntdouble.backup.restore import restore_to_device
from stuntdouble.errors import Corrupt, Lost, NotFound, Refused
from stuntdouble.extents import Runs, State
from stuntdouble.ports import Provisioning, Throttle
from stuntdouble.scenarios import judge
from stuntdouble.scenarios.build import BACKUP_IQN
from stuntdouble.units import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stuntdouble.extents import OffsetTable
    from stuntdouble.ports import BlockDevice, RestorePoint
    from stuntdouble.scenarios.lived import Run
    from stuntdouble.scenarios.spec import Step

_KEPT = "kept"


async def take_steps(done: Run) -> None:
    """Take the scenario's steps, in order."""
    verbs: dict[str, Callable[[Run, Step], Awaitable[None]]] = {
        "keep-snapshot": _keep_snapshot,
        "damage": _damage,
        "lose-array": _lose_array,
        "check-snapshot": _check_snapshot,
        "restore": _restore,
    }
    for step in done.world.scenario.after:
        await verbs[step.do](done, step)


async def _keep_snapshot(done: Run, step: Step) -> None:
    """Take an array snapshot of everything, as somebody would who relies on it alone."""
    world = done.world
    array = world.arrays[step.array]
    naas = tuple(v.naa for v in array.inventory.volumes.values())
    await LocalArray(array).prepare(naas)
    for vm in world.scenario.vms:
        for key, disk in world.hypervisor.vm(vm.name).disks.items():
            world.hypervisor.moments[_KEPT + f":{vm.name}", key] = disk.disk.moment(world.env.now)
    await LocalArray(array).create_snapshots(naas, _KEPT)
    done.notes.append(f"an array snapshot of {array.name} is kept, with {len(naas)} volumes")


async def _damage(done: Run, step: Step) -> None:
    array = done.world.arrays[step.array]
    array.damage(array.volume(step.volume), Runs.single(step.offset, step.length))
    done.notes.append(
        f"{format_size(step.length)} of {step.volume} went bad at {format_size(step.offset)}"
    )


async def _lose_array(done: Run, step: Step) -> None:
    done.world.arrays[step.array].lose()
    done.notes.append(f"{step.array} is lost, with every volume and snapshot in it")


async def _check_snapshot(done: Run, step: Step) -> None:
    """Read the kept array snapshot through the disks' offset tables."""
    try:
        wrong = await _bad_bytes(done, step)
    except NotFound:
        done.notes.append("the kept array snapshot is gone")
        return
    except (Refused, Lost) as error:
        done.notes.append(f"the kept array snapshot cannot be read: {error}")
        return
    if wrong:
        done.notes.append(
            f"the kept array snapshot has {format_size(wrong)} that cannot be read as written:"
            " it shares the damaged blocks"
        )
    else:
        done.notes.append("the kept array snapshot reads back as written")


async def _bad_bytes(done: Run, step: Step) -> int:
    """Return how many bytes of the VMs' disks the kept snapshot gives back wrong or not at all."""
    world = done.world
    port = LocalArray(world.arrays[step.array])
    initiator = LocalInitiator(world.arrays[step.array], BACKUP_IQN)
    wrong = 0
    kept = [s for s in await port.snapshots() if s.name.startswith(_KEPT)]
    if not kept:
        raise NotFound("array snapshot", _KEPT)
    for snapshot in kept:
        copy = await port.promote(snapshot.name, f"copy-{snapshot.name}")
        device = await initiator.attach(await port.map_volume(copy.name, BACKUP_IQN))
        naa = world.naas[snapshot.volume]
        for vm in world.scenario.vms:
            for key, disk in world.hypervisor.vm(vm.name).disks.items():
                table = world.site.offset_table(
                    disk.disk.head, disk.disk.blocks, disk.datastore.volume_names()
                )
                moment = world.hypervisor.moments[_KEPT + f":{vm.name}", key]
                if naa in table.volumes:
                    truth = judge.Truth(world.site, moment)
                    wrong += await _wrong_on(device, table, table.volumes.index(naa), truth)
        await device.close()
    return wrong


async def _wrong_on(
    device: BlockDevice, table: OffsetTable, volume: int, truth: judge.Truth
) -> int:
    wrong = 0
    needed = table.volume_runs(volume, table.where(State.WRITTEN))
    for start, length in needed.blocks(MIB).tolist():
        try:
            async for span in device.read(Runs.single(start, length), Throttle()):
                for at, there, size in table.pieces(volume, span.offset, len(span.data)):
                    begin = there - span.offset
                    wrong += truth.wrong_bytes(at, span.data[begin : begin + size])
        except Corrupt:
            wrong += length
    return wrong


async def _restore(done: Run, step: Step) -> None:
    """Restore the newest restore point of each VM and compare it with the truth."""
    for vm in done.world.backed_up:
        points = [p for p in done.points if p.vm == vm]
        if not points:
            done.notes.append(f"{vm} has no restore point to restore")
            continue
        newest = points[-1]
        try:
            found = await _restored(done, newest, f"{vm}-restored", step.datastore)
        except (Refused, Lost) as error:  # says nothing about the bytes
            why = f"{newest.id} could not be restored to {step.datastore}: {error}"
            done.notes.append(why)
            done.not_restored.append(why)
            continue
        except Corrupt as error:
            done.notes.append(f"{newest.id} restored to {step.datastore}: {error}")
            done.restores.append((newest.id, step.datastore, False))
            continue
        done.restores.append((newest.id, step.datastore, not found))
        verdict = f"differs: {found[0]}" if found else "every byte as the guest had written it"
        done.notes.append(f"{newest.id} restored to {step.datastore}: {verdict}")


async def _restored(
    done: Run, point: RestorePoint, name: str, datastore: str
) -> list[judge.Difference]:
    world = done.world
    world.array_of(datastore).core.check_reachable()
    sizes = {disk.key: disk.capacity_bytes for disk in point.disks}
    await done.hypervisor.create_vm(name, datastore, sizes, Provisioning.THIN)
    moments = done.moments(point)
    found = []
    for key in sizes:
        device = await done.hypervisor.open_target(name, key)
        await restore_to_device(done.repository, point.id, key, device, blank=True)
        await device.close()
        disk = world.hypervisor.vm(name).disks[key].disk
        found += judge.check_level(world.site, disk.head, key, moments[key])
    return found
