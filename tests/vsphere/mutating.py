"""Requests as clients send them, and as nobody should: mutated byte by byte, tag by tag, value by value."""

from __future__ import annotations

import random
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from stuntdouble.vsphere import LocalStub
from stuntdouble.vsphere.vmomi import VIM25, ManagedObject, lookup_method
from vcenter import played
from vsphere.drawn import data, value
from vsphere.wire import Stub

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.vsphere import VirtualCenter
    from vcenter import Site

_PC = vmodl.query.PropertyCollector
_TOKEN = re.compile(rb"<[^<>]*>")
_TEXT = re.compile(rb">([^<>]+)<")
_TYPE = re.compile(rb'((?:xsi:)?type)="([^"]*)"')

VALUES = [
    b"", b" ", b"-1", b"0", b"1", b"2147483648", b"-9223372036854775809", b"1" * 5000, b"1e999",
    b"NaN", b"INF", b"true", b"TRUE", b"maybe", b"x" * 100_000, b"&amp;&lt;", b"&#0;", b"&#xD800;",
    b"&bogus;", b"&#128512;", b"\xff\xfe", b"\xc0\x80", b"<a/>", b"<![CDATA[<x>]]>", b"<!-- -->",
    b"2026-01-01T00:00:00Z", b"2026-13-41T99:00:00", b"9999-12-31T23:59:59+14:00", b"AAAA", b"=AA=",
    b"group-d1", b"propertyCollector", b"task-1001", b"vm-1", b"none", b"[ds] ../../x", b"[", b"[]",
    b"config.hardware.device", b"config..name", b"a[\"", b"name[0]", b"." * 200, b"*", b"*a" * 400,
    b"%s%n", b"'; --", b"\x00", b"../../etc/passwd", b"52 de c0 d9/1", b"*/*", b"poweredOn",
]  # fmt: skip
TYPES = [
    b"xsd:int", b"xsd:string", b"xsd:long", b"xsd:dateTime", b"xsd:base64Binary", b"xsd:anyType",
    b"ManagedObjectReference", b"ArrayOfString", b"ArrayOfAnyType", b"VirtualMachine", b"Folder",
    b"VirtualDisk", b"TraversalSpec", b"SelectionSpec", b"PropertyFilterSpec", b"nothing",
    b"NotAuthenticated", b"LocalizedMethodFault", b"DynamicData", b"nowhere:x", b"", b"MethodFault",
    b"HostSystem", b"Datastore", b"ManagedObject", b"VirtualMachineConfigSpec", b"PerfQuerySpec",
]  # fmt: skip
CALM = 0.5
"""Part of the requests that most likely can be read: the others mostly try the reading."""
ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">'
    + b"".join(b'<!ENTITY b%d "%s">' % (n, b"&b%d;" % (n - 1) * 10) for n in range(1, 10))
    + b"]>"
)


def recorded(calls: Callable[[Site], None]) -> list[bytes]:
    """Return the bodies that pyVmomi sends while it makes calls, each once."""
    found: dict[bytes, None] = {}
    exchange = LocalStub.exchange

    def noting(stub: LocalStub, body: bytes, what: str) -> tuple[bytes, bool]:
        found[bytes(body)] = None
        return exchange(stub, body, what)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStub, "exchange", noting)
        played(calls, change=quiet)
    return list(found)


def quiet(scenario: Any) -> Any:
    """The scenario with four small VMs without load, so that waiting costs nothing."""
    first = scenario.vms[0]
    small = tuple(disk.model_copy(update={"size": 64 << 20, "written": 0}) for disk in first.disks)
    idle = first.load.model_copy(update={"kind": "none"})
    vms = tuple(
        first.model_copy(update={"name": f"vm-{n}", "disks": small, "load": idle}) for n in range(4)
    )
    return scenario.model_copy(update={"vms": vms})


def name_all(center: VirtualCenter) -> None:
    """Let things have the same identifiers in each site, whoever asks for them first."""
    roots = center.roots
    for store in roots.datastores():
        roots.browser_of(store)
    for host in roots.hosts():
        roots.browser_of_host(host)
    list(roots.vms())


def tour(site: Site) -> None:
    """Call most of what there is to call."""
    name_all(site.center)
    si, content = site.si, site.content
    vm = site.vm()
    for name in ("name", "runtime", "config", "layoutEx", "storage", "summary", "capability"):
        getattr(vm, name)
    centre = content.rootFolder.childEntity[0]
    content.searchIndex.FindByInventoryPath("Datacenter/vm/" + vm.name)
    content.searchIndex.FindByUuid(centre, vm.config.uuid, True, False)
    content.sessionManager.SessionIsActive("a", "b")
    _collect(site)
    _whatever(
        lambda: WaitForTask(
            vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)), si=si
        )
    )
    _whatever(lambda: WaitForTask(vm.CreateSnapshot_Task("one", "text", False, True), si=si))
    snapshot = vm.snapshot.currentSnapshot
    disk = next(d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk))
    vm.QueryChangedDiskAreas(snapshot, disk.key, 0, "*")
    disk.capacityInKB += 1 << 20
    edit = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
    _whatever(lambda: vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[edit])))
    _whatever(lambda: vm.RelocateVM_Task(vim.vm.RelocateSpec(datastore=vm.datastore[0])))
    _whatever(lambda: snapshot.RenameSnapshot("two", "more"))
    _whatever(lambda: WaitForTask(vm.RevertToCurrentSnapshot_Task(None, True), si=si))
    _whatever(lambda: WaitForTask(snapshot.RemoveSnapshot_Task(False, True), si=si))
    store = vm.datastore[0]
    browser = vim.host.DatastoreBrowser
    spec = browser.SearchSpec(
        query=[browser.VmDiskQuery(), browser.VmConfigQuery()],
        details=browser.FileInfo.Details(
            fileType=True, fileSize=True, modification=True, fileOwner=True
        ),
        matchPattern=["*.vmdk", "*"],
    )
    _whatever(
        lambda: WaitForTask(
            store.browser.SearchDatastoreSubFolders_Task(f"[{store.name}]", spec), si=si
        )
    )
    content.fileManager.MakeDirectory(f"[{store.name}] a/b", centre, True)
    _whatever(lambda: vm.AnswerVM("1", "0"))
    _whatever(lambda: WaitForTask(vm.PowerOnVM_Task(None), si=si))
    _whatever(lambda: WaitForTask(vm.PowerOffVM_Task(), si=si))
    content.propertyCollector.CreateFilter(_PC.FilterSpec(
        objectSet=[_PC.ObjectSpec(obj=vm)],
        propSet=[_PC.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime"])],
    ), False).DestroyPropertyFilter()  # fmt: skip
    site.vm()
    content.viewManager.CreateListView([vm]).DestroyView()
    content.propertyCollector.CreatePropertyCollector().DestroyPropertyCollector()
    path = vm.config.files.vmPathName
    _whatever(vm.UnregisterVM)
    _whatever(lambda: centre.vmFolder.RegisterVM_Task(path, "x", False, None, None))


def _collect(site: Site) -> None:
    content = site.content
    collector = content.propertyCollector.CreatePropertyCollector()
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.ManagedEntity], True)
    along = _PC.TraversalSpec(name="t", path="view", skip=False, type=vim.view.ContainerView)
    spec = _PC.FilterSpec(
        objectSet=[_PC.ObjectSpec(obj=view, skip=True, selectSet=[along])],
        propSet=[
            _PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "config.hardware"]),
            _PC.PropertySpec(type=vim.Datastore, all=True),
        ],
    )
    page = collector.RetrievePropertiesEx([spec], _PC.RetrieveOptions(maxObjects=1))
    while page is not None and page.token:
        page = collector.ContinueRetrievePropertiesEx(page.token)
    collector.CreateFilter(spec, True)
    version = collector.WaitForUpdatesEx("", _PC.WaitOptions(maxWaitSeconds=1)).version
    collector.WaitForUpdatesEx(version, _PC.WaitOptions(maxWaitSeconds=1, maxObjectUpdates=1))


def _whatever(call: Callable[[], Any]) -> None:
    """Make a call for the sake of its request."""
    with suppress(vmodl.MethodFault):
        call()


# Mutations. ---------------------------------------------------------------------------------


def mutated(rng: random.Random, corpus: list[bytes]) -> bytes:
    """Return a request of the corpus with up to four mutations."""
    body = rng.choice(corpus)
    if rng.random() < CALM:
        return rng.choice((_borrowed, _value, _kept, _element))(rng, body, corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        body = rng.choices(MUTATIONS, WEIGHTS)[0](rng, body, corpus)
    return body


def opening(corpus: list[bytes]) -> list[bytes]:
    """Return the requests before the first task: they make what later ones name."""
    return corpus[: next(n for n, body in enumerate(corpus) if b"_Task " in body)]


def _kept(_rng: random.Random, body: bytes, _corpus: list[bytes]) -> bytes:
    return body


def _bytes(rng: random.Random, body: bytes, _corpus: list[bytes]) -> bytes:
    data = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randrange(6)] = rng.randbytes(rng.randrange(6))
    return bytes(data)


def _cut(rng: random.Random, body: bytes, _corpus: list[bytes]) -> bytes:
    return body[: rng.randrange(len(body) + 1)]


def _value(rng: random.Random, body: bytes, _corpus: list[bytes]) -> bytes:
    found = list(_TEXT.finditer(body))
    if not found:
        return body
    at = rng.choice(found)
    return body[: at.start(1)] + rng.choice(VALUES) + body[at.end(1) :]


def _borrowed(rng: random.Random, body: bytes, corpus: list[bytes]) -> bytes:
    """A value of another request in the place of one of this."""
    found, theirs = list(_TEXT.finditer(body)), _TEXT.findall(rng.choice(corpus))
    if not found or not theirs:
        return body
    at = rng.choice(found)
    return body[: at.start(1)] + rng.choice(theirs) + body[at.end(1) :]


def _typed(rng: random.Random, body: bytes, _corpus: list[bytes]) -> bytes:
    found = list(_TYPE.finditer(body))
    if not found:
        return body
    at = rng.choice(found)
    return body[: at.start(2)] + rng.choice(TYPES) + body[at.end(2) :]


def _tag(rng: random.Random, body: bytes, corpus: list[bytes]) -> bytes:
    """Drop, double, rename or swap tags; what is closed may then be something else."""
    tags = list(_TOKEN.finditer(body))
    if len(tags) < 2:
        return body
    one, other = sorted(rng.sample(tags, 2), key=lambda tag: tag.start())
    a, b = one.span(), other.span()
    kind = rng.randrange(4)
    if kind == 0:
        return body[: a[0]] + body[a[1] :]
    if kind == 1:
        return body[: a[0]] + one[0] + body[a[0] :]
    if kind == 2:
        theirs = _TOKEN.findall(rng.choice(corpus))
        return body[: a[0]] + rng.choice(theirs) + body[a[1] :]
    return body[: a[0]] + other[0] + body[a[1] : b[0]] + one[0] + body[b[1] :]


def _element(rng: random.Random, body: bytes, corpus: list[bytes]) -> bytes:
    """Drop, double or replace a whole element, so that the rest stays well-formed."""
    found = _elements(body)
    if not found:
        return body
    start, stop = rng.choice(found)
    kind = rng.randrange(4)
    if kind == 0:
        return body[:start] + body[stop:]
    if kind == 1:
        return body[:stop] + body[start:stop] * rng.choice((1, 3, 100)) + body[stop:]
    if kind == 2:
        name = rng.choice(_TOKEN.findall(rng.choice(corpus))).strip(b"</>?").split(b" ")[0] or b"x"
        inner = body[start:stop]
        inner = inner[inner.index(b">") + 1 : inner.rindex(b"<")]
        return body[:start] + b"<%s>%s</%s>" % (name, inner, name) + body[stop:]
    other = rng.choice(corpus)
    theirs = _elements(other)
    first, last = rng.choice(theirs) if theirs else (0, 0)
    return body[:start] + other[first:last] + body[stop:]


def _elements(body: bytes) -> list[tuple[int, int]]:
    """Return (start, past the end) of each element that closes."""
    found, opened = [], []
    for tag in _TOKEN.finditer(body):
        if tag[0].startswith((b"<?", b"<!")):
            continue
        if tag[0].startswith(b"</"):
            if opened:
                found.append((opened.pop(), tag.end()))
        elif not tag[0].endswith(b"/>"):
            opened.append(tag.start())
    return found


def _deep(rng: random.Random, body: bytes, _corpus: list[bytes]) -> bytes:
    found = _elements(body)
    start, stop = rng.choice(found) if found else (0, len(body))
    times = rng.choice((5, 130, 3000))
    return body[:start] + b"<a>" * times + body[start:stop] + b"</a>" * times + body[stop:]


def _dressed(rng: random.Random, body: bytes, _corpus: list[bytes]) -> bytes:
    """Other encodings, document types, instructions, declarations and attributes."""
    bare = body[body.index(b"?>") + 2 :] if b"?>" in body[:100] else body
    kind = rng.randrange(8)
    if kind == 0:
        return ENTITIES + _value(rng, bare, []).replace(b">vm", b">&b9;vm")
    if kind == 1:
        return body.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-16-le")))
    if kind == 2:
        name = rng.choice((b"utf-16", b"latin-1", b"utf-7", b"x" * 300, b"UTF-8"))
        return b'<?xml version="1.0" encoding="%s"?>' % name + bare
    if kind == 3:
        return b"<?php x ?>" + bare
    if kind == 4:
        return b'<!DOCTYPE a SYSTEM "file:///etc/passwd">' + bare
    if kind == 5:
        many = b"".join(b' a%d="x"' % n for n in range(rng.choice((3, 40))))
        return bare.replace(b"<_this", b"<_this" + many, 1)
    if kind == 6:
        return bare.replace(b"xmlns", b"xmlnt", rng.randrange(1, 3))
    return b"\xef\xbb\xbf" * rng.randrange(1, 3) + bare


MUTATIONS = [_bytes, _cut, _value, _borrowed, _typed, _tag, _element, _deep, _dressed]
WEIGHTS = [3, 1, 8, 5, 4, 3, 6, 1, 1]


_NOT_SENT = {"DisableMethods", "EnableMethods"}  # operations that pyVmomi's client does not know


def drawn(rng: random.Random, center: VirtualCenter) -> list[bytes]:
    """Return requests for every operation that there is, each with values drawn by their types.

    Where a reference is drawn, it is mostly one of an object that there is.
    """
    there: dict[Any, list[Any]] = {}
    for managed in center.everything():
        there.setdefault(type(managed), []).append(managed.ref)
    stub, found = Stub(), []
    for kind, refs in there.items():
        for name in kind.operations:
            method = lookup_method(VIM25, name)
            if method is None or name in _NOT_SENT:
                continue
            arguments = [_argument(rng, field, there) for field in method.parameters]
            found.append(stub.request(rng.choice(refs), name, *arguments))
    return found + [_with_disks(rng, center, stub) for _ in range(6)]


def _with_disks(rng: random.Random, center: VirtualCenter, stub: Stub) -> bytes:
    """Return a request to make or to change a VM, with disks that make little sense."""
    store = next(iter(center.roots.datastores())).label()
    changes = []
    for _ in range(rng.randrange(1, 3)):
        disk = data(rng, vim.vm.device.VirtualDisk)
        disk.key = rng.choice((disk.key, -1, 2000, 2001))
        flat = vim.vm.device.VirtualDisk.FlatVer2BackingInfo
        disk.backing = rng.choice((disk.backing, None, data(rng, flat), data(rng, flat)))
        if isinstance(disk.backing, flat):
            disk.backing.fileName = rng.choice(("", f"[{store}]", f"[{store}] x/x.vmdk", "x"))
        disk.capacityInKB = rng.choice((disk.capacityInKB, 0, 1, 64 << 10, 1 << 40))
        disk.capacityInBytes = rng.choice((None, None, disk.capacityInBytes, 1, 64 << 20))
        kinds = vim.vm.device.VirtualDeviceSpec
        changes.append(
            kinds(
                operation=rng.choice((None, "add", "edit", "remove")),
                fileOperation=rng.choice((None, "create", "destroy")),
                device=rng.choice((disk, disk, disk, vim.vm.device.VirtualCdrom(key=3000))),
            )
        )
    vms = list(center.roots.vms())
    if vms and rng.random() < 0.5:
        spec = vim.vm.ConfigSpec(
            deviceChange=changes, changeTrackingEnabled=rng.choice((None, True))
        )
        return stub.request(rng.choice(vms).ref, "ReconfigVM_Task", spec)
    files = vim.vm.FileInfo(vmPathName=rng.choice((f"[{store}]", f"[{store}] y/y.vmx", "[", None)))
    name = rng.choice(("y", "", "a/b", "..", "x" * 90))
    spec = vim.vm.ConfigSpec(name=name, files=files, deviceChange=changes)
    folder, pool = center.roots.datacenter.folders["vm"].ref, center.roots.pool.ref
    return stub.request(folder, "CreateVM_Task", spec, pool, None)


def _argument(rng: random.Random, field: Any, there: dict[Any, list[Any]]) -> Any:
    if field.optional and rng.random() < 0.4:
        return None
    if isinstance(field.kind, type) and issubclass(field.kind, ManagedObject):
        fitting = [r for refs in there.values() for r in refs if isinstance(r, field.kind)]
        if fitting and rng.random() < 0.9:
            return rng.choice(fitting)
    return value(rng, field.kind, 3)
