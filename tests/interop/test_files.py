"""Datastore files over HTTP, and a VM exported through a lease, by the client in Go."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from blake3 import blake3

from interop import served

VM, KEY = "server-3", 2000


@pytest.fixture(scope="module")
def off(site, go):
    """A VM that is off: the digest of its disk, and where its disk lies."""
    go.call(site, "power", vm=VM, on="no")
    (vm,) = (line for line in go.call(site, "list") if line.get("name") == VM)
    yield vm["disks"][0]
    go.call(site, "power", vm=VM)


def test_a_small_file_is_put_and_fetched(site, go) -> None:
    text = "a note that somebody left"
    (told,) = go.call(
        site, "file", store="datastore-1", path="note.txt", put=text, start=2, length=4
    )
    assert told["size"] == told["length"] == told["read"] == len(text)
    assert told["digest"] == hashlib.sha256(text.encode()).hexdigest()
    assert told["part"] == hashlib.sha256(text[2:6].encode()).hexdigest()


def test_a_flat_file_is_the_disk(site, go, off, tmp_path) -> None:
    served.need("nbdcopy")
    store, _, path = off["file"].partition("] ")
    flat = path.replace(".vmdk", "-flat.vmdk")
    start, length = 5_000_001, 70_000
    (told,) = go.call(site, "file", store=store[1:], path=flat, start=start, length=length)
    copy = tmp_path / "copy.raw"
    subprocess.run(
        ["nbdcopy", f"{site.nbd.rstrip('/')}/vm/{VM}/{KEY}", str(copy)],
        check=True,
        timeout=served.SECONDS_MAX,
    )
    data = copy.read_bytes()
    assert blake3(data).hexdigest() == site.digest(VM, KEY, "now")
    assert told["size"] == told["read"] == len(data) == off["capacity"]
    assert told["digest"] == hashlib.sha256(data).hexdigest()
    assert told["part"] == hashlib.sha256(data[start : start + length]).hexdigest()


def test_an_export_holds_the_disk(site, go, off, tmp_path) -> None:
    served.need("qemu-img")
    *disks, made = go.call(site, "export", vm=VM, to=tmp_path)
    assert len(disks) == 1
    raw = tmp_path / "disk.raw"
    subprocess.run(
        ["qemu-img", "convert", "-f", "vmdk", "-O", "raw", disks[0]["file"], str(raw)],
        check=True,
        timeout=served.SECONDS_MAX,
    )
    assert raw.stat().st_size == off["capacity"]
    assert blake3(raw.read_bytes()).hexdigest() == site.digest(VM, KEY, "now")
    assert "<Envelope" in made["descriptor"]
    assert f'ovf:capacity="{off["capacity"]}"' in made["descriptor"]
