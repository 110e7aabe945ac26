"""Stream-optimized VMDKs, read back by qemu-img, which shares no line with what wrote them."""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.codecs.vmdk import GRAIN_BYTES, StreamOptimized
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from pathlib import Path

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="there is no qemu-img")


def written(disk: bytes, slice_bytes: int = 1 << 20) -> tuple[bytes, StreamOptimized]:
    writer = StreamOptimized(len(disk), "disk.vmdk")
    slices = (disk[at : at + slice_bytes] for at in range(0, len(disk), slice_bytes))
    made = b"".join((writer.begin(), *map(writer.add, slices), writer.end()))
    assert writer.bytes_written == len(made)
    assert len(made) % 512 == 0
    return made, writer


def read_back(made: bytes, where: Path) -> bytes:
    source, target = where / "disk.vmdk", where / "disk.raw"
    source.write_bytes(made)
    call = ["qemu-img", "convert", "-f", "vmdk", "-O", "raw", str(source), str(target)]
    subprocess.run(call, check=True, capture_output=True)
    return target.read_bytes()


def scattered(rng: random.Random, grains: int, tail: int = 0) -> bytes:
    parts = []
    for _ in range(grains):
        kind = rng.randrange(4)
        parts.append(bytes(GRAIN_BYTES) if kind < 2 else rng.randbytes(GRAIN_BYTES) if kind == 2
                     else b"text " * 1000 + bytes(GRAIN_BYTES - 5000))  # fmt: skip
    return b"".join(parts) + rng.randbytes(tail)


@needs_qemu
@pytest.mark.parametrize(("grains", "tail"), [(1, 0), (7, 0), (511, 0), (513, 0), (1100, 0),
    (3, 512), (512, 4096)])  # fmt: skip
def test_another_program_reads_the_same_bytes(tmp_path: Path, grains: int, tail: int) -> None:
    disk = scattered(random.Random(grains), grains, tail)
    made, writer = written(disk)
    assert read_back(made, tmp_path) == disk
    assert writer.populated_bytes <= len(disk)
    check = ["qemu-img", "check", "-f", "vmdk", str(tmp_path / "disk.vmdk")]
    assert subprocess.run(check, capture_output=True, check=False).returncode in {0, 63}


@needs_qemu
def test_a_disk_of_zeros_takes_no_grain(tmp_path: Path) -> None:
    disk = bytes(64 << 20)
    made, writer = written(disk)
    assert writer.populated_bytes == 0
    assert len(made) < 70_000
    assert read_back(made, tmp_path) == disk


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 127))
@settings(max_examples=25)
def test_how_it_is_cut_does_not_show(grains: int, every: int, sectors: int) -> None:
    disk = scattered(random.Random(grains), grains, sectors * 512)
    assert written(disk, every * GRAIN_BYTES)[0] == written(disk)[0]


def test_what_is_no_disk_is_refused() -> None:
    for size in (0, 511, -512):
        with pytest.raises(Misuse, match="whole sectors"):
            StreamOptimized(size, "x")
    writer = StreamOptimized(2 * GRAIN_BYTES, "x")
    with pytest.raises(Misuse, match="missing"):
        writer.end()
    for data in (b"x" * 512, bytes(3 * GRAIN_BYTES)):
        with pytest.raises(Misuse, match="not whole grains"):
            writer.add(data)
    with pytest.raises(Misuse, match="before the grains"):
        StreamOptimized(GRAIN_BYTES, "x" * 70_000).begin()
