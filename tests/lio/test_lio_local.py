"""Loop devices and FUSE files of this machine, where they work: what goes wrong with them."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lio.nbd_stub import Stub, serving
from lio.rigs import PATIENCE, LoopRig, a_file, loops_over, loops_work
from stuntdouble.errors import InvalidState, Misuse, NotFound, Unsupported
from stuntdouble.lio import (
    KernelError,
    KernelExporter,
    Machine,
    NbdSource,
    PathSource,
    Request,
    fuses,
    loops,
    recover,
)
from stuntdouble.lio.loops import LoopStep
from stuntdouble.lio.work import Made, Work

with_loops = pytest.mark.skipif(not loops_work(), reason="no loop devices here, or not as root")
with_fuse = pytest.mark.skipif(
    not loops_work() or bool(fuses.lacking(Machine())), reason="no FUSE here, or no loop devices"
)
DATA = bytes(1 << 20) + os.urandom(1 << 20)


def exporter(folder: Path) -> KernelExporter:
    machine = Machine(state=str(folder / "state"), directory=str(folder))
    return KernelExporter("loop", None, machine, PATIENCE)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@with_loops
def test_a_loop_device_that_may_be_written_writes_the_file(tmp_path) -> None:
    path, made = a_file(tmp_path), exporter(tmp_path)
    export = made.export(Request(PathSource(str(path)), read_only=False))
    try:
        with Path(export.device).open("r+b", buffering=0) as device:
            device.write(b"x" * 512)
            os.fsync(device.fileno())
    finally:
        made.unexport(export, force=True)
    assert path.read_bytes()[:512] == b"x" * 512


@with_loops
@pytest.mark.parametrize("size", [0, 511, 4097])
def test_a_file_that_is_no_number_of_sectors_is_refused(size, tmp_path) -> None:
    (tmp_path / "odd").write_bytes(bytes(size))
    with pytest.raises(Misuse, match="no number of sectors"):
        exporter(tmp_path).export(Request(PathSource(str(tmp_path / "odd"))))
    assert loops_over(tmp_path) == []


@with_loops
def test_a_device_that_somebody_keeps_open_goes_with_its_last_user(tmp_path, monkeypatch) -> None:
    rig = LoopRig(tmp_path)
    export = rig.exporter.export(rig.request())
    words = [
        sys.executable,
        "-c",
        "import sys; f = open(sys.argv[1]); print(1, flush=True); input()",
    ]
    keeper = subprocess.Popen([*words, export.device], stdin=-1, stdout=-1)
    assert keeper.stdout.readline()
    monkeypatch.setattr(loops, "_GONE_SECONDS", 0.2)
    with pytest.raises(InvalidState, match="in use by process"):
        rig.exporter.unexport(export)
    work = Work(rig.exporter.machine, export.id)
    with pytest.raises(InvalidState, match=r"open \(process \d+ \(python"):
        LoopStep(read_only=True).undo(work)
    keeper.communicate(b"\n")
    LoopStep(read_only=True).undo(work)
    rig.exporter.unexport(export)
    assert rig.listing() == []


@with_loops
def test_a_free_device_that_is_taken_meanwhile_is_let_go(tmp_path, monkeypatch) -> None:
    path, lost = a_file(tmp_path), [3]
    real = loops._configure

    def configure(*facts: object, **more: object) -> bool:
        if lost[0]:
            lost[0] -= 1
            return False
        return real(*facts, **more)

    monkeypatch.setattr(loops, "_configure", configure)
    work = Work(Machine(), "0badcafe")
    assert LoopStep(read_only=True).do(work, Made(str(path))).path.startswith("/dev/loop")
    LoopStep(read_only=True).undo(work)
    monkeypatch.setattr(loops, "_configure", lambda *_, **__: False)
    with pytest.raises(KernelError, match="16 times in a row"):
        LoopStep(read_only=True).do(work, Made(str(path)))


def test_without_loop_devices_it_is_told_what_to_do(tmp_path) -> None:
    with pytest.raises(Unsupported, match="modprobe loop"):
        LoopStep(read_only=True).check(Work(Machine(dev=str(tmp_path)), "0badcafe"))


@with_loops
def test_whoever_may_not_write_down_what_is_made_makes_nothing(tmp_path) -> None:
    path = a_file(tmp_path)
    machine = Machine(state="/proc/nowhere", directory=str(tmp_path))
    with pytest.raises(Unsupported, match="run it as root"):
        KernelExporter("loop", None, machine, PATIENCE).export(Request(PathSource(str(path))))
    assert loops_over(tmp_path) == []


@with_fuse
@pytest.mark.parametrize("by", ["fuse", "copy"])
def test_an_nbd_export_as_a_loop_device(by, tmp_path) -> None:
    made = exporter(tmp_path)
    with serving(Stub(DATA)) as source:
        export = made.export(Request(source, by=by))
        try:
            assert digest(Path(export.device).read_bytes()) == digest(DATA)
        finally:
            made.unexport(export, force=True)
    assert [path.name for path in tmp_path.rglob("stuntdouble-*")] == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


@with_fuse
def test_a_fuse_daemon_that_dies_is_cleaned_up_after(tmp_path) -> None:
    made = exporter(tmp_path)
    with serving(Stub(DATA)) as source:
        export = made.export(Request(source, by="fuse"))
        (number,) = fuses._daemons(
            made.machine, tmp_path / "state/files" / f"stuntdouble-{export.id}"
        )
        os.kill(number, signal.SIGKILL)
        found = recover(where=made.machine, limits=PATIENCE, everything=True)
    assert (found.ended, found.left) == ((export.id,), {})
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert loops_over(tmp_path) == []


@with_fuse
def test_an_export_that_fuse_does_not_find_leaves_nothing(tmp_path) -> None:
    made = exporter(tmp_path)
    with serving(Stub(b"")) as source:
        pass
    with pytest.raises(KernelError, match="cannot mount nbd://"):
        made.export(Request(NbdSource(source.uri), by="fuse"))
    assert made.records.all() == []
    assert [path.name for path in tmp_path.rglob("stuntdouble-*")] == []


def test_without_fuse_it_is_told_what_to_install(tmp_path, monkeypatch) -> None:
    work = Work(Machine(dev=str(tmp_path)), "0badcafe")
    step = fuses.FuseStep("nbd://127.0.0.1/x", read_only=True)
    with pytest.raises(Unsupported, match="modprobe fuse"):
        step.check(work)
    (tmp_path / "fuse").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="apt install qemu-system-common"):
        step.check(work)


def test_a_file_in_the_way_is_not_mounted_on(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fuses, "lacking", lambda _: "")
    work = Work(Machine(state=str(tmp_path)), "0badcafe")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / work.mark).write_text("precious")
    with pytest.raises(InvalidState, match="there already"):
        fuses.FuseStep("nbd://127.0.0.1/x", read_only=True).check(work)


def test_a_source_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(NotFound, match="none"):
        exporter(tmp_path).export(Request(PathSource(str(tmp_path / "none"))))
