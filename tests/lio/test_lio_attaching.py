"""The step ``nbd``: what the kernel is told over netlink, and what its answers mean."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest

from lio.nbd_stub import HAS, Stub, serving
from stuntdouble.codecs.nbd import TransmissionFlag
from stuntdouble.errors import AccessDenied, TimedOut, Unsupported
from stuntdouble.lio import KernelError, Machine, attaching, planning
from stuntdouble.lio.attaching import NbdStep
from stuntdouble.lio.work import Made, Work

DATA = bytes(1 << 20)


def attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while data:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[length + -length % 4 :]
    return found


class Kernel:
    """The kernel's end: a family by name, and NBD devices that appear in a directory."""

    def __init__(self, root: Path, *, family: bool = True, error: int = 0, shows: bool = True):
        self.root, self.family, self.error, self.shows = root, family, error, shows
        self.told: list[tuple[int, dict[int, bytes]]] = []
        self.answers: list[bytes] = []
        for name in ("sys/block/nbd0", "sys/block/nbd1", "dev"):
            (root / name).mkdir(parents=True)
        (root / "sys/block/nbd0/backend").write_text("somebody else's\n")

    def __call__(self, *_: object) -> Kernel:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def settimeout(self, _seconds: float) -> None:
        return

    def bind(self, _address: object) -> None:
        return

    def send(self, message: bytes) -> None:
        length, kind, flags, _, _ = struct.unpack_from("=IHHII", message)
        assert (length, flags) == (len(message), 5)
        command, version, _ = struct.unpack_from("=BBH", message, 16)
        assert version == 1
        found = attributes(message[20:])
        error = 0
        if kind == 16:
            assert (command, found) == (3, {2: b"nbd\0"})
            if self.family:
                body = struct.pack("=BBH", 1, 2, 0) + struct.pack("=HHHH", 6, 1, 29, 0)
                self.answers.append(struct.pack("=IHHII", 16 + len(body), 16, 0, 1, 0) + body)
        else:
            assert kind == 29
            self.told.append((command, found))
            error = self.error
            if not error:
                self.act(command, found)
        self.answers.append(struct.pack("=IHHIIiIHHII", 36, 2, 0, 1, 0, -error, 20, 0, 0, 0, 0))

    def act(self, command: int, found: dict[int, bytes]) -> None:
        entry = self.root / "sys/block/nbd1"
        if command == 2:
            (entry / "backend").unlink()
        elif self.shows:
            (entry / "backend").write_text(found[10].rstrip(b"\0").decode() + "\n")
            (entry / "size").write_text(str(struct.unpack("=Q", found[2])[0] // 512))
            (self.root / "dev/nbd1").touch()

    def recv(self, _count: int) -> bytes:
        return self.answers.pop(0)


@pytest.fixture
def work(tmp_path, monkeypatch) -> Work:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(attaching, "_APPEARS_SECONDS", 0.1)
    machine = Machine(sys=str(tmp_path / "sys"), dev=str(tmp_path / "dev"), proc=str(tmp_path))
    return Work(machine, "0badcafe")


def kernel_of(monkeypatch, work: Work, **how) -> Kernel:
    kernel = Kernel(Path(work.machine.sys).parent, **how)
    facts = {"AF_NETLINK": socket.AF_NETLINK, "SOCK_RAW": socket.SOCK_RAW}
    monkeypatch.setattr(attaching, "socket", SimpleNamespace(socket=kernel, **facts))
    return kernel


def test_an_export_is_attached_under_our_mark_and_detached_by_it(work, monkeypatch) -> None:
    with serving(Stub(DATA)) as source:
        kernel = kernel_of(monkeypatch, work)
        step = NbdStep(source.uri, read_only=True)
        step.check(work)
        made = step.do(work, Made())
    assert made.path == str(Path(work.machine.dev, "nbd1"))
    ((command, found),) = kernel.told
    assert command == 1
    assert struct.unpack("=Q", found[2])[0] == len(DATA)
    assert struct.unpack("=Q", found[3])[0] == 512
    assert struct.unpack("=Q", found[5])[0] == HAS | TransmissionFlag.READ_ONLY
    assert list(attributes(attributes(found[7])[1])) == [1]
    assert found[10] == b"stuntdouble-0badcafe\0"
    assert step.users(work) == []
    step.undo(work)
    step.undo(work)
    assert [command for command, _ in kernel.told] == [1, 2]
    assert struct.unpack("=I", kernel.told[1][1][1])[0] == 1
    assert (Path(work.machine.sys) / "block/nbd0/backend").exists()


def test_a_kernel_that_refuses_is_quoted(work, monkeypatch) -> None:
    with serving(Stub(DATA)) as source:
        kernel_of(monkeypatch, work, error=16)
        with pytest.raises(KernelError, match=r"attach nbd://.*busy"):
            NbdStep(source.uri, read_only=True).do(work, Made())


def test_a_kernel_without_the_client_is_told(work, monkeypatch) -> None:
    with serving(Stub(DATA)) as source:
        kernel_of(monkeypatch, work, family=False)
        with pytest.raises(Unsupported, match="modprobe nbd"):
            NbdStep(source.uri, read_only=True).do(work, Made())


def test_a_kernel_that_shows_no_mark_is_too_old(work, monkeypatch) -> None:
    with serving(Stub(DATA)) as source:
        kernel_of(monkeypatch, work, shows=False)
        with pytest.raises(Unsupported, match=r"older than Linux 5\.14"):
            NbdStep(source.uri, read_only=True).do(work, Made())


def test_a_device_that_does_not_go_is_told(work, monkeypatch) -> None:
    kernel = kernel_of(monkeypatch, work)
    (Path(work.machine.sys) / "block/nbd1/backend").write_text(work.mark)
    monkeypatch.setattr(kernel, "act", lambda *_: None)
    with pytest.raises(TimedOut, match="detaching"):
        NbdStep("nbd://127.0.0.1/x", read_only=True).undo(work)


def test_an_export_that_may_only_be_read_is_not_attached_for_writing(work, monkeypatch) -> None:
    with serving(Stub(DATA, flags=HAS | TransmissionFlag.READ_ONLY)) as source:
        kernel = kernel_of(monkeypatch, work)
        with pytest.raises(AccessDenied, match="for writing"):
            NbdStep(source.uri, read_only=False).do(work, Made())
    assert kernel.told == []


def test_without_devices_it_is_not_tried(work) -> None:
    assert "modprobe nbd" in attaching.lacking(work.machine)
    with pytest.raises(Unsupported, match="modprobe nbd"):
        NbdStep("nbd://127.0.0.1/x", read_only=True).check(work)


def test_only_root_attaches(work, monkeypatch) -> None:
    kernel_of(monkeypatch, work)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert attaching.lacking(work.machine) == "for root only"


def test_the_best_way_is_the_one_without_a_copy(work, monkeypatch) -> None:
    assert planning.best(work.machine, read_only=True) == "copy"
    with pytest.raises(Unsupported, match="a copy would keep it to itself"):
        planning.best(work.machine, read_only=False)
    monkeypatch.setattr(planning.fuses, "lacking", lambda _: "")
    assert planning.best(work.machine, read_only=False) == "fuse"
    kernel_of(monkeypatch, work)
    assert planning.best(work.machine, read_only=False) == "nbd"
