"""A scenario that makes no sense is refused in one line that says where and what would be right."""

import pytest

from scenarios.tiny import live_through, tiny
from stuntdouble.errors import Misuse
from stuntdouble.scenarios import library, load, parse
from stuntdouble.scenarios.describe import assumptions


def _with(path, value):
    table = tiny()
    at = table
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return table


WRONG = [
    (("vms", 0, "load", "iopss"), 3, ["vms.0.load.iopss", "unknown key", "iops"]),
    (("vms", 0, "disks", 0, "size"), "4 GBB", ["vms.0.disks.0.size", "4 GBB", "64 KiB"]),
    (("vms", 0, "disks", 0, "datastore"), "nowhere", ["nowhere", "ds-1"]),
    (("vms", 0, "disks", 0, "provisioning"), "fat", ["provisioning", "thin", "eager-zeroed"]),
    (("vms", 0, "disks", 0, "written"), "65 MiB", ["vm-1", "written is more than size"]),
    (("vms", 0, "load"), {"kind": "poisson"}, ["vms.0.load", "iops above 0"]),
    (("arrays", 0, "pools", 0, "disks"), 3, ["pool-1", "raid10", "3 disks"]),
    (("arrays", 0, "pools", 0, "reserve"), "2 GiB", ["pool-1", "3 GiB", "2 GiB"]),
    (("arrays", 0, "pools", 0, "stripe"), "24 KiB", ["pool-1", "must divide", "1 MiB"]),
    (("arrays", 0, "volumes", 0, "pool"), "pool-9", ["vol-1", "pool-9", "pool-1"]),
    (("arrays", 0, "parameters"), {"fence": 1}, ["array-1.parameters", "'fence'", "fence_seconds"]),
    (("arrays", 0, "parameters"), {"fence_seconds": "soon"}, ["fence_seconds", "soon"]),
    (("arrays", 0, "parameters"), {"exhaustion": "pray"}, ["exhaustion", "invalidate", "refuse"]),
    (("arrays", 0, "parameters"), {"copy_policy": "all"}, ["copy_policy", "copy-into-each"]),
    (
        ("arrays", 0, "parameters"),
        {"copy_policy": "copy-into-each", "snapshot_kind": "redirect-on-write"},
        ["array-1.parameters", "copy_policy", "redirect-on-write"],
    ),
    (
        ("arrays", 0, "parameters"),
        {"snapshot_kind": "split-mirror", "mirror_pool": "pool-9"},
        ["array-1.parameters.mirror_pool", "pool-9", "pool-1"],
    ),
    (("arrays", 0, "parameters"), {"mirror_pool": "pool-1"}, ["mirror_pool", "no mirrors"]),
    (
        ("arrays", 0),
        tiny()["arrays"][0]
        | {
            "parameters": {"snapshot_kind": "split-mirror"},
            "volumes": [{"name": "vol-1", "pool": "pool-1", "size": "1408 MiB"}],
        },
        ["pool-1", "a mirror of each", "3 GiB", "2 GiB"],
    ),
    (("hypervisor",), {"consolidation": "never"}, ["hypervisor", "consolidation", "mirror"]),
    (("hypervisor",), {"growth_bytes": 1.5}, ["growth_bytes", "1.5"]),
    (("datastores", 0, "zero_unit"), "3 MiB", ["ds-1", "zero_unit", "power of two"]),
    (("datastores", 0, "volumes"), ["vol-1", "vol-1"], ["vol-1", "more than once"]),
    (("backup", "vms"), ["vm-9"], ["vm-9", "vm-1"]),
    (("backup", "runs"), ["sometimes"], ["backup.runs.0", "full", "incremental"]),
    (("backup", "throttle", "rate"), "4 MiB", ["rate", "16 MiB/s"]),
    (("times", "before"), "-1 s", ["times.before", "-1 s"]),
    (("sources",), {"weather": "BBC"}, ["weather"]),
    (("after",), [{"do": "damage", "volume": "vol-7"}], ["vol-7", "vol-1"]),
    (("vms", 0, "load", "io"), "8 MiB", ["vm-1", "load.io", "MiB"]),
    (("vms", 0, "load", "working_set"), "2 KiB", ["vm-1", "load.io", "works on"]),
    (("backup", "throttle", "block"), "8 MiB", ["backup.throttle.block", "MiB"]),
    (("arrays", 0, "parameters"), {"lun_max": 16384}, ["array-1.parameters", "LUN 16384"]),
    (("content_block",), "3 KiB", ["content_block", "1 MiB"]),
    (("vms", 0, "load", "iops"), float("inf"), ["vms.0.load.iops", "finite"]),
    (("vms", 0, "load", "skew"), float("inf"), ["vms.0.load.skew", "finite"]),
    (("arrays", 0, "pools", 0, "port"), float("inf"), ["pools.0.port", "finite"]),
    (("backup", "throttle", "rate"), float("inf"), ["backup.throttle.rate", "finite"]),
    (("backup", "lan"), float("nan"), ["backup.lan", "finite"]),
    (("arrays", 0, "parameters"), {"fence_seconds": float("inf")}, ["fence_seconds", "finite"]),
    (("arrays", 0, "parameters"), {"reserve_fraction": 0.1}, ["reserve_fraction", "its reserve"]),
    (("backup", "disks"), {"vm-1": [2009]}, ["backup.disks", "vm-1", "2009", "2000"]),
    (("backup", "disks"), {"vm-1": []}, ["backup.disks", "vm-1"]),
    (("backup", "disks"), {"vm-1": [2000, 2000]}, ["backup.disks", "2000", "more than once"]),
    (("backup", "disks"), {"vm-9": [2000]}, ["backup.disks", "vm-9", "vm-1"]),
    (("backup", "latency"), {"poll": 0}, ["backup.latency", "poll"]),
    (("backup", "latency"), {"hold": "40 ms"}, ["backup.latency", "hold", "throttle"]),
    (("backup", "latency"), {"hold": 0}, ["backup.latency", "hold"]),
    (("backup", "runs"), [], ["backup.runs", "needs at least 1"]),
    (("sources",), {"backup.thorttle": "a guess"}, ["backup.thorttle"]),
    (("sources",), {"backup.throttle.rates": "a guess"}, ["backup.throttle.rates"]),
    (("sources",), {"vms.vm-2.load": "a guess"}, ["vms.vm-2.load"]),
    (("sources",), {"hypervisor.consolidaton": "a guess"}, ["consolidaton"]),
    (("after",), [{"do": "check-snapshot"}], ["check-snapshot", "keep-snapshot", "array-1"]),
    (("name",), "no spaces please", ["name", "no spaces please"]),
    (("vms", 0, "load", "iops"), float("nan"), ["vms.0.load.iops", "nan", "finite"]),
    (("vms", 0, "load", "iops"), float("inf"), ["vms.0.load.iops", "inf", "finite"]),
    (("vms", 0, "load", "reads"), float("nan"), ["vms.0.load.reads", "nan"]),
    (("vms", 0, "load", "reads"), 1.5, ["vms.0.load.reads", "1.5", "1"]),
    (("vms", 0, "load", "skew"), float("inf"), ["vms.0.load.skew", "inf"]),
    (("vms", 0, "load", "think"), -1.0, ["vms.0.load.think", "-1.0", "0 or more"]),
    (("vms", 0, "load", "think"), float("nan"), ["vms.0.load.think", "nan"]),
    (("vms", 0, "load", "outstanding"), 0, ["vms.0.load.outstanding", "0", "1"]),
    (("vms", 0, "load", "curve"), "weekend", ["vms.0.load.curve", "flat", "batch-night"]),
    (("vms", 0, "load", "begins"), "9 h", ["vms.0.load", "begins", "without a curve"]),
    (
        ("vms", 0, "load"),
        {"iops": 9, "curve": "office-day", "begins": "24 h"},
        ["vms.0.load.begins", "86400"],
    ),
    (("vms", 0, "load"), {"kind": "closed", "curve": "office-day"}, ["curve", "poisson", "closed"]),
    (("vms", 0, "load", "sweep"), 1.5, ["vms.0.load.sweep", "1.5", "1"]),
    (("vms", 0, "load", "hot"), "2 KiB", ["vm-1", "load.hot", "one I/O"]),
    (("vms", 0, "load", "hot"), "25 MiB", ["vm-1", "load.hot", "works on"]),
    (("times",), {"between": 5, "every": 60}, ["times", "every", "between"]),
    (("times", "every"), "-1 s", ["times.every", "-1 s"]),
    (("backup", "lan"), float("inf"), ["backup.lan", "inf"]),
    (("backup", "throttle", "depth"), -1, ["backup.throttle.depth", "-1", "1"]),
    (
        ("vms", 0, "disks", 0, "size"),
        "9223372036854775807 B",
        ["disks.0.size", "4503599627370496"],
    ),
    (("arrays", 0, "pools", 0, "disk_size"), 1 << 63, ["pools.0.disk_size", "4503599627370496"]),
    (("arrays", 0, "pools", 0, "port"), -1.0, ["pools.0.port", "-1.0"]),
    (
        ("hypervisor",),
        {"stun_fixed_seconds": float("inf")},
        ["stun_fixed_seconds", "inf", "finite"],
    ),
    (("arrays", 0, "parameters"), {"fence_seconds": float("nan")}, ["fence_seconds", "nan"]),
]


@pytest.mark.parametrize(
    ("path", "value", "said"), WRONG, ids=[".".join(map(str, p)) for p, _, _ in WRONG]
)
def test_what_is_wrong_is_named_with_what_is_allowed(path, value, said):
    with pytest.raises(Misuse) as refused:
        parse(_with(path, value), "my.toml")
    line = str(refused.value)
    assert line.startswith("my.toml: ")
    assert "\n" not in line
    assert all(words in line for words in said), line


def test_a_missing_key_is_named():
    table = tiny()
    del table["vms"][0]["disks"][0]["size"]
    with pytest.raises(Misuse, match=r"vms\.0\.disks\.0\.size: this key is missing"):
        parse(table, "my.toml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = [", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"#" * (2 << 20), "too large"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused(tmp_path, content, said):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(Misuse, match=said):
        load(path)


def test_files_and_names_that_are_not_there():
    with pytest.raises(Misuse, match="there is no such file"):
        load("./nowhere.toml")
    with pytest.raises(Misuse, match="did you mean quickstart"):
        load("quikstart")
    with pytest.raises(Misuse, match="there are array-lost"):
        load("zzz")


def test_a_directory_is_not_a_scenario(tmp_path):
    (tmp_path / "d.toml").mkdir()
    with pytest.raises(Misuse, match="cannot be read"):
        load(tmp_path / "d.toml")


def test_every_scenario_of_the_library_is_sound_and_called_as_its_file():
    listed = library()
    assert {x.name for x in listed} >= {
        "quickstart", "busy-exchange", "array-shared-by-many", "spanning-luns",
        "snapshot-reserve-full", "existing-snapshots", "production-corrupted", "array-lost",
        "incrementals", "split-mirror", "trace-replay", "never-converges", "incremental-week",
        "one-disk",
    }  # fmt: skip
    for each in listed:
        scenario = load(each.name)
        assert scenario.name == each.name
        assert scenario.title == each.title


def test_a_trace_is_asked_for_where_a_vm_replays_one_and_nowhere_else(tmp_path):
    with pytest.raises(Misuse, match="--trace"):
        live_through(_with(("vms", 0, "load"), {"kind": "trace"}), tmp_path)
    with pytest.raises(Misuse, match="leave --trace out"):
        live_through(tiny(), tmp_path, trace=tmp_path / "some.vscsi")


def test_assumptions_say_their_values_in_words_and_who_chose_them():
    table = tiny(hypervisor={"consolidation": "helper"}, datastores=tiny()["datastores"])
    table["sources"] = {
        "vms.vm-1.load.io": "a page",
        "backup.throttle.rate": "a link",
        "times.before": "long enough",
        "arrays.array-1.parameters": "a data sheet",
    }
    table["arrays"][0]["parameters"] = {"chunk_bytes": "16 KiB"}
    lines = {line.name: (line.value, line.source) for line in assumptions(parse(table, "test"))}
    assert lines["consolidation"] == ("helper", "scenario")
    assert lines["delta disks"] == ("vmfs-sparse", "default of the model")
    assert lines["read depth, all methods"] == ("4", "scenario")
    assert lines["transport of software reads"] == ("hot-add", "default of the model")
    assert lines["read rate, all methods"] == ("4 MiB/s", "a link")
    assert lines["vms.vm-1.load.io"] == ("4 KiB", "a page")
    assert lines["times.before"] == ("5 s", "long enough")
    assert lines["arrays.array-1.parameters"] == ("chunk_bytes 16 KiB", "a data sheet")
