"""A served site to vendors' clients: pyVmomi and NBD tools in other processes, over real sockets."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest
from pyVim.connect import SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

from serve.test_serve_command import scenario, served

pytestmark = pytest.mark.paced

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "changed_areas.py"
WORDS = ("--vsphere", "127.0.0.1:0", "--nbd", "127.0.0.1:0", "--native", "127.0.0.1:0")

__all__ = ["scenario"]


@contextmanager
def logged_in(told):
    url = urlparse(told["endpoints"]["vsphere"]["url"])
    si = SmartConnect(
        protocol=url.scheme,
        host=url.hostname,
        port=url.port,
        user="admin",
        pwd="x",
        disableSslCertValidation=True,
    )
    try:
        yield si
    finally:
        si._stub.DropConnections()  # which neither logging out nor the end of a client does


def first_vm(si):
    content = si.RetrieveContent()
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    return view.view[0]


def test_the_example_of_the_documentation_runs_as_it_stands(scenario):
    with served(scenario, *WORDS, "--rate", "20", "--password", "x") as (_, told, _ready):
        where = urlparse(told["endpoints"]["vsphere"]["url"])
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), where.hostname, str(where.port), "admin", "x", "vm-1"],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    areas = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert areas, "a VM that writes all the time has changed something in five seconds"
    assert all(start % 65536 == 0 and length % 65536 == 0 for start, length in areas)
    assert areas == sorted(areas)


def test_a_site_put_back_answers_the_vendors_client_as_it_did(scenario):
    def seen(si):
        vm = first_vm(si)
        tree = vm.snapshot.rootSnapshotList[0]
        devices = tree.snapshot.config.hardware.device
        disk = next(d for d in devices if isinstance(d, vim.vm.device.VirtualDisk))
        page = vm.QueryChangedDiskAreas(tree.snapshot, disk.key, 0, "*")
        return (
            tree.snapshot._moId,
            tree.createTime,
            disk.backing.changeId,
            [(area.start, area.length) for area in page.changedArea],
            [task.info.descriptionId for task in vm.recentTask],
        )

    with served(scenario, *WORDS, "--rate", "20", "--password", "x") as (_, told, _ready):
        url = told["endpoints"]["native"]["url"]
        with (
            httpx.Client(base_url=url, auth=("admin", "x"), timeout=60) as native,
            logged_in(told) as si,
        ):
            vm = first_vm(si)
            spec = vim.vm.ConfigSpec(changeTrackingEnabled=True)
            WaitForTask(vm.ReconfigVM_Task(spec), si=si)
            task = vm.CreateSnapshot_Task("one", "", False, False)
            WaitForTask(task, si=si)
            WaitForTask(task.info.result.RemoveSnapshot_Task(removeChildren=False), si=si)
            WaitForTask(vm.CreateSnapshot_Task("two", "", False, False), si=si)
            before = seen(si)
            checkpoint = native.post("/checkpoint").raise_for_status().json()
            assert [each["door"] for each in checkpoint["inputs"]] == ["vsphere"] * 4
            WaitForTask(vm.PowerOffVM_Task(), si=si)
            WaitForTask(vm.RemoveAllSnapshots_Task(), si=si)
            native.post("/restore", json=checkpoint).raise_for_status()
            with pytest.raises(vim.fault.NotAuthenticated):
                vm.name  # noqa: B018
        with logged_in(told) as again:
            assert seen(again) == before
            assert first_vm(again).runtime.powerState == "poweredOn"


def test_clients_find_the_other_endpoints_among_the_options(scenario):
    words = (*WORDS, "--plain-http", "--password", "x")
    with served(scenario, *words) as (_, told, _ready), logged_in(told) as si:
        options = si.RetrieveContent().setting.QueryOptions("stuntdouble.")
        found = {option.key: option.value for option in options}
    assert found == {f"stuntdouble.{n}": e["url"] for n, e in told["endpoints"].items()}


def test_a_site_put_back_has_the_files_that_were_uploaded(scenario):
    with served(scenario, *WORDS, "--plain-http", "--password", "x") as (_, told, _ready):
        where = told["endpoints"]["vsphere"]["url"].removesuffix("/sdk")
        auth = ("admin", "x")
        with (
            httpx.Client(base_url=where, auth=auth, timeout=60) as files,
            httpx.Client(
                base_url=told["endpoints"]["native"]["url"], auth=auth, timeout=60
            ) as native,
        ):
            store = native.get("/site").json()["datastores"][0]["name"]
            named = {"dcPath": "Datacenter", "dsName": store}
            body = bytes(range(256)) * 100
            for name in ("a.iso", "b.iso"):
                assert (
                    files.put(f"/folder/up/{name}", content=body, params=named).status_code == 201
                )
            assert files.delete("/folder/up/b.iso", params=named).status_code == 204
            checkpoint = native.post("/checkpoint").raise_for_status().json()
            assert files.delete("/folder/up/a.iso", params=named).status_code == 204
            native.post("/restore", json=checkpoint).raise_for_status()
            assert files.get("/folder/up/a.iso", params=named).content == body
            assert files.get("/folder/up/b.iso", params=named).status_code == 404
