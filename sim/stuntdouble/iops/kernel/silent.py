"""I/Os whose ends nobody waits for: they are in flight, and no event tells when they are not.

Most I/Os of guests end without a consequence: nothing waits behind them, nobody waits for them.
When such an I/O ends is known as soon as its last visits begin, so it is put aside with that, and
taken out when somebody looks: the meter, a limit, control.  As soon as an end can have a
consequence (an I/O waits, a drain, a watch, a lost array), the ends become events like any other,
at the place in their instants that they have had all along.

    guest ─▶ job ─▶ job ─▶ …        each with its end, in no order
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.agenda import has_happened, plan_as
from stuntdouble.iops.kernel.loads import free_job
from stuntdouble.iops.kernel.tables import (
    DO_GROUP_END,
    G_COMPLETED,
    G_DRAINS,
    G_HEAD,
    G_IN_FLIGHT,
    G_SILENT,
    G_SILENT_HEAD,
    G_SILENT_MAX,
    J_DISK,
    J_KEY,
    J_KIND,
    J_LEFT,
    J_LENGTH,
    J_LOADER,
    J_NEXT,
    J_OWNER,
    J_WRITE,
    JOB_GUEST,
    M_ARRIVED,
    M_END,
    N_ANY_CUT,
    N_GUESTS,
    N_IOS,
    N_WATCHES,
    N_WAYS,
    NOW,
    P_STATE,
    UNTIL,
    see,
)

_DO_GROUP_END = DO_GROUP_END
_JOB_GUEST = JOB_GUEST
_SILENT_MIN = 4  # of a guest, before it is looked which have ended: rows of many would be cold


@njit(forceinline=True)
def may_be_silent(k: Any, job: Any, end: Any) -> Any:
    """Say whether the end of a job whose last visits have begun is without a consequence."""
    if k.jobs[job, J_KIND] != _JOB_GUEST or k.jobs[job, J_LOADER] != 0 or end <= k.now[NOW, 0]:
        return False
    if k.ints[N_WATCHES, 0] != 0 or k.ints[N_ANY_CUT, 0] != 0:
        return False
    if k.ints[N_WAYS, 0] != 0 and k.passages[job, P_STATE] != 0:
        return False
    g = k.jobs[job, J_OWNER]
    return k.guests[g, G_HEAD] == 0 and k.guests[g, G_DRAINS] == 0


@njit(forceinline=True)
def reached(k: Any) -> Any:
    """Return the time that everything before has happened, and whether its instant has begun."""
    if k.now[UNTIL, 0] > k.now[NOW, 0]:
        return k.now[UNTIL, 0], False
    return k.now[NOW, 0], True


@njit(forceinline=True)
def note_io(k: Any, g: Any, job: Any, end: Any) -> None:
    """Note that a guest's I/O has completed."""
    k.guests[g, G_COMPLETED] += 1
    k.guests[g, G_IN_FLIGHT] -= 1
    n = k.ints[N_IOS, 0]
    k.ints[N_IOS, 0] = n + 1
    k.io_kinds[n, 0] = g
    k.io_kinds[n, 1] = k.jobs[job, J_DISK]
    k.io_kinds[n, 2] = k.jobs[job, J_WRITE]
    k.io_kinds[n, 3] = k.jobs[job, J_LENGTH]
    k.ios[n, 0] = k.moments[job, M_ARRIVED]
    k.ios[n, 1] = end


@njit(forceinline=True)
def take_out_ended(k: Any, g: Any) -> None:
    """Take out those of a guest's silent I/Os that have ended by now."""
    now, begun = reached(k)
    before = 0
    job = k.guests[g, G_SILENT_HEAD]
    count = k.guests[g, G_SILENT]
    while job != 0:
        following = k.jobs[job, J_NEXT]
        end = k.moments[job, M_END]
        if end < now or (end == now and begun and has_happened(k, k.jobs[job, J_KEY])):
            if before == 0:
                k.guests[g, G_SILENT_HEAD] = following
            else:
                k.jobs[before, J_NEXT] = following
            count -= 1
            note_io(k, g, job, end)
            free_job(k, job)
        else:
            before = job
        job = following
    k.guests[g, G_SILENT] = count
    k.guests[g, G_SILENT_MAX] = 2 * count


@njit(forceinline=True)
def take_out_all_ended(k: Any) -> None:
    """Take out what has ended by now, of all guests."""
    for g in range(k.ints[N_GUESTS, 0]):
        if k.guests[g, G_SILENT] != 0:
            take_out_ended(k, g)


@njit(forceinline=True)
def fall_silent(k: Any, job: Any) -> None:
    """Put a job aside until somebody looks whether it has ended."""
    g = k.jobs[job, J_OWNER]
    k.jobs[job, J_NEXT] = k.guests[g, G_SILENT_HEAD]
    k.guests[g, G_SILENT_HEAD] = job
    k.guests[g, G_SILENT] += 1
    if k.guests[g, G_SILENT] > max(_SILENT_MIN, k.guests[g, G_SILENT_MAX]):
        take_out_ended(k, g)


@njit(forceinline=True)
def speak(k: Any, g: Any) -> None:
    """Let the ends of a guest's I/Os be events."""
    take_out_ended(k, g)
    job = k.guests[g, G_SILENT_HEAD]
    while job != 0:
        following = k.jobs[job, J_NEXT]
        k.jobs[job, J_LEFT] = 1
        plan_as(k, k.moments[job, M_END], k.jobs[job, J_KEY], _DO_GROUP_END, job)
        job = following
    k.guests[g, G_SILENT_HEAD] = 0
    k.guests[g, G_SILENT] = 0


# Doors for Python. ---------------------------------------------------------------------------------


@njit("void(int64, int64)", cache=True)
def catch_up(kt: Any, g: Any) -> None:
    """Bring the figures of a guest up to the present."""
    k = see(kt)
    if k.guests[g, G_SILENT] != 0:
        take_out_ended(k, g)


@njit("void(int64, int64)", cache=True)
def let_speak(kt: Any, g: Any) -> None:
    """See ``speak``."""
    speak(see(kt), g)


@njit("void(int64)", cache=True)
def let_all_speak(kt: Any) -> None:
    """See ``speak``, of all guests."""
    k = see(kt)
    for g in range(k.ints[N_GUESTS, 0]):
        speak(k, g)
