"""Our own client against the emulated vCenter: a copy is mounted, searched, and its VM registered."""

from __future__ import annotations

from typing import Any

import pytest

from stuntdouble.adapters.vsphere import mounting
from stuntdouble.adapters.vsphere.connection import Connection
from stuntdouble.array import LocalArray
from stuntdouble.clock import perform, run
from stuntdouble.errors import NotFound
from stuntdouble.scenarios import load
from stuntdouble.scenarios.build import HOST_IQN, build, prepare
from stuntdouble.vsphere import Dispatcher, Setting, VirtualCenter, blocking, connect
from vcenter import USER


async def copied(world: Any) -> tuple[str, ...]:
    """Map a promoted snapshot of the first datastore to the hosts; return its identifiers."""
    array = LocalArray(world.arrays["array-1"])
    store = next(iter(world.hypervisor.datastores.values()))
    found = []
    for snapshot in await array.create_snapshots(store.naas, "point"):
        volume = await array.promote(snapshot.name, f"copy-{snapshot.name}")
        await array.map_volume(volume.name, HOST_IQN)
        found.append(volume.naa)
    return tuple(found)


def test_a_vm_is_found_on_a_mounted_copy_and_registered() -> None:
    async def main(env: Any) -> None:
        world = build(load("quickstart"), 1, env, None)
        await prepare(world)
        dispatcher = Dispatcher(VirtualCenter(world.hypervisor, Setting(users=(USER,))))
        connection = Connection(lambda: connect(dispatcher, USER.name, USER.password), run=blocking)
        [vm] = world.hypervisor.vms
        [original] = world.hypervisor.datastores
        volumes = await copied(world)
        mounted = await mounting.mount(connection, volumes)
        assert mounted != original
        assert world.hypervisor.datastores[mounted].naas == volumes
        assert await mounting.mount(connection, volumes) == mounted
        name = await mounting.register(connection, mounted, vm)
        registered = world.hypervisor.vms[name]
        assert registered.is_copy
        assert {disk.datastore.name for disk in registered.disks.values()} == {mounted}
        with pytest.raises(NotFound):
            await mounting.register(connection, mounted, "nobody")
        await perform(env, world.hypervisor.admin.unregister(registered))
        await mounting.unmount(connection, mounted)
        assert list(world.hypervisor.datastores) == [original]
        await mounting.unmount(connection, mounted)

    run(main)
