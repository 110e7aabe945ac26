"""The storage of a scenario's host: what its arrays map to it, mounted step by step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scenarios.tiny import tiny
from stuntdouble.array import LocalArray
from stuntdouble.clock import perform, run
from stuntdouble.scenarios import parse
from stuntdouble.scenarios.build import BACKUP_IQN, HOST_IQN, build, prepare

if TYPE_CHECKING:
    from stuntdouble.clock import Environment


def test_a_host_mounts_what_the_array_maps_to_it_and_to_nobody_else() -> None:
    async def main(env: Environment) -> None:
        world = build(parse(tiny(), "test"), 1, env, None)
        array, storage = LocalArray(world.arrays["array-1"]), world.hypervisor.storage
        await prepare(world)
        await asyncio.sleep(5)
        [datastore] = world.hypervisor.datastores.values()
        volumes = {v.naa: v.name for v in await array.volumes()}
        snapshots = await array.create_snapshots(datastore.naas, "point")
        mapped = []
        for snapshot in snapshots:
            promoted = await array.promote(snapshot.name, f"copy-{snapshot.name}")
            await array.map_volume(promoted.name, BACKUP_IQN)
            await perform(env, storage.rescan())
            assert not storage.unresolved()
            await array.map_volume(promoted.name, HOST_IQN)
            mapped.append(promoted)
        assert not storage.unresolved()
        await perform(env, storage.rescan())
        [found] = storage.unresolved()
        assert (found.label, found.uuid) == (datastore.name, datastore.uuid)
        assert tuple(e.naa for e in found.extents) == tuple(v.naa for v in mapped)
        assert not {v.naa for v in mapped} & volumes.keys()
        copy = await perform(env, storage.resignature(tuple(v.naa for v in mapped)))
        vm = next(iter(world.hypervisor.vms))
        await perform(env, world.hypervisor.admin.register(copy.name, vm))
        world.arrays["array-1"].lose()
        await perform(env, storage.rescan())
        assert {d.state for d in storage.devices() if d.naa in copy.naas} == {"dead"}

    run(main)
