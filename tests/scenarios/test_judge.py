"""The check has teeth: one wrong byte anywhere is found, and named."""

import pytest

from scenarios.tiny import live_through, tiny
from stuntdouble.extents import OffsetTable, Runs, State
from stuntdouble.ports import ChangedPage
from stuntdouble.scenarios import comparing


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


class ShiftsARow(comparing.LocalHypervisor):
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


class DropsAnArea(comparing.LocalHypervisor):
    """Forgets the last changed area of every page."""

    async def changed_ranges(self, snapshot, disk, since, start):
        page = await super().changed_ranges(snapshot, disk, since, start)
        if since == "*":
            return page
        kept = Runs.of(list(page.extents)[:-1])
        return ChangedPage(page.start, page.covered, kept)


@pytest.mark.parametrize(
    ("liar", "wrong"),
    [(ShiftsARow, ("storage", "full")), (DropsAnArea, ("storage", "incremental"))],
)
def test_a_lie_about_places_or_changes_is_found(liar, wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "LocalHypervisor", liar)
    result = live_through(tiny(), tmp_path, methods=("storage",))
    assert _verdicts(result)[wrong] is False


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
