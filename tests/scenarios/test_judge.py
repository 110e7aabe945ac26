"""The check has teeth: one wrong byte anywhere is found, and named."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.living import live
from scenarios.tiny import live_through, tiny
from stuntdouble.extents import OffsetTable, Runs, State
from stuntdouble.ports import ChangedPage, Consistency, DiskPoint, Kind, RestorePoint
from stuntdouble.scenarios import comparing, doors, judge


def _verdicts(result):
    return {(m, p.kind): p.verified for m, r in result.methods.items() for p in r.restore_points}


def test_an_honest_run_is_verified_by_every_method(tmp_path):
    result = live_through(tiny(), tmp_path)
    assert _verdicts(result) == {
        ("software", "full"): True,
        ("software", "incremental"): True,
        ("storage", "full"): True,
        ("storage", "incremental"): True,
        ("mounted", "full"): True,
    }
    assert all(r.leftovers == () for r in result.methods.values())


class ShiftsARow(doors.LocalHypervisor):
    """Tells a place that is one block off for one row of the offset table."""

    async def offset_table(self, snapshot, disk):
        table = await super().offset_table(snapshot, disk)
        rows = [tuple(row) for row in table]
        written = [i for i, row in enumerate(rows) if row[4] == State.WRITTEN]
        volume, at, there, length, state = rows[written[-1]]
        rows[written[-1] : written[-1] + 1] = [
            (volume, at, there + 4096, length - 4096, state),
            (-1, at + length - 4096, 0, 4096, State.HOLE),
        ]
        return OffsetTable(table.volumes, table.capacity, rows)


class DropsAnArea(doors.LocalHypervisor):
    """Forgets the last changed area of every page."""

    async def changed_ranges(self, snapshot, disk, since, start):
        page = await super().changed_ranges(snapshot, disk, since, start)
        if since == "*":
            return page
        kept = Runs.of(list(page.extents)[:-1])
        return ChangedPage(page.start, page.covered, kept)


@pytest.mark.parametrize(
    ("liar", "wrong"),
    [
        (ShiftsARow, ("storage", "full")),
        (DropsAnArea, ("storage", "incremental")),
        (DropsAnArea, ("software", "incremental")),
    ],
)
def test_a_lie_about_places_or_changes_is_found(liar, wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(doors, "LocalHypervisor", liar)
    result = live_through(tiny(), tmp_path, methods=(wrong[0],))
    assert _verdicts(result)[wrong] is False


@pytest.mark.parametrize("liar", [ShiftsARow, DropsAnArea])
def test_the_mounted_method_asks_for_neither(liar, tmp_path, monkeypatch):
    monkeypatch.setattr(doors, "LocalHypervisor", liar)
    result = live_through(tiny(), tmp_path, methods=("mounted",))
    assert _verdicts(result) == {("mounted", "full"): True}


class TooLate(comparing.LocalArray):
    """Takes the array snapshot a second after it was asked for, when the guest has gone on.

    Without a VM snapshot in between that would be another image; with it, it must not matter.
    """

    async def create_snapshots(self, naas, name):
        await asyncio.sleep(1)
        return await super().create_snapshots(naas, name)


def test_an_array_snapshot_may_come_later_than_the_vm_snapshot(tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "LocalArray", TooLate)
    result = live_through(tiny(), tmp_path, methods=("storage", "mounted"))
    assert all(_verdicts(result).values())


class Forgets(doors.LocalHypervisor):
    """Removes the VM snapshot before the array snapshot is taken."""

    async def offset_table(self, snapshot, disk):
        table = await super().offset_table(snapshot, disk)
        await self.remove_snapshot(snapshot)
        return table


def test_an_array_snapshot_without_the_vm_snapshot_is_found(tmp_path, monkeypatch):
    """The base disk goes on changing: what is read is of no single instant."""
    monkeypatch.setattr(doors, "LocalHypervisor", Forgets)
    table = tiny(backup={"runs": ["full"]})
    result = live_through(table, tmp_path, methods=("storage",))
    assert _verdicts(result) in ({("storage", "full"): False}, {})
    assert _verdicts(result) or result.methods["storage"].runs[0].outcome != "ok"


@pytest.mark.parametrize("method", ["software", "storage", "mounted"])
def test_one_corrupted_block_is_found(method, tmp_path, monkeypatch):
    honest = comparing.Run.verify
    original = comparing.Repository.begin

    def begin(self, disks, parent=""):
        draft = original(self, disks, parent)
        write, spoiled = draft.write, []

        def spoil(disk, offset, data):
            if not spoiled and len(data) > 5000:
                spoiled.append(offset)
                data = memoryview(bytes(data[:4700]) + bytes([data[4700] ^ 1]) + bytes(data[4701:]))
            write(disk, offset, data)

        monkeypatch.setattr(draft, "write", spoil, raising=False)
        return draft

    monkeypatch.setattr(comparing.Repository, "begin", begin)
    found = []

    def verify(self, point):
        honest(self, point)
        found.extend(self.differences[point.id])

    monkeypatch.setattr(comparing.Run, "verify", verify)
    table = tiny(backup={"runs": ["full"]})
    result = live_through(table, tmp_path, methods=(method,))
    assert _verdicts(result) == {(method, "full"): False}
    assert found[0].offset % 4096 == 604
    assert "write " in str(found[0])


# The comparison itself. --------------------------------------------------------------------------

SIZE = 1 << 20


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A moment of a disk of 1 MiB that its guest writes, and the bytes of it."""
    table = tiny(backup={"runs": ["full"]})
    table["vms"][0]["disks"][0] |= {"size": "1 MiB", "written": "512 KiB"}
    table["vms"][0]["load"] |= {"working_set": "1 MiB"}
    lived = live(table, tmp_path_factory.mktemp("frozen"), methods=("software",))
    run = lived.runs["software"]
    moment = run.moments(run.points[0])[2000]
    site = run.world.site
    return site, moment, site.render(site.truth(moment, 0, moment.disk.blocks)).tobytes()


def pieces(data, cuts):
    edges = [0, *sorted(cuts), len(data)]
    return [memoryview(data[a:b]) for a, b in pairwise(edges)]


cuts = st.lists(st.integers(0, SIZE), max_size=6)


@given(cuts)
@settings(max_examples=25)
def test_the_truth_does_not_differ_wherever_it_is_cut(frozen, cuts):
    site, moment, data = frozen
    assert len(data) == SIZE
    assert any(data)
    assert judge.first_difference(site, moment, pieces(data, cuts)) is None


@given(cuts, st.integers(0, SIZE - 1), st.integers(1, 255))
@settings(max_examples=50)
def test_one_wrong_byte_anywhere_is_found_where_it_is(frozen, cuts, at, flip):
    site, moment, data = frozen
    wrong = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
    found = judge.first_difference(site, moment, pieces(wrong, cuts))
    assert found is not None
    assert found[0] == at
    truth = judge.Truth(site, moment)
    assert truth.wrong_bytes(0, memoryview(wrong)) == 1
    assert truth.wrong_bytes(at, memoryview(wrong)[at:]) == 1
    assert truth.wrong_bytes(at + 1, memoryview(wrong)[at + 1 :]) == 0


@given(st.integers(0, SIZE - 1))
@settings(max_examples=25)
def test_a_disk_that_ends_early_differs(frozen, stop):
    site, moment, data = frozen
    found = judge.first_difference(site, moment, pieces(data[:stop], []))
    assert found == (stop, "the end of the disk elsewhere")


# A restore point, of which a repository keeps chunks. -----------------------------------------------


class Keeps:
    """A repository that says where it has chunks of a disk, and what they hold."""

    chunk = 64 << 10

    def __init__(self, data, chunks):
        self.data = bytearray(len(data))
        self.chunks = Runs.of([(index * self.chunk, self.chunk) for index in chunks])
        for start, length in self.chunks:
            self.data[start : start + length] = data[start : start + length]

    def stored(self, point, disk):
        return self.chunks

    def read(self, point, disk, start, length):
        for at in range(start, start + length, 5000):
            yield memoryview(self.data)[at : min(at + 5000, start + length)]


def check(frozen, repository):
    site, moment, _ = frozen
    disks = (DiskPoint(2000, moment.disk.size_bytes, ""),)
    point = RestorePoint("p", "vm", "storage", Kind.FULL, 0.0, Consistency.CRASH, disks)
    return [
        (found.disk, found.offset)
        for found in judge.check_point(site, repository, point, {2000: moment})
    ]


CHUNKS = SIZE // Keeps.chunk


def needed(data):
    """Chunks of which the truth is not all zeros."""
    return {i for i in range(CHUNKS) if any(data[i * Keeps.chunk : (i + 1) * Keeps.chunk])}


def first_nonzero(data, start):
    return next(at for at in range(start, len(data)) if data[at])


@given(st.sets(st.integers(0, CHUNKS - 1)))
@settings(max_examples=25)
def test_chunks_of_zeros_may_be_kept_and_may_be_left_out(frozen, more):
    _, _, data = frozen
    assert check(frozen, Keeps(data, needed(data) | more)) == []


@given(st.data())
@settings(max_examples=25)
def test_a_hole_where_the_truth_is_not_zero_is_found(frozen, data):
    _, _, truth = frozen
    gone = data.draw(st.sets(st.sampled_from(sorted(needed(truth))), min_size=1))
    expected = first_nonzero(truth, min(gone) * Keeps.chunk)
    assert check(frozen, Keeps(truth, needed(truth) - gone)) == [(2000, expected)]


@given(st.data())
@settings(max_examples=25)
def test_a_chunk_of_zeros_where_the_truth_is_not_zero_is_found(frozen, data):
    _, _, truth = frozen
    gone = data.draw(st.sampled_from(sorted(needed(truth))))
    repository = Keeps(truth, range(CHUNKS))
    repository.data[gone * Keeps.chunk : (gone + 1) * Keeps.chunk] = bytes(Keeps.chunk)
    expected = first_nonzero(truth, gone * Keeps.chunk)
    assert check(frozen, repository) == [(2000, expected)]


@given(st.integers(0, SIZE - 1), st.integers(1, 255))
@settings(max_examples=50)
def test_a_wrong_byte_of_a_chunk_is_found_where_the_truth_is_zero_as_well(frozen, at, flip):
    _, _, truth = frozen
    repository = Keeps(truth, needed(truth) | {at // Keeps.chunk})
    repository.data[at] ^= flip
    assert check(frozen, repository) == [(2000, at)]


@given(st.data())
@settings(max_examples=25)
def test_the_first_of_two_differences_is_named(frozen, data):
    _, _, truth = frozen
    gone = data.draw(st.sampled_from(sorted(needed(truth))))
    repository = Keeps(truth, needed(truth) - {gone})
    at = data.draw(st.sampled_from(sorted(needed(truth) - {gone}))) * Keeps.chunk + 77
    repository.data[at] ^= 1
    expected = min(at, first_nonzero(truth, gone * Keeps.chunk))
    assert check(frozen, repository) == [(2000, expected)]


def test_a_restore_point_of_another_size_differs(frozen):
    site, moment, data = frozen
    disks = (DiskPoint(2000, SIZE - 4096, ""),)
    point = RestorePoint("p", "vm", "storage", Kind.FULL, 0.0, Consistency.CRASH, disks)
    found = judge.check_point(site, Keeps(data, range(CHUNKS)), point, {2000: moment})
    assert [(d.offset, d.expected) for d in found] == [
        (SIZE - 4096, "the end of the disk elsewhere")
    ]
