"""The command line: rows, files, exit codes, and one line for whatever is wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from stuntdouble.validity import CHECKS, Outcome, Point, catalogue, load
from stuntdouble.validity.command import main

QUICKEST = "disk-10k-mean"


def ran(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(words)
    out, err = capsys.readouterr()
    return left.value.code, out, err


def test_a_row_is_computed_shown_and_kept(tmp_path, capsys) -> None:
    json, html = tmp_path / "a.json", tmp_path / "a.html"
    code, out, _ = ran(capsys, "--only", QUICKEST, "--json", str(json), "--html", str(html))
    assert code == 0
    assert "met" in out
    (row,) = load(json.read_text("utf-8")).rows
    assert row.id == QUICKEST
    first = json.read_bytes(), html.read_bytes()
    ran(capsys, "--only", QUICKEST, "--json", str(json), "--html", str(html))
    assert (json.read_bytes(), html.read_bytes()) == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.json"]


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs) -> None:
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.found += [given[k] for k in ("href", "src") if given.get(k)]


def test_the_page_needs_no_network_and_its_links_lead_somewhere(tmp_path, capsys) -> None:
    html = tmp_path / "a.html"
    ran(capsys, "--only", QUICKEST, "--only", "p4-one-write", "--html", str(html))
    text = html.read_text("utf-8")
    page = Links()
    page.feed(re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
    assert page.found
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.found)
    assert len(set(page.ids)) == len(page.ids)
    assert "default-src 'none'" in text
    assert len(text) < 8e6


def test_the_list_has_every_row(capsys) -> None:
    code, out, _ = ran(capsys, "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [check.id for check in CHECKS]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "disk-10k-maen"), "did you mean disk-10k-mean"),
        (("--only", "zzz"), "--list shows them all"),
        (("--oly", "a"), "no such option"),
        (("--quick", "--only", "open-mm1"), "leave --quick out"),
        (("--json",), "requires an argument"),
        (("surplus",), "unexpected extra argument"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(words, said, capsys) -> None:
    code, _, err = ran(capsys, *words)
    lines = [line for line in err.splitlines() if line.startswith("validity:")]
    assert len(lines) == 1
    assert said.lower() in lines[0].lower()
    assert code == 2


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_runs(
    option, tmp_path, monkeypatch, capsys
) -> None:
    ran_to: list[object] = []
    monkeypatch.setattr(catalogue, "run", lambda *parts, **_options: ran_to.append(parts))
    code, out, err = ran(capsys, "--only", QUICKEST, option, str(tmp_path / "nowhere" / "a"))
    assert (code, out, ran_to) == (2, "", [])
    assert err == f"validity: {tmp_path / 'nowhere'}: there is no such directory: make it first\n"


def test_a_row_that_misses_is_exit_code_1(monkeypatch, capsys) -> None:
    check = next(c for c in CHECKS if c.id == QUICKEST)
    point = Point(label="a", measured=1.0, modelled=2.0)

    def spoiled(_seed: int) -> Outcome:
        return Outcome((point,), 1.0, "")

    monkeypatch.setattr(catalogue, "CHECKS", (replace(check, compute=spoiled),))
    code, out, err = ran(capsys)
    assert code == 1
    assert "missed" in out
    assert "not as expected: disk-10k-mean" in err


def test_a_bug_is_no_miss(monkeypatch, capsys) -> None:
    def broken(*_parts, **_options):
        raise ZeroDivisionError("a row divides by nothing")

    monkeypatch.setattr(catalogue, "run", broken)
    code, out, err = ran(capsys, "--only", QUICKEST)
    assert (code, out) == (70, "")
    assert "in broken\n" in err
    assert err.endswith("validity: this is a bug in stuntdouble: please report the lines above\n")


def test_help_has_examples(capsys) -> None:
    code, out, _ = ran(capsys, "--help")
    assert code == 0
    assert "Examples:" in out
    assert "python -m stuntdouble.validity --quick" in out
