"""Numbers that are numbers, and beyond reason, are refused when the file is read.

Each of these once got through: it ran without an end, met a limit of the engine, was cut silently,
or ended in a traceback.
"""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from scenarios.tiny import tiny
from stuntdouble import array, hypervisor
from stuntdouble.cli import program
from stuntdouble.errors import Misuse
from stuntdouble.scenarios import library, load, loading, parse

HUGE = 1 << 63
PORT = ("arrays", 0, "pools", 0, "port")
CACHE = ("arrays", 0, "pools", 0, "cache")
IOPS = ("vms", 0, "load", "iops")
CHAIN = ("vms", 0, "chain")
DAMAGE = {"do": "damage", "volume": "vol-1"}  # of 1 GiB


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    table = tiny()
    at: Any = table
    for part in path[:-1]:
        at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
    at[path[-1]] = value
    return table


WRONG = [
    (("content_block",), 0, ["content_block", "power of two from 512 B"]),
    (("content_block",), 256, ["content_block", "power of two from 512 B"]),
    (("content_block",), "2 MiB", ["content_block", "to 1 MiB"]),
    (("vms", 0, "disks", 0, "size"), 0, ["disks.0.size", "greater than or equal to 1"]),
    (("arrays", 0, "volumes", 0, "size"), 0, ["volumes.0.size", "greater than or equal to 1"]),
    (("arrays", 0, "pools", 0, "disk_size"), 0, ["pools.0.disk_size", "equal to 1"]),
    (("backup", "throttle", "block"), 0, ["backup.throttle.block", "512 B at least"]),
    (("backup", "throttle", "block"), 511, ["backup.throttle.block", "512 B at least"]),
    (("backup", "throttle", "rate"), 1e-300, ["backup.throttle.rate", "1e-300", "1024"]),
    (("backup", "throttle", "rate"), 1e300, ["backup.throttle.rate", "1e+300", "1e+12"]),
    (("backup", "lan"), "1 B/s", ["backup.lan", "1.0", "1.25e+06"]),
    (PORT, 1e-300, ["pools.0.port", "1e-300", "1.25e+06"]),
    (PORT, "1 B/s", ["pools.0.port", "1.0", "1.25e+06"]),
    (PORT, 1e300, ["pools.0.port", "1e+300", "1e+12"]),
    (CACHE, {"size": "1 MiB", "write": 1e300}, ["cache.write", "1e+300"]),
    (CACHE, {"size": "1 MiB", "write": "2 s"}, ["cache.write", "2 s", "1"]),
    (CACHE, {"size": "1 MiB", "read": 1e300}, ["cache.read", "1e+300"]),
    (("times", "before"), 1e300, ["times.before", "1e+300", "31622400"]),
    (("times", "total"), 1e300, ["times.total", "1e+300", "31622400"]),
    (("times", "after"), HUGE, ["times.after", str(HUGE), "31622400"]),
    (("times", "every"), "367 h", None),
    (("times", "every"), "8785 h", ["times.every", "8785 h", "31622400"]),
    (("backup", "window"), 1e300, ["backup.window", "1e+300"]),
    (("vms", 0, "quiesce"), {"freeze": 1e300}, ["quiesce.freeze", "1e+300"]),
    (IOPS, 1e300, ["load.iops", "1e+300", "1000000"]),
    (IOPS, float(HUGE), ["load.iops", "1000000"]),
    (IOPS, 1e7, ["load.iops", "1000000"]),
    (IOPS, 5e-324, ["load", "iops", "5e-324", "1e-06"]),
    (IOPS, 1e-7, ["load", "iops", "1e-07", "1e-06"]),
    (("vms", 0, "load", "skew"), 1e300, ["load.skew", "1e+300", "100"]),
    (("vms", 0, "load", "think"), 1e300, ["load.think", "1e+300"]),
    (("vms", 0, "load", "speed"), 1e-300, ["load.speed", "1e-300", "0.001"]),
    (("vms", 0, "load", "speed"), 1e300, ["load.speed", "1e+300", "1000"]),
    (CHAIN, {"snapshots": 1, "written_after_each": "65 MiB"}, ["vm-1", "chain.written", "64 MiB"]),
    (("after",), [DAMAGE | {"offset": "1 GiB"}], ["after: damage", "vol-1 ends at 1073741824"]),
    (("after",), [DAMAGE | {"offset": "2 GiB"}], ["after: damage", "vol-1 ends at 1073741824"]),
    (("after",), [DAMAGE | {"offset": (1 << 30) - 1}], ["after: damage", "vol-1 ends at"]),
    (("after",), [DAMAGE | {"length": 0}], ["after: damage", "0 B at 0", "1 B at least"]),
    (("after",), [DAMAGE | {"array": "array-2"}], ["after: damage: array", "array-2"]),
]


@pytest.mark.parametrize(
    ("path", "value", "said"), WRONG, ids=[f"{'.'.join(map(str, p))}={v}" for p, v, _ in WRONG]
)
def test_what_is_beyond_reason_is_refused_with_what_would_be_right(path, value, said) -> None:
    table = changed(path, value)
    if said is None:
        table["times"].pop("between")
        assert parse(table, "my.toml").name == "tiny"
        return
    with pytest.raises(Misuse) as refused:
        parse(table, "my.toml")
    line = str(refused.value)
    assert line.startswith("my.toml: ")
    assert "\n" not in line
    assert all(words in line for words in said), line


LARGEST = [
    (("content_block",), "1 MiB"),
    (("content_block",), 512),
    (("backup", "throttle", "block"), 512),
    (PORT, 0),
    (PORT, 1.25e6),
    (IOPS, 1e6),
    (IOPS, 1e-6),
    (("times", "total"), "366 h"),
    (CHAIN, {"snapshots": 1, "written_after_each": "64 MiB"}),
    (("after",), [DAMAGE | {"offset": (1 << 30) - 512, "length": 512}]),
    (("hypervisor",), {"consolidation_depth": 1 << 16, "snapshot_concurrency": 1 << 16}),
    (("arrays", 0, "parameters"), {"synchronise_depth": 1 << 16}),
]


@pytest.mark.parametrize(("path", "value"), LARGEST)
def test_what_is_just_within_reason_is_taken(path, value) -> None:
    table = changed(path, value)
    if path == ("content_block",) and value == "1 MiB":
        table["arrays"][0]["pools"][0]["stripe"] = value
        table["hypervisor"] = {"tracking_grain_bytes": value, "consolidation_io_bytes": value}
        table["arrays"][0]["parameters"] = {"chunk_bytes": value}
    assert parse(table, "my.toml").name == "tiny"


def test_damage_names_a_volume_of_its_own_array() -> None:
    table = tiny()
    other = {"name": "array-2", "pools": table["arrays"][0]["pools"]}
    table["arrays"].append(
        other | {"volumes": [{"name": "vol-2", "pool": "pool-1", "size": "1 GiB"}]}
    )
    assert parse(table | {"after": [DAMAGE]}, "my.toml").after[0].volume == "vol-1"
    with pytest.raises(Misuse, match="'vol-2' is not defined: use one of vol-1"):
        parse(table | {"after": [DAMAGE | {"volume": "vol-2"}]}, "my.toml")


PARAMETERS = [
    ("hypervisor", {"snapshot_concurrency": HUGE}, "65536"),
    ("hypervisor", {"consolidation_depth": HUGE}, "65536"),
    ("hypervisor", {"consolidation_depth": 65_537}, "65536"),
    ("hypervisor", {"metadata_ios_per_disk": HUGE}, "4096"),
    ("hypervisor", {"lock_ios": HUGE}, "4096"),
    ("hypervisor", {"se_growth_ios": HUGE}, "4096"),
    ("hypervisor", {"chain_depth_max": HUGE}, "255"),
    ("hypervisor", {"tracking_page_areas": HUGE}, "more than"),
    ("hypervisor", {"growth_bytes": HUGE}, "4503599627370496"),
    ("hypervisor", {"tracking_grain_bytes": HUGE}, "4503599627370496"),
    ("hypervisor", {"consolidation_io_bytes": "1 GiB"}, "bytes of one I/O"),
    ("hypervisor", {"tracking_grain_bytes": 512}, "less than a content block"),
    ("hypervisor", {"task_seconds": 1e300}, "31622400"),
    ("hypervisor", {"helper_budgets_seconds": [1e300]}, "31622400"),
    ("hypervisor", {"consolidation_bytes_per_second": 1e-300}, "1024"),
    ("array", {"snapshots_per_volume_max": -1}, "1 to 1048576"),
    ("array", {"snapshots_per_volume_max": HUGE}, "1 to 1048576"),
    ("array", {"snapshots_max": -1}, "1 to 1048576"),
    ("array", {"copies_per_snapshot_max": 0}, "1 to 1048576"),
    ("array", {"name_length_max": -1}, "1 to 1048576"),
    ("array", {"synchronise_depth": HUGE}, "1 to 65536"),
    ("array", {"synchronise_io_bytes": HUGE}, "4503599627370496"),
    ("array", {"reclaim_extent_bytes": HUGE}, "4503599627370496"),
    ("array", {"chunk_bytes": HUGE}, "4503599627370496"),
    ("array", {"chunk_bytes": "1 TiB"}, "must divide the size of vol-1"),
    ("array", {"chunk_bytes": 512}, "content_block (4096 B) must divide chunk_bytes"),
    ("array", {"fence_seconds": 1e300}, "31622400"),
    ("array", {"reclaim_bytes_per_second": "1 B/s"}, "1024"),
]


@pytest.mark.parametrize(
    ("owner", "values", "said"), PARAMETERS, ids=[f"{o}.{v}" for o, v, _ in PARAMETERS]
)
def test_parameters_beyond_reason_are_refused_when_the_file_is_read(owner, values, said) -> None:
    path = ("hypervisor",) if owner == "hypervisor" else ("arrays", 0, "parameters")
    with pytest.raises(Misuse) as refused:
        parse(changed(path, values), "my.toml")
    line = str(refused.value)
    assert "\n" not in line
    assert next(iter(values)) in line
    assert said in line


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (hypervisor.Parameters, {"snapshot_concurrency": HUGE}),
        (hypervisor.Parameters, {"consolidation_depth": HUGE}),
        (array.Parameters, {"synchronise_depth": HUGE}),
        (array.Parameters, {"snapshots_per_volume_max": -1}),
    ],
)
def test_parameters_refuse_it_whoever_makes_them(kind, values) -> None:
    with pytest.raises(Misuse, match=next(iter(values))):
        kind(**values)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("content block", "[[arrays]]", "content_block = 0\n\n[[arrays]]"),
        ("read block", 'block = "512 KiB"', "block = 0"),
        ("rate of arrivals", "iops = 110", "iops = 1e300"),
        ("time before", 'before = "20 s"', "before = 1e300"),
        ("depth", "consolidation_depth = 8", "consolidation_depth = 9223372036854775808"),
    ],
)
def test_the_command_line_refuses_it_in_one_line_and_runs_nothing(
    key, good, bad, tmp_path, monkeypatch
) -> None:
    text = (loading.LIBRARY / "quickstart.toml").read_text("utf-8")
    assert text.count(good) == 1, key
    file = tmp_path / "mine.toml"
    file.write_text(text.replace(good, bad), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(program, ["compare", "mine.toml", "--method", "storage"])
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert bad.split(" = ")[0].split("\n")[0] in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_the_command_line_refuses_a_trace_whose_clock_runs_backwards(tmp_path, monkeypatch) -> None:
    file = tmp_path / "back.csv"
    file.write_text("seconds,op,offset,size\n2,read,0,512\n1e-3,read,0,512\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    words = ["compare", "trace-replay", "--method", "storage", "--trace", "back.csv"]
    done = CliRunner().invoke(program, words)
    assert done.exit_code == 2
    assert "back.csv: line 3 goes back in time: to 0.001, after 2.0" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["back.csv"]


@pytest.mark.parametrize("name", [listed.name for listed in library()])
def test_the_library_is_within_reason(name) -> None:
    assert load(name).name == name
