"""Our client of the native interface, against the interface itself on the site's own loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from serve.going import DISK, VM, going, origin
from stuntdouble import errors
from stuntdouble.adapters.native import (
    NativeArray,
    NativeClient,
    NativeInitiator,
    NativeSide,
    error_of,
)
from stuntdouble.adapters.native import (
    client as client_module,
)
from stuntdouble.array import LocalArray
from stuntdouble.hypervisor import LocalHypervisor
from stuntdouble.native import create_app
from stuntdouble.ports import Transport
from stuntdouble.scenarios.build import BACKUP_IQN

pytestmark = pytest.mark.paced

KINDS = [
    kind
    for name in errors.__all__
    if isinstance(kind := getattr(errors, name), type) and issubclass(kind, errors.Error)
]


def facts_of(kind):
    return 1 + max(int(n) for n in "0123" if f"{{{n}" in kind.template)


# Errors. -----------------------------------------------------------------------------------------


@given(
    st.sampled_from(KINDS), st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=4)
)
def test_an_error_comes_back_as_it_went(kind, texts):
    """Of its class, with its text; facts too, where no fact looks like the words around it."""
    error = kind(*texts[: facts_of(kind)])
    found = error_of({"kind": kind.__name__, "what": str(error), "where": "GET /x"})
    assert type(found) is kind
    assert str(found) == str(error)


@given(st.sampled_from(KINDS), st.lists(st.from_regex("[a-z0-9]{4,8}", fullmatch=True), min_size=4))
def test_the_facts_of_an_error_come_back(kind, words):
    error = kind(*words[: facts_of(kind)])
    assert error_of({"kind": kind.__name__, "what": str(error)}) == error


@pytest.mark.parametrize("kind", ["", "Bug", "NoSuchError", "annotations", "Exception"])
def test_a_problem_of_an_unknown_kind_is_an_error_that_says_all(kind):
    found = error_of({"kind": kind, "what": "the disk is on fire", "where": "GET /x"})
    assert type(found) is errors.InvalidState
    assert "the disk is on fire" in str(found)
    assert "GET /x" in str(found)


@pytest.mark.parametrize("kind", [errors.Misuse, errors.NotFound])
def test_a_wrong_request_in_other_words_stays_one(kind):
    found = error_of({"kind": kind.__name__, "what": "no colon here", "where": "POST /y"})
    assert found == kind("POST /y", "no colon here")


# The site. ---------------------------------------------------------------------------------------


def asked(client, rate=20.0):
    """Return what ``client(native, live)`` returns while a site runs."""

    async def main(live, control):
        transport = httpx.ASGITransport(create_app(control), raise_app_exceptions=False)
        async with NativeClient("http://site/api/v1", "a", "b", transport=transport) as native:
            return await client(native, live)

    return going(main, rate)


def test_it_says_which_site_it_is_and_what_time():
    async def client(native, live):
        await native.check()
        served, before = await native.site(), await native.clock()
        after = await native.advance(100.0)
        return served, before, after, await native.epoch(), live.loop.rate

    served, before, after, epoch, rate = asked(client)
    assert (served.scenario, served.seed, served.vms) == ("tiny", 1, (VM,))
    assert (served.datastores, served.arrays) == (("ds-1",), ("array-1",))
    assert after.seconds >= before.seconds + 100.0
    assert (before.rate, before.paused) == (rate, False)
    assert epoch.isoformat() == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize("rows", [1, 4, 10_000])
def test_an_offset_table_is_whole_however_it_is_paged(rows, monkeypatch):
    monkeypatch.setattr(client_module, "_PAGE_ROWS", rows)

    async def client(native, live):
        local = LocalHypervisor(live.world.hypervisor, resolve_luns=live.world.mapped_to_host)
        snapshot = await local.create_snapshot(VM, "one", quiesce=False)
        side = NativeSide(native, None)
        table = await side.offset_table(snapshot, DISK), await local.offset_table(snapshot, DISK)
        await local.remove_snapshot(snapshot)
        return table

    found, truth = asked(client)
    assert len(truth) > 2 * 4, "it takes several pages of four"
    assert found == truth


def test_the_digest_of_a_snapshot_outlives_it():
    async def client(native, live):
        local = LocalHypervisor(live.world.hypervisor, resolve_luns=live.world.mapped_to_host)
        snapshot = await local.create_snapshot(VM, "one", quiesce=False)
        world = live.world
        moment = world.hypervisor.moments[snapshot.id, DISK]
        truth = world.site.render(world.site.truth(moment, 0, moment.disk.blocks)).tobytes()
        await local.remove_snapshot(snapshot)
        await native.advance(10.0)
        found = await native.digest(VM, DISK, snapshot.id), await native.digest(VM, DISK, "now")
        with pytest.raises(errors.NotFound):
            await native.digest(VM, DISK, "snapshot-99")
        return *found, blake3(truth).hexdigest(), await native.get("oracle/digests")

    then, now, truth, kept = asked(client)
    assert then == truth != now
    assert kept == [], "a digest that was told is not kept"


def test_an_array_does_by_rest_what_it_does_by_calls():
    async def client(native, live):
        array, local = NativeArray(native, "array-1"), LocalArray(live.world.arrays["array-1"])
        (volume,) = await array.volumes()
        assert await array.prepare((volume.naa,)) == 0
        (snapshot,) = await array.create_snapshots((volume.naa,), "snap")
        copy = await array.promote(snapshot.name, "copy")
        mapping = await array.map_volume(copy.name, BACKUP_IQN)
        assert copy.promoted_from == snapshot.name
        assert await array.volumes() == await local.volumes()
        shown, truth = await array.snapshots(), await local.snapshots()
        assert [replace(each, space_bytes=0) for each in shown] == [
            replace(each, space_bytes=0) for each in truth
        ]
        assert 0 < shown[0].space_bytes <= truth[0].space_bytes, "it grows by the guests' writes"
        assert await array.mappings() == await local.mappings() == (mapping,)
        with pytest.raises(errors.InvalidState):
            await array.delete_volume(copy.name)
        for _ in range(2):  # each is idempotent
            await array.unmap_volume(copy.name, BACKUP_IQN)
            await array.delete_volume(copy.name)
            await array.delete_snapshot(snapshot.name)
        with pytest.raises(errors.NotFound):
            await array.promote("no such snapshot?", "copy")
        with pytest.raises(errors.NotFound):
            await NativeArray(native, "array-9").volumes()
        return await local.volumes(), await local.snapshots(), (volume,)

    volumes, snapshots, first = asked(client)
    assert (volumes, snapshots) == (first, ())


def test_a_journal_is_told_from_an_instant_on_however_it_is_paged(monkeypatch):
    monkeypatch.setattr(client_module, "_PAGE_ROWS", 2)

    async def client(native, live):
        local = LocalHypervisor(live.world.hypervisor, resolve_luns=live.world.mapped_to_host)
        for number in range(3):
            await local.remove_snapshot(
                await local.create_snapshot(VM, f"s{number}", quiesce=False)
            )
        truth = [line for line in live.lines if line.kind in {"stun", "snapshot"}]
        return await native.journal(("stun", "snapshot"), truth[2].time), truth[2:]

    found, truth = asked(client)
    assert len(truth) > 5
    assert [(each.seconds, each.kind) for each in found] == [(e.time, e.kind) for e in truth]


def test_a_checkpoint_leads_back():
    async def client(native, live):
        checkpoint = await native.checkpoint()
        before = await native.digest(VM, DISK, "now")
        await native.advance(30.0)
        at = (await native.restore(checkpoint)).seconds
        return checkpoint["seconds"], at, before, live.world.env.now

    then, at, _, _ = asked(client, rate=0.001)
    assert at == pytest.approx(then, abs=0.01)


# What goes wrong. ----------------------------------------------------------------------------------


def answered(status, **content):
    """Return a client to which everything is answered so."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, **content))
    return NativeClient("http://site/api/v1", "a", "b", transport=transport)


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (401, {"json": {}}, errors.AccessDenied),
        (502, {"text": "<html>bad gateway</html>"}, errors.InvalidState),
        (404, {"json": ["no problem"]}, errors.InvalidState),
        (404, {"json": {"kind": "NotFound", "what": "no VM named 'x'"}}, errors.NotFound),
    ],
)
def test_an_answer_that_is_none_is_an_error(status, content, kind):
    with pytest.raises(kind):
        asyncio.run(answered(status, **content).site())


def test_nobody_there_is_unreachable_and_one_that_was_given_up_too():
    async def nobody():
        async with NativeClient("http://127.0.0.1:1/api/v1", "a", "b") as native:
            await native.clock()

    async def given_up():
        native = answered(200, json={"ok": True})
        await native.check()
        native.give_up()
        await native.check()

    for client in (nobody, given_up):
        with pytest.raises(errors.Unreachable):
            asyncio.run(client())


def test_something_else_that_answers_is_no_native_interface():
    with pytest.raises(errors.Misuse, match="is no native interface"):
        asyncio.run(answered(404, text="not found").check())


def test_pages_that_lead_back_are_refused():
    page = {"map": [], "size": 1024, "next": 0, "granularity": 1, "minBlockSize": 1}
    with pytest.raises(errors.InvalidState, match="leading back"):
        asyncio.run(answered(200, json=page).offset_table("vm", 1, "s"))


def test_rows_that_leave_a_gap_are_refused():
    row = {"logical": 0, "physical": 0, "length": 512, "lun": "a", "state": "written"}
    page = {"map": [row], "size": 1024, "next": None}
    with pytest.raises(errors.InvalidState, match="do not fit"):
        asyncio.run(answered(200, json=page).offset_table("vm", 1, "s"))


# Devices. ----------------------------------------------------------------------------------------


class Device:
    def __init__(self, size):
        self.identity, self.size_bytes, self.closed = "nbd://there", size, False

    async def close(self):
        self.closed = True


def test_a_lun_goes_by_its_identity_and_one_of_another_size_is_refused():
    async def client(native, _live):
        opened = []

        async def open_(name):
            opened.append((name, Device(size.pop(0))))
            return opened[-1][1]

        array = NativeArray(native, "array-1")
        (volume,) = await array.volumes()
        size = [volume.size_bytes, 512]
        (snapshot,) = await array.create_snapshots((volume.naa,), "snap")
        copy = await array.promote(snapshot.name, "copy")
        mapping = await array.map_volume(copy.name, BACKUP_IQN)
        initiator = NativeInitiator(BACKUP_IQN, open_, array)
        device = await initiator.attach(mapping)
        assert (device.identity, opened[0][0]) == (copy.naa, f"lun/{copy.naa}")
        with pytest.raises(errors.InvalidState, match="512 bytes long"):
            await initiator.attach(mapping)
        return [device.closed for _, device in opened]

    assert asked(client) == [False, True]


def test_exports_have_the_names_that_servers_give_them():
    names = []

    async def open_(name):
        names.append(name)

    async def client(native, live):
        side = NativeSide(native, open_)
        local = LocalHypervisor(live.world.hypervisor, resolve_luns=live.world.mapped_to_host)
        snapshot = await local.create_snapshot(VM, "one", quiesce=False)
        await side.open_snapshot(snapshot, DISK, Transport.SAN)
        exports = [each["name"] for each in await native.get("exports")]
        await side.open_registered("vm-1 on a/b", DISK, Transport.NBD)
        await side.open_target(VM, DISK)
        await local.remove_snapshot(snapshot)
        return exports

    exports = asked(client)
    assert names[1] == f"vm/vm-1%20on%20a%2Fb/{DISK}"
    assert names[0] in exports
    assert names[2] in exports


def test_another_seed_is_another_site():
    """The fixture's own: what is told of a site is told of the one that runs."""

    async def main(live, control):
        transport = httpx.ASGITransport(create_app(control))
        async with NativeClient("http://site/api/v1", "a", "b", transport=transport) as native:
            return (await native.site()).seed

    assert going(main, 20.0, origin(seed=5)) == 5
