"""Quirks that lose data, seen by a client of vSphere: what the oracle knows and the answers lack."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim

from stuntdouble.content import ZERO
from stuntdouble.units import GIB
from vcenter import Site, awaited, played

LOOKED_AT = GIB  # of the disk, from its start: where the guest writes


def with_quirk(name: str, **disk: Any) -> Any:
    def change(scenario: Any) -> Any:
        vms = tuple(
            vm.model_copy(
                update={
                    "disks": tuple(d.model_copy(update=disk) for d in vm.disks),
                    "tracking": name != "tracking-on-snapshot",
                }
            )
            for vm in scenario.vms
        )
        quirks = [name] if name else []
        parameters = {**scenario.hypervisor, "quirks": quirks, "tracking_with_snapshots": True}
        return scenario.model_copy(update={"hypervisor": parameters, "vms": vms})

    return change


def snapshot(site: Site, vm: Any, name: str) -> tuple[Any, Any]:
    task = vm.CreateSnapshot_Task(name, "", False, False)
    WaitForTask(task, si=site.si)
    devices = task.info.result.config.hardware.device
    return task.info.result, next(d for d in devices if isinstance(d, vim.vm.device.VirtualDisk))


def told(vm: Any, snap: Any, disk: Any, since: str) -> np.ndarray:
    """Return which blocks of the start of a disk the answers tell of, page by page."""
    found = np.zeros(LOOKED_AT // 4096, bool)
    start = 0
    while start < disk.capacityInBytes:
        page = vm.QueryChangedDiskAreas(snap, disk.key, start, since)
        for area in page.changedArea:
            found[area.start // 4096 : (area.start + area.length) // 4096] = True
        start = page.startOffset + page.length
    return found


def truth(site: Site, snap: Any, disk: Any) -> np.ndarray:
    """Return what the guest had written at a snapshot, from the ledger."""
    moment = site.world.hypervisor.moments[snap._moId, disk.key]
    count = min(LOOKED_AT // 4096, moment.disk.blocks)
    found = np.full(LOOKED_AT // 4096, ZERO, np.uint64)
    found[:count] = site.world.site.truth(moment, 0, count)
    return found


def extended(site: Site, vm: Any, size: int) -> None:
    disk = next(d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk))
    disk.capacityInBytes, disk.capacityInKB = size, size // 1024
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
    WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])), si=site.si)


@pytest.mark.parametrize("quirk", ["", "extend-past-128-gib"])
def test_areas_after_a_disk_grew_past_128_gib(quirk: str) -> None:
    def client(site: Site) -> int:
        vm = site.vm()
        extended(site, vm, 129 * GIB)
        first, disk = snapshot(site, vm, "one")
        since = disk.backing.changeId
        WaitForTask(first.RemoveSnapshot_Task(False), si=site.si)
        awaited(asyncio.sleep(20))
        second, disk = snapshot(site, vm, "two")
        changed = truth(site, first, disk) != truth(site, second, disk)
        assert changed.any()
        return int((changed & ~told(vm, second, disk, since)).sum())

    missed = played(client, change=with_quirk(quirk, size=127 * GIB, provisioning="thin"))
    assert (missed > 0) is bool(quirk)


@pytest.mark.parametrize("quirk", ["", "changes-lost-in-consolidation"])
def test_areas_of_what_was_written_during_a_consolidation(quirk: str) -> None:
    def client(site: Site) -> int:
        vm = site.vm()
        first, disk = snapshot(site, vm, "one")
        since = disk.backing.changeId
        awaited(asyncio.sleep(60))
        WaitForTask(first.RemoveSnapshot_Task(False), si=site.si)
        second, disk = snapshot(site, vm, "two")
        changed = truth(site, first, disk) != truth(site, second, disk)
        return int((changed & ~told(vm, second, disk, since)).sum())

    assert (played(client, change=with_quirk(quirk)) > 0) is bool(quirk)


@pytest.mark.parametrize("quirk", ["", "tracking-on-snapshot"])
def test_areas_in_use_of_a_disk_tracked_on_top_of_a_snapshot(quirk: str) -> None:
    def client(site: Site) -> int:
        vm = site.vm()
        snapshot(site, vm, "one")
        spec = vim.vm.ConfigSpec(changeTrackingEnabled=True)
        if not vm.config.changeTrackingEnabled:
            WaitForTask(vm.ReconfigVM_Task(spec), si=site.si)
        second, disk = snapshot(site, vm, "two")
        held = truth(site, second, disk)
        used = (held != ZERO) & (held != 0)  # 0 is what nobody has ever written
        return int((used & ~told(vm, second, disk, "*")).sum())

    assert (played(client, change=with_quirk(quirk)) > 0) is bool(quirk)
