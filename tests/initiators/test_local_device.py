"""Files and disks of this machine: what they hold, who they are, and what they refuse."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.codecs import scsi
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    MediumError,
    Misuse,
    NoSpace,
    NotFound,
    TimedOut,
    Unreachable,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators import LocalDevice, LocalInitiator, local
from stuntdouble.initiators.local import error_of
from stuntdouble.initiators.wwn import disk_of, identification, wwn_of
from stuntdouble.ports import Mapping, Throttle
from stuntdouble.units import KIB, MIB

SIZE = 3 * MIB + 1234
CONTENT = random.Random(3).randbytes(SIZE)
NAA, OTHER = "6000" + "ab" * 14, "6000" + "cd" * 14


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("local") / "disk.raw"
    path.write_bytes(CONTENT)
    return path


async def contents(device, runs=None, **throttle):
    runs = Runs.single(0, device.size_bytes) if runs is None else runs
    return [(s.offset, bytes(s.data)) async for s in device.read(runs, Throttle(**throttle))]


def use(device, scenario):
    async def main():
        try:
            return await scenario(device)
        finally:
            await device.close()

    return asyncio.run(main())


pairs = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, MIB)), max_size=10)


@given(pairs, st.integers(1, 20), st.sampled_from([512, 4096, MIB, 8 * MIB]))
@settings(deadline=None)
def test_any_runs_read_as_the_file_has_them(file, wanted, depth, block):
    runs = Runs.of(wanted).clip(0, SIZE)

    async def scenario(device):
        found = await contents(device, runs, depth=depth, block_bytes=block)
        assert all(CONTENT[at : at + len(data)] == data for at, data in found)
        assert Runs.of([(at, len(data)) for at, data in found]) == runs

    use(LocalDevice(file), scenario)


def test_spans_that_share_buffers_are_good_until_the_next(tmp_path):
    data = random.Random(4).randbytes(41 * MIB + 5)
    (tmp_path / "large.raw").write_bytes(data)

    async def scenario(device):
        spans = 0
        async for span in device.read(Runs.single(0, len(data)), Throttle(depth=8)):
            await asyncio.sleep(0.002)  # others are being read meanwhile
            assert span.data == data[span.offset : span.offset + len(span.data)]
            spans += 1
        assert spans == 6

    use(LocalDevice(tmp_path / "large.raw"), scenario)


def test_a_file_is_called_by_its_path_and_closed_once(file):
    async def scenario(device):
        assert (device.identity, device.size_bytes) == (str(file), SIZE)
        assert await contents(device) == [(0, CONTENT)]
        with pytest.raises(Misuse, match="beyond its end"):
            await contents(device, Runs.single(0, SIZE + 1))
        with pytest.raises(AccessDenied, match="read-only"):
            await device.write(0, memoryview(b"x"))
        await device.close()
        for request in (contents(device), device.flush(), device.write(0, memoryview(b"x"))):
            with pytest.raises(InvalidState, match="closed"):
                await request

    use(LocalDevice(file), scenario)
    assert LocalDevice(file, "a name").identity == "a name"


def test_what_is_written_is_there(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(3 * MIB))
    data = random.Random(1).randbytes(2 * MIB + 7)

    async def scenario(device):
        await device.write(5, memoryview(data))
        await device.flush()
        for offset in (-1, MIB):
            with pytest.raises(Misuse, match="beyond its end"):
                await device.write(offset, memoryview(data))
        return (await contents(device))[0][1]

    want = bytes(5) + data + bytes(MIB - 12)
    assert use(LocalDevice(path, writable=True), scenario) == want == path.read_bytes()


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(NotFound, match="nowhere"):
        LocalDevice(tmp_path / "nowhere")
    for odd in (tmp_path, Path(os.devnull)):
        with pytest.raises(Misuse, match="neither a file nor a block device"):
            LocalDevice(odd)


def test_a_file_that_shrinks_amid_a_read_is_not_read(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(CONTENT)

    async def scenario(device):
        os.truncate(path, MIB)
        with pytest.raises(Misuse, match=f"ends at {MIB} bytes by now"):
            await contents(device)

    use(LocalDevice(path), scenario)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EIO, MediumError),
        (errno.ENODATA, MediumError),
        (errno.ENODEV, Unreachable),
        (errno.ENXIO, Unreachable),
        (errno.EACCES, AccessDenied),
        (errno.ENOSPC, NoSpace),
        (errno.EINVAL, Misuse),
    ],
)
@pytest.mark.parametrize("writing", [False, True])
def test_errors_of_the_system(monkeypatch, tmp_path, number, error, writing):
    path = tmp_path / "disk.raw"
    path.write_bytes(CONTENT)

    def fail(*_args):
        raise OSError(number, os.strerror(number))

    async def scenario(device):
        request = (
            device.write(0, memoryview(b"x"))
            if writing
            else contents(device, Runs.single(4096, 512))
        )
        with pytest.raises(error) as raised:
            await request
        assert "\n" not in str(raised.value)

    device = LocalDevice(path, writable=True)
    monkeypatch.setattr(os, "preadv", fail)
    monkeypatch.setattr(os, "pwritev", fail)
    use(device, scenario)
    assert type(error_of(OSError(number, "x"), "disk", 0, 1)) is error


def test_a_device_that_hangs_does_not_keep_us(monkeypatch, file):
    import threading

    monkeypatch.setattr(local, "_CLOSE_SECONDS", 0.05)
    gate = threading.Event()
    monkeypatch.setattr(os, "preadv", lambda *_: gate.wait() and 0)

    async def scenario():
        device = LocalDevice(file)
        reading = asyncio.create_task(contents(device))
        await asyncio.sleep(0.01)
        with pytest.raises(TimedOut, match="closing"):
            await device.close()
        gate.set()
        with pytest.raises(Misuse):
            await reading
        os.close(device._descriptor)

    asyncio.run(scenario())


# Who a disk is. -----------------------------------------------------------------------------------


def page(naa):
    body = bytes([1, 3, 0, len(naa) // 2]) + bytes.fromhex(naa)
    return bytes([0, 0x83, 0, len(body)]) + body


def show(sysfs, disk, **files):
    for name, data in files.items():
        path = sysfs / "block" / disk / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return sysfs / "block" / disk


def test_the_kernel_says_who_a_disk_is_in_several_ways(tmp_path):
    wwid = show(tmp_path, "sda", device__wwid=f"naa.{NAA.upper()}\n".encode())
    paged = show(tmp_path, "sdb", device__wwid=b"t10.VENDOR x\n", device__vpd_pg83=page(NAA))
    mapped = show(tmp_path, "dm-0", dm__uuid=b"mpath-3" + NAA.encode() + b"\n")
    assert [wwn_of(disk) for disk in (wwid, paged, mapped)] == [NAA] * 3
    assert wwn_of(show(tmp_path, "sdc", device__vpd_pg83=b"\0\x83\0\x08\1\3\0\x10")) == ""
    assert wwn_of(show(tmp_path, "vda", size=b"8\n")) == ""
    assert wwn_of(show(tmp_path, "dm-1", dm__uuid=b"LVM-xyz")) == ""


def test_of_several_ways_the_joined_one_is_taken(tmp_path):
    wwid = f"naa.{NAA}".encode()
    show(tmp_path, "sda", device__wwid=wwid, device__state=b"offline\n")
    assert disk_of(NAA, tmp_path) == "sda"
    show(tmp_path, "sdb", device__wwid=wwid, device__state=b"running\n")
    assert disk_of(NAA.upper(), tmp_path) == "sdb"
    show(tmp_path, "dm-3", dm__uuid=b"mpath-3" + NAA.encode())
    assert disk_of(NAA, tmp_path) == "dm-3"
    assert disk_of(OTHER, tmp_path) == ""
    assert disk_of(NAA, tmp_path / "nowhere") == ""


def test_a_local_disk_is_found_by_its_name(tmp_path, file):
    show(tmp_path / "sys", "sdq", device__wwid=f"naa.{NAA}".encode())
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "sdq").write_bytes(CONTENT)
    who = {"sdq": NAA}

    async def scenario():
        initiator = LocalInitiator(
            "iqn.2026-11.org.example:b",
            sysfs=tmp_path / "sys",
            dev=tmp_path / "dev",
            ask=lambda _descriptor, path: who[Path(path).name],
            wait_seconds=0.1,
        )
        device = await initiator.attach(Mapping("v", NAA, initiator.iqn, 0))
        assert await contents(device, Runs.single(7, 5 * KIB)) == [(7, CONTENT[7 : 7 + 5 * KIB])]
        who["sdq"] = OTHER
        with pytest.raises(InvalidState, match=f"volume {OTHER}: cannot read {NAA} there"):
            await contents(device)
        await device.close()
        with pytest.raises(InvalidState, match=OTHER):
            await initiator.attach(Mapping("v", NAA, initiator.iqn, 0))
        with pytest.raises(NotFound, match=OTHER):
            await initiator.attach(Mapping("v", OTHER, initiator.iqn, 0))

    asyncio.run(scenario())


def test_a_disk_that_changes_amid_a_read_is_noticed_at_its_end(file):
    answers = [NAA, NAA, OTHER]

    async def scenario(device):
        with pytest.raises(InvalidState, match=OTHER):
            await contents(device)

    use(LocalDevice(file, NAA, ask=lambda _descriptor: answers.pop(0)), scenario)
    assert not answers


def answering(data=b"", **status):
    """Return an ioctl whose unit answers with *data*."""

    def ioctl(_descriptor, request, header):
        assert request == 0x2285
        assert ctypes.sizeof(header) == 88  # on a machine of 64 bits
        cdb = ctypes.string_at(header.cmdp, header.cmd_len)
        assert cdb == scsi.inquiry(0x83, header.dxfer_len)
        ctypes.memmove(header.dxferp, data, min(len(data), header.dxfer_len))
        for name, value in status.items():
            setattr(header, name, value)

    return ioctl


def test_a_unit_is_asked_itself():
    assert identification(0, "disk", answering(page(NAA))) == NAA
    assert identification(0, "disk", answering(page(NAA)[:1] + b"\x83\0\0")) == ""
    long = page(NAA)[4:] + bytes([2, 1, 0, 250]) + bytes(250)
    assert identification(0, "disk", answering(bytes([0, 0x83, 1, 18]) + long)) == NAA
    for status in ({"status": 2}, {"host_status": 1}, {"driver_status": 8}):
        with pytest.raises(Unreachable, match="an inquiry ends with"):
            identification(0, "disk", answering(page(NAA), **status))


def test_what_is_no_scsi_disk_cannot_be_asked(file):
    with file.open("rb") as opened, pytest.raises(InvalidState, match="no SCSI disk"):
        identification(opened.fileno(), str(file))
