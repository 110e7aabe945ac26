"""What a SOAP server made of pyVmomi's own types gets wrong, each tried from outside.

What shows in a client library is tried with both major versions of pyVmomi, the rest on the wire.
"""

from __future__ import annotations

import http.client
import os
import re
import statistics
import subprocess
import sys
import time

import pytest

from interop import served
from interop.wire import ENVELOPE, Wire

VM = "server-3"


@pytest.fixture
def wire(site):
    with Wire(site) as wire:
        yield wire


@pytest.fixture(scope="module")
def vm(site, go):
    """A VM as the wire names it."""
    return next(f"VirtualMachine:{v['vm']}" for v in go.call(site, "list") if v["name"] == VM)


def retrieved(wire, vm: str, *paths: str) -> str:
    """Return the answer to a retrieval of some properties, as text."""
    status, content = wire.call("RetrieveServiceContent", "ServiceInstance:ServiceInstance")
    assert status == 200
    collector = re.search(r"<propertyCollector[^>]*>([^<]+)<", content)[1]
    kind, moid = vm.split(":")
    wanted = "".join(f"<pathSet>{path}</pathSet>" for path in paths)
    status, text = wire.call(
        "RetrievePropertiesEx",
        f"PropertyCollector:{collector}",
        f"<specSet><propSet><type>{kind}</type>{wanted}</propSet>"
        f'<objectSet><obj type="{kind}">{moid}</obj></objectSet></specSet><options/>',
    )
    assert status == 200, text
    return text


@pytest.mark.parametrize(
    "pitfall",
    [
        "lists_of_more_than_one",  # a deserializer of lists never hands the parser back
        "faults_where_they_belong",  # NotAuthenticated is vim's, MethodNotFound vmodl's
        "required_fields_are_there",  # an unset required field raises TypeError in the server
        "values_of_the_declared_type",  # lists and ints in Any need the declared type
        "tasks_that_can_be_read",  # the name of a real method, reason, cancelable, eventChainId
        "updates_by_version",  # nothing resets, old versions, sessions' own filters, unset values
        "references_lead_on",  # client references cannot hold a server's properties
    ],
)
def test_a_client_library_does_not_stumble(site, python_client, pitfall) -> None:
    script = served.HERE / "pitfalls.py"
    done = subprocess.run(
        [sys.executable, str(script), site.vsphere, site.user, site.password, pitfall],
        check=False,
        capture_output=True,
        text=True,
        timeout=served.SECONDS_MAX,
        env=os.environ | ({"PYTHONPATH": python_client.path} if python_client.path else {}),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_major_versions_are_tried(versions, python_client) -> None:
    assert versions.split(".")[0] == python_client.name.rpartition("-")[2]


def test_references_in_anything_have_the_type_of_the_wire(wire, vm) -> None:
    text = retrieved(wire, vm, "runtime.host", "datastore", "config.hardware.device")
    assert 'xsi:type="ManagedObjectReference"' in text
    assert 'xsi:type="ArrayOfManagedObjectReference"' in text
    assert 'xsi:type="ArrayOfVirtualDevice"' in text
    assert 'xsi:type="ManagedObject"' not in text
    assert 'xsi:type="HostSystem"' not in text


def test_numbers_in_anything_have_the_declared_type(wire, vm) -> None:
    text = retrieved(wire, vm, "config.hardware.numCPU", "summary.storage.committed")
    assert re.search(r'<val xsi:type="xsd:int">\d+</val>', text)
    assert re.search(r'<val xsi:type="xsd:long">\d+</val>', text)


def test_no_version_stands_in_an_element(wire, vm) -> None:
    for path in ("config", "runtime", "summary", "layoutEx"):
        assert "versionId" not in retrieved(wire, vm, path)


def test_bodies_may_come_in_chunks(wire, vm) -> None:
    kind, moid = vm.split(":")
    body = ENVELOPE.format(
        f'<Fetch xmlns="urn:vim25"><_this type="{kind}">{moid}</_this><prop>name</prop></Fetch>'
    ).encode()
    parts = (body[k : k + 100] for k in range(0, len(body), 100))
    headers = {
        "Transfer-Encoding": "chunked",
        "Content-Type": "text/xml",
        "Cookie": wire.cookie,
        "SOAPAction": '"urn:vim25/6.5"',
    }
    wire.connection.request("POST", wire.path, parts, headers, encode_chunked=True)
    answer = wire.connection.getresponse()
    assert answer.status == 200
    assert f">{VM}</returnval>" in answer.read().decode()


@pytest.mark.parametrize(
    "action", ['"urn:vim25/5.5"', "urn:vim25/6.7", '"urn:vim25/8.0.3.0"', '"urn:vim25"', ""]
)
def test_a_client_says_which_version_it_speaks(wire, vm, action) -> None:
    status, text = wire.fetch(vm, "name", action=action)
    assert status == 200
    assert VM in text


def test_an_answer_does_not_wait_for_its_second_half(wire, vm) -> None:
    took = []
    for _ in range(60):
        began = time.perf_counter()
        wire.fetch(vm, "name")
        took.append(time.perf_counter() - began)
    assert min(took) < 0.02, "two writes and a delayed acknowledgement take 40 ms"
    assert statistics.median(took) < 0.035


def test_a_fault_says_its_type_twice_and_its_text_once(wire, vm) -> None:
    status, text = wire.call(
        "QueryChangedDiskAreas",
        vm,
        "<deviceKey>9</deviceKey><startOffset>0</startOffset><changeId>*</changeId>",
    )
    assert status == 500
    detail = re.search(r"<detail>(.*)</detail>", text, re.DOTALL)[1]
    assert re.match(r'<InvalidArgumentFault [^>]*xsi:type="InvalidArgument"', detail)
    assert "<invalidProperty>deviceKey</invalidProperty>" in detail
    said = re.search(r"<faultstring>(.*)</faultstring>", text)[1]
    assert said
    assert said not in detail
    assert re.search(r"<faultcode>[^<]+</faultcode>", text)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {x} "{f"&{y};" * 10}">' for y, x in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><b>&i;</b>"
)
HOST = "only this machine knows"
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a SYSTEM "file://{}">]><b>&a;</b>'


def test_nothing_is_fetched_from_elsewhere(site, tmp_path) -> None:
    (tmp_path / "secret").write_text(HOST)
    with Wire(site) as wire:
        status, text = wire.post(OUTSIDE.format(tmp_path / "secret"))
    assert 400 <= status <= 500
    assert HOST not in text


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        ENVELOPE.format("<a>" * 5000),
        ENVELOPE.format("<a>" * 5000 + "</a>" * 5000),
        ENVELOPE.format("<Login xmlns='urn:vim25'>")[:-60],
        "",
        "{}",
        ENVELOPE.format("<Fetch xmlns='urn:vim25'><_this type='Nothing'>x</_this></Fetch>"),
        ENVELOPE.format("x").encode("utf-16"),
        b"\xff\xfe\x00",
    ],
    ids=lambda body: repr(body[:12]) if len(body) < 40 else f"{len(body)} of {body[60:70]!r}",
)
def test_xml_from_the_network_is_not_trusted(site, vm, body) -> None:
    with Wire(site) as wire:
        try:
            status, text = wire.post(body)
        except (http.client.HTTPException, OSError):
            pass  # a closed connection is an answer, too
        else:
            assert 400 <= status <= 500, text
    with Wire(site) as wire:
        status, text = wire.fetch(vm, "name")
    assert status == 200, "it lives"
    assert VM in text


def test_a_huge_body_is_refused(site, vm) -> None:
    with Wire(site) as wire:
        try:
            status, _ = wire.post(b" " * (80 << 20))
        except (http.client.HTTPException, OSError):
            pass  # it was told to go before it had said everything
        else:
            assert 400 <= status <= 500
    with Wire(site) as wire:
        assert wire.fetch(vm, "name")[0] == 200
