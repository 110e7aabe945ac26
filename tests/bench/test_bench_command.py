"""``stuntdouble bench engine``: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json

import pytest

from stuntdouble import bench
from stuntdouble.bench import Case, Sample
from stuntdouble.cli.program import program

FACTS = {"p50 ms": 0.1234567, "RSS MiB": 300.0}


@pytest.fixture
def two_cases(monkeypatch):
    """Make the suite two small cases and one that is missing."""

    def cases(names, *, quick, full):
        del names, quick, full
        return [
            Case("full", "specification", lambda: Sample(20_500, 1.0, facts=FACTS), "counts"),
            Case(
                "full", "compiled", lambda: Sample(10**7, 1.0, 2 * 10**7, 5, 10**7, FACTS), "bytes"
            ),
            Case("full", "Ciw", lambda: Sample(1, 1.0), missing="not installed: make bench"),
        ]

    monkeypatch.setattr(bench, "cases", cases)


def call(*words: str) -> int:
    return program.main(["bench", "engine", *words], standalone_mode=False)


def test_a_table_tells_rates_ratios_content_and_who_is_missing(two_cases, capsys) -> None:
    assert call("--rounds", "2") == 0
    out = capsys.readouterr().out
    assert "20.5 k" in out
    assert "10 M" in out
    assert "487.8" in out
    assert "counts" in out
    assert "bytes" in out
    assert "Ciw: not installed: make bench" in out
    assert "0.1235" in out


def test_json_on_stdout_comes_alone(two_cases, capsys) -> None:
    assert call("--quick", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema_version"] == 1
    assert report["quick"] is True
    assert [row["name"] for row in report["rows"]] == ["specification", "compiled", "Ciw"]
    assert report["rows"][1]["served_per_second"] == 2e7
    assert report["rows"][1]["content"] == "bytes"
    assert report["rows"][2]["missing"]
    assert {"python", "numba", "numpy", "simpy"} == set(report["versions"])


def test_json_in_a_file_comes_beside_the_table(two_cases, tmp_path, capsys) -> None:
    target = tmp_path / "bench.json"
    assert call("--json", str(target)) == 0
    assert len(json.loads(target.read_text())["rows"]) == 3
    assert "compiled" in capsys.readouterr().out


def test_more_than_four_cases_are_lines(monkeypatch, capsys) -> None:
    many = [Case("scaling", f"{n} VMs", lambda: Sample(9, 1.0, facts=FACTS)) for n in range(6)]
    monkeypatch.setattr(bench, "cases", lambda *_names, **_options: many)
    assert call("--quick") == 0
    out = capsys.readouterr().out
    assert out.count("5 VMs") == 2
    assert out.count("p50 ms") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--only", "nothing"], "'nothing'"),
        (["--rounds", "0"], "--rounds"),
        (["--quick", "--full"], "exclude each other"),
        (["--json", "missing/bench.json"], "no such directory"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words, told, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert told in captured.err
    assert captured.err.count("\n") == 1


def test_a_real_benchmark_runs_through(capsys, monkeypatch) -> None:
    monkeypatch.setattr(bench.suite.queue, "QUICK", bench.suite.queue.Sizes(500, 500, 500, 500))
    assert call("--quick", "--only", "queue") == 0
    out = capsys.readouterr().out
    assert "our fast path" in out
    assert "SimPy, callbacks" in out
