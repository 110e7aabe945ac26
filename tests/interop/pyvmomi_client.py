"""A vSphere client on pyVmomi, run in a process of its own with whatever version is on its path.

    python pyvmomi_client.py URL USER PASSWORD COMMAND [ARGUMENT=VALUE ...]

It knows the same commands as the client in Go, and prints the same lines of JSON.  A fault is
printed as {"fault": ...} with exit code 3.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
import warnings
from urllib.parse import urlsplit

warnings.simplefilter("ignore")  # of older versions, about newer Pythons

from pyVim.connect import SmartConnect  # noqa: E402
from pyVim.task import WaitForTask  # noqa: E402
from pyVmomi import vim, vmodl  # noqa: E402

PC = vmodl.query.PropertyCollector
DISK = vim.vm.device.VirtualDisk


def say(**line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def described(fault):
    """Return a fault by what a client can tell it from others."""
    told = {"type": type(fault).__name__.rpartition(".")[2], "text": fault.msg or ""}
    for name, key in (("invalidProperty", "property"), ("name", "name"), ("file", "file")):
        if isinstance(value := getattr(fault, name, None), str):
            told[key] = value
    for name in ("obj", "task"):
        if (value := getattr(fault, name, None)) is not None:
            told["object"] = value._moId
    told["keys"] = [message.key for message in getattr(fault, "faultMessage", None) or []]
    return told


def tell(of, call):
    """Make a call, and say which fault it is answered with, if any."""
    try:
        call()
    except vmodl.MethodFault as fault:
        say(of=of, fault=described(fault))
    else:
        say(of=of)


class Client:
    """A session, and the commands on it."""

    def __init__(self, url, user, password):
        self.at = urlsplit(url)
        self.account = {"user": user, "pwd": password}
        self.instance = self.login()
        self.content = self.instance.RetrieveContent()

    def login(self):
        return SmartConnect(
            protocol=self.at.scheme,
            host=self.at.hostname,
            port=self.at.port,
            disableSslCertValidation=True,
            **self.account,
        )

    # Inventory. ------------------------------------------------------------------------------

    def about(self):
        is_, content = self.content.about, self.content
        say(
            product=is_.fullName,
            apiType=is_.apiType,
            apiVersion=is_.apiVersion,
            spoken=self.instance._stub.version,
            user=content.sessionManager.currentSession.userName,
            now=self.instance.CurrentTime().isoformat(),
            vcenter=is_.apiType == "VirtualCenter",
        )

    def view(self):
        views = self.content.viewManager
        return views.CreateContainerView(self.content.rootFolder, [vim.VirtualMachine], True)

    def pages(self, paths, page):
        """Yield pages of all VMs."""
        through = PC.TraversalSpec(name="v", path="view", skip=False, type=vim.view.ContainerView)
        spec = PC.FilterSpec(
            objectSet=[PC.ObjectSpec(obj=self.view(), skip=True, selectSet=[through])],
            propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=paths)],
        )
        collector = self.content.propertyCollector
        options = PC.RetrieveOptions(maxObjects=page or None)
        answer = collector.RetrievePropertiesEx([spec], options)
        while answer is not None:
            yield answer.objects
            token = answer.token
            answer = collector.ContinueRetrievePropertiesEx(token) if token else None

    def vm(self, name):
        view = self.view()
        try:
            return next(vm for vm in view.view if vm.name == name)
        finally:
            view.Destroy()

    def list(self, page="0"):
        paths = [
            *("name", "runtime.powerState", "config.hardware.device", "snapshot"),
            *("config.changeTrackingEnabled", "layoutEx", "summary.storage"),
        ]
        pages, found = 0, 0
        for objects in self.pages(paths, int(page)):
            pages += 1
            for content in objects:
                has = {each.name: each.val for each in content.propSet}
                say(
                    name=has["name"],
                    vm=content.obj._moId,
                    power=has["runtime.powerState"],
                    disks=disks(has["config.hardware.device"]),
                    devices=len(has["config.hardware.device"]),
                    tracking=has.get("config.changeTrackingEnabled", False),
                    files=len(has["layoutEx"].file),
                    snapshots=flat(has.get("snapshot")),
                )
                found += 1
        say(pages=pages, found=found)

    def search(self, vm):
        index, found = self.content.searchIndex, self.vm(vm)
        names, at = [], found
        while at != self.content.rootFolder:
            names.append(at.name)
            at = at.parent
        path = "/".join(reversed(names))
        center = next(each for each in self.content.rootFolder.childEntity)
        say(
            vm=found._moId,
            path="/" + path,
            center="/" + center.name,
            byUuid=index.FindByUuid(None, found.config.uuid, True)._moId,
            byPath=index.FindByInventoryPath(path)._moId,
            datastores=len(center.datastore),
            hosts=sum(len(each.host) for each in center.hostFolder.childEntity),
        )

    # Tasks. ----------------------------------------------------------------------------------

    def ended(self, task):
        WaitForTask(task)
        info = task.info
        line = {
            "task": info.key,
            "state": info.state,
            "method": getattr(getattr(info.name, "info", None), "wsdlName", str(info.name)),
            "description": info.descriptionId,
            "entity": info.entityName,
            "cancelable": info.cancelable,
            "seconds": (info.completeTime - info.startTime).total_seconds(),
        }
        if isinstance(info.result, vim.vm.Snapshot):
            line["result"] = info.result._moId
            line["disks"] = disks(info.result.config.hardware.device)
        say(**line)

    def tracking(self, vm, on="yes"):
        spec = vim.vm.ConfigSpec(changeTrackingEnabled=on != "no")
        self.ended(self.vm(vm).ReconfigVM_Task(spec))

    def power(self, vm, on="yes"):
        found = self.vm(vm)
        self.ended(found.PowerOffVM_Task() if on == "no" else found.PowerOnVM_Task())

    def snapshot(self, vm, name, quiesce="no"):
        self.ended(self.vm(vm).CreateSnapshot_Task(name, None, False, quiesce == "yes"))

    def find(self, vm, name):
        return vim.vm.Snapshot(
            next(each["snapshot"] for each in flat(vm.snapshot) if each["name"] == name),
            self.instance._stub,
        )

    def remove(self, vm, name, children="no"):
        self.ended(self.find(self.vm(vm), name).RemoveSnapshot_Task(children == "yes"))

    def removeall(self, vm):
        self.ended(self.vm(vm).RemoveAllSnapshots_Task())

    def revert(self, vm, name):
        self.ended(self.find(self.vm(vm), name).RevertToSnapshot_Task())

    def overlap(self, vm, name):
        found = self.vm(vm)
        first = found.CreateSnapshot_Task(name, None, False, False)
        tell(
            "second",
            lambda: WaitForTask(found.CreateSnapshot_Task(name + " again", None, False, False)),
        )
        self.ended(first)

    def watch(self, vm, name):
        """Wait for updates of a VM while a snapshot of it comes and goes."""
        found = self.vm(vm)
        paths = ["snapshot", "config.hardware.device", "runtime.consolidationNeeded"]
        spec = PC.FilterSpec(
            objectSet=[PC.ObjectSpec(obj=found, skip=False)],
            propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=paths)],
        )
        collector = self.content.propertyCollector.CreatePropertyCollector()
        collector.CreateFilter(spec, True)
        first, over = threading.Event(), threading.Event()

        def updates():
            version = ""
            while not over.is_set():
                found = collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=1))
                if found is None:
                    continue
                version = found.version
                changes = found.filterSet[0].objectSet[0].changeSet
                say(update={change.name: told(change.val) for change in changes})
                first.set()

        waiting = threading.Thread(target=updates)
        waiting.start()
        first.wait(60)
        self.snapshot(vm, name)
        time.sleep(0.2)  # so that both changes are seen, not their sum
        self.remove(vm, name)
        time.sleep(1)  # what is on its way comes in
        over.set()
        waiting.join()
        collector.Destroy()

    # Changes. --------------------------------------------------------------------------------

    def walk(self, vm="", id="", snapshot="", key="2000", capacity="0", change="*", areas=""):  # noqa: A002
        found = vim.VirtualMachine(id, self.instance._stub) if id else self.vm(vm)
        frozen = vim.vm.Snapshot(snapshot, self.instance._stub) if snapshot else None
        start, pages, empty, merged = 0, 0, 0, Merged()
        began = time.perf_counter()
        while start < int(capacity):
            page = found.QueryChangedDiskAreas(frozen, int(key), start, change)
            if page.startOffset != start or page.length <= 0:
                sys.exit(f"asked from {start} on, the page is {page.startOffset}+{page.length}")
            pages += 1
            empty += not page.changedArea
            for area in page.changedArea:
                if area.start < start or area.start + area.length > start + page.length:
                    sys.exit(f"area {area.start}+{area.length} is not in its page")
                merged.add(area.start, area.length)
            if areas == "yes":
                listed = [{"Start": a.start, "Length": a.length} for a in page.changedArea]
                say(start=start, length=page.length, areas=listed)
            start += page.length
        merged.close()
        say(
            pages=pages,
            empty=empty,
            areas=merged.areas,
            joined=merged.joined,
            bytes=merged.bytes,
            digest=merged.sum.hexdigest(),
            seconds=time.perf_counter() - began,
        )

    def faults(self, vm, snapshot, key="2000", change="*"):
        found, stub = self.vm(vm), self.instance._stub
        good = [vim.vm.Snapshot(snapshot, stub), int(key), 0, change]
        bad = {
            "deviceKey": (1, 9),
            "startOffset": (2, 1 << 50),
            "malformed": (3, "52 de/3"),
            "foreign": (3, "52 00 00 00 00 00 00 00-00 00 00 00 00 00 00 00/1"),
            "snapshot": (0, vim.vm.Snapshot("snapshot-none", stub)),
        }
        for of, (place, value) in bad.items():
            words = [*good[:place], value, *good[place + 1 :]]
            tell(of, lambda words=words: found.QueryChangedDiskAreas(*words))
        spec = PC.FilterSpec(
            objectSet=[PC.ObjectSpec(obj=found)],
            propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=["no.such.property"])],
        )
        tell("property", lambda: whole(self.content.propertyCollector.RetrieveContents([spec])))
        tell("method", lambda: vim.EnvironmentBrowser(found._moId, stub).QueryConfigOption())

    # Sessions. -------------------------------------------------------------------------------

    def logout(self):
        self.content.sessionManager.Logout()
        self.view()

    def clients(self, vm, count="64", calls="100"):
        moid, failures = self.vm(vm)._moId, []

        def one():
            try:
                mine = self.login()
                for _ in range(int(calls)):
                    assert vim.VirtualMachine(moid, mine._stub).name == vm, "another name"
                mine.RetrieveContent().sessionManager.Logout()
            except Exception as error:  # noqa: BLE001  (whatever it is, it is to be told)
                failures.append(repr(error))

        threads = [threading.Thread(target=one) for _ in range(int(count))]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        say(clients=int(count), calls=int(count) * int(calls), errors=failures, seconds=seconds)


class Merged:
    """A running digest of areas, in which how they were cut into pages does not show."""

    def __init__(self):
        self.sum = hashlib.sha256()
        self.start = self.end = 0
        self.areas = self.joined = self.bytes = 0

    def add(self, start, length):
        if length <= 0 or start < self.end:
            sys.exit(f"area {start}+{length} after the end of another at {self.end}")
        self.areas, self.bytes = self.areas + 1, self.bytes + length
        if start != self.end or not self.end:
            self.close()
            self.start = start
        self.end = start + length

    def close(self):
        if self.end > self.start:
            self.joined += 1
            self.sum.update(f"{self.start} {self.end - self.start}\n".encode())


def whole(contents):
    """Raise why something is missing of what was asked for."""
    for content in contents:
        for missing in content.missingSet:
            raise missing.fault


def disks(devices):
    found = []
    for device in devices:
        if isinstance(device, DISK):
            backing, depth = device.backing, 0
            up = backing.parent
            while up is not None:
                up, depth = up.parent, depth + 1
            found.append(
                {
                    "key": device.key,
                    "capacity": device.capacityInBytes,
                    "file": backing.fileName,
                    "changeId": backing.changeId or "",
                    "depth": depth,
                }
            )
    return found


def flat(info):
    found, todo = [], list(info.rootSnapshotList) if info else []
    while todo:
        top = todo.pop(0)
        found.append({"snapshot": top.snapshot._moId, "name": top.name})
        todo[:0] = top.childSnapshotList
    return found


def told(value):
    if isinstance(value, vim.vm.SnapshotInfo):
        return flat(value)
    if isinstance(value, list):
        return disks(value)
    return value


def main():
    url, user, password, command, *words = sys.argv[1:]
    try:
        client = Client(url, user, password)
        getattr(client, command)(**dict(word.split("=", 1) for word in words))
    except vmodl.MethodFault as fault:
        say(fault=described(fault))
        sys.exit(3)


if __name__ == "__main__":
    main()
