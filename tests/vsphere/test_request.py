from __future__ import annotations

import random
import re
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyVmomi import vim, vmodl

from stuntdouble.vsphere.request import BODY_BYTES_MAX, BadRequest, UnknownMethod, parse_call
from vsphere.drawn import ALL, data, data_types
from vsphere.wire import Stub, envelope, same

VM = vim.VirtualMachine("vm-7")
THIS = '<_this type="VirtualMachine">vm-7</_this>'
CREATE = (
    f"<CreateSnapshot_Task xmlns='urn:vim25'>{THIS}"
    "<name>n</name><memory>false</memory><quiesce>1</quiesce></CreateSnapshot_Task>"
)
Collector = vmodl.query.PropertyCollector


def method(name: str, inner: str, this: str = THIS) -> bytes:
    return envelope(f'<{name} xmlns="urn:vim25">{this}{inner}</{name}>')


def option(value: str) -> bytes:
    """A call with a value of any type."""
    return method("UpdateOptions", f"<changedValue><key>k</key>{value}</changedValue>", this=THIS)


def refused(body: bytes) -> str:
    with pytest.raises(BadRequest) as caught:
        parse_call(body)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def test_a_call_has_its_method_its_object_and_every_argument() -> None:
    call = parse_call(Stub().request(VM, "CreateSnapshot_Task", "a&b", None, False, True))
    assert call.method == call.info.name == "CreateSnapshot_Task"
    assert call.namespace == "urn:vim25"
    assert call.this == VM
    assert call.info.privilege == "VirtualMachine.State.CreateSnapshot"
    assert call.info.owner is vim.VirtualMachine
    assert "vim.fault.TaskInProgress" in call.info.faults
    assert call.arguments == {"name": "a&b", "description": None, "memory": False, "quiesce": True}


def test_one_property_is_read_by_a_method_that_no_wsdl_has() -> None:
    call = parse_call(Stub().fetch(VM, "runtime.powerState"))
    assert (call.method, call.this, call.arguments) == ("Fetch", VM, {"prop": "runtime.powerState"})
    assert call.info.result is object


def test_a_list_is_its_repeated_elements_one_by_one() -> None:
    call = parse_call(Stub().request(vim.view.ViewManager("v"), "CreateListView", [VM, VM]))
    assert list(call.arguments["obj"]) == [VM, VM]
    empty = parse_call(Stub().request(vim.view.ViewManager("v"), "CreateListView", []))
    assert empty.arguments["obj"] == []


def test_a_deep_filter_is_read_as_it_was_meant() -> None:
    walk = Collector.TraversalSpec(
        name="walk",
        path="view",
        skip=False,
        type=vim.view.ContainerView,
        selectSet=[Collector.SelectionSpec(name="walk")],
    )
    spec = Collector.FilterSpec(
        objectSet=[Collector.ObjectSpec(obj=VM, skip=True, selectSet=[walk])],
        propSet=[Collector.PropertySpec(type=vim.VirtualMachine, all=False, pathSet=["name"])],
    )
    body = Stub().request(Collector("c"), "CreateFilter", spec, False)
    assert same(parse_call(body).arguments["spec"], spec)


def test_any_type_may_be_called_on() -> None:
    body = method("CreateSnapshot_Task", CREATE.split(THIS)[1].rpartition("</C")[0], "")
    with_folder = body.replace(b"<name>", b'<_this type="Folder">g-1</_this><name>')
    assert parse_call(with_folder).this == vim.Folder("g-1")


@given(st.integers(0, 1 << 32), st.sampled_from(data_types()))
@settings(max_examples=300)
def test_whatever_pyvmomi_sends_is_read_back(seed: int, kind: Any) -> None:
    drawn = data(random.Random(seed), kind)
    changed = [vim.option.OptionValue(key="k", value=drawn)]
    body = Stub(ALL).request(vim.option.OptionManager("o"), "UpdateOptions", changed)
    found = parse_call(body.replace(b"\r", b"&#13;")).arguments["changedValue"][0].value
    assert same(found, drawn)


def test_prefixes_order_and_chunks_of_text_do_not_matter() -> None:
    body = (
        '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Header>'
        "<operationID>x</operationID></S:Header><S:Body><v:CreateSnapshot_Task "
        'xmlns:v="urn:vim25"><v:quiesce> true\n</v:quiesce><v:memory>0</v:memory>'
        '<v:name>a<!-- b -->c<![CDATA[<d>]]>&#x65;</v:name><v:_this type="v:VirtualMachine">'
        "vm-7</v:_this></v:CreateSnapshot_Task></S:Body></S:Envelope>"
    ).encode("utf-8-sig")
    call = parse_call(body)
    assert call.this == VM
    assert call.arguments["name"] == "ac<d>e"
    assert call.arguments["quiesce"] is True


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        ("<value xsi:type='xsd:int'> 17 </value>", int, 17),
        ("<value xsi:type='xsd:long'>-9223372036854775808</value>", int, -(1 << 63)),
        ("<value xsi:type='xsd:double'>1.5E3</value>", float, 1500.0),
        ("<value xsi:type='xsd:double'>-INF</value>", float, float("-inf")),
        ("<value xsi:type='xsd:base64Binary'>AA ==</value>", bytes, b"\0"),
        (
            "<value xsi:type='xsd:dateTime'>2026-01-02T03:04:05.6789012Z</value>",
            datetime,
            datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
        ),
        (
            "<value xsi:type='xsd:dateTime'>2026-01-02T03:04:05</value>",
            datetime,
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
        ("<value xsi:type='ArrayOfString'><string>a</string><string/></value>", list, ["a", ""]),
        ("<value xsi:type='VirtualMachinePowerState'>poweredOn</value>", str, "poweredOn"),
        ("<value xsi:type='ManagedObjectReference' type='VirtualMachine'>vm-7</value>", object, VM),
        ("<value xsi:type='ManagedObject' type='VirtualMachine'>vm-7</value>", object, VM),
    ],
)
def test_a_value_of_any_type_says_which(value: str, kind: Any, found: Any) -> None:
    got = parse_call(option(value)).arguments["changedValue"][0].value
    assert isinstance(got, kind)
    assert got == found


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("<value>1</value>", "no xsi:type"),
        ("<value xsi:type='xsd:int'>1_000</value>", "not of type int"),
        ("<value xsi:type='xsd:int'>\u0661</value>", "not of type int"),
        ("<value xsi:type='xsd:int'></value>", "not of type int"),
        ("<value xsi:type='xsd:int'>2147483648</value>", "does not fit type int"),
        ("<value xsi:type='xsd:long'>9223372036854775808</value>", "does not fit type long"),
        (f"<value xsi:type='xsd:long'>{'9' * 5000}</value>", "not of type long"),
        ("<value xsi:type='xsd:short'>-32769</value>", "does not fit type short"),
        ("<value xsi:type='xsd:boolean'>True</value>", "not a boolean"),
        ("<value xsi:type='xsd:double'>1,5</value>", "not a number"),
        ("<value xsi:type='xsd:double'>infinity</value>", "not a number"),
        ("<value xsi:type='xsd:base64Binary'>A</value>", "not base64"),
        ("<value xsi:type='xsd:base64Binary'>ä</value>", "not base64"),
        ("<value xsi:type='xsd:dateTime'>2026-02-30T00:00:00Z</value>", "not a dateTime"),
        ("<value xsi:type='xsd:dateTime'>0001-01-01T00:00:00+01:00</value>", "not a dateTime"),
        ("<value xsi:type='xsd:dateTime'>yesterday</value>", "not a dateTime"),
        ("<value xsi:type='VirtualMachinePowerState'>upper</value>", "is not one of"),
        ("<value xsi:type='NoSuchType'/>", "no type 'NoSuchType'"),
        ("<value xsi:type='ArrayOfNoSuchType'/>", "no type"),
        ("<value xsi:type='ArrayOfArrayOfString'/>", "no type"),
        (f"<value xsi:type='{'ArrayOf' * 10_000}String'/>", "no type"),
        ("<value xsi:type='ArrayOfManagedObjectReferenceReference'/>", "no type"),
        ("<value xsi:type='none:int'>1</value>", "bound to no namespace"),
        ("<value xsi:type='xsd:int'><a/></value>", "elements in place of a value"),
        ("<value xsi:type='xsd:anyType'>1</value>", "no xsi:type says which"),
        ("<value xsi:type='xsd:void'>1</value>", "cannot be sent"),
        ("<value xsi:type='ManagedObjectReference'>vm-7</value>", "takes type="),
        ("<value xsi:type='ManagedObjectReference' type='Nil'>vm-7</value>", "no managed type"),
        ("<value xsi:type='ManagedObjectReference' type='OptionValue'>v</value>", "no managed"),
        ("<value xsi:type='Description'><label>a</label></value>", "summary is required"),
        ("<value xsi:type='Description'>text</value>", "text between its elements"),
        ("<value xsi:type='Description'><odd/></value>", "has no 'odd'"),
        (
            "<value xsi:type='Description'><label>a</label><label>b</label></value>",
            "label stands more than once",
        ),
        ("<value xsi:type='ArrayOfInt'><int>x</int></value>", "not of type int"),
        ("<value xsi:type='TypeName'>NoSuchType</value>", "not the name of a type"),
        ("<value xsi:type='MethodName'>NoSuchMethod</value>", "not the name of a method"),
        ("<value xsi:type='LocalizedMethodFault'/>", "fault is required"),
    ],
)
def test_a_wrong_value_is_refused(value: str, why: str) -> None:
    assert why in refused(option(value))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no element"),
        (b"text", "syntax error"),
        (b"<a/>", "no SOAP 1.1 envelope"),
        (envelope(CREATE)[:-9], "not well-formed"),
        (envelope(CREATE) + b"<a/>", "junk"),
        (envelope(""), "one method, not 0"),
        (envelope(CREATE * 2), "one method, not 2"),
        (envelope("</e:Body><e:Body>"), "one Body"),
        (envelope("</e:Body><e:Other/><e:Body>"), "one Body"),
        (envelope(CREATE.replace(THIS, "")), "_this is missing"),
        (envelope(CREATE.replace(THIS, THIS * 2)), "_this stands 2 times"),
        (envelope(CREATE.replace("<name>n</name>", "")), "name is required"),
        (envelope(CREATE.replace("<name>n</name>", "<name>n</name>" * 2)), "more than once"),
        (envelope(CREATE.replace("name>", "nome>")), "has no 'nome'"),
        (envelope(CREATE.replace("false", "no")), "not a boolean"),
        (envelope(CREATE.replace("VirtualMachine", "Machine")), "no managed type"),
        (envelope(CREATE.replace("<name>", "<name xsi:type='xsd:int'>")), "int is no str"),
        (
            envelope(CREATE.replace("<name>", "<name xsi:type='ArrayOfString'>")),
            "is no str",
        ),
        (envelope(CREATE).replace(b"UTF-8", b"ISO-8859-1"), "UTF-8 is understood"),
        *(
            (envelope(CREATE).decode().encode(encoding), "UTF-8 is understood")
            for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be")
        ),
        (envelope(CREATE).replace(b">n<", b">\xff<"), "not well-formed"),
        (envelope(CREATE).replace(b">n<", b">&#0;<"), "not well-formed"),
        (envelope(CREATE).replace(b">n<", b">&lol;<"), "not well-formed"),
        (b"<?php echo?>" + envelope(CREATE).partition(b"?>")[2], "processing instruction"),
        (envelope(CREATE, ' a="1" a="1"'), "duplicate attribute"),
        (envelope(CREATE + "text"), "text between its elements: 'text'"),
        (envelope("text" + CREATE), "text between its elements: 'text'"),
    ],
)
def test_what_is_no_message_is_refused(body: bytes, why: str) -> None:
    assert why in refused(body)


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE a [<!ENTITY lol "lol">]>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1/">%p;]>',
        '<!DOCTYPE a [<!ATTLIST a b CDATA "c">]>',
        "<!DOCTYPE a>",
    ],
)
def test_there_is_no_document_type_and_so_no_entity(declared: str) -> None:
    start, end, rest = envelope(CREATE).partition(b"?>")
    assert "no document type" in refused(start + end + declared.encode() + rest)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inner", "why"),
    [
        ("<a>" * 130 + "</a>" * 130, "128 deep"),
        ("<a/>" * 100_001, "100000 elements"),
        ("<a " + " ".join(f'b{i}="1"' for i in range(17)) + "/>", "16 attributes"),
        ("<a " + " ".join(f'xmlns:b{i}="u"' for i in range(17)) + "/>", "16 namespaces"),
        ("<" + "a" * 300 + "/>", "256 characters"),
        ("<name>" + "a" * ((1 << 20) + 1) + "</name>", "1048576 characters"),
        ("<name>" + "a" * BODY_BYTES_MAX + "</name>", "8388608 bytes"),
    ],
    ids=["deep", "many", "attributes", "namespaces", "name", "value", "body"],
)
def test_everything_has_a_limit(inner: str, why: str) -> None:
    assert why in refused(method("CreateSnapshot_Task", inner))


def test_the_limits_leave_room_for_a_chain_of_32_levels_and_a_large_variable() -> None:
    def backing(depth: int) -> Any:
        return vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=f"[ds] {depth}",
            diskMode="persistent",
            parent=backing(depth - 1) if depth else None,
        )

    disk = vim.vm.device.VirtualDisk(key=2000, capacityInKB=1, backing=backing(32))
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
    variable = vim.option.OptionValue(key="guestinfo.x", value="x" * (1 << 20))
    spec = vim.vm.ConfigSpec(deviceChange=[change], extraConfig=[variable])
    body = Stub().request(VM, "ReconfigVM_Task", spec)
    assert same(parse_call(body).arguments["spec"], spec)


@pytest.mark.parametrize("name", ["NoSuch_Task", "fetch", "__class__", "CreateSnapshot"])
def test_an_unknown_method_says_its_name_and_what_it_was_called_on(name: str) -> None:
    with pytest.raises(UnknownMethod) as caught:
        parse_call(method(name, "<odd/>"))
    assert caught.value.args == (name, VM)
    assert name in str(caught.value)


def test_a_method_of_another_namespace_is_unknown() -> None:
    with pytest.raises(UnknownMethod):
        parse_call(envelope(CREATE.replace("urn:vim25", "urn:other")))


@pytest.mark.parametrize(
    ("declared", "xsi", "right"),
    [
        ("deviceKey", "xsd:long", True),
        ("startOffset", "xsd:int", True),
        ("changeId", "xsd:string", True),
        ("deviceKey", "xsd:string", False),
        ("changeId", "xsd:int", False),
        ("snapshot", "ManagedObjectReference", True),
        ("snapshot", "xsd:string", False),
        ("snapshot", "Description", False),
    ],
)
def test_a_type_that_is_said_fits_the_declared_one(declared: str, xsi: str, right: bool) -> None:
    inner = (
        '<snapshot type="VirtualMachineSnapshot">s-1</snapshot><deviceKey>2000</deviceKey>'
        "<startOffset>0</startOffset><changeId>7</changeId>"
    ).replace(f"<{declared}", f'<{declared} xsi:type="{xsi}"')
    body = method("QueryChangedDiskAreas", inner)
    if right:
        assert parse_call(body).arguments == {
            "snapshot": vim.vm.Snapshot("s-1"),
            "deviceKey": 2000,
            "startOffset": 0,
            "changeId": "7",
        }
    else:
        assert " is no " in refused(body)


def test_a_reference_to_another_kind_of_object_is_refused() -> None:
    inner = '<snapshot type="Folder">s-1</snapshot><deviceKey>1</deviceKey>'
    assert "Folder is no vim.vm.Snapshot" in refused(method("QueryChangedDiskAreas", inner))
    part = "<snapshot><a/></snapshot>"
    assert "is a reference" in refused(method("QueryChangedDiskAreas", part))


def test_a_fault_of_another_kind_than_declared_is_refused() -> None:
    wrapped = "<fault xsi:type='Description'><label/><summary/></fault>"
    value = f"<value xsi:type='LocalizedMethodFault'>{wrapped}</value>"
    assert "is no vmodl.MethodFault" in refused(option(value))


def test_a_fault_in_a_request_keeps_its_text() -> None:
    event = vim.event.EventEx(
        eventTypeId="x",
        createdTime=datetime(2026, 1, 1, tzinfo=UTC),
        fault=vim.fault.FileFault(file="f", msg="said"),
        userName="",
    )
    body = Stub().request(vim.event.EventManager("e"), "PostEvent", event, None)
    fault = parse_call(body).arguments["eventToPost"].fault
    assert (type(fault), fault.file, fault.msg) == (vim.fault.FileFault, "f", "said")


@given(st.data())
@settings(max_examples=1_000)
def test_a_mutated_message_is_read_or_refused(draw: st.DataObject) -> None:
    body = bytearray(envelope(CREATE))
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(body)))
        cut = draw.draw(st.integers(0, 8))
        body[at : at + cut] = draw.draw(st.binary(max_size=4))
    try:
        call = parse_call(bytes(body))
    except (BadRequest, UnknownMethod) as refusal:
        said = str(refusal)
    else:
        said = "read"
        assert call.method == "CreateSnapshot_Task"
        assert call.arguments.keys() == {"name", "description", "memory", "quiesce"}
    assert re.fullmatch(r"[^\n]{1,500}", said)


@pytest.mark.slow
@pytest.mark.parametrize(
    "inner",
    [
        "<name>" + "a<!-- -->" * 900_000 + "</name>",
        "<name>" + "<![CDATA[a]]>" * 600_000 + "</name>",
        "<name>" + "&#97;" * 1_000_000 + "</name>",
        "<a>" * 100 + ("<b c='d' e='f'> </b>" * 99_000) + "</a>" * 100,
        "".join(f"<a xmlns:p{i}='u{i}'/>" for i in range(90_000)),
    ],
    ids=["comments", "sections", "references", "siblings", "prefixes"],
)
def test_no_message_costs_more_than_its_length(inner: str) -> None:
    body = method("CreateSnapshot_Task", inner)
    tracemalloc.start()
    with suppress(BadRequest):
        parse_call(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80 << 20
