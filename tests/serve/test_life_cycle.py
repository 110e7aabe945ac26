"""Snapshot, promote, map, and back, by each vendor's interface over sockets: nothing is left.

What may not be deleted is refused by the numbers and sentences that the vendors' clients know.
"""

from __future__ import annotations

import pytest

from serve.generations import READER, WRITER, contents, served
from stuntdouble.adapters.pure import PureClient
from stuntdouble.adapters.pure.problems import PureRefusal
from stuntdouble.adapters.wsapi import WsapiClient
from stuntdouble.adapters.wsapi.problems import Answered
from stuntdouble.errors import InvalidState
from stuntdouble.units import MIB

pytestmark = pytest.mark.paced

OTHER = "iqn.2026-11.org.example:other"


def as_it_was(world):
    """Assert that the array has nothing but the volume that the writer sees."""
    array = world.arrays["array-1"]
    assert list(array.inventory.volumes) == ["vol-1"]
    assert not array.inventory.snapshots
    assert [host.iqns for host in array.hosts.all()] == [(WRITER,)]
    assert [mapping.initiator_iqn for mapping in array.mappings()] == [WRITER]
    assert all(pool.reserve_free_bytes == pool.reserve_bytes for pool in array.pools.values())


async def own_volume(site, side):
    """Make a volume by a vendor's interface; return its NAA."""
    if side == "wsapi":
        async with WsapiClient(site.wsapi, "admin", "secret") as client:
            (pool, *_) = await client.listed("cpgs")
            body = {"name": "v", "cpg": pool["name"], "sizeMiB": 256, "tpvv": True}
            await client.ask("POST", "volumes", body)
    else:
        async with pure_client(site) as client:
            await client.change("POST", "volumes", {"provisioned": 256 * MIB}, names="v")
    async with site.adapters() as by:
        return next(each.naa for each in await by[side].volumes() if each.name == "v")


def pure_client(site):
    return PureClient(site.pure.url, "secret", fingerprint=site.pure.fingerprint_sha256)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("side", ["wsapi", "pure"])
def test_four_steps_and_back_leave_the_array_as_it_was(side, read_only):
    async def talk(site):
        own = await own_volume(site, side)
        async with site.adapters() as by:
            array = by[side]
            base = next(each.naa for each in await array.volumes() if each.name == "vol-1")
            made = await array.create_snapshots((base, own), "job")
            assert len({each.created for each in made}) == 1
            shown = []
            for number, snapshot in enumerate(made):
                copy = await array.promote(snapshot.name, f"copy-{number}", read_only=read_only)
                maps = [await array.map_volume(copy.name, iqn) for iqn in (READER, OTHER)]
                shown += [(copy, mapping) for mapping in maps]
            for copy, mapping in shown[::2]:
                device = await site.initiator(READER).attach(mapping)
                assert len(await contents(device)) == device.size_bytes == copy.size_bytes
                await device.close()
            for copy, mapping in shown:
                with pytest.raises(InvalidState):
                    await array.delete_volume(copy.name)
                await array.unmap_volume(copy.name, mapping.initiator_iqn)
            for copy, _ in shown[::2]:
                await array.delete_volume(copy.name)
            with pytest.raises(InvalidState):
                await array.delete_volume("v")  # it has a snapshot
            for snapshot in made:
                await array.delete_snapshot(snapshot.name)
            await array.delete_volume("v")
            assert [each.name for each in await array.volumes()] == ["vol-1"]
            assert await array.snapshots() == ()

    as_it_was(served(talk))


def test_wsapi_refuses_by_its_numbers():
    async def talk(site):
        await own_volume(site, "wsapi")
        async with WsapiClient(site.wsapi, "admin", "secret") as client:

            async def refused(method, path, body=None):
                with pytest.raises(Answered) as refusal:
                    await client.ask(method, path, body)
                return refusal.value.status, refusal.value.number

            await client.ask("POST", "hosts", {"name": "h", "iSCSINames": [READER]})
            export = {"volumeName": "v", "hostname": "h", "lun": 3}
            await client.ask("POST", "vluns", export)
            assert await refused("DELETE", "volumes/v") == (403, 26)  # exported
            assert await refused("DELETE", "hosts/h") == (409, 26)
            await client.ask("DELETE", "vluns/v,3,h")
            frozen = {"action": "createSnapshot", "parameters": {"name": "s", "readOnly": True}}
            await client.ask("POST", "volumes/v", frozen)
            child = {"action": "createSnapshot", "parameters": {"name": "c", "readOnly": False}}
            await client.ask("POST", "volumes/s", child)
            assert await refused("DELETE", "volumes/v") == (409, 32)  # it has a child
            assert await refused("DELETE", "volumes/s") == (409, 32)
            for path in ("volumes/none", "volumes/h"):
                assert await refused("DELETE", path) == (404, 23)  # no volume, nor is a host one
            assert await refused("DELETE", "hosts/v") == (404, 17)
            assert await refused("DELETE", "volumesets/v") == (404, 102)
            assert await refused("DELETE", "vluns/v,3,h") == (404, 19)
            wrong = {"name": "w", "cpg": 1, "sizeMiB": 256, "tpvv": True}
            assert await refused("POST", "volumes", wrong) == (400, 39)  # a wrong type
            assert await refused("POST", "vluns", export | {"lun": "3"}) == (400, 39)
            assert await refused("PUT", "volumes/v", {"newName": 7}) == (400, 39)
            for name in ("c", "s", "v"):
                await client.ask("DELETE", f"volumes/{name}")
            await client.ask("DELETE", "hosts/h")

    as_it_was(served(talk))


def test_a_flasharray_refuses_by_its_sentences():
    async def talk(site):
        await own_volume(site, "pure")
        async with pure_client(site) as client:

            async def refused(method, resource, body=None, **query):
                with pytest.raises(PureRefusal) as refusal:
                    await client.change(method, resource, body, **query)
                ((message, context),) = refusal.value.said
                return message, context

            gone = {"destroyed": True}
            await client.change("POST", "hosts", {"iqns": [READER]}, names="h")
            both = {"host_names": "h", "volume_names": "v"}
            await client.change("POST", "connections", None, **both)
            said = await refused("PATCH", "volumes", gone, names="v")
            assert said == ("Volume cannot be deleted due to existing connections.", "v")
            assert (await refused("DELETE", "hosts", names="h"))[1] == "h"
            await client.change("DELETE", "connections", None, **both)
            assert (await refused("DELETE", "connections", None, **both))[0].endswith(
                "does not exist."
            )
            await client.change("POST", "volume-snapshots", {"suffix": "s"}, source_names="v")
            for resource, name in (("volumes", "v"), ("volume-snapshots", "v.s")):
                message, about = await refused("DELETE", resource, names=name)
                assert message.endswith("is not destroyed.")
                assert about == name
            for resource, name, sentence in (
                ("volumes", "none", "Volume does not exist."),
                ("volumes", "h", "Volume does not exist."),
                ("volume-snapshots", "v.none", "No such volume or snapshot."),
                ("volume-snapshots", "v", "No such volume or snapshot."),
                ("hosts", "v", "Host does not exist."),
            ):
                message, about = await refused("DELETE", resource, names=name)
                assert message == sentence
                assert about == name
            for resource, name in (("volumes", "v"), ("volume-snapshots", "v.s")):
                message, _ = await refused("PATCH", resource, {"destroyed": "yes"}, names=name)
                assert "destroyed" in message or "nvalid" in message, message
            for resource, name in (("volume-snapshots", "v.s"), ("volumes", "v")):
                await client.change("PATCH", resource, gone, names=name)
                await client.change("DELETE", resource, None, names=name)
            await client.change("DELETE", "hosts", None, names="h")

    as_it_was(served(talk))
