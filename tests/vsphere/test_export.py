"""Exporting a VM: its lease, its disks as other programs read them, and its descriptor."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import urllib.request
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from stuntdouble.vsphere import leases
from vcenter import Site, played
from vsphere.mutating import quiet
from vsphere.serving import Served, disconnect, served
from vsphere.test_server import first_vm, until

if TYPE_CHECKING:
    from pathlib import Path

LEASE = vim.HttpNfcLease


def written(scenario: Any) -> Any:
    """The quiet scenario, with something on its disks."""
    made = quiet(scenario)
    disks = tuple(disk.model_copy(update={"written": 40 << 20}) for disk in made.vms[0].disks)
    return made.model_copy(
        update={"vms": tuple(vm.model_copy(update={"disks": disks}) for vm in made.vms[:2])}
    )


def off(si: Any, vm: Any) -> None:
    if vm.runtime.powerState == "poweredOn":
        WaitForTask(vm.PowerOffVM_Task(), si=si)


def ready(lease: Any) -> Any:
    until(lambda: lease.state != "initializing")
    assert lease.state == "ready"
    return lease.info


def fetched(si: Any, site: Served, url: str) -> tuple[bytes, Any]:
    asked = urllib.request.Request(
        url.replace("*", "127.0.0.1"), headers={"Cookie": si._stub.cookie.split(";")[0]}
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return answer.read(), answer.headers


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="there is no qemu-img")
def test_an_exported_disk_holds_the_site_s_bytes(tmp_path: Path) -> None:
    def client(site: Served) -> None:
        si = site.connect()
        vm = first_vm(si)
        off(si, vm)
        WaitForTask(vm.CreateSnapshot_Task("one", "", False, False), si=si)
        lease = vm.ExportVm()
        info = ready(lease)
        assert info.entity == vm
        assert info.leaseTimeout == 300
        (url,) = info.deviceUrl
        assert (url.disk, url.targetId) == (True, "disk-0.vmdk")
        assert info.totalDiskCapacityInKB == 64 << 10
        lease.HttpNfcLeaseProgress(10)
        made, headers = fetched(si, site, url.url)
        assert headers["Content-Type"] == "application/x-vnd.vmware-streamVmdk"
        (entry,) = lease.HttpNfcLeaseGetManifest()
        assert (entry.key, entry.size, entry.disk) == (url.key, len(made), True)
        assert entry.sha1 == hashlib.sha1(made).hexdigest()
        assert 0 < entry.populatedSize <= entry.capacity == 64 << 20
        assert url.fileSize > 0
        lease.HttpNfcLeaseComplete()
        assert lease.state == "done"
        with pytest.raises(Exception, match="404"):
            fetched(si, site, url.url)
        disconnect(si)
        (tmp_path / "disk.vmdk").write_bytes(made)
        emulated = site.world.hypervisor.vms[vm_name(site)]
        disk = next(iter(emulated.disks.values()))
        blocks = disk.spec.capacity_bytes // site.world.site.block_bytes
        (tmp_path / "truth.raw").write_bytes(
            site.on_loop(lambda: site.world.site.show(disk.disk.head, 0, blocks, "truth").tobytes())
        )
        call = ["qemu-img", "compare", "-f", "vmdk", "-F", "raw",
                str(tmp_path / "disk.vmdk"), str(tmp_path / "truth.raw")]  # fmt: skip
        told = subprocess.run(call, check=False, capture_output=True, text=True)
        assert (told.returncode, told.stdout) == (0, "Images are identical.\n")

    served(client, rate=1000.0, change=written)


def vm_name(site: Served) -> str:
    return next(iter(site.world.hypervisor.vms))


def test_a_lease_holds_its_vm_until_it_ends() -> None:
    def client(site: Served) -> None:
        si = site.connect()
        vm = first_vm(si)
        if vm.runtime.powerState == "poweredOn":
            with pytest.raises(vim.fault.InvalidPowerState):
                vm.ExportVm()
        off(si, vm)
        lease = vm.ExportVm()
        info = ready(lease)
        for call in (
            lambda: vm.PowerOnVM_Task(None),
            lambda: vm.CreateSnapshot_Task("one", "", False, False),
            vm.Destroy_Task,
            vm.UnregisterVM,
            vm.ExportVm,
        ):
            with pytest.raises(vim.fault.MethodDisabled) as refused:
                call()
            assert refused.value.source == lease._moId
        with pytest.raises(Exception, match="percent"):
            lease.HttpNfcLeaseProgress(101)
        lease.HttpNfcLeaseAbort(None)
        assert lease.state == "error"
        assert lease.error is not None
        assert lease.info is None
        for over in (lease.HttpNfcLeaseComplete, lease.HttpNfcLeaseGetManifest,
                     lambda: lease.HttpNfcLeaseAbort(None)):  # fmt: skip
            with pytest.raises(vim.fault.InvalidState):
                over()
        WaitForTask(vm.PowerOnVM_Task(None), si=si)
        assert site.ask("GET", info.deviceUrl[0].url.partition("*")[2].partition("/")[2]).status
        disconnect(si)

    served(client, rate=1000.0, change=quiet)


def test_a_lease_of_which_nothing_is_heard_ends() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        off(site.si, vm)
        lease = vm.ExportVm()
        collector = site.content.propertyCollector
        for _ in range(3):
            collector.WaitForUpdatesEx("", vim_wait(200))
            lease.HttpNfcLeaseProgress(50)
        assert lease.transferProgress == 50
        collector.WaitForUpdatesEx("", vim_wait(leases.LEASE_SECONDS + 1))
        assert lease.state == "error"
        assert isinstance(lease.error, vim.fault.Timedout)
        WaitForTask(vm.PowerOnVM_Task(None), si=site.si)

    played(client, change=quiet)


def vim_wait(seconds: int) -> Any:
    return vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=seconds)


def test_who_waits_for_a_lease_is_told_that_it_is_ready() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        off(site.si, vm)
        lease = vm.ExportVm()
        kinds = vmodl.query.PropertyCollector
        wanted = kinds.PropertySpec(type=LEASE, pathSet=["state", "error"])
        collector = site.content.propertyCollector
        collector.CreateFilter(
            kinds.FilterSpec(objectSet=[kinds.ObjectSpec(obj=lease)], propSet=[wanted]), True
        )
        first = collector.WaitForUpdatesEx("", vim_wait(60))
        assert [each.val for each in first.filterSet[0].objectSet[0].changeSet] == ["initializing"]
        second = collector.WaitForUpdatesEx(first.version, vim_wait(60))
        assert [each.val for each in second.filterSet[0].objectSet[0].changeSet] == ["ready"]
        WaitForTask(site.content.taskManager.recentTask[0], si=site.si)
        lease.HttpNfcLeaseComplete()
        third = collector.WaitForUpdatesEx("", vim_wait(60))
        assert [each.val for each in third.filterSet[0].objectSet[0].changeSet] == ["done"]

    played(client, change=quiet)


def test_a_lease_ends_with_its_session() -> None:
    def client(site: Served) -> None:
        si, other = site.connect(), site.connect()
        vm = first_vm(si)
        off(si, vm)
        lease = vm.ExportVm()
        path = ready(lease).deviceUrl[0].url.split("/", 3)[3]
        assert site.ask("HEAD", f"/{path}").status == 401
        cookie = {"Cookie": other._stub.cookie.split(";")[0]}
        assert site.ask("HEAD", f"/{path}", **cookie).status == 200
        assert site.ask("POST", f"/{path}", **cookie).status == 405
        assert site.ask("GET", f"/{path}x", **cookie).status == 404
        disconnect(si)
        assert site.ask("HEAD", f"/{path}", **cookie).status == 404
        WaitForTask(first_vm(other).PowerOnVM_Task(None), si=other)
        disconnect(other)

    served(client, rate=1000.0, change=quiet)


def test_a_descriptor_names_disks_files_and_hardware() -> None:
    def client(site: Site) -> str:
        vm = site.vm()
        off(site.si, vm)
        lease = vm.ExportVm()
        site.content.propertyCollector.WaitForUpdatesEx("", vim_wait(5))
        key = lease.info.deviceUrl[0].key
        file = vim.OvfManager.OvfFile(
            deviceId=key, path="a & b.vmdk", size=1234, populatedSize=1000
        )
        params = vim.OvfManager.CreateDescriptorParams(
            name='x "<y>"', description="a < b", ovfFiles=[file]
        )
        found = site.content.ovfManager.CreateDescriptor(vm, params)
        assert not found.error
        wrong = vim.OvfManager.OvfFile(deviceId="/vm/Controller9:9", path="c", size=1)
        with pytest.raises(Exception, match="ovfFiles"):
            site.content.ovfManager.CreateDescriptor(
                vm, vim.OvfManager.CreateDescriptorParams(ovfFiles=[wrong])
            )
        return found.ovfDescriptor

    tree = ET.fromstring(played(client, change=quiet))
    names = {"o": "http://schemas.dmtf.org/ovf/envelope/1"}
    ovf = "{http://schemas.dmtf.org/ovf/envelope/1}"
    (file,) = tree.findall("o:References/o:File", names)
    assert (file.get(f"{ovf}href"), file.get(f"{ovf}size")) == ("a & b.vmdk", "1234")
    (disk,) = tree.findall("o:DiskSection/o:Disk", names)
    assert disk.get(f"{ovf}fileRef") == file.get(f"{ovf}id")
    assert disk.get(f"{ovf}capacity") == str(64 << 20)
    assert disk.get(f"{ovf}format", "").endswith("#streamOptimized")
    system = tree.find("o:VirtualSystem", names)
    assert system is not None
    assert system.findtext("o:Name", namespaces=names) == 'x "<y>"'
    rasd = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
    items = system.findall("o:VirtualHardwareSection/o:Item", names)
    kinds = [int(item.findtext(f"{rasd}ResourceType") or 0) for item in items]
    assert kinds == [3, 4, 6, 17, 10]
    hosts = [item.findtext(f"{rasd}HostResource") for item in items]
    assert f"ovf:/disk/{disk.get(f'{ovf}diskId')}" in hosts
    numbers = [item.findtext(f"{rasd}InstanceID") for item in items]
    assert len(set(numbers)) == len(items)
