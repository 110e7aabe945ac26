"""A datastore that fills up: the VM pauses and asks, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from stuntdouble.scenarios.judge import check_level
from vcenter import Site, ended, played


def tight(scenario: Any) -> Any:
    """The scenario on a datastore in which deltas fill up what its disks leave."""
    vms = tuple(
        vm.model_copy(
            update={
                "load": vm.load.model_copy(update={"iops": 400.0, "reads": 0.0}),
                "disks": tuple(
                    d.model_copy(update={"provisioning": "lazy-zeroed"}) for d in vm.disks
                ),
            }
        )
        for vm in scenario.vms
    )
    needed = sum(disk.size for vm in vms for disk in vm.disks)
    arrays = tuple(
        array.model_copy(
            update={
                "volumes": tuple(
                    v.model_copy(update={"size": needed + (40 << 20)}) for v in array.volumes
                )
            }
        )
        for array in scenario.arrays
    )
    return scenario.model_copy(update={"vms": vms, "arrays": arrays})


@pytest.mark.parametrize("choice", ["0", "1"])
def test_a_full_datastore_pauses_the_vm_which_asks_and_loses_nothing(choice: str) -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        task = vm.CreateSnapshot_Task("one", "", False, False)
        WaitForTask(task, si=site.si)
        snap = task.info.result
        collector = site.content.propertyCollector.CreatePropertyCollector()
        collector.CreateFilter(
            vmodl.query.PropertyCollector.FilterSpec(
                objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=vm)],
                propSet=[
                    vmodl.query.PropertyCollector.PropertySpec(
                        type=vim.VirtualMachine, pathSet=["runtime.question"]
                    )
                ],
            ),
            True,
        )
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=1000)
        first = collector.WaitForUpdatesEx("", options)
        while vm.runtime.question is None:
            first = collector.WaitForUpdatesEx(first.version, options)
        question = vm.runtime.question
        assert "outofspace" in question.text
        assert [each.key for each in question.choice.choiceInfo] == ["0", "1"]
        full = vm.CreateSnapshot_Task("another", "", False, False)
        fault = ended(full).error
        assert isinstance(fault, vim.fault.NoDiskSpace)
        assert fault.datastore == vm.datastore[0].name
        with pytest.raises(vmodl.fault.InvalidArgument):
            vm.AnswerVM("other", choice)
        with pytest.raises(vmodl.fault.InvalidArgument):
            vm.AnswerVM(question.id, "7")
        if choice == "1":
            vm.AnswerVM(question.id, choice)
            assert vm.runtime.powerState == "poweredOff"
        assert ended(snap.RemoveSnapshot_Task(removeChildren=False)).state == "success"
        if choice == "0" and vm.runtime.question is not None:
            vm.AnswerVM(question.id, choice)
        assert vm.runtime.question is None
        assert vm.runtime.powerState == ("poweredOn" if choice == "0" else "poweredOff")
        disk = site.world.hypervisor.vm(vm.name).disks[2000].disk
        with site.world.env.entered():
            moment = disk.moment(site.now)
            assert not check_level(site.world.site, disk.head, 2000, moment)

    played(client, change=tight)
