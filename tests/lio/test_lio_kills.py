"""Killed, hanging, refused, at any change: what is left is ours to clean up, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from lio.nbd_stub import Stub, serving
from lio.rigs import PATIENCE, ModelRig, loops_work
from stuntdouble.errors import Interrupted, InvalidState, Misuse, TaskInProgress, TimedOut
from stuntdouble.lio import (
    KernelError,
    KernelExporter,
    Limits,
    Portal,
    children,
    configfs,
    contract,
    recover,
)

pytestmark = pytest.mark.skipif(not loops_work(), reason="no loop devices here, or not as root")

SHORT = Limits(step_seconds=5, lock_seconds=2, end_seconds=1)
KINDS = ("lio-iscsi", "lio-loopback")


def changes_of(rig: ModelRig) -> int:
    """Return how many changes an export takes, by counting down from many."""
    rig.after("die", 10_000)
    export = rig.exporter.export(rig.request())
    count = 10_000 - int((rig.model.root / "die").read_text())
    (rig.model.root / "die").unlink()
    rig.exporter.unexport(export)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_child_killed_at_any_change_leaves_nothing(kind, tmp_path, monkeypatch) -> None:
    rig = ModelRig(kind, tmp_path, monkeypatch)
    before, count = rig.listing(), changes_of(rig)
    assert count > 8
    for number in range(0, count, 3 if kind == "lio-iscsi" else 1):
        rig.after("die", number)
        with pytest.raises(Interrupted, match="SIGKILL"):
            rig.exporter.export(rig.request())
        assert rig.listing() == before, f"change {number}"
        assert rig.exporter.records.all() == []


@pytest.mark.parametrize("number", [0, 2, 5, 8])
def test_a_child_killed_while_it_cleans_up_is_made_up_for_later(
    number, tmp_path, monkeypatch
) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    before = rig.listing()
    export = rig.exporter.export(rig.request(held=False))
    rig.after("die", number)
    with pytest.raises(Interrupted):
        rig.exporter.unexport(export)
    (record,) = rig.exporter.records.all()
    assert record.phase == "ending"
    found = recover(where=rig.machine, limits=PATIENCE)
    assert (found.ended, found.left) == ((export.id,), {})
    assert rig.listing() == before


def test_a_child_that_hangs_is_ended_and_told_of(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    before = rig.listing()
    exporter = KernelExporter("lio-iscsi", None, rig.machine, SHORT)
    rig.after("hang", 3)
    with pytest.raises(TimedOut, match="took longer than 5 s"):
        exporter.export(rig.request())
    assert rig.listing() == before
    assert exporter.records.all() == []


def test_whoever_waits_for_the_lock_is_told_who_has_it(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    rig.after("hang", 3)
    hanging = threading.Event()

    def news(_pid: int, line: dict) -> None:
        if line.get("step") == 1:
            hanging.set()

    slow = KernelExporter("lio-iscsi", None, rig.machine, Limits(step_seconds=20), news)
    failures: list[Exception] = []

    def hang() -> None:
        try:
            slow.export(rig.request())
        except TimedOut as error:
            failures.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    try:
        assert hanging.wait(60)
        other = KernelExporter("loop", None, rig.machine, SHORT)
        with pytest.raises(TaskInProgress, match=r"is busy with export [0-9a-f]{8} \(process"):
            other.export(ModelRig.request(rig, portal=None, initiators=(), lun=0))
    finally:
        thread.join(60)
    assert len(failures) == 1
    assert rig.listing() == []


def test_exports_at_the_same_time_wait_for_each_other(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    made = []

    def work() -> None:
        exporter = KernelExporter("lio-iscsi", None, rig.machine, PATIENCE)
        made.append(exporter.export(rig.request()))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({export.target for export in made}) == 3
    assert len(configfs.backstores(rig.machine)) == 3
    for export in made:
        rig.exporter.unexport(export)
    assert rig.listing() == []


def test_what_a_stranger_has_added_to_our_back_end_is_not_taken_away(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    export = rig.exporter.export(rig.request())
    mark = f"stuntdouble-{export.id}"
    store = configfs.backstore(rig.machine, mark)
    target = rig.model.target / "iscsi/iqn.2026-11.org.example:stranger"
    made = [target, target / "tpgt_1", target / "tpgt_1/lun/lun_0"]
    for path in made:
        rig.model.mkdir(path)
    rig.model.symlink(store, made[-1] / "default")
    with pytest.raises(InvalidState, match=r"used by iscsi/iqn.*:stranger"):
        rig.exporter.unexport(export)
    found = recover(where=rig.machine, limits=PATIENCE, everything=True)
    assert "used by" in found.left[export.id]
    assert (made[-1] / "default").is_symlink()
    rig.model.unlink(made[-1] / "default")
    for path in reversed(made):
        rig.model.rmdir(path)
    assert recover(where=rig.machine, limits=PATIENCE, everything=True).ended == (export.id,)
    assert rig.listing() == []


def test_a_name_that_is_taken_is_refused_and_stays(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    name = "iqn.2026-11.org.example:taken"
    rig.model.mkdir(rig.model.target / "iscsi" / name)
    before = rig.listing()
    with pytest.raises(InvalidState, match="there already"):
        rig.exporter.export(rig.request(target=name))
    assert rig.listing() == before
    assert rig.exporter.records.all() == []


@pytest.mark.parametrize("host", ["192.0.2.77", "array.example.org"])
def test_a_portal_at_an_address_of_nobody_is_refused(host, tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    with pytest.raises(Misuse, match="is no address of this machine"):
        rig.exporter.export(rig.request(portal=Portal(host)))
    assert rig.listing() == []
    assert rig.exporter.records.all() == []


def test_recovery_leaves_what_lives(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    ours = rig.exporter.export(rig.request())
    stays = rig.exporter.export(rig.request(held=False))
    found = recover(where=rig.machine, limits=PATIENCE)
    assert (found.ended, found.left) == ((), {})
    assert len(configfs.targets(rig.machine)) == 2
    found = recover(where=rig.machine, limits=PATIENCE, everything=True)
    assert set(found.ended) == {ours.id, stays.id}
    assert rig.listing() == []


def test_a_kernel_that_refuses_is_quoted_and_nothing_is_left(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    before = rig.listing()
    with pytest.raises(KernelError, match="cannot make iSCSI target"):  # no name of a directory
        rig.exporter.export(rig.request(target="iqn.2026-11.org.example:" + "a/b"))
    assert rig.listing() == before


def test_a_child_whose_parent_is_gone_does_nothing_more(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    job = {
        "verb": "make", "number": "0badcafe", "steps": [{"kind": "loop", "read_only": True}],
        "machine": {"state": str(tmp_path / "state")}, "secrets": {}, "path": str(rig.truth),
        "force": False,
    }  # fmt: skip
    words = [sys.executable, "-m", "stuntdouble.lio.child"]
    ended = subprocess.run(
        words, input=json.dumps(job) + "\n", capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert [json.loads(line) for line in ended.stdout.splitlines()] == [
        {"wait": "lock"},
        {"ready": True},
    ]
    assert rig.listing() == []


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_takes_back_what_was_made_and_pressed_again_leaves_it_for_later(
    presses, tmp_path, monkeypatch
) -> None:
    rig, left = ModelRig("lio-iscsi", tmp_path, monkeypatch), [presses]

    def news(_pid: int, line: dict) -> None:
        if line.get("step") == 2 and left[0]:
            left[0] -= 1
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        KernelExporter("lio-iscsi", None, rig.machine, PATIENCE, news).export(rig.request())
    if presses == 2:
        assert rig.listing() != []
        assert len(recover(where=rig.machine, limits=PATIENCE, everything=True).ended) == 1
    assert rig.listing() == []


def test_a_child_that_the_kernel_holds_is_left_alone_and_told_of(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    exporter = KernelExporter("lio-iscsi", None, rig.machine, SHORT)
    real = children._Child.end
    monkeypatch.setattr(children._Child, "end", lambda self: real(self) and False)
    rig.after("hang", 3)
    with pytest.raises(TimedOut, match=r"process \d+ hangs in the kernel and is left alone"):
        exporter.export(rig.request())
    assert rig.listing() == []


def test_a_clean_up_that_fails_too_is_told_with_what_to_do(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)

    def news(_pid: int, line: dict) -> None:
        if line.get("step") == 2:
            rig.after("hang", 0)  # the export hangs, and so does what is to undo it
        if line.get("ready") and rig.exporter.records.all():
            rig.after("hang", 0)

    exporter = KernelExporter("lio-iscsi", None, rig.machine, SHORT, news)
    with pytest.raises(KernelError, match=r"cannot undo .* which failed .*unexport --recover"):
        exporter.export(rig.request())
    (record,) = rig.exporter.records.all()
    assert record.phase == "ending"
    (rig.model.root / "hang").unlink(missing_ok=True)
    found = recover(where=rig.machine, limits=PATIENCE, everything=True)
    assert found.ended == (record.export.id,)
    assert rig.listing() == []


def test_others_go_on_while_a_lun_is_copied(tmp_path, monkeypatch) -> None:
    rig = ModelRig("lio-iscsi", tmp_path, monkeypatch)
    copying, go_on = threading.Event(), threading.Event()
    stub = Stub(bytes(1 << 20))

    def slowly(request) -> list[bytes]:
        copying.set()
        assert go_on.wait(60)
        return stub.read(request)

    stub.answer = slowly
    made = []
    with serving(stub) as source:
        request = rig.request(source=source, by="copy")
        thread = threading.Thread(target=lambda: made.append(rig.exporter.export(request)))
        thread.start()
        try:
            assert copying.wait(60)
            other = rig.exporter.export(rig.request())
            rig.exporter.unexport(other)
        finally:
            go_on.set()
            thread.join(60)
    (export,) = made
    with rig.opened(export) as path:
        assert contract.digest(path) == hashlib.sha256(bytes(1 << 20)).hexdigest()
    rig.exporter.unexport(export)
    assert rig.listing() == []
