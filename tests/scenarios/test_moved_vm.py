"""A VM of a scenario under load that is unregistered, brought back and relocated, on either engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from scenarios.tiny import tiny
from stuntdouble.clock import perform, run
from stuntdouble.scenarios import parse
from stuntdouble.scenarios.build import build, prepare
from stuntdouble.scenarios.judge import check_level

if TYPE_CHECKING:
    from stuntdouble.clock import Environment
    from stuntdouble.results import EngineName


def two_datastores() -> dict[str, Any]:
    table = tiny()
    [array] = table["arrays"]
    array["volumes"] = [{"name": f"vol-{i}", "pool": "pool-1", "size": "512 MiB"} for i in (1, 2)]
    table["datastores"] = [{"name": f"ds-{i}", "volumes": [f"vol-{i}"]} for i in (1, 2)]
    return table


async def moved(env: Environment, engine: EngineName) -> list[int]:
    """Move the VM about; return what its guest has done at each station of the way."""
    world = build(parse(two_datastores(), "test"), 1, env, None, engine)
    host, done = world.hypervisor, []
    await prepare(world)

    def check() -> None:
        vm = host.vm("vm-1")
        done.append(vm.guest.completed)
        for disk in vm.disks.values():
            moment = disk.disk.moment(env.now)
            assert not check_level(world.site, disk.disk.head, disk.key, moment)

    for target in ("ds-2", "ds-1"):
        await asyncio.sleep(3)
        await perform(env, host.create_snapshot("vm-1", "s"))
        await asyncio.sleep(3)
        await perform(env, host.power_off("vm-1"))
        check()
        source = next(iter(host.vm("vm-1").disks.values())).datastore.name
        await perform(env, host.admin.unregister("vm-1"))
        await asyncio.sleep(3)
        await perform(env, host.admin.register(source, "vm-1/vm-1.vmx"))
        await perform(env, host.admin.relocate("vm-1", target))
        check()
        await perform(env, host.power_on("vm-1"))
    await asyncio.sleep(3)
    check()
    await perform(env, host.remove_all_snapshots("vm-1"))
    check()
    await perform(env, host.power_off("vm-1"))
    await perform(env, host.admin.destroy("vm-1"))
    await asyncio.sleep(3)
    assert all(d.free_bytes == d.capacity_bytes for d in host.datastores.values())
    return done


@pytest.mark.parametrize("engine", ["reference", "kernel"])
def test_a_vm_that_is_moved_about_keeps_its_bytes_and_its_load(engine: EngineName) -> None:
    done = run(lambda env: moved(env, engine))
    assert done[0] == done[1] < done[2] == done[3] < done[4] < done[5]


def test_both_engines_move_it_alike() -> None:
    assert run(lambda env: moved(env, "reference")) == run(lambda env: moved(env, "kernel"))
