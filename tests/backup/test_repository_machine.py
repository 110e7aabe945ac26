"""The repository against a dictionary of byte arrays, and against kills at any system call."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from backup.repository_parts import CHUNK, SIZES, content, pattern, point_of, spots, write_point
from stuntdouble.backup import draft as draft_module
from stuntdouble.backup.repository import Repository
from stuntdouble.errors import InvalidState, NotFound
from stuntdouble.errors import TaskInProgress as Busy
from stuntdouble.extents import Runs


class Histories(RuleBasedStateMachine):
    """Any order of begin, write, zero, commit, discard, delete, collect, reopen and crash."""

    drafts = Bundle("drafts")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="repository-"))
        self.path = self.folder / "here"
        self.repository = Repository.open(self.path, chunk_bytes=CHUNK, pack_bytes=3 * CHUNK)
        self.committed = {}
        self.given = set()
        self.open = []

    @initialize()
    def small_buffer(self):
        # Two partial chunks in memory, so that spilling is the rule.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(draft_module, "PARTIAL_BYTES_MAX", 2 * CHUNK)

    @rule(target=drafts, sizes=st.lists(SIZES, min_size=1, max_size=2), data=st.data())
    def begin(self, sizes, data):
        disks = dict(enumerate(sizes))
        parent = data.draw(st.sampled_from(["", *sorted(self.committed)]))
        draft = self.repository.begin(disks, parent)
        model = {}
        for key, size in disks.items():
            below = self.committed[parent].get(key, b"") if parent else b""
            model[key] = bytearray(below[:size].ljust(size, b"\0"))
        handle = (draft, disks, model)
        self.open.append(handle)
        return handle

    @rule(handle=drafts, data=st.data(), seed=st.integers(0, 3))
    def write(self, handle, data, seed):
        draft, disks, model = handle
        if draft not in [d for d, _, _ in self.open]:
            return
        key = data.draw(st.sampled_from(sorted(disks)))
        start, stop = sorted((data.draw(spots(disks[key])), data.draw(spots(disks[key]))))
        payload = pattern(seed, stop - start) if seed else bytes(stop - start)
        draft.write(key, start, memoryview(payload))
        model[key][start:stop] = payload

    @rule(handle=drafts, data=st.data())
    def zero(self, handle, data):
        draft, disks, model = handle
        if draft not in [d for d, _, _ in self.open]:
            return
        key = data.draw(st.sampled_from(sorted(disks)))
        spot = spots(disks[key])
        pairs = data.draw(st.lists(st.tuples(spot, spot), max_size=3))
        runs = Runs.of([(min(pair), abs(pair[0] - pair[1])) for pair in pairs])
        draft.zero(key, runs)
        for start, length in runs:
            model[key][start : start + length] = bytes(length)

    @rule(handle=consumes(drafts), moment=st.integers(0, 5))
    def commit(self, handle, moment):
        draft, disks, model = handle
        if handle not in self.open:
            return
        self.open.remove(handle)
        point = draft.commit(point_of(disks, float(moment)))
        assert point.id not in self.given
        self.given.add(point.id)
        self.committed[point.id] = {key: bytes(data) for key, data in model.items()}
        with pytest.raises(InvalidState):
            draft.commit(point_of(disks))

    @rule(handle=consumes(drafts))
    def discard(self, handle):
        handle[0].discard()
        handle[0].discard()
        if handle in self.open:
            self.open.remove(handle)

    @rule(data=st.data())
    def delete(self, data):
        name = data.draw(st.sampled_from([*sorted(self.committed), "nobody"]))
        if name == "nobody":
            with pytest.raises(NotFound):
                self.repository.delete(name)
        else:
            self.repository.delete(name)
            del self.committed[name]

    @rule()
    def collect(self):
        if self.open:
            with pytest.raises(Busy):
                self.repository.collect()
            return
        self.repository.collect()
        assert self.repository.collect() == 0
        named = {
            data[start : start + CHUNK].ljust(CHUNK, b"\0")
            for disks in self.committed.values()
            for data in disks.values()
            for start in range(0, len(data), CHUNK)
        } - {bytes(CHUNK)}
        store = self.repository._store
        kept = [digest for pack in store.packs() for digest in store.chunks(pack)]
        assert len(kept) == len(named)

    @rule(target=drafts)
    def reopen(self):
        self.repository.close()
        self.open.clear()
        assert list((self.path / "drafts").glob("*")) == []
        self.repository = Repository.open(self.path, chunk_bytes=CHUNK, pack_bytes=3 * CHUNK)
        return multiple()

    @invariant()
    def committed_points_read_as_they_were(self):
        assert {p.id for p in self.repository.points()} == set(self.committed)
        for name, disks in self.committed.items():
            for key, data in disks.items():
                assert content(self.repository, name, key) == data

    @rule()
    def crash(self):
        """What lies on disk at this instant is a whole repository without the drafts."""
        copy = self.folder / "copy"
        shutil.copytree(self.path, copy)
        with Repository.open(copy) as survivor:
            assert list((copy / "drafts").iterdir()) == []
            assert {p.id for p in survivor.points()} == set(self.committed)
            assert survivor.verify() == []
            for name, disks in self.committed.items():
                for key, data in disks.items():
                    assert content(survivor, name, key) == data
        shutil.rmtree(copy)

    def teardown(self):
        self.patch.undo()
        self.repository.close()
        shutil.rmtree(self.folder)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=40)


@given(
    kill_at=st.integers(0, 14),
    step=st.sampled_from(["replace", "fsync", "pwrite", "close"]),
    after=st.booleans(),
    act=st.sampled_from(["commit", "collect"]),
)
@settings(max_examples=120)
def test_a_kill_at_any_system_call_leaves_all_or_nothing(kill_at, step, after, act):
    class Killed(BaseException):
        pass

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        repository = Repository.open(path, chunk_bytes=CHUNK, pack_bytes=2 * CHUNK)
        old = write_point(repository, {1: pattern(1, 5 * CHUNK)})
        junk = write_point(repository, {1: pattern(2, 2 * CHUNK) + pattern(1, 3 * CHUNK)})
        repository.delete(junk.id)
        real, calls = getattr(os, step), 0

        def deadly(*arguments):
            nonlocal calls
            calls += 1
            if calls == kill_at + 1:
                if after:
                    real(*arguments)
                patch.undo()
                shutil.copytree(path, copy)  # as it is now: no clean-up has run
                raise Killed
            return real(*arguments)

        copy = Path(folder) / "copy"
        new = pattern(7, 5 * CHUNK - 3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, step, deadly)
            try:
                if act == "collect":
                    repository.collect()
                else:
                    write_point(repository, {1: new}, old.id, moment=1.0)
            except Killed:
                pass
        if not copy.exists():  # it took fewer calls than that
            shutil.copytree(path, copy)
        with Repository.open(copy) as survivor:
            assert survivor.verify() == []
            assert content(survivor, old.id, 1) == pattern(1, 5 * CHUNK)
            for point in survivor.points():
                assert point.id == old.id or content(survivor, point.id, 1) == new
            survivor.collect()
            assert survivor.verify() == []
            assert content(survivor, old.id, 1) == pattern(1, 5 * CHUNK)
