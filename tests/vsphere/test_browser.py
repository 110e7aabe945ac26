"""The datastore browser and the file manager: what clients find, make and delete."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVim.task import WaitForTask
from pyVmomi import vim

from stuntdouble.vsphere import Setting
from stuntdouble.vsphere.browser import matches
from stuntdouble.vsphere.sessions import READ_ONLY, User
from vcenter import USER, Site, played

B = vim.host.DatastoreBrowser
ALL = B.FileInfo.Details(fileType=True, fileSize=True, modification=True, fileOwner=True)


def store_of(site: Site) -> Any:
    return site.vm().datastore[0]


def found(site: Site, path: str, spec: Any = None, *, below: bool = False) -> Any:
    browser = store_of(site).browser
    start = browser.SearchDatastoreSubFolders_Task if below else browser.SearchDatastore_Task
    task = start(path, spec)
    WaitForTask(task, si=site.si)
    return task.info.result


def test_a_configuration_is_found_below() -> None:
    def client(site: Site) -> None:
        store, vm = store_of(site), site.vm()
        spec = B.SearchSpec(matchPattern=[f"{vm.name}.vmx"])
        results = found(site, f"[{store.name}]", spec, below=True)
        hits = [(r.folderPath, f.path) for r in results for f in r.file]
        assert hits == [(f"[{store.name}] {vm.name}/", f"{vm.name}.vmx")]
        assert f"{hits[0][0]}{hits[0][1]}" == vm.config.files.vmPathName
        assert {r.folderPath for r in results} == {
            f"[{store.name}]",
            *(f"[{store.name}] {each.name}/" for each in store.vm),
        }
        assert all(r.datastore == store for r in results)

    played(client)


def test_a_folder_is_listed_as_it_is_asked_for() -> None:
    def client(site: Site) -> None:
        store, vm = store_of(site), site.vm()
        path = f"[{store.name}] {vm.name}"
        bare = found(site, path).file
        names = [each.path for each in bare]
        assert f"{vm.name}.vmx" in names
        assert f"{vm.name}-flat.vmdk" in names
        assert {type(each) for each in bare} == {B.FileInfo}
        assert all(each.fileSize is None and each.modification is None for each in bare)
        full = {each.path: each for each in found(site, path, B.SearchSpec(details=ALL)).file}
        assert isinstance(full[f"{vm.name}.vmx"], B.VmConfigInfo)
        assert isinstance(full["vmware.log"], B.VmLogInfo)
        disk = full[f"{vm.name}.vmdk"]
        assert isinstance(disk, B.VmDiskInfo)
        assert disk.capacityKb == vm.config.hardware.device[8].capacityInKB
        assert full[f"{vm.name}-flat.vmdk"].fileSize == disk.fileSize == disk.capacityKb << 10
        assert disk.diskExtents == [f"[{store.name}] {vm.name}/{vm.name}-flat.vmdk"]
        assert disk.modification is not None
        top = found(site, f"[{store.name}]", B.SearchSpec(details=ALL)).file
        assert {type(each) for each in top} == {B.FolderInfo}
        assert [each.path for each in top] == sorted(each.name for each in store.vm)

    played(client)


def test_queries_choose_kinds_of_files() -> None:
    def client(site: Site) -> None:
        store, vm = store_of(site), site.vm()
        path = f"[{store.name}] {vm.name}"

        def names(*queries: Any) -> list[str]:
            return [each.path for each in found(site, path, B.SearchSpec(query=list(queries))).file]

        assert names(B.VmConfigQuery()) == [f"{vm.name}.vmx"]
        assert set(names(B.VmLogQuery(), B.VmConfigQuery())) == {"vmware.log", f"{vm.name}.vmx"}
        assert names(B.VmDiskQuery()) == [f"{vm.name}.vmdk"]
        assert names(B.IsoImageQuery(), B.VmSnapshotQuery(), B.FolderQuery()) == []
        assert len(names(B.Query())) > 4
        wide = B.VmDiskQuery.Filter(controllerType=[vim.vm.device.VirtualIDEController])
        assert names(B.VmDiskQuery(filter=wide)) == []
        thin = any("Thin" in str(type(d)) or getattr(d.backing, "thinProvisioned", False)
                   for d in vm.config.hardware.device)  # fmt: skip
        assert bool(names(B.VmDiskQuery(filter=B.VmDiskQuery.Filter(thin=True)))) is thin
        sized = B.VmDiskQuery(details=B.VmDiskQuery.Details(
            capacityKb=True, diskType=False, hardwareVersion=False))  # fmt: skip
        (disk,) = found(site, path, B.SearchSpec(query=[sized])).file
        assert disk.capacityKb
        assert (disk.diskType, disk.hardwareVersion, list(disk.diskExtents)) == (None, None, [])

    played(client)


def test_a_snapshot_adds_files_and_removing_it_takes_them_away() -> None:
    def client(site: Site) -> None:
        store, vm = store_of(site), site.vm()
        spec = B.SearchSpec(query=[B.VmDiskQuery()])

        def disks() -> list[str]:
            return [each.path for each in found(site, f"[{store.name}] {vm.name}", spec).file]

        WaitForTask(vm.CreateSnapshot_Task("one", "", False, False), si=site.si)
        assert disks() == [f"{vm.name}-000001.vmdk", f"{vm.name}.vmdk"]
        WaitForTask(vm.RemoveAllSnapshots_Task(), si=site.si)
        assert disks() == [f"{vm.name}.vmdk"]

    played(client)


def test_what_is_not_there_is_refused_by_its_name() -> None:
    def client(site: Site) -> None:
        store = store_of(site)
        for path, fault in (
            ("nonsense", vim.fault.InvalidDatastorePath),
            ("[elsewhere] a", vim.fault.InvalidDatastore),
            (f"[{store.name}] nothing", vim.fault.FileNotFound),
            (f"[{store.name}] ../x", vim.fault.FileNotFound),
        ):
            with pytest.raises(fault):
                found(site, path, below=True)
        with pytest.raises(vim.fault.FileNotFound):
            store.browser.DeleteFile(f"[{store.name}] nothing.iso")

    played(client)


def test_folders_and_uploads_come_and_go_and_a_vm_stays() -> None:
    def client(site: Site) -> None:
        store, vm, manager = store_of(site), site.vm(), site.content.fileManager
        center = site.content.rootFolder.childEntity[0]
        files = site.world.hypervisor.admin.files(store.name)
        with pytest.raises(vim.fault.FileNotFound):
            manager.MakeDirectory(f"[{store.name}] a/b", center, False)
        manager.MakeDirectory(f"[{store.name}] a/b", center, True)
        with pytest.raises(vim.fault.FileAlreadyExists):
            manager.MakeDirectory(f"[{store.name}] a/b", center, False)
        with pytest.raises(vim.fault.InvalidDatastorePath):
            manager.MakeDirectory(f"[{store.name}] a/../b", center, True)
        files.put("a/b/notes.txt", b"notes")
        (hit,) = found(site, f"[{store.name}] a/b", B.SearchSpec(details=ALL)).file
        assert (hit.path, hit.fileSize, hit.owner) == ("notes.txt", 5, "root")
        store.browser.DeleteFile(f"[{store.name}] a/b/notes.txt")
        assert not found(site, f"[{store.name}] a/b").file
        files.put("a/c.iso", b"c")
        url = f"https://host/folder/a?dcPath={center.name}&dsName={store.name}"
        WaitForTask(manager.DeleteDatastoreFile_Task(url, None), si=site.si)
        assert "a" not in [each.path for each in found(site, f"[{store.name}]").file]
        for wrong in (f"[{store.name}] {vm.name}", f"[{store.name}] {vm.name}/{vm.name}.vmdk"):
            with pytest.raises(vim.fault.CannotDeleteFile):
                WaitForTask(manager.DeleteDatastoreFile_Task(wrong, center), si=site.si)
        with pytest.raises(vim.fault.InvalidDatastorePath):
            manager.DeleteDatastoreFile_Task("https://[host/folder/a", None)

    played(client)


def test_who_may_not_look_or_delete_is_told_what_it_takes() -> None:
    def client(site: Site) -> None:
        store = store_of(site)
        with pytest.raises(vim.fault.NoPermission) as refused:
            store.browser.SearchDatastore_Task(f"[{store.name}]")
        assert refused.value.privilegeId == "Datastore.Browse"
        with pytest.raises(vim.fault.NoPermission) as refused:
            site.content.fileManager.MakeDirectory(f"[{store.name}] a", None, True)
        assert refused.value.privilegeId == "Datastore.FileManagement"

    reader = User(USER.name, USER.password, READ_ONLY)
    played(client, setting=Setting(users=(reader,)))


def test_a_host_browses_every_datastore() -> None:
    def client(site: Site) -> None:
        host = site.vm().runtime.host
        assert list(host.datastoreBrowser.datastore) == list(host.datastore)
        assert host.datastoreBrowser == host.datastoreBrowser
        assert [store_of(site)] == list(store_of(site).browser.datastore)

    played(client)


def test_a_disk_is_known_by_its_uuid() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        disk = next(
            d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)
        )
        found = site.content.virtualDiskManager.QueryVirtualDiskUuid(disk.backing.fileName, None)
        assert re.sub("[ -]", "", found) == disk.backing.uuid.replace("-", "")
        with pytest.raises(vim.fault.FileNotFound):
            site.content.virtualDiskManager.QueryVirtualDiskUuid("[nowhere] a.vmdk", None)

    played(client)


@given(st.text("ab.", max_size=8), st.text("ab.*?", max_size=8))
def test_patterns_match_as_a_shell_s_do(name: str, pattern: str) -> None:
    assert matches(name, pattern) == fnmatch.fnmatchcase(name, pattern)
    assert matches(name.upper(), pattern, caseless=True) == fnmatch.fnmatchcase(name, pattern)


def test_no_pattern_takes_for_ever() -> None:
    assert not matches("a" * 2000, "*a" * 200 + "b")
    assert matches("[x] y", "[x]*")
