"""``stuntdouble bench backup``: its figures, its parties, and that backups in it are real ones."""

from __future__ import annotations

import json
import stat
import tomllib
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.bench import spec_of, two_vms
from stuntdouble.backup import Method
from stuntdouble.bench import backup
from stuntdouble.bench.backup import Goal, full, incrementals, qemu, served, suite
from stuntdouble.bench.backup.content import PIECE_BYTES, corpus, pieces
from stuntdouble.bench.backup.line import fitted
from stuntdouble.bench.backup.null import NullRepository
from stuntdouble.bench.figures import Row
from stuntdouble.cli.program import program
from stuntdouble.errors import InvalidState, Misuse, NotFound
from stuntdouble.extents import Runs
from stuntdouble.ports import Kind
from stuntdouble.scenarios.loading import parse
from stuntdouble.units import MIB

# The line. ------------------------------------------------------------------------------------

amounts = st.lists(st.integers(0, 10_000), min_size=3, max_size=12, unique=True)
sane = st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-2)


@given(amounts, sane, sane)
def test_a_line_is_found_again(xs, fixed, slope):
    line = fitted([(x, fixed + slope * x) for x in xs])
    assert line.slope == pytest.approx(slope, rel=1e-6)
    assert line.fixed == pytest.approx(fixed, rel=1e-6, abs=1e-6 * (1 + abs(slope)) * max(xs))
    assert line.explained == pytest.approx(1.0, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=4, max_size=20))
def test_what_a_line_explains_is_the_square_of_the_correlation(points):
    xs, ys = zip(*points, strict=True)
    if len(set(xs)) == 1 or len(set(ys)) == 1:
        with pytest.raises(Misuse, match="alike"):
            fitted(points)
        return
    line = fitted(points)
    assert line.explained == pytest.approx(np.corrcoef(xs, ys)[0, 1] ** 2, abs=1e-9)
    slope, fixed = np.polyfit(xs, ys, 1)
    assert (line.slope, line.fixed) == pytest.approx((slope, fixed), abs=1e-6)


def test_two_points_explain_nothing():
    with pytest.raises(Misuse, match="2 points: at least 3"):
        fitted([(0.0, 0.0), (1.0, 1.0)])


def test_a_and_b_stand_beside_the_sizes():
    figures = {f"{mib} MiB changed, s": 0.5 + mib / 256 for mib in (64, 128, 256)}
    contest = incrementals.Incrementals(quick=True)
    (goal,) = contest.goals(figures)
    assert goal.met
    assert goal.bound == 0.99
    (row,) = [suite._with_line(Row("incrementals", 1, figures))]
    assert row.figures["a, s"] == pytest.approx(0.5)
    assert row.figures["b, s per GiB"] == pytest.approx(4.0)
    other = Row("full", 1, {"x": 1.0})
    assert suite._with_line(other) == other


def test_what_is_no_line_misses_the_goal():
    figures = {f"{mib} MiB changed, s": y for mib, y in ((64, 1.0), (128, 3.0), (256, 2.0))}
    (goal,) = incrementals.Incrementals(quick=True).goals(figures)
    assert not goal.met


# The repository that keeps nothing. -----------------------------------------------------------


def test_jobs_into_nothing_are_jobs():
    bench = two_vms()
    bench.repository = NullRepository()
    for kind in (Kind.FULL, Kind.INCREMENTAL):
        report = bench.run(spec_of(Method.STORAGE, kind))
        assert report.ok
        assert {vm.kind for vm in report.vms} == {kind}
    points = bench.repository.points()
    assert len(points) == 4
    assert len({point.id for point in points}) == 4
    assert [point.moment for point in points] == sorted(point.moment for point in points)
    assert {point.parent for point in points if point.kind is Kind.INCREMENTAL} <= {
        point.id for point in points
    }


@pytest.fixture
def point():
    bench = two_vms()
    bench.repository = NullRepository()
    bench.run(spec_of(Method.STORAGE))
    return bench.repository.points()[0]


def test_it_counts_and_refuses_like_any_other(point):
    repository = NullRepository()
    disks = {disk.key: disk.capacity_bytes for disk in point.disks}
    key, size = next(iter(disks.items()))
    draft = repository.begin(disks)
    draft.write(key, 0, memoryview(bytes(4096)))
    draft.zero(key, Runs.single(4096, 512))
    with pytest.raises(Misuse, match="not within"):
        draft.write(key, size - 1, memoryview(b"ab"))
    with pytest.raises(Misuse, match="not within"):
        draft.zero(key, Runs.single(size, 1))
    with pytest.raises(NotFound):
        draft.write(key + 1000, 0, memoryview(b"a"))
    with pytest.raises(Misuse, match="not those of its draft"):
        draft.commit(replace(point, disks=()))
    made = draft.commit(replace(point, bytes_read=0))
    assert (made.bytes_read, made.bytes_stored) == (4096, point.bytes_stored)
    draft.discard()
    assert repository.points() == (made,), "what is committed stays"
    for call in (lambda: draft.commit(point), lambda: draft.write(key, 0, memoryview(b"a"))):
        with pytest.raises(InvalidState):
            call()


def test_it_says_that_it_has_no_bytes_and_forgets_what_it_is_told_to(point):
    repository = NullRepository()
    disks = {disk.key: disk.capacity_bytes for disk in point.disks}
    made = repository.begin(disks).commit(point)
    with pytest.raises(InvalidState, match="without its bytes"):
        repository.read(made.id, point.disks[0].key, 0, 1)
    repository.delete(made.id)
    assert repository.points() == ()
    with pytest.raises(NotFound):
        repository.delete(made.id)
    with pytest.raises(NotFound):
        repository.begin(disks, made.id)
    dropped = repository.begin(disks)
    dropped.discard()
    dropped.discard()
    with pytest.raises(InvalidState):
        dropped.commit(point)


# What is backed up, and who else reads it. ----------------------------------------------------


def test_no_two_pieces_are_alike():
    files = corpus()
    drawn = [bytes(each) for each in pieces(files, 64, np.random.default_rng(1))]
    assert {len(each) for each in drawn} == {PIECE_BYTES}
    assert len(set(drawn)) == 64


def test_a_folder_without_programs_is_refused(tmp_path):
    (tmp_path / "one.py").write_bytes(b"pass\n")
    with pytest.raises(Misuse, match=r"5 bytes of \.py and \.so files"):
        corpus(tmp_path)


@pytest.mark.parametrize("mib", [64, 1024])
def test_the_scenario_is_one(mib):
    found = parse(tomllib.loads(served.scenario(mib)), "a test")
    assert [vm.disks[0].written for vm in found.vms] == [mib * MIB] * 2
    assert {vm.load.kind for vm in found.vms} == {"none"}


def test_a_site_that_does_not_start_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(served, "scenario", lambda _mib: 'name = "nothing else"')
    with pytest.raises(Misuse, match=r"bench-backup\.toml"), served.served(tmp_path, 64):
        pass


def test_without_qemu_img_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install qemu-utils" in full.Full(quick=True).missing()[0]
    with ExitStack() as stack, pytest.raises(Misuse, match="install qemu-utils"):
        full.Full(quick=True).open(stack)
    with pytest.raises(Misuse, match="install qemu-utils"):
        qemu.convert_seconds(["a"], tmp_path / "out")


def test_qemu_img_is_quoted_where_it_fails(monkeypatch, tmp_path):
    fake = tmp_path / "qemu-img"
    fake.write_text("#!/bin/sh\necho 'no such LUN' >&2\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(Misuse, match="qemu-img: no such LUN"):
        qemu.convert_seconds(["a"], tmp_path / "out")


def test_a_range_is_told_to_qemu_img_as_it_lies():
    text = qemu.source(
        "127.0.0.1:1", "iqn.2026-01.com.example:t", 7, "iqn.2026-01.com.example:i", 4096, 8192
    )
    found = json.loads(text.removeprefix("json:"))
    assert (found["offset"], found["size"], found["file"]["lun"]) == (4096, 8192, 7)


def test_compression_alone_takes_time():
    assert full.compression_seconds(corpus()[: 4 * PIECE_BYTES]) > 0


# The command. ---------------------------------------------------------------------------------


class Fake:
    """A contest whose rounds are known."""

    name = "full"

    def __init__(self):
        self.rates = iter((100.0, 900.0, 300.0, 200.0, 400.0))

    def open(self, stack):
        pass

    def turn(self):
        return {"MiB/s": next(self.rates)}

    def goals(self, medians):
        return [Goal("MiB/s", medians["MiB/s"], 400.0)]

    def missing(self):
        return ["the other: not installed"]


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(backup, "contests", lambda *, quick: [Fake()])


def call(*words: str) -> int:
    return program.main(["bench", "backup", *words], standalone_mode=False)


def test_medians_and_goals_are_shown(fake, capsys):
    assert call() == 0
    out = capsys.readouterr().out
    assert "≥ 400: missed" in out
    assert "300" in out
    assert "full: without the other: not installed" in out


def test_json_comes_alone_or_in_a_file(fake, tmp_path, capsys):
    assert call("--json", "-", "--quick", "--rounds", "1") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["schema_version"], report["rounds"], report["quick"]) == (1, 1, True)
    assert report["rows"][0]["figures"] == {"MiB/s": 100.0}
    assert {"zstandard", "blake3", "qemu-img"} <= set(report["versions"])
    assert call("--json", str(tmp_path / "r.json")) == 0
    assert json.loads((tmp_path / "r.json").read_text())["rows"][0]["figures"] == {"MiB/s": 300.0}


@pytest.mark.parametrize("words", [("--rounds", "0"), ("--rounds", "many"), ("--only", "full")])
def test_wrong_words_are_refused(words, fake, capsys):
    assert call(*words) == 2
    assert words[0] in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    fake, tmp_path, capsys
):
    assert call("--json", str(tmp_path / "none" / "r.json")) == 2
    assert "no such directory" in capsys.readouterr().err


# All of it, small. ----------------------------------------------------------------------------


@pytest.mark.paced
@pytest.mark.skipif(bool(qemu.missing()), reason="; ".join(qemu.missing()))
def test_a_small_disk_is_backed_up_every_way(monkeypatch):
    monkeypatch.setattr(full, "QUICK_MIB", 16)
    monkeypatch.setattr(incrementals, "QUICK_MIB", 64)
    rows = backup.run(backup.contests(quick=True), 1, lambda _name, _round: None)
    whole, later = rows
    assert [goal.what for goal in whole.goals] == [full._OF_QEMU, full._OF_COMPRESSION]
    assert all(value > 0 for value in whole.figures.values())
    sizes = [name for name in later.figures if name.endswith("MiB changed, s")]
    assert sizes == [f"{mib} MiB changed, s" for mib in range(3, 25, 3)]
    assert {"a, s", "b, s per GiB"} < set(later.figures)
