"""Uses the array's REST 1 as the vendor's own client does; prints each part that it has come through.

Runs in a process of its own: HOST:PORT, user and password as arguments, the client on PYTHONPATH.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager

warnings.simplefilter("ignore")
import setuptools  # noqa: E402, F401  # distutils, where Python has none any more

import purestorage  # noqa: E402  # isort: skip

BASE, MIB = "vol-1", 1 << 20
IQN = "iqn.2026-01.org.example:backup"


@contextmanager
def refused(message, code=400):
    """Expect an error whose text has this in it."""
    found = None
    try:
        yield
    except purestorage.PureHTTPError as error:
        found = error
    assert found is not None, f"not refused with {message!r}"
    assert found.code == code, found
    assert message in found.text, found


def array(fa):
    assert fa.get()["version"]
    assert fa.get(space=True)[0]["capacity"]
    assert [each["name"] for each in fa.get(controllers=True)] == ["CT0", "CT1"]
    (port,) = fa.list_ports()
    assert port["iqn"].startswith("iqn.")
    assert port["portal"].endswith(":3260")
    assert fa.list_pods() == fa.list_vgroups() == fa.list_hgroups() == []


def volumes(fa):
    made = fa.create_volume("app", "2M")
    assert (made["name"], made["size"], len(made["serial"])) == ("app", 2 * MIB, 24)
    with refused("Volume already exists."):
        fa.create_volume("app", "2M")
    assert fa.extend_volume("app", "4M")["size"] == 4 * MIB
    assert fa.rename_volume("app", "data") == {"name": "data"}
    assert fa.get_volume("data")["size"] == 4 * MIB
    with refused("Volume does not exist."):
        fa.get_volume("app")
    fa.destroy_volume("data")
    with refused("has been destroyed"):
        fa.destroy_volume("data")
    (pending,) = fa.list_volumes(pending_only=True)
    assert 0 < pending["time_remaining"] <= 86_400
    fa.recover_volume("data")
    with refused("is not destroyed"):
        fa.eradicate_volume("data")
    fa.destroy_volume("data")
    fa.eradicate_volume("data")
    with refused("Volume does not exist."):
        fa.destroy_volume("data")


def snapshots(fa):
    fa.create_volume("second", "1M")
    made = fa.create_snapshots([BASE, "second"], suffix="bk-1")
    assert [each["name"] for each in made] == [f"{BASE}.bk-1", "second.bk-1"]
    with refused("Snapshot suffix must be between 1 and 63 characters"):
        fa.create_snapshot(BASE, suffix="under_score")
    assert fa.get_volume(BASE, snap=True)[0]["source"] == BASE
    assert len(fa.list_volumes(snap=True)) == 2
    copy = fa.copy_volume(f"{BASE}.bk-1", "copy")
    assert copy["source"] == BASE
    host = fa.create_host("backup", iqnlist=[IQN])
    assert host["iqn"] == [IQN]
    with refused("already in use"):
        fa.create_host("other", iqnlist=[IQN])
    fa.set_host("backup", host_user="joe", host_password="not a secret")
    assert fa.connect_host("backup", "copy") == {"name": "backup", "vol": "copy", "lun": 1}
    with refused("already exists"):
        fa.connect_host("backup", "copy")
    assert fa.list_host_connections("backup", private=True)[0]["lun"] == 1
    assert fa.list_volume_private_connections("copy")[0]["host"] == "backup"
    assert fa.list_volume_shared_connections("copy") == []
    with refused("existing connections"):
        fa.delete_host("backup")
    with refused("existing connections"):
        fa.destroy_volume("copy")
    fa.disconnect_host("backup", "copy")
    with refused("is not connected"):
        fa.disconnect_host("backup", "copy")
    fa.delete_host("backup")
    for name in ("copy", f"{BASE}.bk-1", "second.bk-1", "second"):
        fa.destroy_volume(name)
        fa.eradicate_volume(name)


def groups(fa):
    fa.create_pgroup("pg", vollist=[BASE])
    made = fa.create_pgroup_snapshot("pg", suffix="s")
    assert made["name"] == "pg.s"
    assert [each["name"] for each in fa.list_volumes(snap=True)] == [f"pg.s.{BASE}"]
    assert fa.list_pgroups()[0]["volumes"] == [BASE]
    fa.destroy_pgroup("pg.s")
    fa.eradicate_pgroup("pg.s")
    fa.destroy_pgroup("pg")
    fa.eradicate_pgroup("pg")


def main(place, user, password):
    with refused("Invalid username or password.", 401):
        purestorage.FlashArray(place, username=user, password="wrong")
    fa = purestorage.FlashArray(place, username=user, password=password)
    assert fa.get_rest_version() == "1.19"
    before = fa.list_volumes(pending=True)
    for part in (array, volumes, snapshots, groups):
        part(fa)
        sys.stdout.write(f"{part.__name__}\n")
    assert fa.list_volumes(pending=True) == before
    assert fa.list_volumes(snap=True, pending=True) == fa.list_hosts() == []
    old = purestorage.FlashArray(place, username=user, password=password, rest_version="1.0")
    assert old.list_volumes()
    fa.invalidate_cookie()
    assert fa.list_hosts() == []  # it logs in again by itself


if __name__ == "__main__":
    main(*sys.argv[1:])
