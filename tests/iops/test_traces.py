"""vSCSI traces: what is written comes back, and a bad file is refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.errors import Misuse
from stuntdouble.iops.traces import Recorded, read_vscsi

if TYPE_CHECKING:
    from pathlib import Path

READS, WRITES = (0x08, 0x28, 0xA8, 0x88), (0x0A, 0x2A, 0xAA, 0x8A)
OTHERS = (0x00, 0x12, 0x1A, 0x25, 0x35, 0x42, 0xA0)  # TEST UNIT READY, INQUIRY, …, REPORT LUNS
FORMATS = {1: "<u4,<u4,<u4,<u2,<u2,<u8,<u8", 2: "<u2,<u2,<u4,<u4,<u4,<u8,<u8,<u8"}
VERSIONS = pytest.mark.parametrize("version", [1, 2])

commands = st.sampled_from(READS + WRITES + OTHERS)
rows = st.tuples(
    commands,
    st.integers(1, 2**32 - 1),  # bytes
    st.integers(0, 2**40),  # sectors
    st.integers(0, 2**44),  # microseconds: half a year
)


def in_order(rows: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    return sorted(rows, key=lambda row: row[3])


def encode(version: int, rows: list[tuple[int, int, int, int]]) -> bytes:
    """Return the file that vscsiStats would have written of (command, bytes, block, time)."""
    tag = version << 8 | 7  # the low byte says nothing
    table: list[tuple[Any, ...]] = []
    for serial, (command, length, block, time) in enumerate(rows):
        if version == 1:
            table.append((serial, length, 1, command, tag, block, time))
        else:
            table.append((command, tag, serial, length, 1, block, time, 250))
    return np.array(table, FORMATS[version]).tobytes()


def write_vscsi(path: Path, recorded: Recorded, version: int) -> None:
    """Write *recorded* as a trace whose earliest record is its first I/O."""
    columns = (
        np.where(recorded.is_write, 0x2A, 0x28),
        recorded.length_bytes,
        recorded.offset_bytes // 512,
        np.rint(recorded.seconds * 1e6),
    )
    rows = zip(*(column.astype(int).tolist() for column in columns), strict=True)
    path.write_bytes(encode(version, list(rows)))


@pytest.fixture(scope="session")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces") / "trace.vscsi"


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(Misuse) as caught:
        read_vscsi(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@VERSIONS
@given(rows=st.lists(rows, min_size=1, max_size=40).map(in_order))
def test_reads_what_was_recorded(
    version: int, rows: list[tuple[int, int, int, int]], trace: Path
) -> None:
    trace.write_bytes(encode(version, rows))
    wanted = [row for row in rows if row[0] not in OTHERS]
    if not wanted:
        with pytest.raises(Misuse, match="is a read or a write"):
            read_vscsi(trace)
        return
    found = read_vscsi(trace)
    origin = min(time for *_, time in rows)
    assert found.seconds.tolist() == [(time - origin) / 1e6 for *_, time in wanted]
    assert found.is_write.tolist() == [command in WRITES for command, *_ in wanted]
    assert found.length_bytes.tolist() == [length for _, length, *_ in wanted]
    assert found.offset_bytes.tolist() == [block * 512 for _, _, block, _ in wanted]
    assert found.skipped == len(rows) - len(wanted)


@VERSIONS
@given(
    rows=st.lists(rows.filter(lambda row: row[0] not in OTHERS), min_size=1, max_size=40).map(
        in_order
    )
)
def test_a_round_trip_changes_nothing(
    version: int, rows: list[tuple[int, int, int, int]], trace: Path
) -> None:
    trace.write_bytes(encode(3 - version, rows))
    first = read_vscsi(trace)
    write_vscsi(trace, first, version)
    again = read_vscsi(trace)
    for name in ("seconds", "is_write", "offset_bytes", "length_bytes"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert first.summary() == again.summary()


@given(
    rows=st.lists(
        st.tuples(commands, st.integers(1, 20).map(lambda n: n * 512), st.integers(0, 60)),
        min_size=1,
        max_size=20,
    ).filter(lambda rows: any(command not in OTHERS for command, *_ in rows))
)
def test_summary_counts_each_byte_once(rows: list[tuple[int, int, int]], trace: Path) -> None:
    trace.write_bytes(encode(1, [(*row, 1000 * time) for time, row in enumerate(rows)]))
    summary = read_vscsi(trace).summary()
    kept = [(n, row) for n, row in enumerate(rows) if row[0] not in OTHERS]
    sectors = {block + i for _, (_, length, block) in kept for i in range(length // 512)}
    assert summary.footprint_bytes == 512 * len(sectors)
    assert summary.count == len(kept)
    assert summary.seconds == kept[-1][0] * 1000 / 1e6
    reads = sum(command in READS for _, (command, *_) in kept)
    assert summary.read_fraction == pytest.approx(reads / len(kept))


def test_arrays_are_read_only(trace: Path) -> None:
    trace.write_bytes(encode(1, [(0x28, 4096, 8, 5)]))
    found = read_vscsi(trace)
    for name in ("seconds", "is_write", "offset_bytes", "length_bytes"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(found, name)[0] = 1


@VERSIONS
@given(rows=st.lists(rows, min_size=2, max_size=5), data=st.data())
def test_refuses_a_file_that_is_cut_off(
    version: int, rows: list[tuple[int, int, int, int]], data: st.DataObject, trace: Path
) -> None:
    whole = encode(version, rows)
    size = len(whole) // len(rows)
    missing = data.draw(st.integers(1, size - 1))
    message = refusal(trace, whole[:-missing])
    assert (
        message == f"record {len(rows)} has {size - missing} of {size} bytes: the file is cut off"
    )


@given(content=st.binary(min_size=1, max_size=31).filter(lambda c: c[:3] != b"\x1f\x8b\x08"))
def test_refuses_less_than_a_record(content: bytes, trace: Path) -> None:
    assert "is not a vSCSI trace" in refusal(trace, content)


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=80))
def test_refuses_a_file_of_another_kind(text: str, trace: Path) -> None:
    assert "is not a vSCSI trace" in refusal(trace, text.encode())


@VERSIONS
def test_refuses_what_cannot_be(version: int, trace: Path, tmp_path: Path) -> None:
    good = (0x28, 512, 0, 0)
    alien = encode(version, [good, good]) + encode(3 - version, [good] * 20)
    alien = alien[: len(alien) // 160 * 160]  # whole records in either version
    assert refusal(trace, b"") == "is empty: a trace has at least one record"
    assert refusal(trace, alien) == f"record 3 is not of version {version}"
    empty_io = encode(version, [good, (0x12, 0, 0, 0), (0x2A, 0, 0, 0)])
    assert refusal(trace, empty_io) == "record 3 is an I/O of no length"
    beyond = encode(version, [good, (0x2A, 512, 2**54, 0)])
    assert refusal(trace, beyond) == "record 2 lies beyond 8 EiB"
    silent = encode(version, [(0x12, 36, 0, 0)] * 2)
    assert refusal(trace, silent) == "none of its 2 records is a read or a write"
    late = encode(version, [(0x28, 512, 0, 900), (0x12, 36, 0, 950), (0x2A, 512, 0, 699)])
    took = ", which is more than the 250 that it took" if version == 2 else ""
    assert refusal(trace, late) == f"record 3 goes back in time: to 699, after 950{took}"
    with pytest.raises(Misuse, match="absent: cannot be read: No such file"):
        read_vscsi(tmp_path / "absent")
    with pytest.raises(Misuse, match="cannot be read: Is a directory"):
        read_vscsi(tmp_path)


def test_a_command_that_was_recorded_as_it_ended_takes_its_place(trace: Path) -> None:
    late = [(0x28, 512, 0, 900), (0x2A, 512, 1, 950), (0x28, 512, 2, 700)]
    trace.write_bytes(encode(2, late))
    assert read_vscsi(trace).offset_bytes.tolist() == [1024, 0, 512]
    assert refusal(trace, encode(1, late)) == "record 3 goes back in time: to 700, after 950"


def test_reads_a_trace_of_a_real_machine(shared_data: Path) -> None:
    path = shared_data / "cloudphysics_one_vm.vscsi"
    if not path.exists():
        pytest.skip(f"the recorded trace {path.name} is not there")
    found = read_vscsi(path)
    summary = found.summary()
    assert (summary.count, found.skipped) == (113_872, 0)
    assert summary.read_fraction == pytest.approx(46_974 / 113_872)
    assert summary.seconds == pytest.approx(7200.089885)
    assert (np.diff(found.seconds) >= 0).all()
    assert found.length_bytes.max() == 69_632
    assert 2**30 < summary.footprint_bytes < 32 * 2**30
