"""A measurement, with stand-ins for QEMU and fio: in good order, and on every way to fail."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import fake_programs
from stuntdouble.errors import Misuse, TimedOut, Unreachable
from stuntdouble.lab import Commit, stored_curves
from stuntdouble.lab import fio as fio_module
from stuntdouble.lab import measuring as measuring_module
from stuntdouble.lab import qmp as qmp_module
from stuntdouble.lab.fio import LogError, binned, log_seconds
from stuntdouble.lab.measuring import measure, measure_all
from stuntdouble.lab.processes import ProgramError, run, running
from stuntdouble.lab.programs import DAEMON
from stuntdouble.lab.qmp import CommandError

KEPT = stored_curves()
PLAIN = KEPT["no-snapshot"]
COMMITTED = replace(KEPT["live-commit"], commit=Commit(0.05, 0.0, 0.0))
DIED = ProgramError(DAEMON, "exit code 3", "the daemon fell over")


def measured(curve=PLAIN):
    return asyncio.run(measure(curve, lambda _: None))


def test_a_plain_curve_is_counted_from_the_log(fakes) -> None:
    found = measured()
    assert found.iops == (600.0, *[400.0] * 7)
    assert found.source == "measured now"
    assert "--rw=randwrite" in fakes.fio_words()
    assert "--runtime=16" in fakes.fio_words()


def told(fakes) -> list[tuple[str, dict]]:
    messages = [json.loads(line) for line in fakes.commands().splitlines()]
    return [(message["execute"], message["arguments"]) for message in messages]


def test_copy_before_write_is_a_backup_that_copies_nothing_else(fakes) -> None:
    measured(KEPT["copy-before-write"])
    commands = told(fakes)
    backup = dict(commands)["blockdev-backup"]
    assert (backup["device"], backup["target"], backup["sync"]) == ("base", "target", "none")
    assert dict(commands)["block-export-add"]["node-name"] == backup["filter-node-name"]
    throttled = [x["file"] for _, x in commands if x.get("driver") == "throttle"]
    assert throttled == ["base-disk", "target-disk"]


def test_a_commit_is_timed_and_pivots(fakes) -> None:
    found = measured(COMMITTED)
    assert found.commit is not None
    assert found.commit.started_seconds >= 0.05
    assert found.commit.ready_seconds > 0
    commands = [name for name, _ in told(fakes)]
    assert commands.index("blockdev-snapshot") < commands.index("block-export-add")
    assert commands[-2:] == ["block-commit", "block-job-complete"]
    assert "--rwmixread=70" in fakes.fio_words()


def test_curves_are_measured_in_order_or_side_by_side(fakes) -> None:
    began = []
    for side_by_side in (False, True):
        found = asyncio.run(
            measure_all([PLAIN, COMMITTED], began.append, side_by_side=side_by_side)
        )
        assert [curve.name for curve in found] == ["no-snapshot", "live-commit"]
    assert [curve.name for curve in began[:2]] == ["no-snapshot", "live-commit"]
    assert sorted(curve.name for curve in began[2:]) == ["live-commit", "no-snapshot"]


@pytest.mark.parametrize(
    ("daemon", "fio", "error"),
    [
        ("no start", "", ProgramError(DAEMON, "exit code 3", "cannot open the throttle")),
        ("die at qmp_capabilities", "", DIED),
        ("die at block-export-add", "", DIED),
        ("die after block-export-add", "loses the disk", DIED),
        ("", "loses the disk", ProgramError("fio", "exit code 1", "fio: connection lost")),
        ("", "no start", ProgramError("fio", "exit code 1", "fio: engine nbd not loadable")),
        ("", "garbage", LogError(2, "2000, 315, 1, 0, 0")),
        ("", "no I/O", LogError(1, "")),
        ("refuse blockdev-add", "", CommandError("blockdev-add", "no such node")),
    ],
)
def test_what_goes_wrong_is_told_by_its_cause(fakes, daemon, fio, error) -> None:
    fakes.plan(daemon=daemon, fio=fio)
    with pytest.raises(type(error)) as caught:
        measured()
    assert caught.value == error


@pytest.mark.parametrize(
    ("daemon", "error"),
    [
        ("die at block-commit", DIED),
        ("die at block-job-complete", DIED),
        ("the job fails", CommandError("block-commit", "No space left on device")),
        ("the job ends", CommandError("block-commit", "it ended before it was ready")),
    ],
)
def test_a_commit_that_fails_is_told_by_its_cause(fakes, daemon, error) -> None:
    fakes.plan(daemon=daemon, fio="hangs")
    with pytest.raises(type(error)) as caught:
        measured(COMMITTED)
    assert caught.value == error


@pytest.mark.parametrize(
    ("daemon", "fio", "message"),
    [
        ("no socket", "", "the socket of qemu-storage-daemon took longer than 0.3 s"),
        ("mute at blockdev-add", "", "QEMU's answer to blockdev-add took longer than 0.3 s"),
        ("", "never begins", "the start of fio took longer than 0.3 s"),
        (
            "the job lasts",
            "",
            "QEMU's BLOCK_JOB_READY or BLOCK_JOB_COMPLETED took longer than 0.3 s",
        ),
        ("", "hangs", "fio took longer than 0.3 s"),
    ],
)
def test_no_wait_is_without_end(fakes, monkeypatch, daemon, fio, message) -> None:
    monkeypatch.setattr(qmp_module, "ANSWER_SECONDS_MAX", 0.3)
    monkeypatch.setattr(fio_module, "_START_SECONDS_MAX", 0.3)
    monkeypatch.setattr(measuring_module, "_COMMIT_SECONDS_MAX", 0.3)
    monkeypatch.setattr(fio_module, "_LATE_SECONDS_MAX", 0.3 - COMMITTED.seconds)
    fakes.plan(daemon=daemon, fio=fio)
    with pytest.raises(TimedOut, match=message):
        measured(COMMITTED)


def test_a_daemon_that_babbles_counts_as_gone(fakes) -> None:
    fakes.plan(daemon="babble at blockdev-add")
    with pytest.raises(Unreachable, match="QEMU does not answer"):
        measured()


def test_one_failure_ends_them_all(fakes) -> None:
    fakes.plan(daemon="die at block-commit", fio="hangs")
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(measure_all([PLAIN, COMMITTED], lambda _: None, side_by_side=True))
    assert caught.group_contains(ProgramError, match="the daemon fell over")


def test_a_directory_too_deep_for_a_socket_is_named(fakes, tmp_path, monkeypatch) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(Misuse, match=r"TMPDIR: .* is too long for a socket"):
        measured()
    assert list(deep.iterdir()) == []


def test_a_program_that_is_not_there_is_named(bench, tmp_path) -> None:
    with pytest.raises(ProgramError, match="nothing-such ended with no start: No such file"):
        asyncio.run(run("nothing-such", directory=tmp_path, seconds=1))


async def alive(bench, *, wanted: int) -> list[int]:
    """Return which programs live, as soon as so many do; after a while, however many do."""
    for _ in range(2000):
        if len(fake_programs.alive(bench.pids)) == wanted:
            break
        await asyncio.sleep(0.01)
    return fake_programs.alive(bench.pids)


def test_what_a_program_started_is_killed_with_it(bench, tmp_path) -> None:
    child = "import os, time\nif os.fork() == 0: os.execl(sys.executable, 'x', '-c', CHILD)\n"
    note = "import os\nopen(os.environ['FAKE_PIDS'], 'a').write(f'{os.getpid()}\\n')\n"
    text = f"import sys\nCHILD = {note + 'import time; time.sleep(60)'!r}\n{child}time.sleep(60)\n"
    fake_programs.put(bench.folder, "parent", text)

    async def scene() -> tuple[int, list[int], list[int]]:
        async with running("parent", directory=tmp_path) as parent:
            inside = await alive(bench, wanted=1)  # the parent does not note its number
        # Whoever adopts the child reaps it in its own time.
        return parent.process.pid, inside, await alive(bench, wanted=0)

    parent, inside, outside = asyncio.run(scene())
    assert len(inside) == 1, "the child runs"
    assert parent not in inside
    assert outside == []


@given(
    st.lists(st.integers(0, 20_000), max_size=50).map(sorted),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.integers(1, 12),
)
def test_bins_count_what_ended_in_them(milliseconds, width, bins) -> None:
    found = binned(np.array(milliseconds, float) / 1000, width, bins)
    wanted = [
        sum(k * width <= t / 1000 < (k + 1) * width for t in milliseconds) / width
        for k in range(bins)
    ]
    assert list(found) == pytest.approx(wanted)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 1)), min_size=1, max_size=30))
def test_a_log_is_read_as_it_was_written(tmp_path_factory, rows) -> None:
    path = tmp_path_factory.mktemp("log") / "x.log"
    path.write_text("".join(f"{time}, 1, {direction}, 4096, 0\n" for time, direction in rows))
    assert log_seconds(path).tolist() == [time / 1000 for time, _ in rows]


@pytest.mark.parametrize("row", ["", "1", "x, 1, 0", "5, 400, 0, 0, 0", "-3, 1, 0, 4096, 0"])
def test_a_log_that_is_not_one_row_for_each_io_is_refused(tmp_path, row) -> None:
    path = tmp_path / "x.log"
    path.write_text(f"1, 1, 0, 4096, 0\n{row}\n")
    with pytest.raises(LogError, match="line 2"):
        log_seconds(path)
