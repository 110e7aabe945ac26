"""What the repository detects, bounds and refuses."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.repository_parts import CHUNK, content, pattern, point_of, write_point
from stuntdouble.backup import draft as draft_module
from stuntdouble.backup import files as files_module
from stuntdouble.backup.repository import Repository
from stuntdouble.content import known_zeros, zeros
from stuntdouble.errors import DigestMismatch, InvalidState, Misuse, NoSpace, NotFound
from stuntdouble.errors import TaskInProgress as Busy
from stuntdouble.extents import Runs


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "r"
    with Repository.open(path, chunk_bytes=512) as repository:
        first = write_point(repository, {1: pattern(1, 2048), 2: bytes(512) + pattern(2, 700)})
        write_point(repository, {1: pattern(3, 2048)}, first.id, moment=1.0)
    return path


@given(data=st.data())
@settings(max_examples=150)
def test_a_changed_byte_is_always_detected(whole, data):
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "r"
        shutil.copytree(whole, copy)
        files = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
        victim = data.draw(st.sampled_from(files))
        raw = bytearray(victim.read_bytes())
        spot = data.draw(st.integers(0, len(raw) - 1))
        raw[spot] ^= data.draw(st.integers(1, 255))
        victim.write_bytes(raw)
        if victim.name == "repository.json":
            with pytest.raises(DigestMismatch, match=r"repository\.json"):
                Repository.open(copy)
            return
        with Repository.open(copy) as repository, Repository.open(whole) as good:
            problems = repository.verify()
            assert any(victim.name in problem for problem in problems)
            for point in good.points():
                for disk in point.disks:
                    try:
                        read = content(repository, point.id, disk.key)
                    except DigestMismatch:
                        continue
                    assert read == content(good, point.id, disk.key)


def test_a_damaged_chunk_names_its_pack_and_its_restore_point(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        point = write_point(repository, {3: os.urandom(512)})
        pack = next((tmp_path / "r" / "packs").iterdir())
        raw = bytearray(pack.read_bytes())
        raw[40] ^= 1
        pack.write_bytes(raw)
        with pytest.raises(DigestMismatch, match=f"{pack.name}.*disk 3 of .*{point.id}"):
            content(repository, point.id, 3)
        assert any("damaged" in problem for problem in repository.verify())


def test_damage_is_found_where_it_is_before_anything_is_made_of_it(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        point = write_point(repository, {1: pattern(1, 1024)})
    pack = next((tmp_path / "r" / "packs").iterdir())
    manifest = tmp_path / "r" / "points" / f"{point.id}.point"
    whole = {path: path.read_bytes() for path in (pack, manifest)}
    for path, from_end, words in ((pack, 60, "entries"), (manifest, 5, "map")):
        raw = bytearray(whole[path])
        raw[-from_end] ^= 1
        path.write_bytes(raw)
        with Repository.open(tmp_path / "r") as repository:
            assert any(f"{path}, {words}" in problem for problem in repository.verify())
        path.write_bytes(whole[path])


def test_a_draft_sees_what_one_beside_it_has_committed(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        first, second = (repository.begin({1: 512}) for _ in range(2))
        first.write(1, 0, memoryview(pattern(1, 512)))
        assert first.commit(point_of({1: 512})).bytes_stored > 0
        second.write(1, 0, memoryview(pattern(1, 512)))
        assert second.commit(point_of({1: 512}, 1.0)).bytes_stored == 0


def test_a_missing_pack_is_an_error_and_never_zeros(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        point = write_point(repository, {1: pattern(1, 512)})
        next((tmp_path / "r" / "packs").iterdir()).unlink()
        with pytest.raises(DigestMismatch, match="absent"):
            content(repository, point.id, 1)
        assert any("missing" in problem for problem in repository.verify())


@pytest.mark.parametrize("keep", [0, 7, 60])
def test_a_truncated_pack_is_reported_and_not_collected(tmp_path, keep):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        point = write_point(repository, {1: pattern(1, 512)})
        repository.delete(point.id)
        pack = next((tmp_path / "r" / "packs").iterdir())
        pack.write_bytes(pack.read_bytes()[:keep])
    with Repository.open(tmp_path / "r") as repository:
        with pytest.raises(DigestMismatch, match=pack.name):
            repository.collect()
        assert pack.exists()
        assert any(pack.name in problem for problem in repository.verify())


def test_a_damaged_manifest_is_not_left_out_in_silence(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        bad = write_point(repository, {1: pattern(1, 512)})
        good = write_point(repository, {1: pattern(2, 512)})
        path = tmp_path / "r" / "points" / f"{bad.id}.point"
        path.write_bytes(b"x" + path.read_bytes()[1:])
        with pytest.raises(DigestMismatch, match=path.name):
            repository.points()
        assert content(repository, good.id, 1) == pattern(2, 512)
        repository.delete(bad.id)
        assert [point.id for point in repository.points()] == [good.id]


def test_a_manifest_under_another_name_is_reported(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        point = write_point(repository, {1: pattern(1, 512)})
        path = tmp_path / "r" / "points" / f"{point.id}.point"
        path.rename(path.with_name("other-1.point"))
        assert repository.verify() == [
            f"{path.with_name('other-1.point')}: is the restore point {point.id}"
        ]


def test_equal_chunks_are_stored_once_and_zeros_never(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=CHUNK) as repository:
        zeros = write_point(repository, {1: bytes(100 * CHUNK)})
        assert zeros.bytes_stored == 0
        assert list((tmp_path / "r" / "packs").iterdir()) == []
        data = os.urandom(CHUNK)
        once = write_point(repository, {1: data * 50}, moment=1.0)
        again = write_point(repository, {1: data * 20}, moment=2.0)
        assert CHUNK <= once.bytes_stored < 2 * CHUNK
        assert (again.bytes_stored, again.bytes_read) == (0, 20 * CHUNK)


def test_memory_is_bounded_however_the_writes_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(draft_module, "PARTIAL_BYTES_MAX", 4 * CHUNK)
    with Repository.open(tmp_path / "r", chunk_bytes=CHUNK) as repository:
        draft = repository.begin({1: 64 * CHUNK})
        for turn in range(3):
            for index in range(63, -1, -1):
                draft.write(1, index * CHUNK + turn * 100, memoryview(b"%03d" % index))
                assert len(draft._partials) <= 4
        point = draft.commit(point_of({1: 64 * CHUNK}))
        data = content(repository, point.id, 1)
        for index in range(64):
            chunk = data[index * CHUNK : (index + 1) * CHUNK]
            assert [chunk[t * 100 : t * 100 + 3] for t in range(3)] == [b"%03d" % index] * 3


def test_a_later_write_wins_over_a_part_that_still_waits(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        draft = repository.begin({1: 1536})
        for start in (100, 700, 1200):
            draft.write(1, start, memoryview(b"old"))
        draft.write(1, 0, memoryview(b"n" * 512))
        draft.zero(1, Runs.single(512, 512))
        point = draft.commit(point_of({1: 1536}))
        expected = b"n" * 512 + bytes(512) + bytes(176) + b"old" + bytes(333)
        assert content(repository, point.id, 1) == expected


def test_what_a_smaller_disk_cut_off_does_not_come_back_when_it_grows(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        large = write_point(repository, {1: b"a" * 1024})
        small = repository.begin({1: 700}, large.id).commit(point_of({1: 700}, 1.0))
        grown = repository.begin({1: 2000}, small.id).commit(point_of({1: 2000}, 2.0))
        assert content(repository, small.id, 1) == b"a" * 700
        assert content(repository, grown.id, 1) == b"a" * 700 + bytes(1300)


def test_ids_count_per_vm_and_method_and_are_never_given_twice(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        names = ["web", "web-storage", "a/../b c", ".", "仮想" * 40]
        for vm in names:
            for number in (1, 2, 3):
                point = write_point(repository, {1: b"x"}, vm=vm)
                assert point.id == f"{vm}-storage-{number}"
                if number < 3:
                    repository.delete(point.id)
                    repository.collect()
        assert {p.vm for p in repository.points()} == set(names)
        with pytest.raises(InvalidState, match="committed"):
            write_point(repository, {1: b"y"}, id_="web-storage-3")


def test_one_process_writes_at_a_time_and_others_read(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as one:
        point = write_point(one, {1: b"a" * 512})
        draft = one.begin({1: 512})
        draft.write(1, 0, memoryview(b"b" * 512))
        with Repository.open(tmp_path / "r") as other:
            for attempt in (
                lambda: other.begin({1: 1}),
                lambda: other.delete(point.id),
                other.collect,
            ):
                with pytest.raises(Busy, match="another writer"):
                    attempt()
            assert content(other, point.id, 1) == b"a" * 512
            second = draft.commit(point_of({1: 512}, 1.0))  # the leftover cleaning spared it
            assert content(other, second.id, 1) == b"b" * 512
            other.delete(point.id)
            other.collect()
        assert content(one, second.id, 1) == b"b" * 512
        with pytest.raises(NotFound):
            one.begin({1: 512}, point.id)
        # The lock is not kept by the failure, and the collected chunk is stored anew.
        assert write_point(one, {1: b"a" * 512}, moment=2.0).bytes_stored > 0
        assert one.verify() == []


def test_the_lock_ends_with_its_process(tmp_path):
    code = (
        "import os, sys\n"
        "from stuntdouble.backup.repository import Repository\n"
        "draft = Repository.open(sys.argv[1], chunk_bytes=512).begin({1: 1024})\n"
        "draft.write(1, 0, memoryview(b'x' * 700))\n"
        "os._exit(9)\n"
    )
    path = tmp_path / "r"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    assert list((path / "drafts").iterdir()) != []
    with Repository.open(path) as repository:
        assert list((path / "drafts").iterdir()) == []
        assert repository.points() == ()
        assert write_point(repository, {1: b"y" * 1024}).id == "web-storage-1"


def test_drafts_side_by_side_do_not_disturb_each_other(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        drafts = [repository.begin({1: 2048}) for _ in range(3)]
        for start in range(0, 2048, 256):
            for number, draft in enumerate(drafts):
                draft.write(1, start, memoryview(pattern(number, 256)))
        points = [draft.commit(point_of({1: 2048}, float(n))) for n, draft in enumerate(drafts[1:])]
        drafts[0].discard()
        assert [content(repository, p.id, 1)[:256] for p in points] == [
            pattern(1, 256),
            pattern(2, 256),
        ]
        assert repository.verify() == []


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        draft = repository.begin({1: 4096})
        draft.write(1, 0, memoryview(os.urandom(512)))

        def full(descriptor, data, offset):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(NoSpace, match="is full"):
            draft.write(1, 512, memoryview(os.urandom(512)))
        draft.discard()
        with pytest.raises(NoSpace):
            repository.begin({1: 512}).write(1, 0, memoryview(os.urandom(512)))
        monkeypatch.undo()
    assert list((tmp_path / "r" / "drafts").iterdir()) == []


def test_a_commit_that_failed_may_be_tried_again(tmp_path, monkeypatch):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        draft = repository.begin({1: 700})
        draft.write(1, 0, memoryview(b"z" * 600))

        def broken(source, target):
            if Path(target).suffix == ".point":
                raise OSError(5, "Input/output error")
            return rename(source, target)

        rename = os.replace
        monkeypatch.setattr(files_module.os, "replace", broken)
        with pytest.raises(Misuse, match="Input/output error"):
            draft.commit(point_of({1: 700}))
        assert repository.points() == ()
        monkeypatch.undo()
        point = draft.commit(point_of({1: 700}))
        assert content(repository, point.id, 1) == b"z" * 600 + bytes(100)


def test_only_what_need_not_be_durable_leaves_the_disk_to_the_system(tmp_path, monkeypatch):
    synced = []
    for durable in (True, False):
        path = tmp_path / str(durable)
        with Repository.open(path, chunk_bytes=512, durable=durable) as repository:
            with monkeypatch.context() as patch:
                patch.setattr(files_module.os, "fsync", synced.append)
                point = write_point(repository, {1: pattern(1, 700)})
            assert content(repository, point.id, 1) == pattern(1, 700)
            assert repository.verify() == []
        assert bool(synced) == durable
        synced.clear()


def test_what_is_no_repository_is_refused_in_one_line(tmp_path):
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"meow")
    (tmp_path / "file").write_bytes(b"")
    newer = tmp_path / "newer"
    Repository.open(newer, chunk_bytes=512).close()
    from stuntdouble.backup.layout import FORMAT
    from stuntdouble.backup.manifest import sealed

    (newer / "repository.json").write_bytes(sealed({"format": FORMAT, "version": 3}))
    older = tmp_path / "older"
    older.mkdir()
    line = json.dumps({"format": FORMAT, "version": 1}).encode() + b"\n"
    seal = hashlib.sha256(line).hexdigest().encode() + b"\n"
    (older / "repository.json").write_bytes(line + seal)
    other = tmp_path / "other"
    other.mkdir()
    (other / "repository.json").write_bytes(sealed({"format": "something", "version": 1}))
    longer = tmp_path / "longer"
    Repository.open(longer, chunk_bytes=512).close()
    for path, error, words in (
        (foreign, Misuse, "in use"),
        (tmp_path / "file", Misuse, "not a directory"),
        (tmp_path / "file" / "below", Misuse, "cannot be used"),
        (newer, Misuse, "newer program"),
        (older, Misuse, "format version 1"),
        (other, Misuse, "not a stuntdouble repository"),
    ):
        with pytest.raises(error, match=words) as caught:
            Repository.open(path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)
    assert [path.name for path in foreign.iterdir()] == ["cat.jpg"]
    with pytest.raises(Misuse, match="has chunks of 512 B"):
        Repository.open(longer, chunk_bytes=1024)
    with (longer / "repository.json").open("ab") as file:
        file.write(b"tail")
    with pytest.raises(DigestMismatch, match=r"repository\.json"):
        Repository.open(longer)
    for chunk_bytes in (-512, 100, 1 << 30):
        with pytest.raises(Misuse, match="512 B"):
            Repository.open(tmp_path / "new", chunk_bytes=chunk_bytes)


def test_a_directory_that_cannot_be_written_is_misuse(tmp_path, monkeypatch):
    path = tmp_path / "r"
    with Repository.open(path, chunk_bytes=512) as repository:
        point = write_point(repository, {1: b"a" * 512})
    real = os.open

    def read_only(name, flags, *rest, **more):  # (a test may run as root, whom no mode stops)
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(30, "Read-only file system")
        return real(name, flags, *rest, **more)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(Misuse, match="Read-only"):
        Repository.open(tmp_path / "new")
    with Repository.open(path) as repository:  # reading still works
        assert content(repository, point.id, 1) == b"a" * 512
        with pytest.raises(Misuse, match="Read-only"):
            repository.begin({1: 512})
        monkeypatch.undo()
        assert write_point(repository, {1: b"b" * 512}).id == "web-storage-2"


def test_a_creation_that_was_cut_off_is_taken_up_again(tmp_path):
    path = tmp_path / "r"
    path.mkdir()
    (path / "repository.json.tmp").write_bytes(b'{"chu')
    with Repository.open(path) as repository:
        assert repository.chunk_bytes == 256 * 1024


def test_requests_that_make_no_sense_are_refused(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        with pytest.raises(Misuse, match="capacities"):
            repository.begin({1: -1})
        with pytest.raises(NotFound):
            repository.begin({1: 1}, "nobody")
        draft = repository.begin({1: 100})
        with pytest.raises(Misuse, match="not within"):
            draft.write(1, 90, memoryview(bytes(11)))
        with pytest.raises(NotFound):
            draft.zero(2, Runs.single(0, 1))
        with pytest.raises(Misuse, match="not those of its draft"):
            draft.commit(point_of({1: 101}))
        point = draft.commit(point_of({1: 100}))
        with pytest.raises(InvalidState, match="committed"):
            draft.write(1, 0, memoryview(b"x"))
        for start, length in ((-1, 1), (0, 101), (101, 0), (5, -1)):
            with pytest.raises(Misuse, match="not within"):
                repository.read(point.id, 1, start, length)
        with pytest.raises(NotFound):
            repository.read(point.id, 2, 0, 1)
        with pytest.raises(NotFound):
            repository.read("nobody", 1, 0, 1)
        assert list(repository.read(point.id, 1, 100, 0)) == []


def test_a_reader_follows_a_collection_by_another_process(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as writer:
        keep = write_point(writer, {1: pattern(1, 512)})
        gone = writer.begin({1: 1024})
        gone.write(1, 0, memoryview(pattern(4, 512)))
        gone.write(1, 512, memoryview(pattern(5, 512)))
        both = gone.commit(point_of({1: 1024}, 1.0))
        half = write_point(writer, {1: pattern(5, 512)}, moment=2.0)
        with Repository.open(tmp_path / "r") as reader:
            assert content(reader, half.id, 1) == pattern(5, 512)
            writer.delete(both.id)
            assert writer.collect() > 0
            reader._store.close()
            assert content(reader, half.id, 1) == pattern(5, 512)
            assert content(reader, keep.id, 1) == pattern(1, 512)


def test_flock_is_what_guards(tmp_path):
    with Repository.open(tmp_path / "r", chunk_bytes=512) as repository:
        with (tmp_path / "r" / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with pytest.raises(Busy):
                repository.begin({})
        repository.begin({}).discard()


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=8), st.integers(-300, 0), st.integers(0, 40)
)
@settings(max_examples=50)
def test_stored_says_where_a_disk_has_chunks(kinds, less, seed):
    data = b"".join(bytes(512) if kind == 0 else pattern(seed + kind, 512) for kind in kinds)
    data = data[: len(data) + less]
    with tempfile.TemporaryDirectory() as folder, Repository.open(folder, chunk_bytes=512) as kept:
        point = write_point(kept, {1: data})
        chunks = [(at, len(data[at : at + 512])) for at in range(0, len(data), 512)]
        held = Runs.of([(at, size) for at, size in chunks if any(data[at : at + size])])
        assert kept.stored(point.id, 1) == held
        with pytest.raises(NotFound):
            kept.stored(point.id, 2)


@given(st.data())
@settings(max_examples=50)
def test_zeros_that_are_known_read_as_those_that_are_not(data):
    """Over a parent, next to other writes, up to the end: wherever a span of them may lie."""
    size = data.draw(st.integers(1, 6 * 512))
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2)))
    known = zeros(stop - start).data
    assert known_zeros(known)
    with tempfile.TemporaryDirectory() as folder, Repository.open(folder, chunk_bytes=512) as kept:
        below = write_point(kept, {1: pattern(1, size)})
        draft = kept.begin({1: size}, below.id)
        at = data.draw(st.integers(0, size))
        draft.write(1, at, memoryview(pattern(2, size - at)))
        draft.write(1, start, known)
        point = draft.commit(point_of({1: size}))
        expected = bytearray(pattern(1, size)[:at] + pattern(2, size - at))
        expected[start:stop] = bytes(stop - start)
        assert content(kept, point.id, 1) == bytes(expected)
        assert point.bytes_read == size - at + stop - start
