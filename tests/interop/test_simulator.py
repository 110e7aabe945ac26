"""The clients themselves, against govmomi's own simulator: that they work is not ours to say."""

from __future__ import annotations

VM = "DC0_C0_RP0_VM0"


def test_it_is_spoken_to(simulator, client) -> None:
    (told,) = client.call(simulator, "about")
    assert told["vcenter"]
    assert told["user"] == "user"


def test_its_vms_are_listed(simulator, client) -> None:
    *vms, total = client.call(simulator, "list")
    assert total["found"] == 3
    assert {vm["name"] for vm in vms} == {f"DC0_C0_RP0_VM{k}" for k in range(3)}
    assert all(len(vm["disks"]) == 1 for vm in vms)


def test_a_vm_is_found_by_path_and_by_uuid(simulator, client) -> None:
    (told,) = client.call(simulator, "search", vm=VM)
    assert told["vm"] == told["byUuid"] == told["byPath"]
    assert told["path"] == f"/DC0/vm/{VM}"


def test_snapshots_come_and_go(simulator, client) -> None:
    (made,) = client.call(simulator, "snapshot", vm=VM, name="one")
    assert made["state"] == "success"
    (gone,) = client.call(simulator, "removeall", vm=VM)
    assert gone["state"] == "success"


def test_what_it_does_not_know_is_a_fault(simulator, client) -> None:
    told = {line["of"]: line for line in client.call(simulator, "faults", vm=VM, snapshot="none")}
    assert told["deviceKey"]["fault"]["type"] == "MethodNotFound"
    assert told["property"]["fault"]["type"] == "InvalidProperty"


def test_a_session_ends(simulator, client) -> None:
    *_, told = client.call(simulator, "logout", expect=3)
    assert told["fault"]["type"] == "NotAuthenticated"


def test_many_clients_at_once(simulator, client) -> None:
    (told,) = client.call(simulator, "clients", vm=VM, count=16, calls=5)
    assert told["errors"] == []
