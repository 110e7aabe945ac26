"""A small site behind an emulated vCenter, and pyVmomi's client of it in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import greenlet

from stuntdouble.clock import run
from stuntdouble.scenarios import load
from stuntdouble.scenarios.build import build, prepare
from stuntdouble.vsphere import Dispatcher, Setting, VirtualCenter, blocking, connect
from stuntdouble.vsphere.sessions import User

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.scenarios.build import World

USER = User("somebody", "secret")


@dataclass
class Site:
    """What a test's client is given: the emulator behind the wire, and the wire's own objects."""

    world: World
    center: VirtualCenter
    dispatcher: Dispatcher
    si: Any

    @property
    def content(self) -> Any:
        return self.si.RetrieveContent()

    @property
    def now(self) -> float:
        return self.world.env.now

    def vm(self, name: str = "") -> Any:
        """Return a VM by its name, or the first one, as the client sees it."""
        from pyVmomi import vim

        view = self.content.viewManager.CreateContainerView(
            self.content.rootFolder, [vim.VirtualMachine], True
        )
        return next(vm for vm in view.view if not name or vm.name == name)


def played(
    client: Callable[[Site], Any],
    scenario: str = "quickstart",
    *,
    seed: int = 1,
    setting: Setting | None = None,
    change: Callable[[Any], Any] = lambda scenario: scenario,
) -> Any:
    """Run a client, which may block, against a site in virtual time; return what it returns."""

    async def main(env: Any) -> Any:
        world = build(change(load(scenario)), seed, env, None)
        await prepare(world)
        center = VirtualCenter(world.hypervisor, setting or Setting(users=(USER,)))
        dispatcher = Dispatcher(center)
        si = connect(dispatcher, USER.name, USER.password)
        return await blocking(lambda: client(Site(world, center, dispatcher, si)))

    return run(main)


def awaited(awaitable: Any) -> Any:
    """Let site time pass in a client's code, until something is there."""
    return greenlet.getcurrent().parent.switch(awaitable)


def ended(task: Any) -> Any:
    """Wait for a task, whatever the VM asks meanwhile; return its information."""
    while (info := task.info).state in {"queued", "running"}:
        awaited(asyncio.sleep(1))
    return info
