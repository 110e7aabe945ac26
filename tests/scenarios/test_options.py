"""Whatever a scenario asks for, every restore point is right and nothing is left behind."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from scenarios.living import Lived, live
from scenarios.tiny import tiny
from stuntdouble.backup.repository import Repository
from stuntdouble.results import MethodResult

ALL = ("software", "storage", "mounted")


def changed(path: str, value: Any, table: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the tiny scenario with one key, given as a dotted path, set to *value*."""
    made = copy.deepcopy(table) if table is not None else tiny()
    at: Any = made
    *parents, last = path.split(".")
    for part in parents:
        at = at[int(part)] if part.isdigit() else at.setdefault(part, {})
    at[int(last) if last.isdigit() else last] = value
    return made


def sound(lived: Lived) -> dict[str, MethodResult]:
    """Return the methods' results after checking what every sound run has in common."""
    asked = lived.runs[next(iter(lived.runs))].world.scenario.backup.runs
    for name, method in lived.result.methods.items():
        assert [run.outcome for run in method.runs] == ["ok"] * len(asked), name
        assert all(point.verified is True for point in method.restore_points), name
        assert method.leftovers == ()
        for vm in lived.runs[name].world.scenario.vms:
            guest = lived.runs[name].world.hypervisor.vm(vm.name).guest
            assert guest.arrived == guest.completed + guest.dropped
            assert guest.dropped == 0
    return lived.result.methods


VARIANTS = {
    "lazy zeroed": ("vms.0.disks.0.provisioning", "lazy-zeroed"),
    "eager zeroed": ("vms.0.disks.0.provisioning", "eager-zeroed"),
    "closed load": ("vms.0.load", {"kind": "closed", "outstanding": 4, "think": 0.05}),
    "no load": ("vms.0.load", {"kind": "none"}),
    "skewed and sequential": (
        "vms.0.load",
        {"iops": 60, "reads": 0.2, "io": "16 KiB", "skew": 3.0, "sequential": 0.5},
    ),
    "a day and a night": (
        "vms.0.load",
        {"iops": 60, "reads": 0.2, "curve": "batch-night", "begins": "23 h"},
    ),
    "a sweep": (
        "vms.0.load",
        {"iops": 60, "reads": 0.2, "working_set": "32 MiB", "sweep": 0.5, "hot": "1 MiB"},
    ),
    "large I/O": ("vms.0.load", {"iops": 5, "reads": 0.2, "io": "1 MiB"}),
    "SEsparse": ("hypervisor.delta_format", "se-sparse"),
    "helpers": ("hypervisor.consolidation", "helper"),
    "reservations": ("hypervisor.lock", "reservation"),
    "tracking in pages": ("hypervisor.tracking_page_areas", 3),
    "coarse tracking": ("hypervisor.tracking_grain_bytes", "1 MiB"),
    "NBD": ("backup.transport", "nbd"),
    "SAN": ("backup.transport", "san"),
    "redirect on write": ("arrays.0.parameters", {"snapshot_kind": "redirect-on-write"}),
    "a copy into each": ("arrays.0.parameters", {"copy_policy": "copy-into-each"}),
    "split mirrors": (
        "arrays.0",
        {
            "name": "array-1", "parameters": {"snapshot_kind": "split-mirror"},
            "pools": [
                {"name": "pool-1", "media": "10k", "disks": 4, "disk_size": "512 MiB", "reserve": "64 MiB"}
            ],
            "volumes": [{"name": "vol-1", "pool": "pool-1", "size": "256 MiB"}],
        },
    ),
    "small chunks": ("arrays.0.parameters", {"chunk_bytes": "4 KiB"}),
    "flash": (
        "arrays.0.pools.0",
        {"name": "pool-1", "media": "flash", "raid": "raid0", "disks": 4, "disk_size": "1 GiB"},
    ),
    "RAID 6": (
        "arrays.0.pools.0",
        {
            "name": "pool-1", "media": "7.2k", "raid": "raid6", "disks": 6, "disk_size": "1 GiB",
            "reserve": "256 MiB",
        },
    ),
    "a port in the way": ("arrays.0.pools.0.port", "32 MiB/s"),
    "small blocks": ("content_block", 512),
    "zeroing by 64 KiB": ("datastores.0.zero_unit", "64 KiB"),
    "a chain": ("vms.0.chain", {"snapshots": 2, "written_after_each": "2 MiB"}),
    "no tracking": ("vms.0.tracking", False),
    "deep reads": ("backup.throttle", {"depth": 32, "block": "1 MiB"}),
    "small reads": ("backup.throttle", {"depth": 1, "block": "4 KiB"}),
}  # fmt: skip


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_variant_gives_right_restore_points(variant, tmp_path):
    methods = sound(live(changed(*VARIANTS[variant]), tmp_path))
    assert tuple(methods) == ALL
    for name, method in methods.items():
        kinds = [run.kind for run in method.runs]
        assert kinds == (["full", "full"] if name == "mounted" else ["full", "incremental"])


def test_a_closed_load_is_compared_by_its_mean(tmp_path):
    lived = live(changed(*VARIANTS["closed load"]), tmp_path, methods=("software",))
    run = lived.runs["software"]
    mine = run.world.engine.meter.latencies("vm-1").seconds
    usual = lived.alone.latencies("vm-1").during(run.began, run.ended).seconds
    excess = lived.result.methods["software"].foreground.whole.excess_latency_seconds
    assert excess == pytest.approx(len(mine) * (mine.mean() - usual.mean()), rel=1e-6)
    assert excess > 0


def test_selected_disks_alone_are_backed_up(tmp_path):
    table = tiny()
    table["vms"][0]["disks"] = [
        {"key": 2000, "datastore": "ds-1", "size": "64 MiB", "written": "16 MiB"},
        {"key": 2001, "datastore": "ds-1", "size": "32 MiB", "written": "4 MiB"},
    ]
    table["backup"]["disks"] = {"vm-1": [2001]}
    lived = live(table, tmp_path)
    for name in sound(lived):
        run = lived.runs[name]
        assert len(run.points) == 2
        assert all([disk.key for disk in point.disks] == [2001] for point in run.points)


@pytest.mark.parametrize("method", ALL)
def test_retention_keeps_the_last_ones_and_they_stay_right(method, tmp_path):
    table = tiny()
    table["backup"] |= {"runs": ["full", *["incremental"] * 3], "keep_last": 2}
    lived = live(table, tmp_path, methods=(method,))
    sound(lived)
    made = [point.id for point in lived.runs[method].points]
    kept = Repository.open(tmp_path / "repository" / method).points()
    assert [point.id for point in kept] == made[-2:]
    gone = [f"{method}: retention let go of {id_}" for id_ in made[:2]]
    assert list(lived.result.notes) == gone
    # and the truth that the others were compared with is let go of
    moments = lived.runs[method].world.hypervisor.moments.values()
    assert sorted(m.seconds for m in moments) == [p.moment for p in lived.runs[method].points[-2:]]


# Quiescing. --------------------------------------------------------------------------------------


def frozen_for(seconds: float, fallback: str) -> dict[str, Any]:
    table = tiny()
    table["vms"][0]["quiesce"] = {"tools": True, "vss": True, "freeze": seconds}
    table["backup"] |= {"runs": ["full"], "quiesce": True, "quiesce_fallback": fallback}
    return table


@pytest.mark.parametrize("method", ALL)
def test_a_guest_that_cannot_freeze_fails_its_backup_where_that_is_asked_for(method, tmp_path):
    lived = live(frozen_for(12, "fail"), tmp_path, methods=(method,))
    result = lived.result.methods[method]
    assert "vm-1" in result.runs[0].outcome
    assert result.runs[0].outcome != "ok"
    assert result.restore_points == ()
    assert result.leftovers == ()
    assert result.stuns.count == 0


@pytest.mark.parametrize("method", ALL)
def test_or_gets_a_crash_consistent_restore_point(method, tmp_path):
    lived = live(frozen_for(12, "crash-consistent"), tmp_path, methods=(method,))
    (point,) = sound(lived)[method].restore_points
    assert point.consistency == "crash"
    (quiesced,) = sound(live(frozen_for(2, "fail"), tmp_path / "2"))["software"].restore_points
    assert quiesced.consistency == "application"


# Latency control. --------------------------------------------------------------------------------


def test_latency_control_backs_off_where_the_guests_suffer(tmp_path):
    table = tiny()
    table["backup"] |= {"runs": ["full"], "throttle": {"depth": 8, "block": "64 KiB"}}
    table["vms"][0]["disks"][0] |= {"size": "256 MiB", "written": "192 MiB"}
    limits = {"none": None, "generous": 0.5, "strict": 0.010}
    lived = {}
    for name, limit in limits.items():
        if limit:
            table["backup"]["latency"] = {"hold": limit, "throttle": limit, "poll": 1}
        lived[name] = live(table, tmp_path / name, methods=("storage",))
        sound(lived[name])
    reading = {name: x.result.methods["storage"].foreground.reading for name, x in lived.items()}
    assert reading["none"] == reading["generous"]
    assert reading["strict"].latency_ms.p95 < 0.8 * reading["none"].latency_ms.p95
    throttled = {n: list(x.runs["storage"].world.journal.of("throttled")) for n, x in lived.items()}
    assert not throttled["generous"]
    assert min(event.facts["depth"] for event in throttled["strict"]) == 1


@pytest.mark.parametrize("method", ["software", "storage", "mounted"])
def test_latency_control_slows_every_method_down(method, tmp_path):
    table = tiny()
    table["vms"][0]["disks"][0] |= {"size": "768 MiB", "written": "704 MiB"}
    table["backup"] |= {"runs": ["full"], "transport": "san"}
    table["backup"]["throttle"] = {"depth": 16, "block": "8 KiB"}
    took = {}
    for name, limit in {"generous": 0.5, "strict": 0.007}.items():
        table["backup"]["latency"] = {"hold": limit, "throttle": limit, "poll": 0.5}
        lived = live(table, tmp_path / name, methods=(method,))
        took[name] = sound(lived)[method].foreground.reading.seconds
        depths = [e.facts["depth"] for e in lived.runs[method].world.journal.of("throttled")]
        assert min(depths, default=16) == {"generous": 16, "strict": 1}[name]
    if method != "mounted":  # its reading is over before the mean of the last 20 s has risen
        assert took["strict"] > 1.2 * took["generous"]


# No space. ---------------------------------------------------------------------------------------


def silences(lived: Lived, method: str) -> list[tuple[float, float]]:
    """Return from when to when vm-1 was paused."""
    journal = lived.runs[method].world.journal
    begun = [e.time for e in journal.of("paused") if e.subject == "vm-1"]
    ended = [e.time for e in journal.of("resumed") if e.subject == "vm-1"]
    return list(zip(begun, ended, strict=True))


def test_an_array_that_refuses_writes_pauses_the_vm_and_nothing_is_lost(tmp_path):
    table = tiny()
    table["arrays"][0]["parameters"] = {"exhaustion": "refuse"}
    table["arrays"][0]["pools"][0]["reserve"] = "24 MiB"
    table["vms"][0]["load"] |= {"iops": 60, "reads": 0.2}
    table["backup"] |= {"runs": ["full"], "throttle": {"depth": 2, "rate": "1 MiB/s"}}
    lived = live(table, tmp_path, methods=("storage",))
    storage = sound(lived)["storage"]
    pauses = silences(lived, "storage")
    assert pauses
    assert max(end - start for start, end in pauses) > 5
    assert storage.stalls.over_5_seconds >= 1
    (reading,) = [phase for phase in storage.phases if phase.name == "reading"]
    assert pauses[0][0] > reading.start
    # The array snapshot's deletion makes room again.
    (deleted,) = {e.time for e in lived.runs["storage"].world.journal.of("array-snapshot-deleted")}
    assert pauses[-1][1] >= deleted


@pytest.mark.parametrize("method", ["storage", "mounted"])
def test_what_found_no_room_is_consolidated_once_the_array_snapshot_is_gone(method, tmp_path):
    """A reserve too small for consolidation: its delta disk waits for the array snapshot's end."""
    table = tiny()
    table["arrays"][0]["parameters"] = {"exhaustion": "refuse"}
    table["arrays"][0]["pools"][0]["reserve"] = "16 MiB"
    table["vms"][0]["load"] |= {"iops": 60, "reads": 0.2}
    table["backup"] |= {"runs": ["full"], "throttle": {"depth": 2, "rate": "1 MiB/s"}}
    lived = live(table, tmp_path, methods=(method,))
    sound(lived)
    run = lived.runs[method]
    journal = run.world.journal
    merges = [(event.time, event.facts["done"]) for event in journal.of("consolidation")]
    (deleted,) = {event.time for event in journal.of("array-snapshot-deleted")}
    assert not merges[0][1]  # there was no room for it
    assert merges[-1][1]
    assert merges[-1][0] > deleted
    assert not run.world.hypervisor.vm("vm-1").info().consolidation_needed
    (outcome,) = run.reports[0].vms
    assert any("left for the end of the clean-up" in line for line in outcome.lines)
    assert any("VM snapshot" in name for name in outcome.taken_back)


def test_a_datastore_that_fills_up_during_a_software_snapshot_pauses_the_vm(tmp_path):
    table = tiny()
    table["arrays"][0]["volumes"][0]["size"] = "128 MiB"
    table["datastores"][0]["fragmentation"] = 0.0
    table["vms"][0]["disks"][0]["provisioning"] = "eager-zeroed"
    table["vms"][0]["load"] |= {"iops": 60, "reads": 0.2, "io": "64 KiB", "working_set": "64 MiB"}
    filler = {"datastore": "ds-1", "size": "40 MiB", "provisioning": "eager-zeroed"}
    table["vms"].append({"name": "filler", "disks": [filler]})
    table["backup"] |= {
        "vms": ["vm-1"], "runs": ["full"], "throttle": {"depth": 2, "rate": "1 MiB/s"}
    }  # fmt: skip
    lived = live(table, tmp_path, methods=("software",))
    software = sound(lived)["software"]
    pauses = silences(lived, "software")
    assert pauses
    assert software.stalls.over_5_seconds >= 1
    assert software.stalls.over_30_seconds >= 1
    assert software.datastores[0].free_bytes_min == 0
    (removed,) = {e.time for e in lived.runs["software"].world.journal.of("consolidation")}
    assert pauses[-1][1] <= removed + 1
