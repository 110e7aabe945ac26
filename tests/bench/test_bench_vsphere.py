"""``stuntdouble bench vsphere``: what it prints and writes, and that its parties do what they say."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from stuntdouble.bench import golang, vsphere
from stuntdouble.bench.vsphere import Goal, crowd, estates, reading, retrieving, taping
from stuntdouble.bench.vsphere.servers import PASSWORD, USER, ours
from stuntdouble.cli.bench_vsphere import BENCHMARKS
from stuntdouble.cli.program import program
from stuntdouble.errors import Misuse
from stuntdouble.vsphere import Dispatcher, connect


class Fake:
    """A contest whose rounds are known."""

    name = "reads"

    def __init__(self) -> None:
        self.open_now = False
        self.rates = iter((100.0, 900.0, 300.0))

    def open(self, stack):
        self.open_now = True
        stack.callback(setattr, self, "open_now", False)

    def turn(self):
        assert self.open_now
        return {"reads/s": next(self.rates)}

    def goals(self, medians):
        return [
            Goal("reads a second", medians["reads/s"], 400.0),
            Goal("errors", 0.0, 0.0, at_least=False),
        ]

    def missing(self):
        return ["the other: not installed"]


@pytest.fixture
def fake(monkeypatch):
    made = Fake()
    monkeypatch.setattr(vsphere, "contests", lambda _names, *, quick: [made])
    return made


def call(*words: str) -> int:
    return program.main(["bench", "vsphere", *words], standalone_mode=False)


def test_medians_goals_and_who_is_missing_are_shown(fake, capsys) -> None:
    assert call() == 0
    out = capsys.readouterr().out
    assert "300" in out
    assert "≥ 400: missed" in out
    assert "≤ 0" in out
    assert "reads: without the other: not installed" in out
    assert not fake.open_now


def test_json_on_stdout_comes_alone(fake, capsys) -> None:
    assert call("--json", "-", "--quick", "--rounds", "3") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["schema_version"], report["rounds"], report["quick"]) == (1, 3, True)
    (row,) = report["rows"]
    assert row["figures"] == {"reads/s": 300.0}
    assert row["goals"] == [
        {"what": "reads a second", "value": 300.0, "at_least": 400.0, "met": False},
        {"what": "errors", "value": 0.0, "at_most": 0.0, "met": True},
    ]
    assert row["missing"]
    assert "pyvmomi" in report["versions"]


def test_json_in_a_file_comes_beside_the_table(fake, tmp_path, capsys) -> None:
    target = tmp_path / "bench.json"
    assert call("--json", str(target)) == 0
    assert json.loads(target.read_text())["rows"]
    assert "reads/s" in capsys.readouterr().out


def test_the_command_line_knows_the_benchmarks() -> None:
    assert BENCHMARKS == vsphere.NAMES
    assert [each.name for each in vsphere.contests(())] == list(BENCHMARKS)
    assert [each.name for each in vsphere.contests(["crowd"], quick=True)] == ["crowd"]


@pytest.fixture(scope="module")
def wide():
    """A vCenter over an estate with a wide disk, and what to ask with."""
    hypervisor = estates.estate(3)
    changed = estates.add_wide(hypervisor, 5000)
    return estates.center(hypervisor), changed


def test_the_wide_disk_has_that_many_changes(wide) -> None:
    center, changed = wide
    content = connect(Dispatcher(center), USER, PASSWORD).content
    found = content.rootFolder.childEntity[0].vmFolder.childEntity
    vm = next(each for each in found if each.name == estates.WIDE)
    snapshot = vm.snapshot.rootSnapshotList[0].snapshot
    start, areas = 0, []
    while start < estates.WIDE_BYTES:
        page = vm.QueryChangedDiskAreas(snapshot, estates.DISK_KEY, start, changed.since)
        areas += [(area.start, area.length) for area in page.changedArea]
        start = page.startOffset + page.length
    assert len(areas) == changed.areas == 5000
    assert {length for _, length in areas} == {estates.AREA_BYTES}
    assert areas[1][0] - areas[0][0] > 2**30


def test_in_process_reads_are_counted() -> None:
    contest = reading.InProcess(quick=True)
    with ExitStack() as stack:
        contest.open(stack)
        figures = contest.turn()
    assert set(figures) == {"reads/s", "reads/s of a core"}
    assert all(rate > 0 for rate in figures.values())
    assert [goal.bound for goal in contest.goals(figures)] == [reading.IN_PROCESS_MIN]


def test_a_tape_holds_what_was_said() -> None:
    with ours("--vms", "2") as server, ExitStack() as stack:
        instance = server.connect(stack)
        vm = reading.first_vm(instance)
        tape = taping.taped(instance._stub, lambda: [vm.name for _ in range(3)])
        assert len(tape) == 3
        assert all(vm.name.encode() in body for body, _ in tape)
        assert taping.parsing_seconds(instance._stub, tape) > 0
        assert vm.name == vm.name, "the stub is as it was"
        assert taping.timed(lambda: vm.name) > 0


def test_inventory_and_changes_are_whole(monkeypatch) -> None:
    inventory = retrieving.Inventory(quick=True)
    inventory._words, inventory._vms = ("--vms", "7"), 7
    changes = retrieving.Changes(quick=True)
    changes._words, changes._areas = ("--vms", "1", "--areas", "3000"), 3000
    for contest, pages in ((inventory, 1), (changes, 2)):
        with ExitStack() as stack:
            contest.open(stack)
            figures = contest.turn()
        assert figures["answers"] >= pages
        assert contest.goals(figures)[0].value == pytest.approx(
            figures["seconds, pyVmomi"] / figures["seconds, its bare parsing"]
        )
        assert contest.goals(figures)[1].value > 0


def test_nobody_of_a_crowd_fails(monkeypatch) -> None:
    monkeypatch.setattr(crowd, "CLIENTS", 4)
    contest = crowd.Crowd(quick=True)
    contest._calls = 3
    with ExitStack() as stack:
        contest.open(stack)
        figures = contest.turn()
    (goal,) = contest.goals(figures)
    assert goal.met
    assert figures["calls/s, threads of pyVmomi, ours"] > 0


def test_without_go_it_is_said_who_is_missing(monkeypatch) -> None:
    monkeypatch.setattr(golang.shutil, "which", lambda _name: None)
    golang.built.cache_clear()
    try:
        assert "apt-get install" in golang.missing()
        contest = reading.Reads(quick=True)
        assert "apt-get install" in contest.missing()[0]
        assert contest.goals({"reads/s, ours": 1.0}) == []
        assert "apt-get install" in retrieving.Changes(quick=True).missing()[0]
        assert "apt-get install" in crowd.Crowd(quick=True).missing()[0]
    finally:
        golang.built.cache_clear()


def test_without_a_checkout_there_are_no_sources(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(golang, "SOURCES", tmp_path / "none")
    assert "checkout" in golang.missing()


def test_what_does_not_compile_is_said(monkeypatch, tmp_path) -> None:
    if golang.missing():
        pytest.skip(golang.missing())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")
    monkeypatch.setattr(golang, "SOURCES", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    golang.built.cache_clear()
    made = golang.built("bad")
    golang.built.cache_clear()
    assert "go build" in made.missing
    assert "undefined: nothing" in made.missing


def test_a_program_is_built_once(monkeypatch, tmp_path) -> None:
    if golang.missing():
        pytest.skip(golang.missing())
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "main.go").write_text("package main\n\nfunc main() {}\n")
    monkeypatch.setattr(golang, "SOURCES", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    golang.built.cache_clear()
    made = golang.built("small")
    golang.built.cache_clear()
    assert not made.missing
    when = made.path.stat().st_mtime_ns
    assert golang.built("small").path.stat().st_mtime_ns == when
    golang.built.cache_clear()


def test_a_server_that_does_not_start_is_said() -> None:
    with pytest.raises(Misuse, match="did not start"), ours("--nothing"):
        pass
