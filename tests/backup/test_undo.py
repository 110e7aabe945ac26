"""The stack of clean-up steps: order, second attempts, what stands on what, cancellations."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.backup.cleanup import Step, Undo, uninterrupted
from stuntdouble.backup.report import Diary
from stuntdouble.errors import InvalidState, NoSpace, TaskInProgress, Unreachable


def _undo(steps, retry_seconds=(0.0, 0.0)):
    """Run steps on a stack; return the diary and the order in which they ran."""
    order: list[str] = []
    diary = Diary("vm", lambda kind, subject, /, **facts: None)

    async def main():
        async with Undo((diary,), retry_seconds) as undo:
            for name, failures in steps.items():
                rest = list(failures)

                async def action(name=name, rest=rest):
                    order.append(name)
                    if rest:
                        raise rest.pop(0)

                undo.add(name, action)

    asyncio.run(main())
    return diary, order


def test_steps_run_newest_first_and_a_failing_one_stops_no_other():
    busy = TaskInProgress("vm", "a task")
    diary, order = _undo({"a": [], "b": [busy] * 99, "c": [Unreachable("x")], "d": []})
    assert order == ["d", "c", "c", "b", "b", "b", "a", "b", "b", "b"]
    assert diary.left_behind == ["b: vm is busy with a task"]
    assert diary.taken_back == []


def test_a_refused_step_is_tried_again_after_all_others():
    diary, order = _undo({"a": [], "b": [InvalidState("b", "mapped", "delete it")], "c": []})
    assert order == ["c", "b", "a", "b"]
    assert diary.left_behind == []
    assert diary.taken_back == ["b"]


def test_what_others_stand_on_waits_for_them_and_is_reported_with_them():
    order: list[str] = []
    diary = Diary("vm", lambda kind, subject, /, **facts: None)
    failures = {"mount": 99, "mapping": 0, "volume": 0, "close": 1, "register": 0}

    async def main():
        def step(undo, name, *needs):
            async def action():
                order.append(name)
                if failures[name]:
                    failures[name] -= 1
                    raise InvalidState(name, "stuck", "remove it")

            return undo.add(name, action, needs=needs)

        async with Undo((diary,), ()) as undo:
            volume = step(undo, "volume")
            mount = step(undo, "mount", step(undo, "mapping", volume))
            register = step(undo, "register", mount)
            async with Undo((diary,), ()) as inner:
                step(inner, "close", register)

    asyncio.run(main())
    assert order == ["close", "close", "register", "mount", "mount"]
    assert diary.left_behind == [
        "mount: mount is stuck: cannot remove it",
        "mapping: not touched, because not removed: mount",
        "volume: not touched, because not removed: mapping",
    ]


@given(
    things=st.lists(
        st.tuples(st.sets(st.integers(0, 7), max_size=3), st.integers(0, 3)), max_size=8
    ),
    nested=st.integers(0, 8),
)
def test_nothing_goes_before_all_that_stands_on_it(things, nested):
    """Things are (what each stands on, how often its removal is refused); some lie on an inner stack."""
    diary = Diary("vm", lambda kind, subject, /, **facts: None)
    needs = [{below for below in stands_on if below < i} for i, (stands_on, _) in enumerate(things)]
    above = [{k for k, below in enumerate(needs) if i in below} for i in range(len(things))]
    refusals = [refused for _, refused in things]
    gone: set[int] = set()
    steps: list[Step] = []

    async def main():
        def put(undo, i):
            async def action():
                assert above[i] <= gone
                if refusals[i]:
                    refusals[i] -= 1
                    raise InvalidState(str(i), "stuck", "remove it")
                gone.add(i)

            steps.append(undo.add(str(i), action, needs=tuple(steps[k] for k in sorted(needs[i]))))

        async with Undo((diary,), ()) as outer:
            for i in range(min(nested, len(things))):
                put(outer, i)
            async with Undo((diary,), ()) as inner:
                for i in range(nested, len(things)):
                    put(inner, i)

    asyncio.run(main())
    left = [int(line.partition(":")[0]) for line in diary.left_behind]
    assert sorted([*left, *gone]) == list(range(len(things)))
    for i in left:
        assert above[i] & set(left) or things[i][1] >= 2  # each is asked for at most twice


def test_what_a_stuck_step_frees_at_the_second_attempt_goes_as_well():
    order: list[str] = []
    diary = Diary("vm", lambda kind, subject, /, **facts: None)

    async def main():
        async def below():
            order.append("below")

        async def above():
            order.append("above")
            if order == ["above"]:
                raise InvalidState("above", "stuck", "remove it")

        async with Undo((diary,), ()) as undo:
            undo.add("above", above, needs=(undo.add("below", below),))

    asyncio.run(main())
    assert order == ["above", "above", "below"]
    assert diary.left_behind == []
    assert diary.taken_back == ["above", "below"]


def test_a_step_run_before_its_time_does_not_run_again():
    ran: list[str] = []
    diary = Diary("vm", lambda kind, subject, /, **facts: None)

    async def main():
        async def action():
            ran.append("a")

        async with Undo((diary,), ()) as undo:
            step = undo.add("a", action)
            await undo.now(step)
            assert ran == ["a"]

    asyncio.run(main())
    assert ran == ["a"]


def test_pauses_between_attempts_are_those_asked_for():
    loop_times: list[float] = []
    diary = Diary("vm", lambda kind, subject, /, **facts: None)

    async def main(env):
        async def action():
            loop_times.append(asyncio.get_running_loop().time())
            raise Unreachable("array")

        async with Undo((diary,), (1.0, 5.0)) as undo:
            undo.add("a", action)

    from stuntdouble.clock import run

    run(main)
    assert loop_times == [0.0, 1.0, 6.0, 6.0, 7.0, 12.0]
    assert diary.left_behind == ["a: array does not answer"]


def test_uninterrupted_work_ends_before_the_cancellation_arrives():
    done: list[str] = []

    async def main():
        async def work():
            for _ in range(5):
                await asyncio.sleep(0)
            done.append("work")
            return 7

        async def caller():
            await uninterrupted(work())
            done.append("never")

        task = asyncio.create_task(caller())
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await uninterrupted(work()) == 7

    asyncio.run(main())
    assert done == ["work", "work"]


def test_an_heir_tries_last_what_a_stack_within_it_could_not_remove():
    order: list[str] = []
    diary = Diary("vm", lambda kind, subject, /, **facts: None)
    full = [NoSpace("the reserve", 1, 0)] * 4  # twice within; then what was freed is on its way

    async def main():
        def step(undo, name, failures=()):
            rest = list(failures)

            async def action():
                order.append(name)
                if rest:
                    raise rest.pop(0)

            undo.add(name, action)

        async with Undo((diary,), (0.0, 0.0, 0.0)) as undo:
            step(undo, "array snapshot")
            async with Undo((diary,), (0.0,), heir=undo) as thaw:
                step(thaw, "consolidation", full)
            step(undo, "mapping")

    asyncio.run(main())
    assert order == [*["consolidation"] * 2, "mapping", "array snapshot", *["consolidation"] * 3]
    assert diary.taken_back == ["consolidation"]
    assert diary.left_behind == []


def test_what_an_heir_cannot_remove_either_is_left_behind_and_told_once():
    diary = Diary("vm", lambda kind, subject, /, **facts: None)

    async def main():
        async def fail():
            raise InvalidState("vm", "broken", "clean it up")

        async with (
            Undo((diary,), (0.0,)) as undo,
            Undo((diary,), (0.0,), heir=undo) as thaw,
        ):
            thaw.add("a delta disk", fail)

    asyncio.run(main())
    assert diary.left_behind == ["a delta disk: vm is broken: cannot clean it up"]
    assert diary.taken_back == []
