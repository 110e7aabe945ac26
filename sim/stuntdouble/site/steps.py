"""Steps of an I/O: PLAN, applied to the pieces that were gathered.

A piece becomes one step, or several where its chunks do not follow each other in the pool: that is
how a volume that was fragmented by redirection costs more to read and to write.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.site.places import aside, physical
from stuntdouble.site.plan import Place, Role
from stuntdouble.site.tables import (
    C_BLOCK_BYTES,
    C_STEPS,
    I_AREA,
    I_OLDER,
    R_PHYSICAL,
    R_POOL,
    T_BLOCK,
    T_BYTES,
    T_GROUP,
    T_POOL,
    T_ROLE,
    T_WRITE,
    V_CHUNK_SHIFT,
    V_NEWEST,
    V_POOL,
    X_BLOCK,
    X_COPIES,
    X_COUNT,
    X_GUEST,
    X_STATE,
    X_VOLUME,
)

_DATA = int(Role.DATA)
_COPY_WRITE = int(Role.COPY_WRITE)
_METADATA = int(Role.METADATA)
_COPIED_CHUNK = int(Place.COPIED_CHUNK)
_PARTIAL_CHUNK = int(Place.PARTIAL_CHUNK)
_REPLICA = int(Place.REPLICA)


@njit(forceinline=True)
def add_step(s: Any, row: Any, line: Any, pool: Any, block: Any, length: Any) -> Any:
    """Put down what a line of PLAN does with a piece as row *row*; return the number of rows."""
    s.steps[row, T_GROUP] = s.plan[line, 3]
    s.steps[row, T_ROLE] = s.plan[line, 1]
    s.steps[row, T_WRITE] = s.plan[line, 2]
    s.steps[row, T_POOL] = pool
    s.steps[row, T_BLOCK] = block
    s.steps[row, T_BYTES] = length
    return row + 1


@njit(forceinline=True)
def stretch(s: Any, volume: Any, block: Any, stop: Any) -> Any:
    """Return where *block* lies in the pool, and the block at which what follows lies elsewhere."""
    shift = s.volumes[volume, V_CHUNK_SHIFT]
    here = physical(s, volume, block)
    end = ((block >> shift) + 1) << shift
    while end < stop and physical(s, volume, end) == here + (end - block):
        end += 1 << shift
    return here, min(end, stop)


@njit(forceinline=True)
def _data_steps(
    s: Any, steps: Any, line: Any, k: Any, first: Any, last: Any, head: Any, tail: Any
) -> Any:
    """Add the steps of piece *k*, less what rounding added before *first* and after *last*."""
    volume = s.scratch[k, X_VOLUME]
    pool = s.volumes[volume, V_POOL]
    block = s.scratch[k, X_BLOCK]
    stop = block + s.scratch[k, X_COUNT]
    guest = s.scratch[k, X_GUEST]
    while block < stop:
        here, end = stretch(s, volume, block, stop)
        length = (end - block) * s.counters[C_BLOCK_BYTES, 0]
        if s.plan[line, 1] in (_DATA, _METADATA):
            length -= head if guest == first else 0
            length -= tail if guest + end - block == last else 0
        steps = add_step(s, steps, line, pool, here, length)
        guest += end - block
        block = end
    return steps


@njit(forceinline=True)
def _chunk_steps(s: Any, steps: Any, line: Any, k: Any) -> Any:
    """Add the step that reads a chunk where it lies, or those that write it aside."""
    volume = s.scratch[k, X_VOLUME]
    pool = s.volumes[volume, V_POOL]
    length = s.scratch[k, X_COUNT] * s.counters[C_BLOCK_BYTES, 0]
    if s.plan[line, 1] != _COPY_WRITE:
        return add_step(s, steps, line, pool, s.scratch[k, X_GUEST], length)
    image = s.volumes[volume, V_NEWEST]
    for _ in range(s.scratch[k, X_COPIES]):
        there = aside(s, volume, s.scratch[k, X_BLOCK], s.images[image, I_AREA])
        steps = add_step(s, steps, line, pool, there, length)
        image = s.images[image, I_OLDER]
    return steps


@njit(forceinline=True)
def _replica_step(s: Any, steps: Any, line: Any, k: Any) -> Any:
    """Add the step that writes to a replica: whole content blocks, in one piece."""
    replica = s.scratch[k, X_VOLUME]
    there = s.replicas[replica, R_PHYSICAL] + s.scratch[k, X_BLOCK]
    length = s.scratch[k, X_COUNT] * s.counters[C_BLOCK_BYTES, 0]
    return add_step(s, steps, line, s.replicas[replica, R_POOL], there, length)


@njit(forceinline=True)
def emit(s: Any, n: Any, block: Any, count: Any, head: Any, tail: Any) -> Any:
    """Write the steps of an I/O on guest blocks [block, block + count) by PLAN; return how many.

    Its first *head* and last *tail* bytes were added by rounding to content blocks: they cost
    nothing.
    """
    steps = 0
    touched = 0  # kinds of places, as bits
    for k in range(n):
        touched |= 1 << s.scratch[k, X_STATE]
    for line in range(s.plan.shape[0]):
        if s.plan[line, 3] < 0:
            break
        if touched >> s.plan[line, 0] & 1 == 0:
            continue
        for k in range(n):
            if s.scratch[k, X_STATE] != s.plan[line, 0] or s.scratch[k, X_COUNT] == 0:
                continue
            if s.plan[line, 0] in (_COPIED_CHUNK, _PARTIAL_CHUNK):
                steps = _chunk_steps(s, steps, line, k)
            elif s.plan[line, 0] == _REPLICA:
                steps = _replica_step(s, steps, line, k)
            else:
                steps = _data_steps(s, steps, line, k, block, block + count, head, tail)
    s.counters[C_STEPS, 0] = steps
    return steps
