from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyVmomi import VmomiSupport as V
from pyVmomi import vim, vmodl
from pyVmomi.SoapAdapter import SOAP_NSMAP, SerializeToStr

from stuntdouble.errors import Bug
from stuntdouble.vsphere import reply, vmomi
from stuntdouble.vsphere.versions import find_version
from vsphere.drawn import ALL, data, data_types
from vsphere.wire import NEWEST, Stub, same

FETCH = vmomi.lookup_method("urn:vim25", "Fetch")
assert FETCH is not None
seeds = st.integers(0, 1 << 32)


def fetched(value: Any, kind: Any, version: str = ALL) -> bytes:
    return reply.write_reply(FETCH, version, value, kind)


def returned(message: bytes) -> str:
    """Return what is within the answer's element."""
    found = re.search(rb"Response xmlns=\"urn:vim25\">(.*)</\w+Response>", message, re.DOTALL)
    assert found, message
    return found[1].decode()


def plain(element: ET.Element) -> Any:
    """Return an element as what it means: its name, attributes, text and parts."""
    attributes = {name: word for name, word in element.attrib.items() if name != "versionId"}
    local = element.tag.rpartition("}")[2]
    return local, attributes, element.text or "", [plain(child) for child in element]


def test_pyvmomi_reads_back_every_type() -> None:
    stub, odd = Stub(ALL), []
    for kind in data_types():
        drawn = data(random.Random(kind.__name__), kind)
        if not same(stub.read(fetched(drawn, kind), kind), drawn):
            odd.append(kind)
    assert len(data_types()) > 2_000
    assert not odd


@given(seeds, st.sampled_from(data_types()), st.sampled_from(["6.5", "7.0", "8.0.3.0", ""]))
@settings(max_examples=400)
def test_what_is_written_is_what_pyvmomi_writes(seed: int, kind: Any, number: str) -> None:
    version = find_version(number) if number else ALL
    drawn = data(random.Random(seed), kind)
    spaces = dict(SOAP_NSMAP, **{"urn:vim25": ""})
    row = V.Object(name="val", type=object, version=V.BASE_VERSION, flags=V.F_OPTIONAL)
    theirs = SerializeToStr(drawn, row, version, spaces)
    ours = returned(fetched(drawn, kind, version)).replace("returnval", "val")
    heads = " ".join(f'xmlns:{prefix}="{uri}"' for uri, prefix in SOAP_NSMAP.items())
    trees = [
        plain(ET.fromstring(f'<r xmlns="urn:vim25" {heads}>{text}</r>'.replace("\r", "&#13;")))
        for text in (theirs, ours)
    ]
    theirs, ours = map(str, trees)
    theirs = theirs.replace(
        "instance}type': 'ManagedObject'", "instance}type': 'ManagedObjectReference'"
    )
    assert ours == theirs


def test_a_long_list_of_changed_areas_is_written_from_arrays() -> None:
    starts, lengths = np.array([0, 1 << 40], np.int64), np.array([65536, 1 << 33], np.int64)
    kind = vim.VirtualMachine.DiskChangeInfo
    info = kind(startOffset=0, length=1 << 44, changedArea=reply.ChangedAreas(starts, lengths))
    method = vmomi.lookup_method("urn:vim25", "QueryChangedDiskAreas")
    assert method is not None
    found = Stub().read(reply.write_reply(method, NEWEST, info), kind)
    assert [(area.start, area.length) for area in found.changedArea] == [
        (0, 65536),
        (1 << 40, 1 << 33),
    ]
    assert same(found, info)


def test_changed_areas_are_a_list_to_their_reader() -> None:
    areas = reply.ChangedAreas(np.arange(5, dtype=np.int64), np.full(5, 9, np.int64))
    assert len(areas) == 5
    assert (areas[-1].start, areas[-1].length) == (4, 9)
    assert [area.start for area in areas] == [0, 1, 2, 3, 4]
    assert areas[1:3] == reply.ChangedAreas(np.array([1, 2]), np.array([9, 9]))
    assert areas != areas[1:]
    assert "start = 3" in str(areas)
    empty = areas[:0]
    assert not empty
    assert empty.elements("changedArea") == ""


def reply_of(method: str, value: Any, version: str = NEWEST) -> bytes:
    info = vmomi.lookup_method("urn:vim25", method)
    assert info is not None
    return reply.write_reply(info, version, value)


def test_a_text_arrives_as_it_was_or_says_what_it_could_not() -> None:
    for text in ("a<b>&c]]>", "\r\n\t x ", "ü\u2028\U0001f600\ue000", "", "&amp;"):
        assert Stub().read(fetched(text, str, NEWEST), str) == text
    for code in [*range(9), 11, 12, *range(14, 32), 0xD800, 0xFFFE, 0xFFFF]:
        assert Stub().read(fetched(f"a{chr(code)}b", str, NEWEST), str) == "a\ufffdb"


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    found = Stub().read(fetched(text, str, NEWEST), str)
    legal = [c for c in text if c in "\t\n\r" or (ord(c) >= 32 and ord(c) not in {0xFFFE, 0xFFFF})]
    assert [c for c in found if c != "\ufffd"] == [c for c in legal if c != "\ufffd"]
    assert len(found) == len(text)


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        (5, int, ' xsi:type="xsd:int">5<'),
        (5, V.long, ' xsi:type="xsd:long">5<'),
        (5, V.short, ' xsi:type="xsd:short">5<'),
        (1 << 40, object, ' xsi:type="xsd:long">1099511627776<'),
        (True, bool, ' xsi:type="xsd:boolean">true<'),
        (5, float, ' xsi:type="xsd:float">5.0<'),
        (float("nan"), V.double, ' xsi:type="xsd:double">NaN<'),
        ("a", str, ' xsi:type="xsd:string">a<'),
        ("a.b", V.PropertyPath, ' xsi:type="xsd:string">a.b<'),
        (vim.VirtualMachine, type, ' xsi:type="xsd:string">VirtualMachine<'),
        (V.ManagedObject, type, ' xsi:type="xsd:string">ManagedObject<'),
        (
            vim.fault.OvfInvalidValueReference,
            type,
            ' xsi:type="xsd:string">OvfInvalidValueReference<',
        ),
        (
            "poweredOn",
            vim.VirtualMachine.PowerState,
            ' xsi:type="VirtualMachinePowerState">powered',
        ),
        (b"\0", V.binary, ' xsi:type="xsd:base64Binary">AA==<'),
        (
            datetime(2026, 1, 2, 3, 4, 5, 60, V.Iso8601.TZManager.GetTZInfo()),
            datetime,
            ' xsi:type="xsd:dateTime">2026-01-02T03:04:05.00006Z<',
        ),
        (
            vim.VirtualMachine("vm-1"),
            vim.VirtualMachine,
            ' xsi:type="ManagedObjectReference" type="VirtualMachine">vm-1<',
        ),
        (["a"], V.GetVmodlType("string[]"), ' xsi:type="ArrayOfString"><string>a</string><'),
        ([3], V.GetVmodlType("long[]"), ' xsi:type="ArrayOfLong"><long>3</long><'),
        ([], V.GetVmodlType("int[]"), ' xsi:type="ArrayOfInt"><'),
        (
            [vim.Folder("a&b", None, "guid")],
            V.GetVmodlType("vim.ManagedEntity[]"),
            (
                ' xsi:type="ArrayOfManagedObjectReference">'
                '<ManagedObjectReference serverGuid="guid" type="Folder">a&amp;b</Man'
            ),
        ),
    ],
)
def test_a_value_of_any_type_says_its_declared_type(value: Any, kind: Any, written: str) -> None:
    assert returned(fetched(value, kind)).startswith("<returnval" + written)


def test_there_is_no_version_attribute_and_every_type_has_its_name_on_the_wire() -> None:
    text = fetched(data(random.Random(1), vim.vm.ConfigInfo), vim.vm.ConfigInfo).decode()
    assert "versionId" not in text
    assert 'xsi:type="ManagedObject"' not in text


def test_an_older_client_sees_no_newer_field_and_no_newer_type() -> None:
    old, new = find_version("6.0"), find_version("8.0.3.0")
    nvme = vim.vm.device.VirtualNVMEController(key=5, busNumber=0)  # since 6.5
    for version, name in ((new, "VirtualNVMEController"), (old, "VirtualController")):
        text = returned(fetched([nvme], V.GetVmodlType("vim.vm.device.VirtualDevice[]"), version))
        assert f'<VirtualDevice xsi:type="{name}"><key>5</key>' in text
        found = Stub(version).read(
            fetched([nvme], V.GetVmodlType("vim.vm.device.VirtualDevice[]"), version),
            V.GetVmodlType("vim.vm.device.VirtualDevice[]"),
        )
        assert found[0].key == 5
    runtime = vmomi.fill(vim.vm.RuntimeInfo(cryptoState="safe"))  # since 6.7
    assert "cryptoState" in returned(fetched(runtime, vim.vm.RuntimeInfo, new))
    assert "cryptoState" not in returned(fetched(runtime, vim.vm.RuntimeInfo, old))


def test_no_client_of_any_version_is_told_what_it_does_not_know() -> None:
    for number in ("2.5", "5.0", "6.7", "7.0", "8.0.3.0"):
        version = find_version(number)
        for kind in data_types()[::7]:
            drawn = data(random.Random(kind.__name__), kind)
            known = vmomi.compatible(kind, version)
            found = Stub(version).read(fetched(drawn, kind, version), known)
            assert type(found) is known
            for row in kind._GetPropertyList():
                if not V.IsChildVersion(version, row.version):
                    assert not getattr(found, row.name, None)


def test_a_fault_has_its_own_element_and_its_text_in_one_place() -> None:
    cause = vim.fault.NoDiskSpace(file="f", datastore="d", msg="inner")
    keyed = vmodl.LocalizableMessage(key="vim.hostd.vmsvc.cbt.noTrack")
    fault = vim.fault.FileFault(file="x", msg="not this", faultCause=cause, faultMessage=[keyed])
    message = reply.write_fault(NEWEST, fault, "what a <person> reads")
    assert b'<FileFaultFault xmlns="urn:vim25" xsi:type="FileFault">' in message
    assert b"not this" not in message
    found = Stub().read(message, None)
    assert type(found) is vim.fault.FileFault
    assert found.msg == "what a <person> reads"
    assert (found.faultCause.datastore, found.faultCause.msg) == ("d", "inner")
    assert found.faultMessage[0].key == "vim.hostd.vmsvc.cbt.noTrack"


def test_a_fault_that_an_older_client_does_not_know_is_the_nearest_that_it_does() -> None:
    newer = vmomi.fill(vim.fault.TooManyGuestLogons())  # since 5.0
    message = reply.write_fault(find_version("4.1"), newer, "said")
    assert b"<GuestOperationsFaultFault" not in message
    assert type(Stub(find_version("4.1")).read(message, None)).__name__ in {
        "vim.fault.VimFault",
        "vmodl.MethodFault",
    }


def test_what_is_required_and_unset_never_gets_out() -> None:
    with pytest.raises(
        Bug, match=r"vim\.Task\.Info|TaskInfo.*\.key|is required and unset"
    ) as caught:
        reply_of("Fetch", vim.TaskInfo(key="k"))
    assert "vim.TaskInfo.name" not in str(caught.value)
    filled = vmomi.fill(vim.TaskInfo(key="k"))
    found = Stub().read(fetched(filled, vim.TaskInfo, NEWEST), vim.TaskInfo)
    assert found.key == "k"
    assert same(found, filled)


def test_any_type_can_be_filled_and_then_written() -> None:
    for kind in data_types():
        assert fetched(vmomi.fill(vmomi.make(kind)), kind)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (vim.Description, "label", 5),
        (vim.Description, "label", b"x"),
        (vim.vm.device.VirtualDevice, "key", "5"),
        (vim.vm.device.VirtualDevice, "key", 1 << 31),
        (vim.vm.device.VirtualDevice, "key", 1.5),
        (vim.vm.device.VirtualDevice, "deviceInfo", vim.vm.ConfigSpec()),
        (vim.vm.device.VirtualDevice, "backing", "text"),
        (vim.vm.RuntimeInfo, "powerState", "poweredUp"),
        (vim.vm.RuntimeInfo, "bootTime", datetime(2026, 1, 1)),  # noqa: DTZ001 -- the point
        (vim.vm.RuntimeInfo, "host", vim.Datastore("d")),
        (vim.option.OptionValue, "value", ["of", "what"]),
        (vim.option.OptionValue, "value", {1: 2}),
    ],
)
def test_a_value_that_is_not_of_its_type_is_a_bug_of_ours(
    kind: Any, field: str, value: Any
) -> None:
    drawn = vmomi.fill(vmomi.make(kind))
    drawn.__dict__[field] = value
    with pytest.raises(Bug, match=field if field != "bootTime" else "time zone"):
        fetched(drawn, kind)


def test_a_method_returns_what_it_says_or_it_is_a_bug() -> None:
    assert returned(reply_of("DestroyView", None)) == ""
    assert Stub().read(reply_of("FindByUuid", None), vim.ManagedEntity) is None
    views = [vim.VirtualMachine("a"), vim.VirtualMachine("b")]
    found = Stub().read(reply_of("FindAllByUuid", views), V.GetVmodlType("vim.ManagedEntity[]"))
    assert list(found) == views
    for method, value in (
        ("CreateSnapshot_Task", None),
        ("CreateSnapshot_Task", vim.Folder("f")),
        ("DestroyView", 5),
        ("FindAllByUuid", 5),
    ):
        with pytest.raises(Bug, match=method):
            reply_of(method, value)


def test_an_answer_of_fragments_is_the_answer() -> None:
    kind = V.GetVmodlType("vim.vm.device.VirtualDevice[]")
    Collector = vmodl.query.PropertyCollector
    contents, texts = [], []
    for number in range(3):
        vm = vim.VirtualMachine(f"vm-{number}")
        devices = kind(data(random.Random(number), vim.vm.device.VirtualDisk) for _ in range(2))
        values = [("name", "a&b", str), ("config.hardware.device", devices, kind)]
        missing = [vmomi.fill(Collector.MissingProperty(path="x", fault=vim.fault.NoPermission()))]
        contents.append(
            Collector.ObjectContent(
                obj=vm,
                propSet=[vmodl.DynamicProperty(name=name, val=value) for name, value, _ in values],
                missingSet=missing,
            )
        )
        pieces = [
            reply.property_xml(name, reply.value_xml(value, of, ALL)) for name, value, of in values
        ]
        texts.append(reply.object_content(vm, pieces, ALL, missing))
    whole = reply_of(
        "RetrievePropertiesEx", Collector.RetrieveResult(objects=contents, token="1"), ALL
    )
    assert reply_of("RetrievePropertiesEx", reply.retrieve_result(texts, ALL, "1"), ALL) == whole
    assert reply_of("RetrieveProperties", texts, ALL) == reply_of(
        "RetrieveProperties", contents, ALL
    )
    none = Stub(ALL).read(
        reply_of("RetrievePropertiesEx", reply.retrieve_result([], ALL), ALL),
        Collector.RetrieveResult,
    )
    assert (none.objects, none.token) == ([], None)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (vim.Description(label="a", summary="b"), vim.Description),
        ([vim.Description(label="a", summary="b")], vim.Description.Array),
        (7, V.long),
        ("a&b", str),
    ],
)
def test_a_value_written_ahead_stands_for_the_value(value: Any, kind: Any) -> None:
    ahead = reply.rendered(value, kind, NEWEST)
    change = vmodl.query.PropertyCollector.Change
    plain, cached = (
        reply_of("Fetch", change(name="n", op="assign", val=vmomi.coerced(val, of)))
        for val, of in ((value, kind), (ahead, object))
    )
    assert cached == plain
    with pytest.raises(Bug, match="was written for"):
        reply_of("Fetch", ahead, find_version("6.7"))


def test_a_million_areas_take_no_million_objects() -> None:
    areas = reply.ChangedAreas(np.arange(100_000, dtype=np.int64), np.ones(100_000, np.int64))
    text = areas.elements("changedArea")
    assert text.count("<changedArea>") == 100_000
    assert text.endswith("<changedArea><start>99999</start><length>1</length></changedArea>")


def test_what_cannot_be_written_ahead_or_is_no_fault_is_a_bug() -> None:
    for value in (vim.Folder("f"), vim.fault.NoPermission(), None):
        with pytest.raises(Bug, match="nothing that can be written ahead"):
            reply.rendered(value, object, NEWEST)
    with pytest.raises(Bug, match="is no fault"):
        reply.write_fault(NEWEST, vim.Description(label="", summary=""), "text")
    ahead = reply.rendered([], V.GetVmodlType("vim.vm.device.VirtualDevice[]"), NEWEST)
    hardware = vmomi.make(vim.vm.VirtualHardware, {"device": ahead})
    with pytest.raises(Bug, match="its items may have been written"):
        fetched(hardware, vim.vm.VirtualHardware, NEWEST)


def test_a_fault_in_a_value_is_read_with_its_text() -> None:
    inner = vim.fault.FileFault(file="f", msg="said")
    wrapped = vmodl.LocalizedMethodFault(fault=inner, localizedMessage="said")
    for error in (inner, wrapped):
        info = vmomi.fill(vim.TaskInfo(key="k", error=error, result=error))
        found = Stub().read(fetched(info, vim.TaskInfo, NEWEST), vim.TaskInfo)
        for fault in (found.error, found.result):
            assert (type(fault), fault.file, fault.msg) == (vim.fault.FileFault, "f", "said")
