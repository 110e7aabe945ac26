"""The step ``copy``: every byte, no more room than it takes, and no wrong answer believed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lio.nbd_stub import Stub, serving
from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import Errno, Reply
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    MediumError,
    Misuse,
    NoSpace,
    NotFound,
    Unreachable,
    Unsupported,
)
from stuntdouble.lio import Machine, copying
from stuntdouble.lio.copying import CopyStep
from stuntdouble.lio.work import Made, Work

MIB = 1 << 20
MIXED = os.urandom(100_000) + bytes(3 * MIB - 100_000 - 512) + b"\x01" * 512


def work(folder: Path, said: list | None = None) -> Work:
    told = [] if said is None else said
    return Work(Machine(directory=str(folder)), "0badcafe", say=lambda *row: told.append(row))


def copied(given: str, folder: Path, said: list | None = None) -> Path:
    step = CopyStep(given, read_only=True)
    here = work(folder, said)
    step.check(here)
    return Path(step.do(here, Made()).path)


@pytest.mark.parametrize("structured", [True, False])
def test_an_export_is_copied_with_its_holes(structured, tmp_path) -> None:
    said: list = []
    with serving(Stub(MIXED, structured=structured)) as source:
        path = copied(source.uri, tmp_path, said)
    assert path.read_bytes() == MIXED
    assert path.stat().st_blocks * 512 < MIB // 2
    assert path.stat().st_mode & 0o222 == 0
    assert said[-1] == ("copy", len(MIXED), len(MIXED))
    CopyStep("/x", read_only=True).undo(work(tmp_path))
    CopyStep("/x", read_only=True).undo(work(tmp_path))
    assert not path.exists()


def test_several_requests_are_under_way(tmp_path) -> None:
    stub = Stub(bytes(40 * MIB))
    held: list[nbd.Request] = []

    def later(request: nbd.Request) -> list[bytes]:
        held.append(request)
        if len(held) < 8:  # it answers when eight have come, the last first
            return [b""]
        rows = [row for each in reversed(held) for row in stub.read(each)]
        held.clear()
        return rows

    stub.answer = later
    with serving(stub) as source:
        assert copied(source.uri, tmp_path).stat().st_size == 40 * MIB


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 300_000)), max_size=8),
    st.booleans(),
)
def test_a_file_is_copied_around_its_holes(tmp_path_factory, rows, written) -> None:
    folder = tmp_path_factory.mktemp("copy")
    given_file = folder / "given"
    with given_file.open("wb") as file:
        for is_data, length in rows:
            if is_data:
                file.write(os.urandom(length))
            elif written:
                file.write(bytes(length))
            else:
                file.seek(length, os.SEEK_CUR)
        file.truncate()
    target = os.open(folder / "target", os.O_RDWR | os.O_CREAT)
    descriptor = os.open(given_file, os.O_RDONLY)
    copying._sparsely(descriptor, target, work(folder))
    os.close(target)
    os.close(descriptor)
    assert (folder / "target").read_bytes() == given_file.read_bytes()


def test_a_file_is_a_copy_of_its_own(tmp_path) -> None:
    given_file = tmp_path / "lun.raw"
    given_file.write_bytes(MIXED)
    path = copied(str(given_file), tmp_path)
    with given_file.open("r+b") as file:
        file.write(b"changed")
    assert path.read_bytes() == MIXED


def test_a_clone_that_fails_for_another_reason_is_told(tmp_path, monkeypatch) -> None:
    (tmp_path / "lun.raw").write_bytes(MIXED)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(copying.fcntl, "ioctl", full)
    with pytest.raises(NoSpace, match="is full"):
        copied(str(tmp_path / "lun.raw"), tmp_path)


def test_a_copy_that_is_there_is_not_overwritten(tmp_path) -> None:
    (tmp_path / "stuntdouble-0badcafe.raw").write_bytes(b"precious")
    with pytest.raises(InvalidState, match="there already"):
        copied(str(tmp_path), tmp_path)
    assert (tmp_path / "stuntdouble-0badcafe.raw").read_bytes() == b"precious"


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(NotFound, match="none"):
        copied(str(tmp_path / "none"), tmp_path)


def hole(request: nbd.Request, offset: int, length: int) -> list[bytes]:
    return [nbd.hole_chunk(request.cookie, offset, length), nbd.done_chunk(request.cookie)]


WRONG = {
    "error": (lambda r: [nbd.error_chunk(r.cookie, Errno.EIO, "bad")], MediumError),
    "simple error": (lambda r: [nbd.simple_reply(Errno.EIO, r.cookie)], MediumError),
    "hang up": (lambda _: [], Unreachable),
    "half a reply": (lambda r: [nbd.data_chunk(r.cookie, r.offset, r.length)[:9]], None),
    "nobody's": (lambda r: [nbd.simple_reply(Errno.OK, r.cookie + 1)], Misuse),
    "beyond": (lambda r: hole(r, r.offset + 512, r.length), Misuse),
    "before": (lambda r: hole(r, r.offset - 512, 512), Misuse),
    "too little": (lambda r: hole(r, r.offset, r.length - 512), Misuse),
    "nothing": (lambda r: [nbd.done_chunk(r.cookie)], Misuse),
    "status": (lambda r: [nbd.status_chunk(r.cookie, 1, [(512, 0)], done=True)], Misuse),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_not_believed(name, tmp_path, monkeypatch) -> None:
    answer, error = WRONG[name]
    if error is None:
        monkeypatch.setattr(copying, "_ANSWER_SECONDS", 0.5)
        error = Unreachable
    stub = Stub(bytes(4096), answer=answer)
    if name == "before":
        stub.data = bytes(2 * MIB)
        stub.answer = lambda r: answer(r) if r.offset else stub.read(r)
    with serving(stub) as source, pytest.raises(error, match=source.uri):
        copied(source.uri, tmp_path)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"refusal": Reply.ERR_UNKNOWN}, NotFound),
        ({"refusal": Reply.ERR_POLICY}, AccessDenied),
        ({"refusal": Reply.ERR_SHUTDOWN}, Unsupported),
        ({"described": False}, Misuse),
        ({"greeting": b"NBDMAGIC" + bytes(10)}, Misuse),
        ({"greeting": nbd.greeting()[:-2] + bytes(2)}, Unsupported),
        ({"greeting": b"x"}, Unreachable),
    ],
)
def test_a_server_that_refuses_is_quoted(how, error, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(copying, "_ANSWER_SECONDS", 0.5)
    with serving(Stub(bytes(4096), **how)) as source, pytest.raises(error):
        copied(source.uri, tmp_path)


def test_nobody_there_is_told(tmp_path) -> None:
    with serving(Stub(b"")) as source:
        pass
    with pytest.raises(Unreachable, match="refused"):
        copied(source.uri, tmp_path)
