"""Requests that are nearly right: what clients send, with something of it changed."""

from __future__ import annotations

import random

from pyVmomi import vim

from vsphere.drawn import ALL, data, data_types
from vsphere.wire import Stub

TYPES = [
    b'xsi:type="%b"' % name
    for name in (
        b"xsd:int xsd:anyType xsd:void xsd:Link xsd:QName xsd:dateTime ArrayOfString ArrayOfAnyType "
        b"ArrayOf ArrayOfArrayOfString ArrayOfManagedObject ManagedObject ManagedObjectReference "
        b"DataObject DynamicData MethodFault LocalizedMethodFault TypeName Any none:int Description"
    ).split()
]
WORDS = [
    *(b"<", b">", b"/", b'"', b"&lt;", b"&lol;", b"<a/>", b"<!DOCTYPE a>", b"<?a?>", b"<![CDATA["),
    *(b"\xff", b"\0", b'type="Folder"', b'xmlns="x"', b"urn:vim25", b"Fetch", b"_this"),
]
VALUES = [
    b"",
    b" ",
    b"x",
    b"-5",
    b"1e9",
    b"true",
    b"9" * 25,
    "ü☃".encode(),
    b"2026-01-01T00:00:00Z",
]


def seeds(rng: random.Random, count: int) -> list[bytes]:
    """Return requests that are right, with values of many types in them."""
    machine, options = vim.VirtualMachine("vm-1"), vim.option.OptionManager("o")
    stub = Stub(ALL)
    made = [
        stub.fetch(machine, "name"),
        stub.request(machine, "CreateSnapshot_Task", "a", None, False, True),
    ]
    while len(made) < count:
        drawn = data(rng, rng.choice(data_types()))
        option = vim.option.OptionValue(key="k", value=drawn)
        made.append(stub.request(options, "UpdateOptions", [option]))
    return made


def mutated(rng: random.Random, body: bytes) -> bytes:
    """Return a request with one to three places changed."""
    changed = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        _change(rng, changed, rng.randrange(len(changed) + 1))
    return bytes(changed)


def _change(rng: random.Random, body: bytearray, at: int) -> None:
    """Change one place: a word, a byte, a type, a value, or a piece of it copied."""
    how = rng.randrange(5)
    if how == 0:
        body[at : at + rng.randrange(6)] = rng.choice(WORDS)
    elif how == 1:
        body[at : at + 1] = rng.randbytes(1)
    elif how == 2:
        start = body.find(b'xsi:type="', at)
        if start >= 0:
            body[start : body.find(b'"', start + 10) + 1] = rng.choice(TYPES)
    elif how == 3:
        start = body.find(b">", at)
        end = body.find(b"<", start)
        if 0 <= start < end:
            body[start + 1 : end] = rng.choice(VALUES)
    else:
        start = rng.randrange(len(body) + 1)
        body[at:at] = body[start : start + rng.randrange(80)]
