"""Our client of WSAPI: the life cycle, names, hosts and limits."""

from __future__ import annotations

import pytest

from adapters.wsapi_client_rig import OTHER, naas, using
from arrayapi.wsapi_rig import SERVER
from stuntdouble.adapters.wsapi import WsapiArray
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    LimitReached,
    Misuse,
    NotFound,
)


async def left(array):
    """Return what there is beside v1 and v2."""
    volumes = [each.name for each in await array.volumes() if each.name not in ("v1", "v2")]
    return volumes, await array.snapshots(), await array.mappings()


def test_the_life_cycle_of_one_snapshot_leaves_nothing():
    async def talk(array, rig, client):
        assert await array.prepare(naas(rig, "v1")) == 0
        (snapshot,) = await array.create_snapshots(naas(rig, "v1"), "job.1")
        assert (snapshot.name, snapshot.volume, snapshot.valid) == ("job.1", "v1", True)
        copy = await array.promote("job.1", "job.1-copy")
        assert (copy.promoted_from, copy.read_only, copy.size_bytes) == ("job.1", True, 256 << 20)
        assert copy in await array.volumes()
        mapping = await array.map_volume("job.1-copy", SERVER)
        assert (mapping.volume, mapping.naa, mapping.lun) == ("job.1-copy", copy.naa, 0)
        assert [v.naa for v in rig.array.luns(SERVER).values()] == [copy.naa]
        assert await array.mappings() == (mapping,)
        for refused in (array.delete_volume("job.1-copy"), array.delete_snapshot("job.1")):
            with pytest.raises(InvalidState):
                await refused
        for _ in range(2):
            await array.unmap_volume("job.1-copy", SERVER)
        for _ in range(2):
            await array.delete_volume("job.1-copy")
        for _ in range(2):
            await array.delete_snapshot("job.1")
        assert await left(array) == ([], (), ())
        assert rig.array.hosts.all() == ()

    using(talk)


def test_several_volumes_are_one_group_and_no_set_stays():
    async def talk(array, rig, client):
        made = await array.create_snapshots(naas(rig, "v2", "v1"), "job.1")
        assert [(s.name, s.volume) for s in made] == [("job.1.0", "v2"), ("job.1.1", "v1")]
        assert len({s.created for s in rig.array.inventory.snapshots.values()}) == 1
        assert await client.listed("volumesets") == []
        with pytest.raises(InvalidState, match="there already"):
            await array.create_snapshots(naas(rig, "v2", "v1"), "job.1")
        assert await client.listed("volumesets") == []
        for each in made:
            await array.delete_snapshot(each.name)
        assert await left(array) == ([], (), ())

    using(talk)


def test_a_writable_promotion_is_a_volume_of_its_own():
    async def talk(array, rig, client):
        await array.create_snapshots(naas(rig, "v1"), "s")
        copy = await array.promote("s", "c", read_only=False)
        assert (copy.name, copy.read_only, copy.promoted_from) == ("c", False, "s")
        assert copy in await array.volumes()
        assert rig.array.volume("c").naa == copy.naa != rig.array.snapshot("s").naa
        with pytest.raises(InvalidState):
            await array.delete_snapshot("s")
        with pytest.raises(InvalidState):
            await array.promote("s", "c", read_only=False)
        mapping = await array.map_volume("c", SERVER)
        with pytest.raises(InvalidState):
            await array.delete_volume("c")
        await array.unmap_volume("c", mapping.initiator_iqn)
        await array.delete_volume("c")
        await array.delete_snapshot("s")
        assert await left(array) == ([], (), ())

    using(talk)


def test_names_that_are_taken_or_unknown_are_refused():
    async def talk(array, rig, client):
        await array.create_snapshots(naas(rig, "v1"), "s")
        await array.create_snapshots(naas(rig, "v1"), "t")
        await array.promote("s", "c")
        for snapshot, name in (("t", "c"), ("t", "v2"), ("s", "d")):
            with pytest.raises(InvalidState):
                await array.promote(snapshot, name)
        for snapshot in ("none", "v1"):
            with pytest.raises(NotFound):
                await array.promote(snapshot, "e")
        with pytest.raises(NotFound):
            await array.map_volume("none", SERVER)
        with pytest.raises(NotFound):
            await array.create_snapshots(("6" * 32,), "u")
        with pytest.raises(NotFound):
            await array.prepare(("6" * 32,))
        with pytest.raises(Misuse):
            await array.create_snapshots(naas(rig, "v1"), "n" * 32)
        await array.map_volume("c", SERVER)
        with pytest.raises(InvalidState):
            await array.map_volume("c", SERVER)
        await array.delete_volume("none")
        await array.delete_snapshot("none")
        await array.unmap_volume("none", OTHER)

    using(talk)


def test_a_host_that_was_there_stays_and_serves_all_its_initiators():
    async def talk(array, rig, client):
        rig.array.hosts.create("backup", (SERVER, OTHER))
        await array.map_volume("v1", OTHER)
        assert [(m.initiator_iqn, m.lun) for m in await array.mappings()] == [
            (SERVER, 0),
            (OTHER, 0),
        ]
        await array.unmap_volume("v1", SERVER)
        assert [host.name for host in rig.array.hosts.all()] == ["backup"]
        assert await array.mappings() == ()

    using(talk)


def test_a_host_that_was_made_stays_while_it_sees_anything():
    async def talk(array, rig, client):
        await array.map_volume("v1", SERVER)
        await array.map_volume("v2", SERVER)
        await array.unmap_volume("v1", SERVER)
        assert [m.volume for m in await array.mappings()] == ["v2"]
        await array.unmap_volume("v2", SERVER)
        assert rig.array.hosts.all() == ()

    using(talk)


def test_another_client_after_a_crash_sees_the_snapshot_itself():
    async def talk(array, rig, client):
        await array.create_snapshots(naas(rig, "v1"), "s")
        await array.promote("s", "c")
        await array.map_volume("c", SERVER)
        later = WsapiArray(client)
        assert [m.volume for m in await later.mappings()] == ["s"]
        await later.delete_volume("c")
        with pytest.raises(InvalidState):
            await later.delete_snapshot("s")
        await later.unmap_volume("s", SERVER)
        await later.delete_snapshot("s")
        assert await left(later) == ([], (), ())

    using(talk)


def test_a_wrong_password_is_told_at_once():
    async def talk(array, rig, client):
        with pytest.raises(AccessDenied):
            await array.volumes()
        assert rig.sessions.open == 0

    using(talk, password="wrong")


def test_limits_are_told_from_a_service_that_is_away():
    async def talk(array, rig, client):
        await array.create_snapshots(naas(rig, "v1"), "s")
        before = rig.env.now
        with pytest.raises(LimitReached):
            await array.create_snapshots(naas(rig, "v1"), "t")
        assert rig.env.now - before < 1.0

    using(talk, snapshots_per_volume_max=1)
