"""A restore point that came through one vendor's interface goes back through another's.

The first array, and every snapshot of it, is gone by then: what is left is the repository.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from blake3 import blake3

from served_site import PASSWORD, serving
from stuntdouble.adapters.pure import PureArray, PureClient
from stuntdouble.adapters.wsapi import WsapiArray, WsapiClient
from stuntdouble.backup import Method, run_recorded
from stuntdouble.backup.catalog import Catalog
from stuntdouble.backup.repository import Repository
from stuntdouble.backup.restore import restore_to_device
from stuntdouble.errors import Lost
from stuntdouble.extents import Runs
from stuntdouble.initiators import IscsiInitiator
from stuntdouble.ports import Kind, Throttle
from stuntdouble.scenarios import load
from stuntdouble.scenarios.job import job_of
from stuntdouble.scenarios.remote import array_choice, target_of
from stuntdouble.scenarios.remote.site import RemoteSite
from stuntdouble.serve.iscsi import target_name
from stuntdouble.store import open_store
from stuntdouble.units import MIB

ELSEWHERE = "iqn.2026-11.org.example:restore-server"
TWO = """
name = "two"
title = "A VM on one of two arrays"
[[arrays]]
name = "array-1"
pools = [{ name = "pool-1", media = "10k", raid = "raid10", disks = 4, disk_size = "1 GiB", reserve = "256 MiB" }]
volumes = [{ name = "vol-1", pool = "pool-1", size = "1 GiB" }]
[[arrays]]
name = "array-2"
pools = [{ name = "pool-2", media = "10k", raid = "raid10", disks = 4, disk_size = "1 GiB", reserve = "256 MiB" }]
volumes = [{ name = "vol-2", pool = "pool-2", size = "256 MiB" }]
[[datastores]]
name = "ds-1"
volumes = ["vol-1"]
fragmentation = 0.5
[[vms]]
name = "vm-1"
load = { iops = 80, reads = 0.4, io = "4 KiB", working_set = "8 MiB" }
disks = [
    { datastore = "ds-1", size = "48 MiB", written = "32 MiB" },
    { key = 2001, datastore = "ds-1", size = "8 MiB", written = "3 MiB" },
]
[backup]
runs = ["full", "incremental"]
throttle = { depth = 4, block = "256 KiB" }
[times]
before = 5
between = 5
after = 5
"""


async def made_by_pure(client, name, size_bytes):
    await client.change("POST", "volumes", {"provisioned": size_bytes}, names=name)


async def made_by_wsapi(client, name, size_bytes):
    (pool, *_) = await client.listed("cpgs")
    body = {"name": name, "cpg": pool["name"], "sizeMiB": size_bytes // MIB, "tpvv": True}
    await client.ask("POST", "volumes", body)


@asynccontextmanager
async def other_array(served, kind):
    """Yield the other array by its vendor's interface, and what makes a volume there."""
    at = served.endpoints[kind]
    if kind == "pure":
        print_ = at["fingerprint_sha256"]
        async with PureClient(at["url"], PASSWORD, fingerprint=print_) as client:
            yield PureArray(client), lambda *volume: made_by_pure(client, *volume)
    else:
        async with WsapiClient(at["url"], "admin", PASSWORD) as client:
            yield WsapiArray(client), lambda *volume: made_by_wsapi(client, *volume)


async def backed_up(site, scenario, repository, kind):
    """Back up by the storage method; return the restore point."""
    report = await run_recorded(
        Catalog.open(open_store(), asyncio.get_running_loop().time()),
        "cross",
        job_of(scenario, Method.STORAGE, kind),
        hypervisor=site.hypervisor,
        repository=repository,
        array=site.array,
        initiator=site.initiator,
        host_iqn="",
        note=lambda *_a, **_k: None,
    )
    (vm,) = report.vms
    assert vm.point is not None, vm
    assert vm.point.kind == kind
    return vm.point


async def written_and_read(served, array, volume, repository, point, disk):
    """Restore a disk to a new volume of another array; return what is read back from there."""
    portal = urlsplit(served.endpoints["iscsi"]["url"]).netloc
    target = target_name("array-2")
    mapping = await array.map_volume(volume, ELSEWHERE)
    device = await IscsiInitiator(portal, ELSEWHERE, target).attach(mapping)
    assert await restore_to_device(repository, point.id, disk.key, device) == disk.capacity_bytes
    await device.flush()
    await device.close()
    again = await IscsiInitiator(portal, ELSEWHERE, target).attach(mapping)
    found = bytearray(again.size_bytes)
    async for span in again.read(Runs.single(0, again.size_bytes), Throttle(depth=4)):
        found[span.offset : span.offset + len(span.data)] = span.data
    await again.close()
    return bytes(found)


async def crossed(served, first, second, directory):
    scenario = load(str(served.scenario))
    target = target_of(
        served.url, user="admin", password=PASSWORD, fingerprint=served.fingerprint, insecure=False
    )
    choice = array_choice(first, fingerprint=None, insecure=False)
    async with await RemoteSite.reach(target, scenario, choice) as site:
        await site.check(scenario, 1)
        with Repository.open(directory, durable=False) as repository:
            await backed_up(site, scenario, repository, Kind.FULL)
            await site.pass_time(5.0)
            point = await backed_up(site, scenario, repository, Kind.INCREMENTAL)
            assert await site.array.snapshots() == ()
            assert all(not vm.snapshots for vm in await site.hypervisor.vms())
            await site.native.ask("POST", "faults/array-loss", body={"array": "array-1"})
            with pytest.raises(Lost):
                await site.array.volumes()
            moment = site.hypervisor.taken[point.vm, point.moment]
            assert [disk.key for disk in point.disks] == [2000, 2001]
            async with other_array(served, second) as (array, make):
                before = await array.volumes()
                for disk in point.disks:
                    name = f"restored-{disk.key}"
                    await make(name, 256 * MIB)
                    found = await written_and_read(served, array, name, repository, point, disk)
                    kept = b"".join(
                        bytes(each)
                        for each in repository.read(point.id, disk.key, 0, disk.capacity_bytes)
                    )
                    assert found == kept + bytes(256 * MIB - len(kept))
                    truth = await site.native.digest(point.vm, disk.key, moment)
                    assert blake3(kept).hexdigest() == truth
                    assert any(kept)
                    await array.unmap_volume(name, ELSEWHERE)
                    await array.delete_volume(name)
                assert await array.volumes() == before
                assert await array.mappings() == ()


@pytest.mark.paced
@pytest.mark.parametrize(("first", "second"), [("wsapi", "pure"), ("pure", "wsapi")])
def test_a_restore_point_by_one_interface_restores_by_the_other_when_its_array_is_lost(
    tmp_path, first, second
):
    names = ("vsphere", "native", "nbd", "iscsi", f"{first}=array-1", f"{second}=array-2")
    with serving(tmp_path, 20.0, names, TWO) as served:
        asyncio.run(crossed(served, first, second, tmp_path / "repository"))
