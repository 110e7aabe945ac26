"""Traces that are text, and the choice of a format: what is written comes back, or is refused."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iops.test_traces import encode
from stuntdouble.errors import Misuse
from stuntdouble.iops import TraceLoad, read_trace, read_vscsi, textrows
from stuntdouble.iops.recorded import IO_BYTES_MAX, Recorded, cut_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
TICK = 128166372003061629  # of the first line of the corpus, in 2007


class Row(NamedTuple):
    """A line: when (in microseconds), on which disk, what."""

    time: int
    disk: str
    write: bool
    offset: int
    length: int


rows = st.lists(
    st.builds(
        Row,
        st.integers(0, 2**44),  # half a year
        st.sampled_from(["usr_0", "usr_1", "src1_0"]),
        st.booleans(),
        st.integers(0, 2**40).map(lambda n: n * 512),
        st.integers(1, 8192).map(lambda n: n * 512),  # up to 4 MiB
    ),
    min_size=1,
    max_size=30,
).map(lambda rows: sorted(rows, key=lambda row: row.time))


def msr(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        host, number = row.disk.split("_")
        kind = "Write" if row.write else "Read"
        when = TICK + 10 * row.time
        lines.append(f"{when},{host},{number},{kind},{row.offset},{row.length},41286\n")
    return "".join(lines)


def msr_with_header(rows: list[Row]) -> str:
    return "Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime\n" + msr(rows)


def iolog_3(rows: list[Row]) -> str:
    lines = ["fio version 3 iolog\n"]
    for disk in {row.disk: None for row in rows}:
        lines += [f"0 {disk} add\n", f"0 {disk} open\n"]
    for row in rows:
        action = "write" if row.write else "read"
        lines.append(f"{row.time} {row.disk} {action} {row.offset} {row.length}\n")
    return "".join(lines) + f"{2**44} {rows[0].disk} close\n"


def iolog_2(rows: list[Row]) -> str:
    lines, now = ["fio version 2 iolog\n", f"{rows[0].disk} add\n"], 0
    for row in rows:
        lines.append(f"{row.disk} wait {row.time - now} 0\n")
        lines.append(f"{row.disk} {'write' if row.write else 'read'} {row.offset} {row.length}\n")
        now = row.time
    return "".join(lines)


def table(rows: list[Row]) -> str:
    lines = ["disk,Seconds,op,latency,offset,size\n"]
    for row in rows:
        op = "W" if row.write else "read"
        lines.append(f'"{row.disk}",{row.time / 1e6!r},{op},0.5,{row.offset},{row.length}\r\n')
    return "".join(lines)


def table_of_sectors(rows: list[Row]) -> str:
    lines = ["us, device, TYPE, lba, sectors"]
    for row in rows:
        op = "write" if row.write else "R"
        lines.append(f"{row.time}, {row.disk}, {op}, {row.offset // 512}, {row.length // 512}")
    return "\ufeff" + "\n".join(lines)


FORMATS: dict[str, Callable[[list[Row]], str]] = {
    write.__name__: write
    for write in (msr, msr_with_header, iolog_2, iolog_3, table, table_of_sectors)
}
BY_FORMAT = pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)


@pytest.fixture(scope="session")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text-traces") / "trace"


def columns(recorded: Recorded) -> list[tuple[float, bool, int, int]]:
    return list(
        zip(
            recorded.seconds.tolist(),
            recorded.is_write.tolist(),
            recorded.offset_bytes.tolist(),
            recorded.length_bytes.tolist(),
            strict=True,
        )
    )


def whole(found: Recorded) -> list[tuple[float, bool, int, int]]:
    """Return the I/Os as they were before any was cut up; here each had 4 MiB at most."""
    joined: list[tuple[float, bool, int, int]] = []
    for second, write, offset, length in columns(found):
        if joined and offset % IO_BYTES_MAX == 0:
            before = joined[-1]
            touched = before[2] % 4096 + before[3] + length
            follows = before[:2] == (second, write) and before[2] + before[3] == offset
            if follows and touched > IO_BYTES_MAX:
                joined[-1] = (second, write, before[2], before[3] + length)
                continue
        joined.append((second, write, offset, length))
    return joined


def expected(rows: list[Row], disk: str) -> list[tuple[float, bool, int, int]]:
    return [(row.time, row.write, row.offset, row.length) for row in rows if row.disk == disk]


@BY_FORMAT
@given(rows=rows, batch=st.sampled_from([1, 3, 512]))
@settings(max_examples=40)
def test_what_was_written_comes_back(write, rows, batch, trace, monkeypatch) -> None:
    monkeypatch.setattr(textrows, "BATCH_LINES", batch)
    if write is iolog_2:  # its waits below 100 microseconds do not count
        rows = [row._replace(time=row.time - row.time % 100) for row in rows]
    trace.write_text(write(rows), encoding="utf-8", newline="")
    disks = {row.disk for row in rows}
    for disk in disks:
        found = read_trace(trace, disk=disk)
        origin = min(row.time for row in rows)
        wanted = [((time - origin) / 1e6, *rest) for time, *rest in expected(rows, disk)]
        got = whole(found)
        assert [row[1:] for row in got] == [row[1:] for row in wanted]
        assert [row[0] for row in got] == pytest.approx([row[0] for row in wanted], abs=1e-8)
        assert found.skipped == 0
        assert found.length_bytes.max() <= IO_BYTES_MAX
    if len(disks) == 1:
        assert columns(read_trace(trace)) == columns(read_trace(trace, disk=disks.pop()))
    else:
        message = refusal(trace)
        assert message.startswith(f"holds {len(disks)} disks: choose one of ")
        assert set(re.findall(r"\w+_\d", message)) == disks


@BY_FORMAT
def test_a_packed_trace_is_the_same(write, trace) -> None:
    lines = [Row(100 * k, "usr_0", k % 3 == 0, 4096 * k, 8192) for k in range(2000)]
    trace.write_text(write(lines), encoding="utf-8", newline="")
    plain = columns(read_trace(trace))
    packed = gzip.compress(trace.read_bytes())
    trace.write_bytes(packed)
    assert columns(read_trace(trace)) == plain
    trace.write_bytes(packed[:-9])
    assert refusal(trace).startswith("cannot be read: Compressed file ended before")
    trace.write_bytes(packed[:60] + b"\xff\xff\xff\xff" + packed[64:])
    assert refusal(trace).startswith("cannot be read: ")


def test_a_packed_vscsi_trace_is_the_same(trace) -> None:
    content = encode(1, [(0x28, 4096, 8, 5), (0x2A, 512, 16, 9)])
    trace.write_bytes(content)
    plain = columns(read_trace(trace))
    trace.write_bytes(gzip.compress(content))
    assert columns(read_trace(trace)) == columns(read_vscsi(trace)) == plain
    assert "of one disk: leave usr_0 out" in refusal(trace, disk="usr_0")


def refusal(path: Path, content: str | None = None, disk: str | None = None) -> str:
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(Misuse) as caught:
        read_trace(path, disk=disk)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


MSR_LINE = f"{TICK},usr,0,Read,4096,512,7\n"
CSV_HEAD = "time,op,offset,size\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is empty: a trace has at least one record"),
        ("0, 4096, 512\n", "is none of the traces that are read: a vSCSI trace, a fio iolog, "),
        ("hello\n", "is none of the traces"),
        (MSR_LINE + "1,usr,0,Read,4096,512\n", "line 2 has 6 fields, not 7"),
        (MSR_LINE + "\n" + MSR_LINE, "line 2 has 0 fields, not 7"),
        (MSR_LINE * 700 + MSR_LINE.replace("Read", "read"), "line 701 asks for 'read': use one of"),
        (MSR_LINE * 2 + MSR_LINE.replace("512", "5_2"), "line 3 has the size '5_2', which is no"),
        (MSR_LINE + MSR_LINE.replace("4096", "-4096"), "line 2 has the offset '-4096', which"),
        (MSR_LINE + MSR_LINE.replace("4096", "٤"), "line 2 has the offset '٤', which is no whole"),
        (MSR_LINE + MSR_LINE.replace("4096", ""), "line 2 has the offset '', which is no whole"),
        (MSR_LINE + MSR_LINE.replace(",0,", ",x,"), "line 2 has the disk number 'x', which"),
        (MSR_LINE + MSR_LINE.replace("4096", str(2**63)), f"line 2 has the offset '{2**63}', whi"),
        (MSR_LINE + MSR_LINE.replace("4096", "9" * 5000), "line 2 has the offset '9999"),
        (MSR_LINE + MSR_LINE.replace("4096", str(2**63 - 1)), "line 2 lies beyond 8 EiB"),
        (MSR_LINE + MSR_LINE.replace("512", "0"), "line 2 is an I/O of no length"),
        (MSR_LINE + MSR_LINE.replace("512", str(2**32)), "line 2 is an I/O of 4 GiB or more"),
        (MSR_LINE + f'{TICK},"usr\n",0,Read,1,1,1\n', "line 2 has a quoted field that runs over"),
        (MSR_LINE + f'{TICK},"usr,0,Read,1,1,1\n', "line 2 is no CSV: unexpected end of data"),
        ("fio version 1 iolog\n", "line 1 is 'fio version 1 iolog': iologs of versions 2 and 3"),
        ("fio version 3 iolog\n0 a add\n", "none of its 0 records is a read or a write"),
        ("fio version 3 iolog\n0 a sync 0 0\n", "none of its 1 records is a read or a write"),
        ("fio version 3 iolog\n0 a wait 9 0\n", "line 2 waits, which version 3 has times for"),
        ("fio version 3 iolog\n0 a add\na read 0 512\n", "line 3 has 4 fields, not 5"),
        ("fio version 3 iolog\n0 a open 0 0\n", "line 2 has 5 fields: open has 3"),
        ("fio version 3 iolog\n0 a add\n1.5 a read 0 512\n", "line 3 has the time '1.5', which"),
        ("fio version 3 iolog\n0 a add\n1 a peek 0 512\n", "line 3 asks for 'peek': use one of"),
        ("fio version 2 iolog\na add\n\na read 0 512\n", "line 3 has 0 fields, not 4"),
        ("fio version 2 iolog\na read 0 512\n" * 2, "line 3 has the length 'iolog', which is"),
        ("fio version 2 iolog\na read 0 512\n", "has no wait, so it does not tell when its I/Os"),
        ("time,op,offset\n0,r,1\n", "line 1 names no column for length: one of size, length, by"),
        ('"time","""op""",offset,size\n', "line 1 names no column for operation: one of op, ope"),
        ("time,ms,op,offset,size\n", "line 1 has two columns for time: time and ms"),
        (CSV_HEAD + "0,r,0,512\nnan,r,0,512\n", "line 3 has the time 'nan', which is no decimal"),
        (CSV_HEAD + "0,r,0,512\n-1,r,0,512\n", "line 3 has the time '-1', which is no decimal"),
        (CSV_HEAD + "1e999,r,0,512\n", "line 2 has the time '1e999', which is no decimal"),
        (CSV_HEAD + "e,r,0,512\n", "line 2 has the time 'e', which is no decimal"),
        (CSV_HEAD + "0,x,0,512\n", "line 2 asks for 'x': use one of read, r, write, w, sync"),
        (CSV_HEAD, "none of its 0 records is a read or a write"),
        (CSV_HEAD + "0,r,0,512\n5e12,r,0,512\n", "spans 5e+12 seconds: is 'time' in ms"),
        (CSV_HEAD + "0,r,0,512\n1e300,r,0,512\n", "spans 1e+300 seconds: is 'time' in ms, us or"),
        (CSV_HEAD + "2,r,0,512\n1.5,flush,0,0\n", "line 3 goes back in time: to 1.5, after 2.0"),
        (CSV_HEAD + "1e300,r,0,512\n1,r,0,512\n", "line 3 goes back in time: to 1.0, after 1e+300"),
        (
            "fio version 3 iolog\n9 a add\n7 a read 0 512\n8 a read 0 512\n6 a read 0 512\n",
            "line 5 goes back in time: to 6, after 8",
        ),
        (
            MSR_LINE * 600 + MSR_LINE.replace(str(TICK), str(TICK - 8)),
            f"line 601 goes back in time: to {TICK - 8}, after {TICK}, which is more than the 7 that",
        ),
        (
            MSR_LINE + MSR_LINE.replace(str(TICK), str(TICK - 7)).replace(",7\n", ",x\n"),
            "line 2 has the response time 'x', which is no whole number",
        ),
        ("time,op,lba,size\n" + f"0,r,{2**62},512\n", f"line 2 has the place '{2**62}', which"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(content, complaint, trace) -> None:
    assert refusal(trace, content).startswith(complaint)


def test_bytes_that_are_no_text_are_refused_where_they_are(trace) -> None:
    trace.write_bytes(MSR_LINE.encode() + MSR_LINE.encode().replace(b"4096", b"40\xff6"))
    assert refusal(trace).startswith(r"line 2 has the offset '40\\xff6', which")


def test_a_disk_that_is_not_there_is_refused(trace, tmp_path) -> None:
    lines = [Row(k, f"usr_{k}", False, 0, 512) for k in range(30)]
    trace.write_text(msr(lines))
    assert refusal(trace, disk="src1_0").startswith("has no disk src1_0: it has usr_0, usr_1, ")
    assert refusal(trace).endswith("usr_19 and 10 more")
    message = refusal(trace, CSV_HEAD + "0,r,0,512\n", disk="sda")
    assert message == "has no column that names disks: leave sda out"
    assert "cannot be read: No such file" in refusal(tmp_path / "absent")
    assert "cannot be read: Is a directory" in refusal(tmp_path)


def test_what_moves_no_data_is_counted(trace) -> None:
    log = "fio version 3 iolog\n5 a trim 0 4096\n9 a read 0 512\n9 a datasync 0 0\n"
    trace.write_text(log)
    found = read_trace(trace)
    assert (found.skipped, columns(found)) == (2, [(4e-6, False, 0, 512)])
    trace.write_text(CSV_HEAD + "3.5,Flush,0,0\n4,w,0,512\n")
    found = read_trace(trace)
    assert (found.skipped, columns(found)) == (1, [(0.5, True, 0, 512)])


@given(
    rows=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 90)), min_size=1, max_size=40),
    batch=st.sampled_from([1, 3, 512]),
)
def test_a_recording_in_order_of_completion_is_sorted_by_issue(
    rows, batch, trace, monkeypatch
) -> None:
    monkeypatch.setattr(textrows, "BATCH_LINES", batch)
    ended = sorted((issued + took, issued, n) for n, (issued, took) in enumerate(rows))

    lines = [f"{TICK + at},usr,0,Read,{512 * n},512,{end - at}\n" for end, at, n in ended]
    trace.write_text("".join(lines))
    found = columns(read_trace(trace))
    first = min(issued for issued, _ in rows)
    wanted = sorted((issued, end, n) for end, issued, n in ended)
    assert [round(second * 1e7) + first for second, *_ in found] == [row[0] for row in wanted]
    assert [offset // 512 for _, _, offset, _ in found] == [row[2] for row in wanted]


@pytest.mark.parametrize("write", [msr, iolog_3, table])
def test_disks_one_after_the_other_each_have_a_clock_of_their_own(write, trace) -> None:
    parts = [[Row(100 * k, disk, False, 0, 512) for k in range(3)] for disk in ("usr_0", "usr_1")]
    trace.write_text(write(parts[0] + parts[1]), encoding="utf-8", newline="")
    for disk in ("usr_0", "usr_1"):
        assert read_trace(trace, disk=disk).seconds.tolist() == pytest.approx([0.0, 1e-4, 2e-4])


def test_a_wait_counts_from_the_wait_before(trace) -> None:
    log = ["fio version 2 iolog", "a add", "a read 0 512", "a wait 200 0", "a read 0 512"]
    log += ["a wait 99 0", "a write 0 512", "a wait 100 0", "a read 0 512", "a close"]
    trace.write_text("\n".join(log))
    assert read_trace(trace).seconds.tolist() == [0.0, 200e-6, 200e-6, 300e-6]


def test_a_real_trace_is_the_same_in_every_format(shared_data: Path, trace: Path) -> None:
    path = shared_data / "cloudphysics_one_vm.vscsi"
    if not path.exists():
        pytest.skip(f"the recorded trace {path.name} is not there")
    real = read_trace(path)
    assert columns(real) == columns(read_vscsi(path))
    lines = [Row(round(second * 1e6), "usr_0", *rest) for second, *rest in columns(real)[-20_000:]]
    wanted = [(second - lines[0].time / 1e6, *rest) for second, *rest in columns(real)[-20_000:]]
    for write in (msr, iolog_3, table_of_sectors):
        trace.write_text(write(lines), encoding="utf-8")
        found = columns(read_trace(trace))
        assert [row[1:] for row in found] == [row[1:] for row in wanted]
        assert [row[0] for row in found] == pytest.approx([row[0] for row in wanted], abs=1e-8)


# Cutting up. ---------------------------------------------------------------------------------------

LONG = st.lists(
    st.tuples(st.integers(0, 40_000), st.integers(1, 40_000)).map(
        lambda row: (row[0] * 512, row[1] * 512)
    ),
    min_size=1,
    max_size=12,
)


@given(LONG)
def test_what_is_too_long_for_the_engine_is_cut_up(ios) -> None:
    offset, length = (np.array(column, np.int64) for column in zip(*ios, strict=True))
    before = Recorded(np.arange(len(ios)) * 1.0, np.arange(len(ios)) % 2 == 0, offset, length, 3)
    after = cut_up(before)
    assert (after.offset_bytes % 4096 + after.length_bytes <= IO_BYTES_MAX).all()
    assert after.skipped == 3
    pieces: dict[float, list[tuple[bool, int, int]]] = {}
    for second, *rest in columns(after):
        pieces.setdefault(second, []).append(tuple(rest))
    for (start, size), (second, mine) in zip(ios, pieces.items(), strict=True):
        assert {write for write, _, _ in mine} == {second % 2 == 0}
        at = start
        for _, offset, length in mine:
            assert offset == at
            at += length
        assert at == start + size
        if start % 4096 + size <= IO_BYTES_MAX:
            assert len(mine) == 1


@given(LONG, st.integers(5 * MIB // 512, 20_000).map(lambda n: n * 512))
def test_wrapping_leaves_no_io_too_long_for_the_engine(ios, disk) -> None:
    offset, length = (np.array(column, np.int64) for column in zip(*ios, strict=True))
    recorded = cut_up(Recorded(np.zeros(len(ios)), np.zeros(len(ios), bool), offset, length))
    for _, _, _, at, size in TraceLoad(recorded, disk, repeat=False).ios():
        assert 0 <= at <= disk - size
        assert -(-(at + size) // 4096) - at // 4096 <= 1024
