"""Snapshots, tasks and updates, as each client stack has them."""

from __future__ import annotations

import re

import pytest

VM = "server-2"


@pytest.fixture(autouse=True)
def clean(site, go):
    yield
    go.call(site, "removeall", vm=VM)
    assert site.vm(VM)["snapshots"] == []


def test_a_snapshot_comes_and_goes(site, client) -> None:
    (made,) = client.call(site, "snapshot", vm=VM, name="one")
    assert (made["state"], made["entity"]) == ("success", VM)
    assert made["method"] == "CreateSnapshot_Task"
    assert made["seconds"] > 0
    assert made["disks"][0]["depth"] == 0, "the snapshot's disk is the base"
    (vm,) = (line for line in client.call(site, "list") if line.get("name") == VM)
    assert vm["snapshots"] == [{"snapshot": made["result"], "name": "one"}]
    assert vm["disks"][0]["depth"] == 1
    assert re.search(r"-\d{6}\.vmdk$", vm["disks"][0]["file"])
    (gone,) = client.call(site, "remove", vm=VM, name="one")
    assert gone["state"] == "success"
    assert gone["method"] == "RemoveSnapshot_Task"
    (vm,) = (line for line in client.call(site, "list") if line.get("name") == VM)
    assert vm["snapshots"] == []
    assert vm["disks"][0]["depth"] == 0


def test_the_second_of_two_at_once_is_refused(site, client) -> None:
    second, first = client.call(site, "overlap", vm=VM, name="first")
    assert second["fault"]["type"] == "TaskInProgress"
    assert second["fault"]["object"] == first["task"]
    assert first["state"] == "success"
    assert [each["name"] for each in site.vm(VM)["snapshots"]] == ["first"]


def test_who_waits_hears_of_a_snapshot_and_of_no_more(site, client) -> None:
    told = client.call(site, "watch", vm=VM, name="seen")
    updates = [line["update"] for line in told if "update" in line]
    first, *later = updates
    assert set(first) >= {"config.hardware.device"}
    assert not first.get("snapshot")
    trees = [each["snapshot"] for each in later if "snapshot" in each]
    assert next([one["name"] for one in tree] for tree in trees if tree) == ["seen"]
    assert trees[-1] in (None, []), "an unset property is a change without a value"
    depths = [
        each["config.hardware.device"][0]["depth"]
        for each in updates
        if "config.hardware.device" in each
    ]
    assert depths[0] == 0
    assert 1 in depths
    assert depths[-1] == 0


def test_a_vm_goes_back_to_a_snapshot(site, client) -> None:
    client.call(site, "snapshot", vm=VM, name="then")
    then = site.snapshot_id(VM, "then")
    site.advance(30)
    (told,) = client.call(site, "revert", vm=VM, name="then")
    assert told["state"] == "success"
    if not site.vm(VM)["powered_on"]:  # a snapshot without memory is of a VM that is off
        client.call(site, "snapshot", vm=VM, name="back")
        back = site.snapshot_id(VM, "back")
        assert site.digest(VM, 2000, back) == site.digest(VM, 2000, then)
        client.call(site, "power", vm=VM)
    assert site.vm(VM)["powered_on"]


def test_power_goes_off_and_on(site, client) -> None:
    (told,) = client.call(site, "power", vm=VM, on="no")
    assert told["state"] == "success"
    assert not site.vm(VM)["powered_on"]
    client.call(site, "power", vm=VM)
    assert site.vm(VM)["powered_on"]
