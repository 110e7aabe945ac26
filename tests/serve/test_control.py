"""The native interface over a real site and real sockets: what is said is what is."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import httpx
import pytest
from blake3 import blake3

import stuntdouble.serve.live
from serve.going import DISK, VM, going, origin
from stuntdouble.errors import Bug, InvalidState, LimitReached, Misuse, NotFound
from stuntdouble.native import Access, Across
from stuntdouble.native import models as m
from stuntdouble.ports import Throttle, Transport
from stuntdouble.serve import oracle
from stuntdouble.serve.listening import Address
from stuntdouble.serve.operations import OPERATIONS, start
from stuntdouble.serve.rest import NativeEndpoint
from stuntdouble.serve.showing import plain

pytestmark = pytest.mark.paced
IQN = "iqn.2026-11.org.example:backup-server"


def over_http(talk, rate=20.0, limit_seconds=30.0):
    """Let ``talk(client, live)`` run in a thread of its own, against a site behind a socket."""

    async def main(live, control):
        opened = []
        access = Access("admin", "secret")
        endpoint = NativeEndpoint(live, Address("127.0.0.1", 0), access, opened, limit_seconds)
        opened.append(await endpoint.start())

        def run():
            with httpx.Client(base_url=opened[0].url, auth=("admin", "secret"), timeout=60) as site:
                return talk(site, live)

        try:
            return await asyncio.to_thread(run)
        finally:
            await endpoint.stop()
            await endpoint.stop()

    return going(main, rate=rate)


def fine(answer):
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


# Over sockets. ---------------------------------------------------------------------------------


def test_the_clock_can_be_read_and_turned():
    def talk(site, live):
        first = fine(site.get("/clock"))
        assert first["rate"] == 20.0
        assert fine(site.put("/clock/rate", json={"rate": 0.5}))["rate"] == 0.5
        paused = fine(site.post("/clock/pause"))
        assert paused["paused"]
        ahead = fine(site.post("/clock/advance", json={"seconds": 100.0}))
        assert ahead["seconds"] == pytest.approx(paused["seconds"] + 100.0)
        assert fine(site.get("/clock"))["seconds"] == ahead["seconds"]
        calendar = datetime.fromisoformat(ahead["calendar"]) - datetime(2026, 1, 1, tzinfo=UTC)
        assert calendar.total_seconds() == pytest.approx(ahead["seconds"], abs=1e-5)
        assert not fine(site.post("/clock/resume"))["paused"]
        assert fine(site.get("/clock"))["seconds"] > ahead["seconds"]
        assert fine(site.get("/health"))["ok"]
        return True

    assert over_http(talk)


def test_an_array_does_over_rest_what_the_storage_method_needs():
    def talk(site, live):
        [volume] = fine(site.get("/arrays/array-1/volumes"))
        naas = {"naas": [volume["naa"]]}
        assert fine(site.post("/arrays/array-1/prepare", json=naas)) == {"copied_bytes": 0}
        [made] = fine(site.post("/arrays/array-1/snapshots", json={**naas, "name": "s"}))
        assert [made["name"]] == [x["name"] for x in fine(site.get("/arrays/array-1/snapshots"))]
        promoted = fine(
            site.post(f"/arrays/array-1/snapshots/{made['name']}/promote", json={"name": "copy"})
        )
        assert promoted["promoted_from"] == made["name"]
        assert promoted["naa"] != volume["naa"]
        seen = fine(
            site.post("/arrays/array-1/mappings", json={"volume": "copy", "initiator_iqn": IQN})
        )
        assert fine(site.get("/arrays/array-1/mappings")) == [seen]
        assert seen["export"] in [x["name"] for x in fine(site.get("/exports"))]
        refused = site.delete("/arrays/array-1/volumes/copy")
        assert (refused.status_code, refused.json()["kind"]) == (409, "InvalidState")
        for _ in range(2):  # idempotent
            fine(site.delete(f"/arrays/array-1/mappings/copy/{IQN}"))
            fine(site.delete("/arrays/array-1/volumes/copy"))
            fine(site.delete(f"/arrays/array-1/snapshots/{made['name']}"))
        assert fine(site.get("/arrays/array-1/snapshots")) == []
        assert site.get("/arrays/array-9/volumes").status_code == 404
        inputs = fine(site.get("/inputs", params={"limit": 3}))
        assert [x["payload"]["operation"] for x in inputs["inputs"]] == [
            *("prepare", "create-snapshots", "promote")
        ]
        assert inputs["cursor"] == 3
        return True

    assert over_http(talk, rate=200.0)


def test_the_journal_can_be_followed():
    def talk(site, live):
        before = fine(site.get("/journal", params={"cursor": 10**6}))
        assert before == {"events": [], "cursor": 10**6}
        began = time.monotonic()
        empty = fine(site.get("/journal", params={"cursor": 0, "kind": "never", "wait": 0.3}))
        assert empty["events"] == []
        assert 0.3 <= time.monotonic() - began < 20
        fine(site.post("/faults/vm-crash", json={"vm": VM}))
        told = fine(site.get("/journal", params={"kind": "crash", "subject": VM, "wait": 10}))
        [crash] = told["events"]
        assert crash["subject"] == VM
        assert told["cursor"] > crash["number"]
        first = fine(site.get("/journal", params={"limit": 1}))
        assert (len(first["events"]), first["cursor"]) == (1, 1)
        again = fine(site.get("/journal", params={"cursor": told["cursor"], "subject": VM}))
        assert crash not in again["events"]
        assert fine(site.get("/site"))["vms"][0]["powered_on"] is False
        fine(site.post(f"/vms/{VM}/power-on"))
        assert fine(site.get("/site"))["vms"][0]["powered_on"] is True
        return True

    assert over_http(talk)


def test_quirks_and_paging_are_switched_at_run_time():
    def talk(site, live):
        assert not any(quirk["on"] for quirk in fine(site.get("/quirks")))
        assert fine(site.put("/quirks/empty-pages", json={"on": True}))["on"]
        assert [q["name"] for q in fine(site.get("/quirks")) if q["on"]] == ["empty-pages"]
        assert "empty-pages" in live.world.hypervisor.quirks
        assert site.put("/quirks/nonsense", json={"on": True}).status_code == 422
        assert fine(site.put("/paging", json={"mode": "random", "areas": 7}))["areas"] == 7
        assert live.world.hypervisor.paging.mode == "random"
        assert fine(site.get("/paging"))["mode"] == "random"
        assert site.put("/paging", json={"mode": "all"}).status_code == 422
        return True

    assert over_http(talk)


def test_a_checkpoint_goes_out_and_comes_back():
    def talk(site, live):
        fine(site.put("/quirks/empty-pages", json={"on": True}))
        taken = fine(site.post("/checkpoint"))
        fine(site.put("/quirks/empty-pages", json={"on": False}))
        fine(site.post("/clock/pause"))
        fine(site.post("/clock/advance", json={"seconds": 50.0}))
        assert fine(site.post("/restore", json=taken))["seconds"] == taken["seconds"]
        assert [q["name"] for q in fine(site.get("/quirks")) if q["on"]] == ["empty-pages"]
        assert fine(site.post("/checkpoint")) == taken
        wrong = {**taken, "version": "0"}
        assert site.post("/restore", json=wrong).status_code == 501
        return True

    assert over_http(talk)


def test_an_answer_that_takes_too_long_is_given_up_and_the_operation_goes_on():
    def talk(site, live):
        fine(site.post("/clock/pause"))
        naas = {"naas": [live.world.naas["vol-1"]], "name": "late"}
        late = site.post("/arrays/array-1/snapshots", json=naas)
        assert (late.status_code, late.json()["kind"]) == (504, "TimedOut")
        assert "goes on" in late.json()["what_to_do"]
        assert fine(site.get("/arrays/array-1/snapshots")) == []
        fine(site.post("/clock/advance", json={"seconds": 60.0}))
        assert [x["name"] for x in fine(site.get("/arrays/array-1/snapshots"))] == ["late"]
        return True

    assert over_http(talk, limit_seconds=2.0)


def test_a_bug_in_a_request_ends_the_site_with_it(monkeypatch):
    def fails(world):
        raise Bug("an invariant")

    monkeypatch.setitem(OPERATIONS, "power-loss", fails)

    def talk(site, live):
        return site.post("/faults/power-loss").status_code

    with pytest.raises(Bug, match="an invariant"):
        over_http(talk)


def test_a_site_that_has_ended_is_unreachable():
    async def main():
        loop = asyncio.new_event_loop()
        loop.close()

        async def asked():
            return 1

        with pytest.raises(Exception, match="does not answer"):
            await Across(loop, 1.0)(asked())

    asyncio.run(main())


# What is true. ---------------------------------------------------------------------------------


async def snapshot(live, name):
    payload = {}
    live.doors["test"] = lambda world, payload: None
    return await live.enter(
        "test",
        payload,
        lambda world: world.env.process(world.hypervisor.create_snapshot(VM, name)),
    )


def test_a_digest_is_that_of_the_bytes_that_the_frozen_disk_reads_as():
    async def main(live, control):
        from stuntdouble.extents import Runs
        from stuntdouble.hypervisor import LocalHypervisor

        taken = await snapshot(live, "one")
        host = LocalHypervisor(live.world.hypervisor, live.world.mapped_to_host)
        begun = await control.start_digest(m.DigestRequest(vm=VM, disk=DISK, at=taken.id))
        early = await control.digest(begun.id, 0.0)
        assert early.blake3 is None
        done = await control.digest(begun.id, 30.0)
        assert done.done_bytes == done.size_bytes == 64 << 20
        device = await host.open_disk(taken, DISK, Transport.SAN)
        read = blake3()
        async for span in device.read(Runs.single(0, done.size_bytes), Throttle()):
            read.update(span.data)
        assert done.blake3 == read.hexdigest()
        now = await control.start_digest(m.DigestRequest(vm=VM, disk=DISK))
        assert (await control.digest(now.id, 30.0)).blake3 != done.blake3
        assert [each.id for each in await control.digests()] == [1, 2]
        for _ in range(2):
            await control.forget_digest(1)
        with pytest.raises(NotFound, match="digest"):
            await control.digest(1, 0.0)
        with pytest.raises(NotFound, match="snapshot-9"):
            await control.start_digest(m.DigestRequest(vm=VM, disk=DISK, at="snapshot-9"))
        waiting = asyncio.create_task(control.digest(now.id, 0.01))
        await waiting
        return True

    assert going(main)


def test_digests_are_not_kept_without_end(monkeypatch):
    monkeypatch.setattr(oracle, "DIGESTS_MAX", 2)

    async def main(live, control):
        for _ in range(2):
            await control.start_digest(m.DigestRequest(vm=VM, disk=DISK))
        with pytest.raises(LimitReached):
            await control.start_digest(m.DigestRequest(vm=VM, disk=DISK))
        started = live.loop.wall_time()
        await control.digest(2, 0.001)
        assert live.loop.wall_time() - started < 10
        for number in (1, 2):
            await control.forget_digest(number)

    going(main)


def test_moments_of_snapshots_that_are_gone_are_not_kept_without_end(monkeypatch):
    monkeypatch.setattr(stuntdouble.serve.live, "MOMENTS_MAX", 4)

    async def main(live, control):
        host = live.world.hypervisor
        for number in range(7):
            taken = await snapshot(live, f"s-{number}")
            await live.enter(
                "test",
                {},
                lambda world, taken=taken: world.env.process(
                    world.hypervisor.remove_snapshot(VM, taken.id)
                ),
            )
        assert len(host.moments) <= 5
        assert ("snapshot-7", DISK) in host.moments
        assert ("snapshot-1", DISK) not in host.moments

    going(main, rate=200.0)


@pytest.mark.parametrize("limit", [1, 3, 10_000])
def test_true_changes_are_what_the_guest_wrote_in_between_in_pages_of_any_size(limit):
    async def main(live, control):
        first = await snapshot(live, "one")
        await asyncio.sleep(4.0)
        second = await snapshot(live, "two")
        live.loop.pause()
        found, at = [], 0
        while at is not None:
            page = await control.true_changes(VM, DISK, first.id, second.id, at, limit)
            assert len(page.extents) <= limit
            assert page.next is None or page.next == page.start + page.covered
            found += [(x.start, x.length) for x in page.extents]
            at = page.next
        beyond = await control.true_changes(VM, DISK, first.id, "now", 1 << 40, limit)
        assert (beyond.extents, beyond.next) == ([], None)
        disk = live.world.hypervisor.vm(VM).disks[DISK]
        tracked = disk.tracker.changed(first.change_ids[DISK], second.change_ids[DISK])
        return found, list(tracked)

    found, tracked = going(main)
    assert found
    assert [start for start, _ in found] == sorted(start for start, _ in found)
    inside = [any(a <= s and s + n <= a + b for a, b in tracked) for s, n in found]
    assert all(inside)  # the tracker may say more, and never less


@pytest.mark.parametrize("limit", [1, 7, 10_000])
def test_an_offset_table_is_the_hypervisors_in_pages_of_any_size(limit):
    async def main(live, control):
        taken = await snapshot(live, "one")
        live.loop.pause()
        wanted = live.world.hypervisor.layout(
            VM, DISK, live.world.hypervisor.vm(VM).snapshot(taken.id).frozen[DISK]
        )
        rows, at = [], 0
        while at is not None:
            page = await control.offset_table(VM, DISK, taken.id, at, limit)
            assert (page.granularity, page.minBlockSize) == (1 << 20, 4096)
            assert len(page.map) <= limit
            rows += page.map
            at = page.next
        middle = await control.offset_table(VM, DISK, taken.id, rows[0].length // 2, 1)
        assert middle.map == rows[:1]
        over = await control.offset_table(VM, DISK, "now", 1 << 40, 1)
        assert (over.map, over.next) == ([], None)
        with pytest.raises(NotFound):
            await control.offset_table(VM, DISK, "snapshot-9", 0, 1)
        return rows, list(wanted), wanted.volumes

    rows, wanted, volumes = going(main)
    states = {0: "hole", 1: "zeroed", 2: "written"}
    assert [(r.logical, r.physical, r.length, r.lun, r.state) for r in rows] == [
        (w.file_offset, w.volume_offset, w.length, "" if w.volume < 0 else volumes[w.volume],
         states[w.state])
        for w in wanted
    ]  # fmt: skip
    assert {r.state for r in rows} >= {"written", "hole"}


def test_a_disk_that_takes_no_part_in_snapshots_has_no_frozen_table():
    vms = origin().scenario.model_dump(mode="json", exclude_unset=True)["vms"]
    vms[0]["disks"].append(
        {"key": 2001, "datastore": "ds-1", "size": "64 MiB", "mode": "independent"}
    )

    async def main(live, control):
        taken = await snapshot(live, "one")
        with pytest.raises(InvalidState, match="not in snapshot-1"):
            await control.offset_table(VM, DISK + 1, taken.id, 0, 1)
        names = [export.name for export in await control.exports()]
        assert names == [f"vm/{VM}/2000", f"snapshot/{taken.id}/2000", f"vm/{VM}/2001"]

    going(main, start=origin(vms=vms))


# Faults. ---------------------------------------------------------------------------------------


def test_faults_do_what_they_say():
    async def main(live, control):
        await control.act("power-loss")
        assert not live.world.hypervisor.vm(VM).powered_on
        await control.act("power-loss")  # nothing is up any more
        await control.act("restart-host", host="host-1")
        await control.act("power-on", vm=VM)
        await control.act("crash-host", host="host-1")
        assert not live.world.hypervisor.vm(VM).powered_on
        await control.act("answer", vm=VM, choice="retry")
        harm = {"array": "array-1", "volume": "vol-1", "mode": "error"}
        with pytest.raises(Misuse, match="ends at"):
            await control.act("damage", start=1 << 40, length=1, **harm)
        await control.act("damage", start=0, length=1 << 30, **harm)
        await control.act("lose-array", array="array-1")
        with pytest.raises(Exception, match="does not answer"):
            await control.volumes("array-1")
        kinds = [line.kind for line in live.lines]
        assert {"host-crash", "array-damage", "array-lost"} <= set(kinds)

    going(main)


def test_an_operation_that_there_is_not_is_refused():
    async def main(live, control):
        with pytest.raises(Misuse, match="none of"):
            start(live.world, "explode", {})
        with pytest.raises(Misuse, match="operation crash-vm"):
            start(live.world, "crash-vm", {"host": "x"})

    going(main)


def test_facts_of_the_journal_become_json():
    facts = {"a": (1, {"b": None}), 2: [1.5, True], "c": Transport.SAN, "d": NotFound("VM", "x")}
    assert plain(facts) == {
        "a": [1, {"b": None}],
        "2": [1.5, True],
        "c": "san",
        "d": "no VM named 'x'",
    }
