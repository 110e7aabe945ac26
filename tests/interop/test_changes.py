"""Changed areas, by each client stack and every way of paging, held against the site's ledger."""

from __future__ import annotations

import pytest

VM = "server-1"


def covers(areas: list[tuple[int, int]], truth: list[tuple[int, int]]) -> bool:
    """Tell whether every true change lies in what was told."""
    told = joined(areas)
    at = 0
    for start, length in joined(truth):
        while at < len(told) and sum(told[at]) <= start:
            at += 1
        if at == len(told) or told[at][0] > start or sum(told[at]) < start + length:
            return False
    return True


def joined(areas: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return areas with neighbours made one."""
    found: list[tuple[int, int]] = []
    for start, length in areas:
        if found and sum(found[-1]) == start:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((start, length))
    return found


def test_covering_is_told() -> None:
    assert covers([(0, 4), (4, 4)], [(1, 6)])
    assert covers([(0, 4), (8, 8)], [(0, 1), (2, 2), (9, 3)])
    assert covers([], [])
    assert not covers([(0, 4)], [(2, 4)])
    assert not covers([(0, 4), (6, 4)], [(2, 6)])
    assert not covers([], [(0, 1)])


@pytest.fixture(scope="module")
def moments(site, go):
    """Two moments of a VM with changes in between: the first's changeIds, and the second's id."""
    go.call(site, "tracking", vm=VM)
    (before,) = go.call(site, "snapshot", vm=VM, name="before")
    since = site.snapshot_id(VM, "before")
    go.call(site, "remove", vm=VM, name="before")
    site.advance(60)
    (after,) = go.call(site, "snapshot", vm=VM, name="after")
    yield {
        "change": {disk["key"]: disk["changeId"] for disk in before["disks"]},
        "capacity": {disk["key"]: disk["capacity"] for disk in after["disks"]},
        "snapshot": after["result"],
        "since": since,
        "until": site.snapshot_id(VM, "after"),
    }
    go.call(site, "removeall", vm=VM)


def walked(site, client, moments, key: int = 2000, **other):
    *pages, total = client.call(
        site,
        "walk",
        vm=VM,
        snapshot=moments["snapshot"],
        key=key,
        capacity=moments["capacity"][key],
        areas="yes",
        **{"change": moments["change"][key]} | other,
    )
    areas = [(area["Start"], area["Length"]) for page in pages for area in page["areas"] or []]
    return areas, total


@pytest.mark.parametrize("key", [2000, 2001])
def test_nothing_that_was_written_is_left_out(site, client, moments, key) -> None:
    areas, total = walked(site, client, moments, key)
    truth = site.true_changes(VM, key, moments["since"], moments["until"])
    assert truth
    assert covers(areas, truth)
    assert total["bytes"] < moments["capacity"][key] // 2, "an incremental, not the whole disk"


def test_every_way_of_paging_tells_the_same(site, client, moments) -> None:
    plain = site.ask("paging")
    truth = site.true_changes(VM, 2000, moments["since"], moments["until"])
    told = {}
    try:
        for mode in plain["modes"]:
            site.page_by(mode=mode, areas=7, span_bytes=4 * 2**20)
            areas, told[mode] = walked(site, client, moments)
            assert covers(areas, truth), mode
    finally:
        site.page_by(**{name: plain[name] for name in ("mode", "areas", "span_bytes")})
    assert len({each["digest"] for each in told.values()}) == 1
    assert len({each["bytes"] for each in told.values()}) == 1
    assert len({each["pages"] for each in told.values()}) > 1
    assert any(each["empty"] for each in told.values())


def test_all_that_is_in_use_covers_all_that_changed(site, client, moments) -> None:
    areas, total = walked(site, client, moments, change="*")
    assert covers(areas, site.true_changes(VM, 2000, moments["since"], moments["until"]))
    assert total["bytes"] >= 48 * 2**20, "as much was written before the start"


def test_bad_arguments_are_told_apart(site, client, moments) -> None:
    told = {
        line["of"]: line["fault"]
        for line in client.call(
            site,
            "faults",
            vm=VM,
            snapshot=moments["snapshot"],
            change=moments["change"][2000],
        )
    }
    assert {of: fault["type"] for of, fault in told.items()} == {
        "deviceKey": "InvalidArgument",
        "startOffset": "InvalidArgument",
        "malformed": "InvalidArgument",
        "foreign": "FileFault",
        "snapshot": "ManagedObjectNotFound",
        "property": "InvalidProperty",
        "method": told["method"]["type"],
    }
    assert told["deviceKey"]["property"] == "deviceKey"
    assert told["startOffset"]["property"] == "startOffset"
    assert told["malformed"]["property"] == "changeId"
    assert told["foreign"]["keys"] == ["vim.hostd.vmsvc.cbt.cannotGetChanges"]
    assert told["foreign"]["file"].startswith("[datastore-1] ")
    assert told["property"]["name"] == "no.such.property"
    assert told["method"]["type"] in {"MethodNotFound", "ManagedObjectNotFound"}


def test_who_is_not_tracked_is_told_so(site, client, go) -> None:
    go.call(site, "tracking", vm="server-3", on="no")
    (made,) = go.call(site, "snapshot", vm="server-3", name="untracked")
    try:
        (told,) = client.call(
            site,
            "walk",
            expect=3,
            vm="server-3",
            snapshot=made["result"],
            capacity=made["disks"][0]["capacity"],
            change="*",
        )
    finally:
        go.call(site, "removeall", vm="server-3")
    assert made["disks"][0]["changeId"] == ""
    assert told["fault"]["type"] == "FileFault"
    assert told["fault"]["keys"] == ["vim.hostd.vmsvc.cbt.noTrack"]


def test_a_crash_ends_the_history(site, client, go) -> None:
    vm = "server-2"
    client.call(site, "tracking", vm=vm)
    (before,) = client.call(site, "snapshot", vm=vm, name="before")
    client.call(site, "remove", vm=vm, name="before")
    site.ask("faults/vm-crash", {"vm": vm})
    go.call(site, "power", vm=vm)
    (after,) = client.call(site, "snapshot", vm=vm, name="after")
    try:
        old, new = before["disks"][0]["changeId"], after["disks"][0]["changeId"]
        assert old.split("/")[0] != new.split("/")[0]
        (told,) = client.call(
            site,
            "walk",
            expect=3,
            vm=vm,
            snapshot=after["result"],
            capacity=after["disks"][0]["capacity"],
            change=old,
        )
        assert told["fault"]["keys"] == ["vim.hostd.vmsvc.cbt.cannotGetChanges"]
    finally:
        client.call(site, "removeall", vm=vm)
        client.call(site, "tracking", vm=vm, on="no")
