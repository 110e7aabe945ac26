from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pyVmomi import VmomiSupport as V
from pyVmomi import vim
from pyVmomi.SoapAdapter import SOAP_NSMAP, SerializeToStr

from stuntdouble.vsphere import reply, vmomi
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


@given(seeds, st.sampled_from(data_types()))
@settings(max_examples=300)
def test_what_is_written_is_what_pyvmomi_writes(seed: int, kind: Any) -> None:
    drawn = data(random.Random(seed), kind)
    spaces = dict(SOAP_NSMAP, **{"urn:vim25": ""})
    row = V.Object(name="val", type=object, version=ALL, flags=V.F_OPTIONAL)
    theirs = SerializeToStr(drawn, row, ALL, spaces)
    ours = returned(fetched(drawn, kind)).replace("returnval", "val")
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
