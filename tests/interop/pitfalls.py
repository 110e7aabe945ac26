"""What a client of pyVmomi would stumble over, tried in a process of its own.

    python pitfalls.py URL USER PASSWORD PITFALL

Each pitfall is a function; it raises AssertionError where a client would fall.
"""

from __future__ import annotations

import datetime as dt
import sys

from pyVmomi import VmomiSupport, vim, vmodl
from pyvmomi_client import PC, Client

VM = "server-3"


def traversal():
    return PC.TraversalSpec(name="v", path="view", skip=False, type=vim.view.ContainerView)


def spec(view, kind, paths=None):
    wanted = (
        PC.PropertySpec(type=kind, all=True)
        if paths is None
        else PC.PropertySpec(type=kind, pathSet=paths)
    )
    return PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=view, skip=True, selectSet=[traversal()])], propSet=[wanted]
    )


def refused(kind, call):
    """Return the fault of a kind that a call is answered with."""
    try:
        call()
    except kind as fault:
        return fault
    raise AssertionError(f"no {kind.__name__}")


def lists_of_more_than_one(client):
    """Arguments that repeat: types of a view, specifications, paths."""
    kinds = [vim.VirtualMachine, vim.HostSystem, vim.Datastore]
    content = client.content
    view = content.viewManager.CreateContainerView(content.rootFolder, kinds, True)
    seen = {type(each) for each in view.view}
    assert seen == set(kinds), seen
    specs = [spec(view, kind, ["name", "overallStatus"]) for kind in kinds]
    found = content.propertyCollector.RetrieveContents(specs)
    assert {type(each.obj) for each in found} == set(kinds)
    assert all(len(each.propSet) == 2 for each in found)


def faults_where_they_belong(client):
    """vim.fault and vmodl.fault hold different ones."""
    vm = client.vm(VM)
    client.content.sessionManager.Logout()
    fault = refused(vim.fault.NotAuthenticated, lambda: vm.name)
    assert fault.privilegeId
    again = client.login()
    gone = vim.VirtualMachine("vm-none", again._stub)
    fault = refused(vmodl.fault.ManagedObjectNotFound, lambda: gone.name)
    assert fault.obj._moId == "vm-none"


def whole(value, where=""):
    """Yield where a required field is missing."""
    if isinstance(value, list):
        for each in value:
            yield from whole(each, where)
    elif isinstance(value, VmomiSupport.DataObject):
        for info in value._GetPropertyList():
            held = getattr(value, info.name)
            if held is None and not info.flags & VmomiSupport.F_OPTIONAL:
                yield f"{where}.{info.name}"
            yield from whole(held, f"{where}.{info.name}")


def required_fields_are_there(client):
    """Everything of every VM, host and datastore is whole by the schema."""
    content = client.content
    kinds = [vim.VirtualMachine, vim.HostSystem, vim.Datastore, vim.Folder, vim.Datacenter]
    view = content.viewManager.CreateContainerView(content.rootFolder, kinds, True)
    for kind in kinds:
        for each in content.propertyCollector.RetrieveContents([spec(view, kind)]):
            assert len(each.propSet) > 5, (kind, len(each.propSet))
            for held in each.propSet:
                assert not list(whole(held.val, held.name)), list(whole(held.val, held.name))[:5]


def values_of_the_declared_type(client):
    """What travels as anything comes back as what the schema says."""
    vm = client.vm(VM)
    paths = {
        "config.hardware.device",
        "config.hardware.numCPU",
        "summary.storage.committed",
        "runtime.bootTime",
        "datastore",
        "config.changeTrackingEnabled",
    }
    (found,) = client.content.propertyCollector.RetrieveContents(
        [
            PC.FilterSpec(
                objectSet=[PC.ObjectSpec(obj=vm)],
                propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=sorted(paths))],
            )
        ]
    )
    has = {each.name: each.val for each in found.propSet}
    assert set(has) == paths
    assert type(has["config.hardware.device"]).__name__ == "vim.vm.device.VirtualDevice[]"
    assert type(has["config.hardware.numCPU"]) is int
    assert type(has["summary.storage.committed"]) is VmomiSupport.long
    assert isinstance(has["runtime.bootTime"], dt.datetime)
    assert all(isinstance(each, vim.Datastore) for each in has["datastore"])
    assert has["config.changeTrackingEnabled"] in (True, False)


def tasks_that_can_be_read(client):
    """A task names a method that there is, and has what the schema requires."""
    vm = client.vm(VM)
    task = vm.CreateSnapshot_Task("read", None, False, False)
    client.ended(task)
    info = task.info
    assert info.name.info.wsdlName == "CreateSnapshot_Task"
    assert info.descriptionId == "vim.VirtualMachine.createSnapshot" or info.descriptionId
    assert info.cancelable is not None
    assert info.cancelled is not None
    assert info.eventChainId is not None
    assert isinstance(info.reason, vim.TaskReason)
    assert info.entity == vm
    client.ended(info.result.RemoveSnapshot_Task(False))


def updates_by_version(client):
    """No version starts anew, an old one is refused, filters belong to their session."""
    vm = client.vm(VM)
    collector = (
        client.content.propertyCollector.CreatePropertyCollector()
    )  # tasks wait on the other
    wanted = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=vm)],
        propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "snapshot"])],
    )
    made = collector.CreateFilter(wanted, False)
    now = PC.WaitOptions(maxWaitSeconds=0)
    first = collector.WaitForUpdatesEx("", now)
    assert collector.WaitForUpdatesEx(first.version, now) is None
    again = collector.WaitForUpdatesEx(None, now)
    assert [each.kind for each in again.filterSet[0].objectSet] == ["enter"]
    client.ended(vm.CreateSnapshot_Task("u", None, False, False))
    third = collector.WaitForUpdatesEx(again.version, now)
    (change,) = third.filterSet[0].objectSet[0].changeSet
    assert (change.name, change.op) == ("snapshot", "assign")
    stale = vmodl.query.InvalidCollectorVersion
    refused(stale, lambda: collector.WaitForUpdatesEx("77777", now))
    other = client.login().RetrieveContent().propertyCollector
    assert other.WaitForUpdatesEx("", now) is None, "another session has filters of its own"
    client.removeall(VM)
    fourth = collector.WaitForUpdatesEx(third.version, now)
    change = fourth.filterSet[0].objectSet[0].changeSet[-1]
    assert change.name == "snapshot"
    assert change.val is None
    made.Destroy()


def references_lead_on(client):
    """An object's properties hold references that can be called in turn."""
    vm = client.vm(VM)
    assert vm in vm.datastore[0].vm
    assert vm in vm.runtime.host.vm
    assert vm.parent.parent.vmFolder == vm.parent
    assert vm.resourcePool.owner == vm.runtime.host.parent
    assert vm.environmentBrowser is not None


if __name__ == "__main__":
    url, user, password, name = sys.argv[1:]
    globals()[name](Client(url, user, password))
