"""Our client of a FlashArray, against the emulated one, with everything that goes wrong on the way."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrayapi.pure_world import IQN, OTHER, build
from stuntdouble.adapters.pure import (
    PureArray,
    PureClient,
    host_name,
    suffix_name,
)
from stuntdouble.array import LocalArray
from stuntdouble.arrayapi import LocalDoor, WireFaults, app
from stuntdouble.arrayapi.pure import MANNERS, Sessions
from stuntdouble.clock import run
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    Lost,
    Misuse,
    NotFound,
    Unreachable,
)
from stuntdouble.ports import Mapping, VolumeInfo
from stuntdouble.units import MIB

TOKEN = "the-token"
COUNTED = ("unavailable", "unauthorised", "drop_after_commit", "no_body", "truncated", "contradictory_total")  # fmt: skip


class Bench:
    """An array behind its interface, and our client of it."""

    def __init__(self, env, **parameters):
        self.world = build(env, **parameters)
        self.faults = WireFaults()
        self.sessions = Sessions("u", "p", TOKEN, lambda: env.now)
        door = self.sessions.keeping_cookies(LocalDoor(self.world.pure, env))
        self.requests = []
        asgi = app(MANNERS, door, self.sessions, self.faults)

        self.hook = lambda request: None  # called before each request

        async def counting(scope, receive, send):
            self.requests.append(f"{scope['method']} {scope['path']}")
            self.hook(self.requests[-1])
            await asgi(scope, receive, send)

        self.transport = httpx.ASGITransport(counting)
        self.client = PureClient("https://array", TOKEN, transport=self.transport)
        self.array = PureArray(self.client)

    async def volume(self, name="v1", size=MIB):
        (item,) = await self.client.change("POST", "volumes", {"provisioned": size}, names=name)
        return "624a9370" + item["serial"].lower()

    async def empty(self):
        """Make sure that only base volumes are left."""
        assert await self.array.snapshots() == ()
        assert await self.array.mappings() == ()
        assert self.world.array.inventory.snapshots == {}
        assert self.world.array.hosts.all() == ()


def tried(ask, **parameters):
    """Run ``ask(bench)`` in virtual time."""

    async def main(env):
        bench = Bench(env, **parameters)
        async with bench.client:
            return await ask(bench)

    return run(main)


async def there_and_back(bench, naas, name="job-1"):
    """Take the four steps of a storage snapshot, and the four back."""
    array = bench.array
    assert await array.prepare(naas) == 0
    made = await array.create_snapshots(naas, name)
    for snapshot in made:
        copy = f"{snapshot.name}-copy"
        volume = await array.promote(snapshot.name, copy)
        assert (volume.name, volume.promoted_from, volume.read_only) == (copy, snapshot.name, True)
        mapping = await array.map_volume(copy, IQN)
        assert mapping == Mapping(copy, volume.naa, IQN, mapping.lun)
        seen = bench.world.array.luns(IQN)[mapping.lun]
        assert seen.naa == volume.naa
        assert seen.read_only
        assert mapping in await array.mappings()
        assert volume in await array.volumes()
        await array.unmap_volume(copy, IQN)
        await array.delete_volume(copy)
    for snapshot in made:
        await array.delete_snapshot(snapshot.name)


def test_there_and_back_leaves_nothing():
    async def ask(bench):
        naas = (await bench.volume("v1"), await bench.volume("v2"))
        await there_and_back(bench, naas)
        await bench.empty()
        assert sorted(bench.world.array.inventory.volumes) == ["v1", "v2"]

    tried(ask)


def test_a_group_is_snapshotted_in_one_request_and_told_in_order():
    async def ask(bench):
        one, two = await bench.volume("v1"), await bench.volume("v2")
        made = await bench.array.create_snapshots((two, one), "job.1")
        assert [each.volume for each in made] == ["v2", "v1"]
        assert made[0].created == made[1].created
        assert all(each.valid for each in made)
        assert made[0].name == f"v2.{suffix_name('job.1')}"
        assert bench.requests.count("POST /api/2.26/volume-snapshots") == 1
        assert await bench.array.snapshots() == tuple(
            sorted(made, key=lambda s: s.name, reverse=True)
        )

    tried(ask)


def test_what_the_port_says_agrees_with_the_array_itself():
    async def ask(bench):
        naa = await bench.volume("v1")
        (snapshot,) = await bench.array.create_snapshots((naa,), "s")
        await bench.array.promote(snapshot.name, "w", read_only=False)
        local = LocalArray(bench.world.array)
        ours = {(v.name, v.naa, v.size_bytes, v.read_only) for v in await bench.array.volumes()}
        assert ours == {(v.name, v.naa, v.size_bytes, v.read_only) for v in await local.volumes()}
        bench.world.write("v1", 0)
        ours = [(s.name, s.volume, s.valid, s.space_bytes) for s in await bench.array.snapshots()]
        assert ours == [(s.name, s.volume, s.valid, s.space_bytes) for s in await local.snapshots()]

    tried(ask)


def test_refusals_come_as_errors():
    async def ask(bench):
        array, naa = bench.array, await bench.volume("v1")
        with pytest.raises(NotFound, match="volume with identifier"):
            await array.create_snapshots(("624a9370" + "0" * 24,), "s")
        await array.create_snapshots((naa,), "s")
        with pytest.raises(InvalidState, match="array snapshot s is there already"):
            await array.create_snapshots((naa,), "s")
        with pytest.raises(NotFound):
            await array.promote("v1.nothing", "c")
        await array.promote("v1.s", "c")
        with pytest.raises(InvalidState, match="volume c is there already"):
            await array.promote("v1.s", "c")
        with pytest.raises(NotFound, match="no volume named 'nobody'"):
            await array.map_volume("nobody", IQN)
        assert bench.world.array.hosts.all() == ()
        await array.map_volume("c", IQN)
        with pytest.raises(InvalidState, match="there already"):
            await array.map_volume("c", IQN)
        with pytest.raises(InvalidState, match="existing connections"):
            await array.delete_volume("c")
        with pytest.raises(InvalidState, match="volume v1 is the parent of snapshots"):
            await array.delete_volume("v1")
        await array.unmap_volume("c", IQN)

    tried(ask)


def test_going_is_idempotent():
    async def ask(bench):
        naa = await bench.volume("v1")
        (snapshot,) = await bench.array.create_snapshots((naa,), "s")
        await bench.array.promote(snapshot.name, "c")
        await bench.array.map_volume("c", IQN)
        for _ in range(3):
            await bench.array.unmap_volume("c", IQN)
        for _ in range(3):
            await bench.array.delete_volume("c")
        for _ in range(3):
            await bench.array.delete_snapshot(snapshot.name)
        await bench.client.change("PATCH", "volumes", {"destroyed": True}, names="v1")
        await bench.array.delete_volume("v1")  # what somebody else has destroyed
        assert bench.world.array.inventory.volumes == {}

    tried(ask)


def test_an_initiator_that_has_a_host_is_mapped_to_it():
    async def ask(bench):
        for name in ("v1", "v2"):
            await bench.volume(name)
        await bench.client.change("POST", "hosts", {"iqns": [IQN, OTHER]}, names="server")
        first = await bench.array.map_volume("v1", IQN)
        second = await bench.array.map_volume("v2", OTHER)
        assert (first.lun, second.lun) == (1, 2)
        found = await bench.array.mappings()
        assert [(m.initiator_iqn, m.lun) for m in found] == [(IQN, 1), (IQN, 2), (OTHER, 1), (OTHER, 2)]  # fmt: skip
        await bench.array.unmap_volume("v1", OTHER)
        await bench.array.unmap_volume("v2", IQN)
        assert [host.name for host in bench.world.array.hosts.all()] == ["server"]

    tried(ask)


def test_a_host_of_ones_own_stays_while_it_sees_something():
    async def ask(bench):
        for name in ("v1", "v2"):
            await bench.volume(name)
            await bench.array.map_volume(name, IQN)
        await bench.array.unmap_volume("v1", IQN)
        assert [host.name for host in bench.world.array.hosts.all()] == [host_name(IQN)]
        await bench.array.unmap_volume("v2", IQN)
        assert bench.world.array.hosts.all() == ()

    tried(ask)


def test_a_snapshot_that_may_not_go_stays_valid():
    async def ask(bench):
        naa = await bench.volume("v1")
        await bench.array.create_snapshots((naa,), "s")
        array = bench.world.array
        (snapshot,) = array.inventory.snapshots.values()
        await LocalArray(array).map_volume(snapshot.name, IQN)  # as another vendor's interface may
        with pytest.raises(InvalidState):
            await bench.array.delete_snapshot("v1.s")
        assert [each.valid for each in await bench.array.snapshots()] == [True]
        await bench.array.promote("v1.s", "copy")
        await LocalArray(array).unmap_volume(snapshot.name, IQN)
        await bench.array.delete_snapshot("v1.s")
        assert await bench.array.snapshots() == ()

    tried(ask)


def test_a_destroyed_snapshot_is_no_longer_valid():
    async def ask(bench):
        naa = await bench.volume("v1")
        await bench.array.create_snapshots((naa,), "s")
        await bench.client.change("PATCH", "volume-snapshots", {"destroyed": True}, names="v1.s")
        (snapshot,) = await bench.array.snapshots()
        assert not snapshot.valid
        with pytest.raises(InvalidState, match="has been destroyed"):
            await bench.array.promote("v1.s", "c")

    tried(ask)


# What goes wrong on the way. ---------------------------------------------------------------------


def test_a_session_that_has_expired_is_renewed():
    async def ask(bench):
        await bench.array.volumes()
        await asyncio.sleep(1801)
        await bench.array.volumes()
        assert bench.requests.count("POST /api/2.26/login") == 2

    tried(ask)


def test_a_wrong_token_is_denied_and_not_tried_again():
    async def ask(bench):
        wrong = PureClient("https://array", "wrong", transport=bench.transport)
        with pytest.raises(AccessDenied):
            await PureArray(wrong).volumes()
        assert bench.requests.count("POST /api/2.26/login") == 1
        await wrong.close()

    tried(ask)


def test_a_session_that_is_lost_again_and_again_is_an_error():
    async def ask(bench):
        await bench.array.volumes()
        bench.faults.change({"unauthorised": 9, "match": "* /api/2.26/volumes"})
        with pytest.raises(AccessDenied):
            await bench.array.volumes()

    tried(ask)


def test_an_array_that_is_busy_is_asked_again_and_patience_begins_anew_each_time():
    async def ask(bench):
        naa = await bench.volume("v1")
        for round_ in range(4):
            bench.faults.change({"unavailable": 5})
            made = await bench.array.create_snapshots((naa,), f"s{round_}")
            assert len(made) == 1
        bench.faults.change({"unavailable": 100})
        with pytest.raises(Unreachable):
            await bench.array.volumes()

    tried(ask)


@pytest.mark.parametrize("fault", ["drop_after_commit", "no_body"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("match", ["POST *", "PATCH *", "PUT *", "DELETE *"])
def test_an_answer_that_is_lost_after_the_work_was_done_is_made_up_for(fault, count, match):
    async def ask(bench):
        naas = (await bench.volume("v1"), await bench.volume("v2"))
        for name in ("job-1", "job-2"):
            bench.faults.change({fault: count, "match": match})
            await there_and_back(bench, naas, name)
        bench.faults.change({fault: 0})
        await bench.empty()
        assert sorted(bench.world.array.inventory.volumes) == ["v1", "v2"]

    tried(ask)


def test_what_was_there_before_is_never_taken_for_ones_own():
    async def ask(bench):
        naa = await bench.volume("v1")
        await bench.array.create_snapshots((naa,), "s")
        bench.faults.change({"drop_after_commit": 9, "match": "POST *"})
        with pytest.raises(InvalidState):
            await bench.array.create_snapshots((naa,), "s")

    tried(ask)


@pytest.mark.parametrize("fault", ["truncated", "contradictory_total"])
def test_a_list_that_contradicts_itself_is_refused(fault):
    async def ask(bench):
        naa = await bench.volume("v1")
        await bench.array.create_snapshots((naa,), "s")
        for looking in (bench.array.volumes, bench.array.snapshots):
            bench.faults.change({fault: 2})
            with pytest.raises(InvalidState, match="contradictory"):
                await looking()
            bench.faults.change({fault: 0})
        bench.faults.change({fault: 1, "match": "GET */volume-snapshots"})
        with pytest.raises(InvalidState, match="contradictory"):
            await bench.array.delete_volume("v1")
        assert "v1" in bench.world.array.inventory.volumes

    tried(ask)


def test_long_lists_come_in_pages(monkeypatch):
    monkeypatch.setattr("stuntdouble.adapters.pure.client._PAGE_ITEMS", 3)

    async def ask(bench):
        for n in range(10):
            await bench.volume(f"v{n}")
        assert len(await bench.array.volumes()) == 10
        bench.faults.change({"contradictory_total": 1, "match": "GET */volumes"})
        assert len(await bench.array.volumes()) == 10  # it may have changed between two pages
        bench.faults.change({"contradictory_total": 9, "match": "GET */volumes"})
        with pytest.raises(InvalidState, match="contradictory"):
            await bench.array.volumes()

    tried(ask, disk_bytes=64 * MIB)


def when(bench, request, **faults):
    """Let faults begin with the first request of this kind."""

    def hook(found):
        if found.endswith(request):
            bench.faults.change(faults)
            bench.hook = lambda request: None

    bench.hook = hook


def test_after_a_lost_answer_nothing_is_called_a_refusal():
    """Who is refused forgets the way back: it may only be told so when nothing was made."""

    async def ask(bench):
        naa = await bench.volume("v1")
        lying = {"drop_after_commit": 1, "contradictory_total": 99}
        when(bench, "POST /api/2.26/volume-snapshots", **lying)
        with pytest.raises(Lost):
            await bench.array.create_snapshots((naa,), "s")
        bench.faults.change({"contradictory_total": 0})
        (snapshot,) = await bench.array.snapshots()
        when(bench, "POST /api/2.26/volumes", **lying)
        with pytest.raises(Lost):
            await bench.array.promote(snapshot.name, "c")
        bench.faults.change({"contradictory_total": 0})
        assert {volume.name for volume in await bench.array.volumes()} == {"v1", "c"}
        when(bench, "POST /api/2.26/connections", **lying)
        with pytest.raises(Lost):
            await bench.array.map_volume("c", IQN)
        bench.faults.change({"contradictory_total": 0})
        assert len(await bench.array.mappings()) == 1

    tried(ask)


def test_what_is_refused_half_way_is_taken_back():
    async def ask(bench):
        naa = await bench.volume("v1")
        (snapshot,) = await bench.array.create_snapshots((naa,), "s")
        when(bench, "PUT /api/2.26/volumes/tags/batch", contradictory_total=99)
        with pytest.raises(InvalidState, match="contradictory"):
            await bench.array.promote(snapshot.name, "c")
        bench.faults.change({"contradictory_total": 0})
        assert sorted(bench.world.array.inventory.volumes) == ["v1"]
        await bench.array.promote(snapshot.name, "c")
        when(bench, "POST /api/2.26/connections", contradictory_total=2)
        with pytest.raises(InvalidState, match="contradictory"):
            await bench.array.map_volume("c", IQN)
        assert await bench.array.mappings() == ()
        assert bench.world.array.hosts.all() == ()

    tried(ask)


def test_a_copy_that_could_be_written_is_not_what_was_asked():
    async def ask(bench):
        naa = await bench.volume("v1")
        (snapshot,) = await bench.array.create_snapshots((naa,), "s")
        volumes = bench.world.pure._operations.volumes
        kept, volumes.demote = volumes.demote, lambda name, demoted: volumes._estate.volume(name)
        with pytest.raises(InvalidState, match="volume c is writable"):
            await bench.array.promote(snapshot.name, "c")
        assert sorted(bench.world.array.inventory.volumes) == ["v1"]
        volumes.demote = kept
        assert (await bench.array.promote(snapshot.name, "c")).read_only

    tried(ask)


def test_a_host_that_somebody_else_makes_meanwhile_will_do():
    async def ask(bench):
        await bench.volume("v1")

        def meanwhile(request):
            if request == "POST /api/2.26/hosts":
                bench.hook = lambda request: None
                bench.world.array.hosts.create("quicker", (IQN,))

        bench.hook = meanwhile
        assert (await bench.array.map_volume("v1", IQN)).lun == 1
        assert [host.name for host in bench.world.array.hosts.all()] == ["quicker"]
        with pytest.raises(Misuse):
            await bench.array.map_volume("v1", "no initiator")

    tried(ask)


steps = st.dictionaries(st.integers(0, 60), st.tuples(st.sampled_from(COUNTED), st.integers(1, 4)))


@settings(max_examples=60, deadline=None)
@given(steps)
def test_whatever_goes_wrong_nothing_wrong_is_told_and_all_can_be_taken_back(faults):
    """Faults may end a step with an error; afterwards everything can be undone, by name."""

    async def ask(bench):
        naas = (await bench.volume("v1"), await bench.volume("v2"))
        begin = len(bench.requests)

        def hook(request):
            if found := faults.get(len(bench.requests) - begin):
                bench.faults.change({found[0]: found[1]})

        bench.hook = hook
        with suppress(Lost, InvalidState, AccessDenied):
            await there_and_back(bench, naas)
        bench.hook = lambda request: None
        bench.faults.change(dict.fromkeys(COUNTED, 0))
        for volume in ("v1", "v2"):
            await bench.array.unmap_volume(f"{volume}.job-1-copy", IQN)
            await bench.array.delete_volume(f"{volume}.job-1-copy")
            await bench.array.delete_snapshot(f"{volume}.job-1")
        assert await bench.array.snapshots() == ()
        assert sorted(bench.world.array.inventory.volumes) == ["v1", "v2"]
        assert all(host.name == host_name(IQN) for host in bench.world.array.hosts.all())

    tried(ask)


def test_a_volume_of_another_interface_goes_by_its_own_name():
    async def ask(bench):
        naa = await bench.volume("v1")
        assert await bench.array.volumes() == (VolumeInfo("v1", naa, MIB, False),)

    tried(ask)
