"""The array vendor's own client, unmodified, at an array; run in a process of its own.

    python wsapi_client.py URL USER PASSWORD

It goes through what applications do by it, checks what it is told, and prints a line for each part.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager

warnings.simplefilter("ignore")  # of what it imports, about newer Pythons

from hpe3parclient import client, exceptions  # noqa: E402

IQN = "iqn.2026-11.org.example:backup-server"
POOL, BASE = "pool-1", "vol-1"


@contextmanager
def refused(kind, code):
    """Expect a refusal, by its class and number."""
    said = None
    try:
        yield
    except kind as error:
        said = error
    assert said is not None, f"{kind.__name__} {code} was expected"
    assert said.get_code() == code, f"{said.get_code()}, not {code}: {said}"


def wait(array, task):
    """Wait until a task is over; return how."""
    while (found := array.getTask(task))["status"] == array.TASK_ACTIVE:
        pass
    return found["status"]


def system(array):
    assert array.getStorageSystemInfo()["licenseInfo"]["licenses"]
    assert array.getWSAPIConfigurationInfo()["version"]
    assert array.getOverallSystemCapacity()["allCapacity"]["totalMiB"]
    assert [pool["name"] for pool in array.getCPGs()["members"]] == [POOL]
    assert array.getCPG(POOL)["UsrUsage"]["usedMiB"]
    assert array.getCPGAvailableSpace(POOL)["usableFreeMiB"]
    with refused(exceptions.HTTPNotFound, 15):
        array.getCPG("none")
    with refused(exceptions.HTTPForbidden, 13):
        array.createCPG("other")
    assert [port["iSCSIName"] for port in array.getiSCSIPorts(state=array.PORT_STATE_READY)]


def volumes(array):
    array.createVolume("app", POOL, 256, {"comment": "one", "tpvv": True})
    found = array.getVolume("app")
    assert (found["sizeMiB"], found["comment"], found["copyType"]) == (256, "one", 1)
    array.modifyVolume("app", {"newName": "data", "comment": "two"})
    array.growVolume("data", 256)
    found = array.getVolume("data")
    assert (found["sizeMiB"], found["comment"]) == (512, "two")
    with refused(exceptions.HTTPNotFound, 23):
        array.getVolume("app")
    with refused(exceptions.HTTPConflict, 22):
        array.createVolume("data", POOL, 256, {"tpvv": True})
    with refused(exceptions.HTTPBadRequest, 57):
        array.createVolume("d" * 32, POOL, 256, {"tpvv": True})
    with refused(exceptions.HTTPBadRequest, 12):
        array.createVolume("e", POOL, 256, {"tpvv": True, "colour": "red"})
    array.setVolumeMetaData("data", "owner", "joe")
    array.setVolumeMetaData("data", "owner", "jim")
    assert array.getVolumeMetaData("data", "owner")["value"] == "jim"
    assert array.findVolumeMetaData("data", "owner", "jim")
    array.removeVolumeMetaData("data", "owner")
    assert array.getAllVolumeMetaData("data")["total"] == 0
    array.deleteVolume("data")
    with refused(exceptions.HTTPNotFound, 23):
        array.deleteVolume("data")


def exports(array):
    array.createSnapshot("snap", BASE, {"readOnly": True, "expirationHours": 4, "comment": "c"})
    assert array.getVolumeSnapshots(BASE) == ["snap"]
    assert array.getSnapshotsOfVolume(POOL, BASE) == ["snap"]
    host = array.createHost("backup", iscsiNames=[IQN], optional={"persona": 2})
    assert host["iSCSIPaths"][0]["name"] == IQN
    assert array.queryHost(iqns=[IQN])["members"][0]["name"] == "backup"
    with refused(exceptions.HTTPConflict, 16):
        array.createHost("backup")
    with refused(exceptions.HTTPConflict, 73):
        array.createHost("other", iscsiNames=[IQN])
    chap = {
        "chapOperation": array.HOST_EDIT_ADD, "chapOperationMode": array.CHAP_INITIATOR,
        "chapName": "joe", "chapSecret": "not a secret",
    }  # fmt: skip
    array.modifyHost("backup", chap)
    assert array.getHost("backup")["initiatorChapEnabled"]
    volume, lun, host = array.createVLUN("snap", hostname="backup", auto=True).split(",")
    assert (volume, int(lun), host) == ("snap", 0, "backup")
    assert array.getVLUN("snap")["lun"] == 0
    assert [each["active"] for each in array.getHostVLUNs("backup")] == [False, True]
    with refused(exceptions.HTTPConflict, 18):
        array.createVLUN("snap", 5, "backup")
    with refused(exceptions.HTTPForbidden, 26):
        array.deleteVolume("snap")
    with refused(exceptions.HTTPConflict, 26):
        array.deleteHost("backup")
    array.deleteVLUN("snap", 0, "backup")
    with refused(exceptions.HTTPNotFound, 19):
        array.deleteVLUN("snap", 0, "backup")
    with refused(exceptions.HTTPForbidden, 26):
        array.deleteVolume(BASE)  # a datastore lies on it
    array.deleteHost("backup")
    array.deleteVolume("snap")


def sets(array):
    array.createVolume("second", POOL, 256, {"tpvv": True})
    array.createVolumeSet("group", comment="both", setmembers=[BASE, "second"])
    assert array.findVolumeSet("second") == "group"
    with refused(exceptions.HTTPConflict, 34):
        array.deleteVolume("second")
    array.createSnapshotOfVolumeSet("group-@count@", "group", {"readOnly": True})
    assert array.getVolume("group-0")["copyOf"] == BASE
    assert array.getVolume("group-1")["copyOf"] == "second"
    array.removeVolumeFromVolumeSet("group", "second")
    array.deleteVolumeSet("group")
    with refused(exceptions.HTTPNotFound, 102):
        array.getVolumeSet("group")
    with refused(exceptions.HTTPConflict, 32):
        array.deleteVolume("second")
    for name in ("group-0", "group-1", "second"):
        array.deleteVolume(name)


def copies(array):
    array.createVolume("small", POOL, 256, {"tpvv": True})
    online = array.copyVolume("small", "twin", POOL, {"online": True, "tpvv": True})
    assert wait(array, online["taskid"]) == array.TASK_DONE
    assert not array.isOnlinePhysicalCopy("twin")
    assert array.getVolume("twin")["copyType"] == 1
    offline = array.copyVolume("small", "twin", POOL)
    assert wait(array, offline["taskid"]) == array.TASK_DONE
    assert array.getVolume("twin")["copyOf"] == "small"
    again = array.resyncPhysicalCopy("twin")
    assert wait(array, again["taskid"]) == array.TASK_DONE
    array.createSnapshot("back", "small", {"readOnly": True})
    promoted = array.promoteVirtualCopy("back")
    assert wait(array, promoted["taskid"]) == array.TASK_DONE
    with refused(exceptions.HTTPNotFound, 145):
        array.getTask(9999)
    for name in ("back", "twin", "small"):
        array.deleteVolume(name)


def main(url, user, password):
    array = client.HPE3ParClient(url)
    assert array.getWsApiVersion()["major"] == 1
    with refused(exceptions.HTTPForbidden, 5):
        array.login(user, "wrong")
    array.login(user, password)
    before = sorted(volume["name"] for volume in array.getVolumes()["members"])
    for part in (system, volumes, exports, sets, copies):
        part(array)
        sys.stdout.write(f"{part.__name__}\n")
    assert sorted(volume["name"] for volume in array.getVolumes()["members"]) == before
    assert array.getHosts()["total"] == array.getVLUNs()["total"] == 0
    array.logout()


if __name__ == "__main__":
    main(*sys.argv[1:])
