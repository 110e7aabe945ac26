"""Histories on whole seconds, for the judge's book and for an engine: under a snapshot, and any."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from iops.lab import BLOCK, Ask, Held, Script, conserved
from stuntdouble.site import COPY_ON_WRITE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iops.lab import Judge, Lab
    from stuntdouble.iops import Engine, Guest

    Outcome = tuple[list[tuple[float, int, int]], list[tuple[int, float, float]]]
    Rows = list[tuple[int, tuple[int, int], bool]]  # when; first block and how many; a write
    Acts = list[tuple[int, tuple[str, int, int]]]

CHUNK = 2  # blocks
SERVICES = st.tuples(st.integers(1, 3), st.integers(1, 3))

_WHOLE = st.integers(0, 24)
_SPANS = [(k, n) for k in range(5) for n in (1, 2)]
_CONTROL = st.lists(
    st.tuples(
        _WHOLE,
        st.one_of(
            st.tuples(st.just("stun"), st.integers(0, 2), st.integers(1, 5)),
            st.tuples(st.just("limit"), st.integers(0, 2), st.integers(0, 2)),
            st.tuples(st.just("freeze"), st.just(0), st.just(0)),
        ),
    ),
    max_size=6,
)


def seen(lab: Lab, guests: Sequence[Guest]) -> Outcome:
    """Return what started, and (guest, arrived, completed): every I/O is accounted for."""
    assert all(conserved(guest) for guest in guests)
    over = [
        (int(guest.name), arrived, completed)
        for guest in guests
        for arrived, completed in lab.io_times(guest.name)
    ]
    return lab.starts, sorted(over)


def schedule(
    control: Acts,
    guests: Sequence[Any],
    at: Callable[[int, Callable[[], object]], object],
    host: Judge | Engine,
    *,
    limit: Callable[[Any, int], object],
    other: Callable[[int, int], object],
) -> None:
    """Have a judge or an engine stun, resume and limit guests when *control* says so.

    Whatever else *control* says goes to *other*, with the guest's number and the figure.
    """
    for time, (act, first, second) in control:
        number = first % len(guests)
        guest = guests[number]
        if act == "stun":
            at(time, partial(host.stun, guest))
            at(time + second, partial(host.resume, guest))
        elif act == "limit":
            at(time, partial(limit, guest, second))
        else:
            at(time, partial(other, number, second))


def judged(judge: Judge, control: Acts, until: int, other: Callable[[int, int], object]) -> Outcome:
    """Return what the book says of its guests and of *control*."""
    acts: dict[int, list[Callable[[], object]]] = {}

    def at(time: int, action: Callable[[], object]) -> None:
        acts.setdefault(time, []).append(action)

    schedule(control, judge.guests, at, judge, limit=judge.limit, other=other)
    judge.run(until, acts)
    return judge.starts, sorted(judge.over)


# Under a snapshot in chunks of two blocks. -----------------------------------------------------


@st.composite
def snapshot_histories(draw, *, writes: int) -> tuple[list[tuple[int, Rows]], Acts]:
    """Draw what guests ask for, *writes* of it to one read, and what control does."""
    row = st.tuples(_WHOLE, st.sampled_from(_SPANS), st.sampled_from([True] * writes + [False]))
    guests = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.lists(row, max_size=8))
        outstanding = draw(st.sampled_from([0, 0, 1, 2]))
        guests.append((outstanding, rows if outstanding else sorted(rows)))
    return guests, sorted(draw(_CONTROL), key=lambda act: act[0])


def held_of(guests: list[tuple[int, Rows]]) -> list[Held]:
    """Return the guests as the judge knows them."""
    return [
        Held(
            deque((time, _ask(*span, write=write)) for time, span, write in rows),
            closed=outstanding > 0,
            ready=[0] * min(outstanding, len(rows)),
        )
        for outstanding, rows in guests
    ]


def _ask(at: int, size: int, *, write: bool) -> Ask:
    chunks = tuple(range(at // CHUNK, (at + size - 1) // CHUNK + 1)) if write else ()
    return Ask([[(at + k) % 2 for k in range(size)]], chunks, tuple(range(at, at + size)))


def told(judge: Judge, control: Acts, until: int, *, blocking: bool) -> Outcome:
    """Return what the book says, from a snapshot at the start on."""
    judge.blocking, judge.owed = blocking, set()
    return judged(judge, control, until, lambda *_: setattr(judge, "owed", set()))


def played(
    lab: Lab, guests: list[tuple[int, Rows]], control: Acts, until: int, *, blocking: bool
) -> Outcome:
    """Return what the engine makes of the same."""
    engine = lab.engine

    def freeze(*_: int) -> None:
        lab.site.freeze([lab.lun], COPY_ON_WRITE)

    freeze()
    if blocking:
        engine.block_copies(lab.pool)
    made = []
    for number, (outstanding, rows) in enumerate(guests):
        script = [
            (0.0 if outstanding else float(t), 0, write, at * BLOCK, size * BLOCK)
            for t, (at, size), write in rows
        ]
        made.append(lab.guest(Script(script, outstanding), str(number)))
    schedule(control, made, lab.at, engine, limit=engine.set_limit, other=freeze)
    lab.run(until - 0.5)
    return seen(lab, made)
