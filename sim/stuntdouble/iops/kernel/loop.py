"""The loop: what is left of the event at hand, then what is urgent, then normal, then the agenda.

It returns to Python only for what control has to hear, to decide or to supply; whatever it was
doing then lies on the stack, so that it goes on where it stopped.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel import arrivals, guests, loads, streams, watches
from stuntdouble.iops.kernel.agenda import (
    add_normal,
    come_to,
    fill_hole,
    push,
    take_first,
    take_normal,
    take_urgent,
)
from stuntdouble.iops.kernel.copies import free_kept
from stuntdouble.iops.kernel.passages import STAYS, pass_on
from stuntdouble.iops.kernel.silent import take_out_all_ended
from stuntdouble.iops.kernel.tables import (
    ASK_ITEM,
    DO_ADMIT,
    DO_AFTER_ARRIVAL,
    DO_AFTER_REST,
    DO_ARRIVAL,
    DO_CHECK,
    DO_DROPPED,
    DO_END,
    DO_GO,
    DO_GROUP_END,
    DO_ITEM_FAILED,
    DO_LET_GO,
    DO_NEXT,
    DO_NEXT_GUEST,
    DO_NEXT_STREAM,
    DO_OPEN,
    DO_REST,
    DO_START,
    DO_TELL,
    DO_UNFENCE,
    DO_UNTIL,
    DONE,
    FLUSH,
    FLUSH_ROWS,
    FULL,
    J_KIND,
    J_LEFT,
    J_OWNER,
    J_VISITS,
    JOB_GUEST,
    JOB_STREAM,
    JOB_SUBMIT,
    JOBS_MAX,
    N_AGENDA,
    N_CONTROLLED,
    N_EVENTS,
    N_FLUSH_AT,
    N_IOS,
    N_JOBS,
    N_NORMAL_HEAD,
    N_NORMAL_TAIL,
    N_REFILL,
    N_SERVICES,
    N_STACK,
    N_URGENT_HEAD,
    N_URGENT_TAIL,
    N_WAYS,
    NEWS_ENDED,
    NEWS_GO,
    NEWS_UNTIL,
    NOW,
    P_STATE,
    REFILL,
    SETTLE,
    TRANSFER,
    UNTIL,
    V_NEXT,
    see,
)
from stuntdouble.iops.kernel.visits import (
    end_visit,
    free_visit,
    is_group_over,
    lay_out,
    start_group,
)
from stuntdouble.site.tables import view

_DONE, _TRANSFER, _REFILL, _FLUSH, _FULL = DONE, TRANSFER, REFILL, FLUSH, FULL
_ASK_ITEM, _SETTLE = ASK_ITEM, SETTLE
_DO_ADMIT, _DO_AFTER_ARRIVAL, _DO_ARRIVAL, _DO_END = DO_ADMIT, DO_AFTER_ARRIVAL, DO_ARRIVAL, DO_END
_DO_GO, _DO_GROUP_END, _DO_ITEM_FAILED, _DO_LET_GO, _DO_OPEN = (
    DO_GO,
    DO_GROUP_END,
    DO_ITEM_FAILED,
    DO_LET_GO,
    DO_OPEN,
)
_DO_NEXT_GUEST, _DO_NEXT_STREAM, _DO_REST = DO_NEXT_GUEST, DO_NEXT_STREAM, DO_REST
_DO_START, _DO_UNFENCE, _DO_UNTIL = DO_START, DO_UNFENCE, DO_UNTIL
_DO_NEXT, _DO_DROPPED = DO_NEXT, DO_DROPPED
_DO_CHECK, _DO_AFTER_REST, _DO_TELL = DO_CHECK, DO_AFTER_REST, DO_TELL
_JOB_GUEST, _JOB_STREAM, _JOB_SUBMIT = JOB_GUEST, JOB_STREAM, JOB_SUBMIT
_JOBS_MAX = JOBS_MAX
_FLUSH_ROWS = FLUSH_ROWS
_STAYS = STAYS
_NEWS_ENDED, _NEWS_GO, _NEWS_UNTIL = NEWS_ENDED, NEWS_GO, NEWS_UNTIL


@njit(forceinline=True)
def _go(k: Any, kt: Any, s: Any, job: Any) -> Any:
    """Let a job make its next group of visits, or complete; return 0 or FULL."""
    if k.ints[N_WAYS, 0] != 0 and k.passages[job, P_STATE] != 0:
        code = pass_on(kt, job)
        if code != 0:
            return 0 if code == _STAYS else code
    if k.jobs[job, J_VISITS] != 0:
        start_group(k, job)
        return 0
    kind = k.jobs[job, J_KIND]
    if kind == _JOB_GUEST:
        guests.complete(k, s, job)
    elif kind == _JOB_STREAM:
        streams.complete_item(k, job)
    else:
        add_normal(k, _NEWS_ENDED, k.jobs[job, J_OWNER], 0)
        loads.free_job(k, job)
        watches.check_later(k)
    return 0


@njit(forceinline=True)
def _do_posted(k: Any, do: Any, what: Any) -> None:
    """Do what control posted, or go on with it."""
    if do == _DO_NEXT_GUEST:
        guests.admit_next_guest(k, what)
    elif do == _DO_NEXT_STREAM:
        streams.open_next_stream(k)
    elif do == _DO_UNFENCE:
        streams.lift_fence(k)
    elif do == _DO_LET_GO:
        loads.let_go(k, what)
    elif do == _DO_START:
        loads.start_load(k, what)
    elif do == _DO_TELL:
        streams.tell_streams(k, what)
    elif do == _DO_DROPPED:
        guests.release(k, what)


@njit(forceinline=True)
def _do_rarely(k: Any, do: Any, what: Any) -> None:
    """Do what follows from something that is not an everyday event."""
    if do == _DO_UNTIL:
        loads.wait_until(k, what)
    elif do == _DO_ITEM_FAILED:
        streams.item_over(k, what)
    elif do == _DO_AFTER_REST:
        if what != 0:
            push(k, _DO_NEXT, what)
    else:
        _do_posted(k, do, what)


@njit(forceinline=True)
def _do_else(k: Any, kt: Any, t: Any, s: Any, do: Any, what: Any) -> Any:
    """Do what neither begins nor ends a group of visits; return 0, or why Python is needed."""
    if do == _DO_ADMIT:
        return guests.admit(k, kt, t, s, what)
    if do == _DO_NEXT:
        loads.next_of_load(k, s, what)
    elif do == _DO_AFTER_ARRIVAL:
        arrivals.after_arrival(k, what)
    elif do == _DO_REST:
        guests.rest_of_completion(k, what)
    elif do == _DO_OPEN:
        streams.open_stream(k, s, what)
    elif do == _DO_CHECK:
        return watches.check(k)
    else:
        _do_rarely(k, do, what)
    return 0


@njit(forceinline=True)
def _do(k: Any, kt: Any, t: Any, s: Any, do: Any, what: Any) -> Any:
    """Do one thing; return 0, or why Python is needed.

    What has arrived, and what has ended a group of visits, goes on at once.
    """
    if do == _DO_ARRIVAL:
        code, what = arrivals.arrive(k, kt, t, s, what)
        if what == 0:
            return code
        do = _DO_GO
    elif do in (_DO_END, _DO_GROUP_END):
        if do == _DO_END:
            what = end_visit(k, what)
        if not is_group_over(k, what):
            return 0
        do = _DO_GO
    if do == _DO_GO:
        return _go(k, kt, s, what)
    return _do_else(k, kt, t, s, do, what)


@njit(forceinline=True)
def _start_items(k: Any, kt: Any, t: Any, s: Any) -> Any:
    """Start the first of the items and destages that are urgent; it stays while Python is asked."""
    head = k.ints[N_URGENT_HEAD, 0]
    if k.urgent[head, 0] == 0:
        _, destage = take_urgent(k)
        push(k, _DO_GO, destage)
        return 0
    code = streams.start_item(k, kt, t, s, k.urgent[head, 0], k.urgent[head, 1])
    if code not in (_ASK_ITEM, _SETTLE):
        take_urgent(k)
    return code


@njit(forceinline=True)
def _between_events(k: Any, limit: Any) -> Any:
    """Return one more than why Python is needed before the next event, or 0."""
    k.ints[N_CONTROLLED, 0] = 0
    if k.ints[N_REFILL, 0] != 0:
        return _REFILL + 1
    if k.ints[N_IOS, 0] >= _FLUSH_ROWS or k.ints[N_SERVICES, 0] >= k.ints[N_FLUSH_AT, 0]:
        return _FLUSH + 1
    if k.ints[N_JOBS, 0] >= _JOBS_MAX:
        take_out_all_ended(k)
        if k.ints[N_JOBS, 0] >= _JOBS_MAX:
            return _FULL + 1
    fill_hole(k)
    if k.ints[N_AGENDA, 0] == 0 or not k.times[0, 0] < limit:
        k.now[UNTIL, 0] = limit
        return _DONE + 1
    return 0


@njit(forceinline=True)
def _do_of(news: Any) -> Any:
    """Return what is to be done about an entry of the normal queue that is the kernel's."""
    if news == _NEWS_GO:
        return _DO_GO
    return _DO_UNTIL if news == _NEWS_UNTIL else _DO_NEXT


@njit("int64(int64, int64, float64)", cache=True)
def run(kt: Any, t: Any, limit: Any) -> Any:
    """Run every event before *limit*; return DONE, or why Python is needed."""
    k = see(kt)
    s = view(t)
    k.now[UNTIL, 0] = k.now[NOW, 0]
    while True:
        n = k.ints[N_STACK, 0]
        if n != 0:
            k.ints[N_STACK, 0] = n - 1
            do, what = k.stack[n - 1, 0], k.stack[n - 1, 1]
        elif k.ints[N_URGENT_HEAD, 0] != k.ints[N_URGENT_TAIL, 0]:
            code = _start_items(k, kt, t, s)
            if code != 0:
                return code
            continue
        elif k.ints[N_NORMAL_HEAD, 0] != k.ints[N_NORMAL_TAIL, 0]:
            if k.ints[N_CONTROLLED, 0] != 0:
                return _TRANSFER
            news, what = take_normal(k)
            do = _do_of(news)
        else:
            code = _between_events(k, limit)
            if code != 0:
                return code - 1
            when, key = k.times[0, 0], k.agenda[0, 1]
            come_to(k, when, key)
            k.ints[N_EVENTS, 0] += 1
            do, what = take_first(k)
        code = _do(k, kt, t, s, do, what)
        if code != 0:
            return code


@njit("void(int64, int64, int64)", cache=True)
def do_next(kt: Any, do: Any, what: Any) -> None:
    """Do one thing in place of an event, up to where its instant goes on with what is normal."""
    k = see(kt)
    push(k, do, what)
    k.ints[N_CONTROLLED, 0] = 1


@njit("int64(int64, int64, int64, int64, int64)", cache=True)
def prepare(kt: Any, t: Any, number: Any, steps: Any, purpose: Any) -> Any:
    """Make a job of *steps* rows of the site's table; return it, or negative what fails."""
    k = see(kt)
    job = loads.new_job(k, _JOB_SUBMIT, number)
    k.jobs[job, J_LEFT] = 0
    code = lay_out(kt, t, steps, job, purpose, -1, 0)
    return job if code == 0 else -abs(code)


@njit("void(int64, int64)", cache=True)
def skip_visits(kt: Any, job: Any) -> None:
    """Take a posted I/O's visits away, unless it has started: nobody would answer."""
    k = see(kt)
    if k.jobs[job, J_LEFT] != 0:
        return
    if k.ints[N_WAYS, 0] != 0 and k.passages[job, P_STATE] != 0:
        k.passages[job, P_STATE] = 0
        free_kept(k, job)
    v = k.jobs[job, J_VISITS]
    while v != 0:
        following = k.visits[v, V_NEXT]
        free_visit(k, v)
        v = following
    k.jobs[job, J_VISITS] = 0
