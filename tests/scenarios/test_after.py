"""What happens after the backups: damage, loss, and a restore that makes up for it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from scenarios.living import live
from scenarios.tiny import tiny
from stuntdouble.cli.judging import judged
from stuntdouble.results.verdict import is_sound
from stuntdouble.scenarios import comparing

KEEP = {"do": "keep-snapshot"}
CHECK = {"do": "check-snapshot"}
LOSE = {"do": "lose-array"}
RESTORE = {"do": "restore", "datastore": "ds-2"}


def damage(length: str) -> dict[str, Any]:
    return {"do": "damage", "volume": "vol-1", "length": length}


def with_steps(*steps: dict[str, Any]) -> dict[str, Any]:
    """Return the tiny scenario with a second array to restore into, and *steps*."""
    table = tiny(after=list(steps))
    other = copy.deepcopy(table["arrays"][0]) | {"name": "array-2"}
    other["volumes"] = [{"name": "vol-2", "pool": "pool-1", "size": "1 GiB"}]
    table["arrays"].append(other)
    table["datastores"].append({"name": "ds-2", "volumes": ["vol-2"]})
    return table


def notes(tmp_path, *steps: dict[str, Any]) -> list[str]:
    result = live(with_steps(*steps), tmp_path, methods=("storage",)).result
    (storage,) = result.methods.values()
    assert storage.leftovers == ()
    assert all(point.verified for point in storage.restore_points)
    return [note.removeprefix("storage: ") for note in result.notes]


def test_a_kept_array_snapshot_reads_back_while_all_is_well(tmp_path):
    kept, checked = notes(tmp_path, KEEP, CHECK)
    assert kept == "an array snapshot of array-1 is kept, with 1 volumes"
    assert checked == "the kept array snapshot reads back as written"


def test_damage_reaches_the_kept_array_snapshot_and_not_the_restore_point(tmp_path):
    _, bad, checked, restored = notes(tmp_path, KEEP, damage("512 MiB"), CHECK, RESTORE)
    assert bad == "512 MiB of vol-1 went bad at 0 B"
    assert "shares the damaged blocks" in checked
    assert restored.endswith("restored to ds-2: every byte as the guest had written it")


def test_damage_does_not_reach_a_mirror_that_was_split_off(tmp_path):
    table = with_steps(KEEP, damage("512 MiB"), CHECK)
    table["arrays"][0]["parameters"] = {"snapshot_kind": "split-mirror"}
    table["arrays"][0]["pools"][0] |= {"disk_size": "512 MiB", "reserve": "64 MiB"}
    table["arrays"][0]["volumes"][0]["size"] = "384 MiB"
    table["after"][1]["length"] = "384 MiB"
    lived = live(table, tmp_path, methods=("storage",))
    assert lived.result.notes[-1].endswith("the kept array snapshot reads back as written")
    assert lived.runs["storage"].world.arrays["array-1"].pools["pool-1"].mirrored_bytes == 384 << 20


def test_a_lost_array_takes_its_snapshots_along(tmp_path):
    _, lost, checked, restored = notes(tmp_path, KEEP, LOSE, CHECK, RESTORE)
    assert lost == "array-1 is lost, with every volume and snapshot in it"
    assert "cannot be read" in checked
    assert "every byte as the guest had written it" in restored


def test_a_restore_into_the_lost_array_fails_and_says_so(tmp_path):
    table = with_steps(LOSE, {"do": "restore", "datastore": "ds-1"})
    lived = live(table, tmp_path, methods=("software",))
    assert "could not be restored to ds-1" in lived.result.notes[-1]
    software = lived.result.methods["software"]
    assert all(point.verified for point in software.restore_points), "no word about the bytes"
    assert "could not be restored" in software.not_restored[0]
    code, verdict = judged(lived.result)
    assert code == 1
    assert "could not be restored to ds-1" in verdict


@pytest.mark.parametrize("method", ["software", "storage", "mounted"])
def test_a_datastore_too_small_for_a_restore_is_no_wrong_data(method, tmp_path):
    table = with_steps({"do": "restore", "datastore": "ds-3"})
    table["arrays"][1]["volumes"].append({"name": "vol-3", "pool": "pool-1", "size": "8 MiB"})
    table["datastores"].append({"name": "ds-3", "volumes": ["vol-3"]})
    table["backup"]["runs"] = ["full"]
    result = live(table, tmp_path, methods=(method,)).result
    assert [point.verified for point in result.restore_points] == [True]
    code, verdict = judged(result)
    assert code == 1
    assert "ds-3" in verdict
    assert "full" in verdict
    assert not is_sound(result)


def test_a_restore_writes_no_zeros_to_a_new_thin_disk(tmp_path):
    lived = live(with_steps(RESTORE), tmp_path, methods=("software",))
    restored = lived.runs["software"].world.hypervisor.vm("vm-1-restored")
    disk = restored.disks[2000]
    assert (
        16 <= disk.disk.head.file.used_blocks * 4096 / 2**20 < 40
        or len(disk.disk.head.file.places) < 40
    )


@pytest.mark.parametrize("method", ["software", "storage", "mounted"])
def test_a_restore_that_differs_is_found(method, tmp_path, monkeypatch):
    original = comparing.Repository.read

    def read(self, point, disk, start, length):
        pieces = original(self, point, disk, start, length)
        first = bytearray(next(pieces))
        first[4711] ^= 1
        yield memoryview(bytes(first))
        yield from pieces

    table = with_steps(RESTORE)
    table["backup"]["runs"] = ["full"]
    honest = live(table, tmp_path / "honest", methods=(method,))
    assert [ok for _, _, ok in honest.runs[method].restores] == [True]
    monkeypatch.setattr(comparing.Repository, "read", read)
    lived = live(table, tmp_path / "lied", methods=(method,))
    assert [ok for _, _, ok in lived.runs[method].restores] == [False]
    (point,) = lived.result.methods[method].restore_points
    assert point.verified is False
    assert "differs at byte 4711" in lived.result.notes[-1]
