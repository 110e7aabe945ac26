"""Limits on I/Os per second: the buckets of ``iops.tokens`` as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.agenda import plan
from stuntdouble.iops.kernel.tables import (
    BUCKET_BURST,
    BUCKET_IOPS,
    BUCKET_SINCE,
    BUCKET_TOKENS,
    BUCKET_WAKE,
    DISK_BUCKET,
    DISK_NUMBER,
    DO_ADMIT,
    G_DISK_COUNT,
    G_DISKS,
    J_DISK,
    N_LIMITS,
    RANK_POST,
    SHAPES,
    State,
    bound,
)
from stuntdouble.iops.tokens import TokenBucket

if TYPE_CHECKING:
    from stuntdouble.iops.engine import Guest

BUCKETS_MAX = SHAPES["buckets"][0] - 1  # of one run; the first row is none

_DO_ADMIT = DO_ADMIT
_RANK_POST = RANK_POST


@njit(forceinline=True)
def _bucket(k: Any, g: Any, job: Any) -> Any:
    """Return the bucket of a job's disk; 0 is none."""
    return k.disks[k.guests[g, G_DISKS] + k.jobs[job, J_DISK], DISK_BUCKET]


@njit(forceinline=True)
def lacks_token(k: Any, g: Any, job: Any) -> Any:
    """Say whether a job has to wait for a token; if so, see to it that it is let go."""
    if k.ints[N_LIMITS, 0] == 0:
        return False
    b = _bucket(k, g, job)
    if b == 0:
        return False
    missing = max(1.0 - k.buckets[b, BUCKET_TOKENS], 0.0)
    due = k.buckets[b, BUCKET_SINCE] + missing / k.buckets[b, BUCKET_IOPS]
    if due <= k.now[0, 0]:
        return False
    if due != k.buckets[b, BUCKET_WAKE]:
        k.buckets[b, BUCKET_WAKE] = due
        plan(k, due, _RANK_POST, _DO_ADMIT, g)
    return True


@njit(forceinline=True)
def take_token(k: Any, g: Any, job: Any) -> None:
    """Take a token, where the job's disk has a limit."""
    if k.ints[N_LIMITS, 0] == 0:
        return
    b = _bucket(k, g, job)
    if b == 0:
        return
    now = k.now[0, 0]
    come = (now - k.buckets[b, BUCKET_SINCE]) * k.buckets[b, BUCKET_IOPS]
    tokens = min(k.buckets[b, BUCKET_TOKENS] + come, k.buckets[b, BUCKET_BURST])
    k.buckets[b, BUCKET_SINCE] = now
    k.buckets[b, BUCKET_TOKENS] = max(tokens - 1.0, 0.0)


def _cell(column: int) -> Any:
    """Return a property that is a cell of the bucket's row."""

    def read(bucket: RowBucket) -> float:
        return float(bucket.row[column])

    def write(bucket: RowBucket, value: float) -> None:
        bucket.row[column] = value

    return property(read, write)


class RowBucket(TokenBucket):
    """A bucket whose figures are a row of the kernel's tables."""

    __slots__ = ("number", "row")

    _iops = _cell(BUCKET_IOPS)
    _burst = _cell(BUCKET_BURST)
    _tokens = _cell(BUCKET_TOKENS)
    _since = _cell(BUCKET_SINCE)
    wake = _cell(BUCKET_WAKE)

    def __init__(self, state: State, number: int, like: TokenBucket) -> None:
        self.number, self.row = number, state.buckets[number]
        for name in ("_iops", "_burst", "_tokens", "_since", "wake"):
            setattr(self, name, getattr(like, name))


def show_buckets(state: State, guest: Guest) -> None:
    """Tell the kernel which limits a guest's disks have."""
    for number, bucket in list(guest.buckets.items()):
        if not isinstance(bucket, RowBucket):
            del guest.buckets[number]  # until there is a row for it
            row = int(state.ints[N_LIMITS, 0]) + 1
            bound(row, BUCKETS_MAX, "limits of disks of one run of the compiled engine")
            state.ints[N_LIMITS] = row
            guest.buckets[number] = RowBucket(state, row, bucket)
    mine = state.guests[guest.number]
    first, count = int(mine[G_DISKS]), int(mine[G_DISK_COUNT])
    for slot in state.disks[first : first + count]:
        limit = guest.buckets.get(int(slot[DISK_NUMBER]))
        slot[DISK_BUCKET] = limit.number if isinstance(limit, RowBucket) else 0
