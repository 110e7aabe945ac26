from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pyVmomi import VmomiSupport as V
from pyVmomi import vim, vmodl

from stuntdouble.errors import Bug
from stuntdouble.vsphere import vmomi
from vsphere.drawn import data_types
from vsphere.wire import Stub, same


@pytest.mark.parametrize(
    ("missing", "package"),
    [
        ("pyVmomi", "vsphere.request"),
        ("pyVmomi", "vsphere.reply"),
        ("httptools", "http"),
        ("cryptography", "http"),
    ],
)
def test_what_is_not_installed_is_named_in_one_line(missing: str, package: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import stuntdouble.{package}"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith(f"stuntdouble.errors.Misuse: stuntdouble.{package.partition('.')[0]}: ")
    assert f"{missing} is not installed: pip install 'stuntdouble[vsphere]'" in last


def test_an_object_is_made_as_pyvmomi_makes_it() -> None:
    for kind in data_types():
        made = vmomi.make(kind)
        assert same(made, kind())
        assert made.__dict__.keys() == kind().__dict__.keys()


def test_an_object_is_made_with_its_values_and_no_others() -> None:
    made = vmomi.make(vim.Description, {"label": "a"})
    assert (made.label, made.summary) == ("a", "")
    with pytest.raises(Bug, match="has no field lable"):
        vmomi.make(vim.Description, {"lable": "a"})
    lists = [vmomi.make(vim.vm.ConfigSpec).deviceChange for _ in range(2)]
    assert lists[0] is not lists[1]


def test_filling_leaves_what_is_there_and_reaches_what_is_within() -> None:
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="f")
    backing.__dict__["diskMode"] = None
    hardware = vim.vm.VirtualHardware(device=[vim.vm.device.VirtualDisk(key=7, backing=backing)])
    hardware.device[0].deviceInfo = vim.Description(label="kept")
    hardware.device[0].deviceInfo.__dict__["summary"] = None
    assert vmomi.fill(hardware) is hardware
    assert hardware.device[0].key == 7
    assert (backing.fileName, backing.diskMode) == ("f", "")
    assert hardware.device[0].deviceInfo.label == "kept"
    assert hardware.device[0].deviceInfo.summary == ""
    event = vmomi.fill(vim.event.EventEx(eventTypeId="x"))
    assert event.createdTime.year == 1970


def test_properties_are_as_defined_whatever_the_client_made_of_them() -> None:
    vm = vim.VirtualMachine("vm-1", Stub())
    with pytest.raises(AttributeError):
        vm.datastore  # noqa: B018 -- the client widens the type, and then has no way to send
    assert vim.VirtualMachine._GetPropertyInfo("datastore").type.Item is V.ManagedObject
    found = vmomi.managed_properties(vim.VirtualMachine)
    assert found["datastore"].item is vim.Datastore
    assert found["name"].privilege == "System.View"
    assert found["snapshot"].optional
    assert not found["runtime"].optional


def test_a_method_says_what_it_takes_returns_and_may_fail_with() -> None:
    found = vmomi.lookup_method(vmomi.VIM25, "QueryChangedDiskAreas")
    assert found is not None
    assert [field.name for field in found.parameters] == [
        "snapshot",
        "deviceKey",
        "startOffset",
        "changeId",
    ]
    assert found.result is vim.VirtualMachine.DiskChangeInfo
    assert set(found.faults) == {"vim.fault.FileFault", "vim.fault.NotFound"}
    assert not found.is_task
    task = vmomi.lookup_method(vmomi.VIM25, "CreateSnapshot_Task")
    assert task is not None
    assert (task.result, task.task_result, task.is_task) == (vim.Task, vim.vm.Snapshot, True)
    assert vmomi.lookup_method(vmomi.VIM25, "Nothing") is None


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        (5, V.long, V.long),
        (["a"], V.GetVmodlType("vmodl.PropertyPath[]"), V.GetVmodlType("vmodl.PropertyPath[]")),
        ("poweredOn", vim.VirtualMachine.PowerState, vim.VirtualMachine.PowerState),
        (b"a", V.binary, V.binary),
        (None, V.long, type(None)),
        (5, object, int),
        (vmodl.DynamicProperty, type, type(vmodl.DynamicProperty)),
    ],
)
def test_a_value_takes_its_declared_type(value: Any, kind: Any, found: Any) -> None:
    got = vmomi.coerced(value, kind)
    assert type(got) is found
    assert got == value
