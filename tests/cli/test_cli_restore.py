"""`stuntdouble restore`: what is listed is what is there, what is restored is what was stored."""

from __future__ import annotations

import json

import pytest

from cli.staged_scenarios import DISKS, names, write_repository


@pytest.fixture
def stored(here):
    """A repository with one restore point of two disks; its path and the point's name."""
    return "depot", write_repository(here / "depot")


def test_restore_points_are_listed(run, stored):
    depot, point = stored
    lines = run("restore", depot).stdout.splitlines()
    assert lines[0].split() == ["POINT", "VM", "METHOD", "KIND", "MOMENT", "CONSISTENCY", "DISKS"]
    assert lines[1].split() == [
        point,
        "vm-1",
        "storage",
        "full",
        "12.5",
        "s",
        "crash",
        "2000",
        "2001",
    ]
    (facts,) = json.loads(run("restore", depot, "--json").stdout)
    assert facts["id"] == point
    assert {d["key"]: d["capacity_bytes"] for d in facts["disks"]} == {
        key: len(data) for key, data in DISKS.items()
    }


def test_a_point_is_described(run, stored):
    depot, point = stored
    text = run("restore", depot, point).stdout
    assert "disk 2000" in text
    assert "16 KiB" in text
    assert json.loads(run("restore", depot, point, "--json").stdout)["vm"] == "vm-1"


@pytest.mark.parametrize("disk", DISKS)
def test_the_bytes_come_back(run, stored, here, disk):
    done = run("restore", *stored, "--disk", disk, "--to", "disk.raw")
    assert done.exit_code == 0, done.output
    assert (here / "disk.raw").read_bytes() == DISKS[disk]
    assert done.stdout.startswith(f"restored disk {disk} of {stored[1]}")
    again = run("restore", *stored, "--disk", disk, "--to", "disk.raw")
    assert again.exit_code == 2
    assert "exists" in again.stderr
    forced = run("restore", *stored, "--disk", disk, "--to", "disk.raw", "--force", "--json")
    assert json.loads(forced.stdout) == {
        "point": stored[1], "disk": disk, "file": "disk.raw", "bytes": len(DISKS[disk]),
    }  # fmt: skip


def test_the_only_disk_needs_no_key(run, here):
    point = write_repository(here / "single", {5: b"q" * 1024})
    assert run("restore", "single", point, "--to", "disk.raw").exit_code == 0
    assert (here / "disk.raw").read_bytes() == b"q" * 1024


def test_a_damaged_chunk_is_wrong_data_and_no_file(run, stored, here):
    for pack in (here / "depot/packs").iterdir():
        content = bytearray(pack.read_bytes())
        content[20] ^= 1  # in a chunk: tables of contents come last
        pack.write_bytes(content)
    done = run("restore", *stored, "--disk", 2000, "--to", "disk.raw")
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert "digest" in done.stderr
    assert names(here) == ["depot"]


def test_a_mistyped_repository_is_not_created(run, staged, here):
    assert "no such directory" in run("restore", "depo").stderr
    run("compare", "quickstart")
    done = run("restore", "out/quickstart")
    assert done.exit_code == 2
    assert "is not a repository: there is out/quickstart/repository/storage" in done.stderr
    assert "out/quickstart/repository/storage" in run("restore", "out/quickstart/repository").stderr
    assert names(here) == ["out"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--to", "disk.raw"), "needs the restore POINT"),
        (("--disk", "2000"), "need --to FILE"),
        (("--force",), "need --to FILE"),
        (("POINT", "--to", "disk.raw"), "has the disks 2000, 2001"),
        (("POINT", "--to", "disk.raw", "--disk", "7"), "has the disks 2000, 2001"),
        (("POINTS",), "(did you mean POINT?): list all with stuntdouble restore depot"),
        (("zzz",), "no restore point of that name: list all"),
        (("POINT", "--to", "no/where/disk.raw", "--disk", "2000"), "no/where: there is no such"),
        (("POINT", "--to", "-", "--disk", "2000"), "cannot be written to stdout"),
        (("POINT", "--to", "depot/lock", "--force", "--disk", "2000"), "lies in the repository"),
        (("POINT", "--to", "depot/packs/new.raw", "--disk", "2000"), "lies in the repository"),
    ],
)
def test_misuse_is_one_line_that_helps(run, stored, here, words, told):
    depot, point = stored
    done = run("restore", depot, *(word.replace("POINT", point) for word in words))
    assert done.exit_code == 2
    assert told in done.stderr.replace(point, "POINT")
    assert done.stderr.count("\n") == 1
    assert names(here) == ["depot"]
