"""What is there, as each client stack sees it, held against what the site itself says."""

from __future__ import annotations

import pytest

VMS = ("server-1", "server-2", "server-3")


def test_it_is_a_vcenter(site, client) -> None:
    (told,) = client.call(site, "about")
    assert told["vcenter"]
    assert told["apiType"] == "VirtualCenter"
    assert told["user"] == site.user
    assert told["now"] > "2026"


@pytest.mark.parametrize(("page", "pages"), [(0, 1), (1, 3), (2, 2), (3, 1)])
def test_vms_are_listed_in_pages(site, client, page, pages) -> None:
    *vms, total = client.call(site, "list", page=page)
    assert total == {"pages": pages, "found": len(VMS)}
    assert sorted(vm["name"] for vm in vms) == list(VMS)


def test_disks_are_as_large_as_they_are(site, client) -> None:
    for vm in client.call(site, "list")[:-1]:
        truth = site.vm(vm["name"])
        seen = {disk["key"]: disk["capacity"] for disk in vm["disks"]}
        assert seen == {disk["key"]: disk["capacity_bytes"] for disk in truth["disks"]}
        assert vm["power"] == ("poweredOn" if truth["powered_on"] else "poweredOff")
        assert vm["files"] >= 2 * len(vm["disks"])
        stores = {disk["key"]: disk["datastore"] for disk in truth["disks"]}
        assert all(disk["file"].startswith(f"[{stores[disk['key']]}] ") for disk in vm["disks"])


def test_a_vm_is_found_by_path_and_by_uuid(site, client) -> None:
    (told,) = client.call(site, "search", vm="server-2")
    assert told["vm"] == told["byUuid"] == told["byPath"]
    assert told["path"].startswith(told["center"] + "/vm/")
    assert told["datastores"] == len(site.ask("site")["datastores"])
    assert told["hosts"] >= 1


def test_a_wrong_password_is_no_login(site, client) -> None:
    from dataclasses import replace

    (told,) = client.call(replace(site, password="wrong"), "about", expect=3)
    assert told["fault"]["type"] == "InvalidLogin"


def test_a_session_ends(site, client) -> None:
    *_, told = client.call(site, "logout", expect=3)
    assert told["fault"]["type"] == "NotAuthenticated"


def test_sixty_four_clients_at_once(site, client) -> None:
    (told,) = client.call(site, "clients", vm="server-1", count=64, calls=5)
    assert told["errors"] == []
