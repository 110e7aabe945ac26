"""The bytes of disks, as standard tools read them over NBD, and what they say has changed."""

from __future__ import annotations

import json
import subprocess

import pytest
from blake3 import blake3

from interop import served
from interop.test_changes import covers, joined

VM, KEY = "server-1", 2000


@pytest.fixture(scope="module")
def moments(site, go):
    """Two snapshots of a VM, with changes in between."""
    served.need("nbdinfo", "nbdcopy", "qemu-img")
    go.call(site, "tracking", vm=VM)
    (before,) = go.call(site, "snapshot", vm=VM, name="nbd before")
    site.advance(60)
    (after,) = go.call(site, "snapshot", vm=VM, name="nbd after")
    yield {
        "before": site.snapshot_id(VM, "nbd before"),
        "after": site.snapshot_id(VM, "nbd after"),
        "snapshot": after["result"],
        "disk": before["disks"][0],
        "capacity": after["disks"][0]["capacity"],
    }
    go.call(site, "removeall", vm=VM)


def tool(*words: str) -> str:
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=served.SECONDS_MAX
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def frozen(site, moments, which: str = "after") -> str:
    """Return the URI of what a snapshot froze of the disk."""
    return f"{site.nbd.rstrip('/')}/snapshot/{moments[which]}/{KEY}"


def mapped(site, moments, context: str) -> list[tuple[int, int, int]]:
    """Return (offset, length, type) as nbdinfo has them."""
    told = json.loads(tool("nbdinfo", "--json", f"--map={context}", frozen(site, moments)))
    return [(each["offset"], each["length"], each["type"]) for each in told]


@pytest.mark.parametrize("which", ["before", "after"])
def test_nbdcopy_reads_what_the_guest_had_written(site, moments, which, tmp_path) -> None:
    copy = tmp_path / "copy.raw"
    tool("nbdcopy", frozen(site, moments, which), str(copy))
    assert copy.stat().st_size == moments["capacity"]
    assert blake3(copy.read_bytes()).hexdigest() == site.digest(VM, KEY, moments[which])


def test_qemu_img_finds_no_difference(site, moments, tmp_path) -> None:
    copy = tmp_path / "copy.qcow2"
    uri = frozen(site, moments)
    tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, str(copy))
    assert "identical" in tool("qemu-img", "compare", "-f", "raw", "-F", "qcow2", uri, str(copy))
    info = json.loads(tool("qemu-img", "info", "--output=json", uri))
    assert info["virtual-size"] == moments["capacity"]


def test_qemu_img_finds_the_difference(site, moments) -> None:
    done = subprocess.run(
        [
            *("qemu-img", "compare", "-f", "raw", "-F", "raw"),
            *(frozen(site, moments, "before"), frozen(site, moments, "after")),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=served.SECONDS_MAX,
    )
    assert done.returncode == 1
    assert "Content mismatch" in done.stdout


def test_the_bitmap_is_what_changed(site, moments, go) -> None:
    change = moments["disk"]["changeId"]
    *pages, _ = go.call(
        site,
        "walk",
        vm=VM,
        snapshot=moments["snapshot"],
        key=KEY,
        capacity=moments["capacity"],
        change=change,
        areas="yes",
    )
    listed = [(area["Start"], area["Length"]) for page in pages for area in page["areas"] or []]
    dirty = [
        (start, length)
        for start, length, kind in mapped(site, moments, f"qemu:dirty-bitmap:{change}")
        if kind & 1
    ]
    assert joined(dirty) == joined(listed)
    truth = site.true_changes(VM, KEY, moments["before"], moments["after"])
    assert truth
    assert covers(joined(dirty), truth)


def test_what_is_not_allocated_reads_as_zeros(site, moments, tmp_path) -> None:
    copy = tmp_path / "copy.raw"
    tool("nbdcopy", frozen(site, moments), str(copy))
    data, holes = copy.read_bytes(), 0
    for start, length, kind in mapped(site, moments, "base:allocation"):
        if kind & 3:  # a hole, or zeros
            assert not any(data[start : start + length])
            holes += length
    assert 0 < holes < len(data)
