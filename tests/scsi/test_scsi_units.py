"""What units raise and wait for: errors become sense data, an awaitable becomes an answer."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi.bench import BLOCK, Bench, complaint, information, sixteen, ten
from stuntdouble.errors import (
    AccessDenied,
    Bug,
    Interrupted,
    InvalidState,
    LimitReached,
    MediumError,
    NoSpace,
    NotFound,
    TaskInProgress,
    Unreachable,
    Unsupported,
)
from stuntdouble.scsi import Answer, MemoryUnit

ERRORS = [
    (MediumError("LUN", 7 * BLOCK + 3), "03/11/00"),
    (NoSpace("the snapshot reserve", 4096, 0), "07/27/07"),
    (AccessDenied("iqn", "v"), "07/27/00"),
    (NotFound("volume", "v"), "05/25/00"),
    (TaskInProgress("v", "copy"), "08"),
    (LimitReached("writes under way", 8), "28"),
    (Unreachable("array"), "02/04/00"),
    (Interrupted("a read"), "02/04/00"),
    (InvalidState("v", "gone", "read it"), "04/44/00"),
    (Unsupported("this", "that"), "04/44/00"),
]
COMMANDS = [
    (ten(0x28, 0, 1), "read"),
    (sixteen(0x88, 0, 1), "read"),
    (ten(0x28, 0, 1, 0x08), "read"),
    (bytes.fromhex("080000000100"), "read"),
    (ten(0x2A, 0, 1), "write"),
    (sixteen(0x89, 0, 1), "change"),
    (sixteen(0x8B, 0, 1), "change"),
    (sixteen(0x93, 0, 1, 1), "zero"),
    (ten(0x35, 0, 0), "flush"),
    (sixteen(0x9E, 0, 64, 0x12), "allocated"),
]


def failing(error: Exception, *, late: bool):
    def at_once(*args: object, **options: object) -> None:
        raise error

    async def later(*args: object, **options: object) -> None:
        await asyncio.sleep(0)
        raise error

    return later if late else at_once


@pytest.mark.parametrize(("error", "told"), ERRORS, ids=lambda one: str(one)[:20])
@pytest.mark.parametrize(
    ("cdb", "method", "late"),
    [
        (cdb, method, late)
        for cdb, method in COMMANDS
        for late in (False, True)
        if not (late and method == "allocated")  # which is not awaited
    ],
)
def test_an_error_of_a_unit_becomes_sense_data(bench, monkeypatch, error, told, cdb, method, late):
    monkeypatch.setattr(bench.unit, method, failing(error, late=late))
    answer = bench(cdb, bytes(2 * BLOCK))
    assert complaint(answer) == told
    assert information(answer) == 7 if told == "03/11/00" else True


@pytest.mark.parametrize("late", [False, True])
def test_a_bug_is_not_hidden(bench, monkeypatch, late):
    for method, cdb in (("read", ten(0x28, 0, 1)), ("write", ten(0x2A, 0, 1))):
        monkeypatch.setattr(bench.unit, method, failing(Bug("ours"), late=late))
        with pytest.raises(Bug):
            bench(cdb, bytes(BLOCK))


class LateUnit(MemoryUnit):
    """A disk of whose methods some answer later, as its plan says."""

    def plan(self, plan: list[bool]) -> None:
        self._plan = list(plan)

    def _given(self, value: object) -> object:
        async def late() -> object:
            await asyncio.sleep(0)
            return value

        return late() if self._plan and self._plan.pop() else value

    def read(self, offset, length):
        data = super().read(offset, length)[0]
        middle = length // 3
        return self._given([data[:middle], memoryview(data)[middle:]])

    def write(self, offset, data):
        return self._given(super().write(offset, data))

    def zero(self, offset, length, *, unmap):
        return self._given(super().zero(offset, length, unmap=unmap))

    def change(self, offset, length, update):
        changed = update(bytes(self.data[offset : offset + length]))
        return self._given(None if changed is None else MemoryUnit.write(self, offset, changed))

    def flush(self):
        return self._given(None)


@given(st.lists(st.booleans(), max_size=12))
def test_it_does_not_matter_when_a_unit_answers(plan):
    unit = LateUnit(size_bytes=64 * BLOCK)
    unit.plan([])
    bench = Bench(unit)
    unit.plan(plan)
    block = bytes(range(256)) * 2
    bench.sent(ten(0x2A, 1, 2, 0x08), block * 2)
    assert bench.sent(ten(0x28, 0, 4)) == bytes(BLOCK) + block * 2 + bytes(BLOCK)
    assert bench.sent(ten(0x28, 0, 4, 0x08)) == bytes(BLOCK) + block * 2 + bytes(BLOCK)
    bench.sent(ten(0x2E, 8, 2, 0x02), block * 2)
    bench.sent(ten(0x2F, 8, 2, 0x02), block * 2)
    assert information(bench(ten(0x2F, 0, 2, 0x02), block * 2)) == 1
    bench.sent(sixteen(0x89, 8, 1), block + b"y" * BLOCK)
    bench.sent(sixteen(0x93, 9, 1, 1))
    assert bytes(unit.data[8 * BLOCK : 10 * BLOCK]) == b"y" * BLOCK + bytes(BLOCK)


def test_a_command_that_is_cancelled_leaves_nothing_behind(bench, monkeypatch):
    closed = []

    async def never(offset, data):
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(offset)

    async def cancel():
        answer = bench.server.execute(
            bench.one, bytes((0, 1)) + bytes(6), ten(0x2A, 3, 1), b"x" * BLOCK
        )
        task = asyncio.ensure_future(answer)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(bench.unit, "write", never)
    asyncio.run(cancel())
    assert closed == [3 * BLOCK]


def test_commands_that_wait_do_not_hold_up_others(bench, monkeypatch):
    async def both():
        gate = asyncio.get_running_loop().create_future()
        plain = bench.unit.read

        async def slow(offset, length):
            if offset == 0:
                await gate
            return plain(offset, length)

        monkeypatch.setattr(bench.unit, "read", slow)
        lun = bytes((0, 1)) + bytes(6)
        first = asyncio.ensure_future(bench.server.execute(bench.one, lun, ten(0x28, 0, 1)))
        second = await bench.server.execute(bench.one, lun, ten(0x28, 1, 1))
        assert isinstance(second, Answer)
        assert not first.done()
        gate.set_result(None)
        assert (await first).length == BLOCK

    asyncio.run(both())


@pytest.mark.parametrize("block_bytes", [512, 4096])
def test_blocks_are_as_long_as_the_unit_says(block_bytes):
    unit = MemoryUnit(size_bytes=64 * 4096, block_bytes=block_bytes, unmap_granularity_bytes=4096)
    bench = Bench(unit)
    bench.sent(ten(0x2A, 5, 2), b"z" * 2 * block_bytes)
    assert unit.data.index(b"z") == 5 * block_bytes
    assert bench.sent(sixteen(0x88, 4, 2)) == bytes(block_bytes) + b"z" * block_bytes
    last = 64 * 4096 // block_bytes
    assert bench.told(ten(0x28, last, 1)) == "05/21/00"
    assert (
        bench.server.transfer(bench.one, bytes((0, 1)) + bytes(6), ten(0x2A, 0, 3)).length
        == 3 * block_bytes
    )
