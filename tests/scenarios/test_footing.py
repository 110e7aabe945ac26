"""What figures stand on: the disks that count, the room at the start, one meaning per name."""

from __future__ import annotations

import copy

import pytest

from scenarios.living import live
from scenarios.tiny import tiny
from stuntdouble.clock import run
from stuntdouble.errors import Misuse
from stuntdouble.scenarios import parse
from stuntdouble.scenarios.build import build, prepare
from stuntdouble.units import KIB, MIB


def test_disks_that_take_no_part_do_not_dilute_the_utilisation(tmp_path):
    table = tiny()
    table["backup"]["runs"] = ["full"]
    alone = live(table, tmp_path / "alone", methods=("storage",)).result
    other = copy.deepcopy(table["arrays"][0]) | {"name": "array-2"}
    other["pools"][0]["disks"] = 12
    other["volumes"] = [{"name": "vol-2", "pool": "pool-1", "size": "1 GiB"}]
    table["arrays"].append(other)
    table["arrays"][0]["pools"].append(table["arrays"][0]["pools"][0] | {"name": "pool-2"})
    beside = live(table, tmp_path / "beside", methods=("storage",)).result
    (one,), (two,) = alone.methods.values(), beside.methods.values()
    assert one.array_utilisation.before > 0
    assert two.array_utilisation == one.array_utilisation
    assert two.array_utilisation_backup_share == one.array_utilisation_backup_share
    assert two.series.utilisation == one.series.utilisation


def test_a_datastore_without_room_for_what_is_there_at_the_start_is_misuse(tmp_path):
    table = tiny()
    table["arrays"][0]["volumes"][0]["size"] = "16 MiB"
    with pytest.raises(Misuse, match=r"scenario tiny: has no room .* ds-1 is full"):
        live(table, tmp_path, methods=("storage",))


def test_a_lan_without_a_limit_takes_no_time(tmp_path):
    table = tiny()
    table["backup"] |= {"runs": ["full"], "transport": "nbd", "lan": 0}
    (free,) = live(table, tmp_path / "nbd", methods=("software",)).result.methods.values()
    table["backup"]["transport"] = "san"
    (san,) = live(table, tmp_path / "san", methods=("software",)).result.methods.values()
    assert free.foreground.reading == san.foreground.reading


def test_open_is_the_longest_of_all_runs_for_the_method_and_for_each_vm(tmp_path):
    result = live(tiny(), tmp_path, methods=("software",)).result
    (software,) = result.methods.values()
    assert software.vms[0].snapshot_open_seconds == software.snapshot_open_seconds
    longest = max(run.end - run.start for run in software.runs)
    assert 0 < software.snapshot_open_seconds <= longest


def test_the_moment_of_a_point_is_the_repositorys_and_lies_in_its_run(tmp_path):
    table = tiny()
    table["vms"][0]["chain"] = {"snapshots": 2, "written_after_each": "1 MiB"}
    table["backup"]["runs"] = ["full"]
    lived = live(table, tmp_path, methods=("storage",))
    (storage,) = lived.result.methods.values()
    (point,), (kept,) = storage.restore_points, lived.runs["storage"].repository.points()
    assert point.moment == pytest.approx(kept.moment, abs=1e-6)
    assert storage.began > 0
    assert storage.runs[0].start <= point.moment - storage.began <= storage.runs[0].end


@pytest.mark.parametrize(
    ("block", "written", "pieces"),
    [
        (4 * KIB, MIB, [64 * KIB] * 16),
        (4 * KIB, 200 * KIB, [64 * KIB] * 3 + [8 * KIB]),
        (4 * KIB, 512, [4 * KIB]),
        (4 * KIB, 0, []),
        (64 * KIB, 65 * KIB, [64 * KIB] * 2),
        (128 * KIB, MIB, [128 * KIB] * 8),
        (MIB, MIB + 1, [MIB] * 2),
        (MIB, 64 * MIB, [MIB] * 64),
    ],
)
def test_a_delta_disk_at_the_start_holds_what_was_written_in_whole_blocks(block, written, pieces):
    table = tiny(content_block=block)
    table["arrays"][0]["pools"][0]["stripe"] = MIB
    table["arrays"][0]["parameters"] = {"chunk_bytes": max(block, 64 * KIB)}
    table["hypervisor"] = {"tracking_grain_bytes": max(block, 64 * KIB)}
    table["vms"][0] |= {
        "chain": {"snapshots": 1, "written_after_each": written},
        "load": {"kind": "none"},
    }
    found: list[int] = []

    async def main(env) -> None:
        world = build(parse(table, "test"), 1, env, None)
        await prepare(world)
        disk = world.hypervisor.vm("vm-1").disk(2000).disk
        grains = world.site.grains(disk.head, disk.blocks, max(64 * KIB // block, 1))
        found.extend((grains[:, 1] * block).tolist())

    run(main)
    assert found == pieces


def test_recorded_io_beyond_the_disk_is_counted(tmp_path):
    trace = tmp_path / "trace.csv"
    at = [0, 60, 63, 64, 200]  # MiB; the disk has 64
    rows = [f"{second},write,{mib << 20},1048576" for second, mib in enumerate(at)]
    trace.write_text("\n".join(["seconds,op,offset,size", *rows]) + "\n")
    table = tiny()
    table["vms"][0]["load"] = {"kind": "trace"}
    table["backup"]["runs"] = ["full"]
    result = live(table, tmp_path / "out", methods=("storage",), trace=trace).result
    assert result.notes[0] == (
        "2 of 5 recorded I/Os lie beyond the 64 MiB of the first disk of vm-1,"
        " and were folded back into it"
    )
    inside = "\n".join(["seconds,op,offset,size", *rows[:3]]) + "\n"
    trace.write_text(inside)
    assert not live(table, tmp_path / "in", methods=("storage",), trace=trace).result.notes
