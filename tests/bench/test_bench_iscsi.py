"""``stuntdouble bench iscsi``: what it prints and writes, and that its parties serve the same bytes."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack

import pytest

from stuntdouble.bench import iscsi
from stuntdouble.bench.iscsi import Goal, loopback, parties, suite
from stuntdouble.bench.iscsi.estate import INITIATOR, LUN, Content, build
from stuntdouble.cli.program import program
from stuntdouble.content import TokenKind, kind_of
from stuntdouble.errors import DigestMismatch, Misuse
from stuntdouble.iscsi.units import ArrayLuns
from stuntdouble.units import MIB

TOOLS = pytest.mark.skipif(bool(parties.missing()), reason=f"no {parties.missing()}")


class Fake:
    """A contest whose rounds are known."""

    name = "reads"

    def __init__(self) -> None:
        self.ratios = iter((0.5, 2.0, 1.5, 1.5, 1.5))

    def open(self, stack):
        del stack

    def turn(self):
        return {"all of it: of tgtd's": next(self.ratios)}

    def goals(self, medians):
        return [Goal(name, value, 1.0) for name, value in medians.items()]

    def missing(self):
        return []


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(iscsi, "contests", lambda *, quick: [Fake()])


def call(*words: str) -> int:
    return program.main(["bench", "iscsi", *words], standalone_mode=False)


def test_medians_and_goals_are_shown(fake, capsys) -> None:
    assert call("--rounds", "3") == 0
    out = capsys.readouterr().out
    assert "1.5" in out
    assert "≥ 1" in out


def test_json_on_stdout_comes_alone(fake, capsys) -> None:
    assert call("--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["schema_version"], report["rounds"]) == (1, 5)
    assert report["rows"][0]["goals"][0] == {
        "what": "all of it: of tgtd's", "value": 1.5, "at_least": 1.0, "met": True,
    }  # fmt: skip
    assert {"crc32c", "qemu-img", "tgtd"} <= set(report["versions"])


def test_json_in_a_file_comes_beside_the_table(fake, tmp_path, capsys) -> None:
    target = tmp_path / "bench.json"
    assert call("--json", str(target)) == 0
    assert json.loads(target.read_text())["rows"]
    assert "tgtd" in capsys.readouterr().out


@pytest.mark.parametrize("content", Content)
def test_what_is_read_is_half_zeros_through_a_snapshot(content) -> None:
    array = build(8 * MIB, content)
    unit = ArrayLuns(array).units(INITIATOR)[LUN]
    for at in range(8):
        data = b"".join(unit.read(at * MIB, MIB))
        assert (not any(data)) == (at % 2 == 1)
    kind = {Content.BYTES: TokenKind.LITERAL, Content.TOKENS: TokenKind.WRITTEN}[content]
    assert kind_of(int(unit.volume.lun.tokens(0, 1)[0])) is kind
    assert unit.read_only
    assert array.snapshot("frozen").space_bytes == 2 * MIB
    base = array.volume("base")
    assert array.show(base, 0, 1).tobytes() != b"".join(unit.read(0, 4096))


def test_the_contests_are_the_ones_that_the_command_tells_of() -> None:
    assert [each.name for each in iscsi.contests(quick=True)] == ["reads", "rendered", "loopback"]


def test_the_loopback_moves_what_it_is_measured_by() -> None:
    contest = loopback.Loopback(quick=True)
    with ExitStack() as stack:
        contest.open(stack)
        figures = contest.turn()
    assert all(value > 0 for value in figures.values())
    assert contest.goals(figures) == contest.missing() == []


def test_who_is_missing_is_told(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    contest = suite.Reads(Content.BYTES, quick=True)
    assert len(contest.missing()) == 3
    with ExitStack() as stack, pytest.raises(Misuse, match="qemu-img"):
        contest.open(stack)


@TOOLS
@pytest.mark.slow
@pytest.mark.parametrize("content", Content)
def test_both_serve_the_same_and_are_read_in_every_shape(content) -> None:
    contest = suite.Reads(content, quick=True)
    with ExitStack() as stack:
        contest.open(stack)
        figures = contest.turn()
        contest._raw.write_bytes(b"another")
        with pytest.raises(DigestMismatch):
            contest.turn()
    assert len(figures) == 3 * len(suite.SHAPES)
    assert len(contest.goals(figures)) == len(suite.SHAPES)


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img")
def test_a_tool_that_fails_says_why() -> None:
    nobody = parties.Served("nobody", "127.0.0.1:1", "iqn.none", 1)
    with pytest.raises(Misuse, match="qemu-img"):
        parties.read_seconds(nobody, 512, 1, 1)
