"""The content log: what was written, moved and zeroed, in the order of admission.

Admission appends to the log, it does not touch content; ``settle`` applies the log before anything
forks or reads.  Guest, wire, consolidation and fast-forward all append here: there is no other
write path.  In count-only sites nothing is logged, and everything but content stays the same.

    write   the guest's ledger and the volume's medium get tokens token, token + 1, …
    move    the medium gets what another place of a medium holds at this point of the log
    zeroed  the medium gets the zero token
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.content import BORN_BLOCK_BITS, ZERO
from stuntdouble.site.tables import (
    C_COUNT_ONLY,
    C_LOG,
    D_LEDGER,
    G_BLOCK,
    G_COUNT,
    G_DISK,
    G_FROM,
    G_GUEST,
    G_OP,
    G_TOKEN,
    G_VOLUME,
    V_BORN,
    V_GARBAGE,
    V_MEDIUM,
    view,
)
from stuntdouble.site.words import approach, approach_node, get, put, put_run

WRITE: Final = 1
MOVE: Final = 2
ZEROED: Final = 3

_WRITE = WRITE
_MOVE = MOVE
_ZEROED = ZEROED
_ZERO = np.uint64(ZERO)
_SAME = np.uint64(0)
_NEXT = np.uint64(1)
_BORN_BITS = np.uint64(BORN_BLOCK_BITS)
_NEAR, _FAR = 8, 16  # rows: longer than memory takes, shorter than a cache forgets


@njit(forceinline=True)
def _note(s: Any, op: Any, volume: Any, block: Any, count: Any, token: Any, origin: Any) -> Any:
    """Append an event; return its row, or the last of all rows where nothing is logged."""
    if s.counters[C_COUNT_ONLY, 0] != 0:
        return s.log.shape[0] - 1
    row = s.counters[C_LOG, 0]
    s.counters[C_LOG, 0] = row + 1
    s.log[row, G_OP] = op
    s.log[row, G_DISK] = 0
    s.log[row, G_GUEST] = 0
    s.log[row, G_VOLUME] = volume
    s.log[row, G_BLOCK] = block
    s.log[row, G_COUNT] = count
    s.log[row, G_TOKEN] = np.int64(token)
    s.log[row, G_FROM] = origin
    return row


@njit(forceinline=True)
def note_write(
    s: Any, volume: Any, block: Any, count: Any, token: Any, disk: Any, guest: Any
) -> None:
    """Log a write of tokens from *token* on; *disk* is 0 where no ledger is to know of it."""
    row = _note(s, _WRITE, volume, block, count, token, 0)
    s.log[row, G_DISK] = disk
    s.log[row, G_GUEST] = guest


@njit(forceinline=True)
def note_zeroed(s: Any, volume: Any, block: Any, count: Any) -> None:
    """Log that blocks of a volume are zeroed."""
    _note(s, _ZEROED, volume, block, count, 0, 0)


@njit(forceinline=True)
def note_move(s: Any, volume: Any, block: Any, count: Any, source: Any, start: Any) -> None:
    """Log that blocks get what *start* and the following of the volume *source* hold."""
    _note(s, _MOVE, volume, block, count, source, start)


@njit(forceinline=True)
def token_at(s: Any, volume: Any, block: Any) -> Any:
    """Return what *block* of *volume* holds; garbage that names itself if never written.

    Blocks that a volume was given clean are zeros instead.
    """
    word = get(s, s.volumes[volume, V_MEDIUM], block)
    if word == _SAME:
        if block >= s.volumes[volume, V_GARBAGE]:
            return _ZERO
        return np.uint64(s.volumes[volume, V_BORN]) << _BORN_BITS | np.uint64(block)
    return word


@njit(forceinline=True)
def _look_ahead(s: Any, row: Any, rows: Any) -> None:
    """Let the words come near that events further on will change, and before that the way to them."""
    near, far = row + _NEAR, row + _FAR
    if far >= rows:
        return
    approach_node(s, s.volumes[s.log[far, G_VOLUME], V_MEDIUM], s.log[far, G_BLOCK])
    approach(s, s.volumes[s.log[near, G_VOLUME], V_MEDIUM], s.log[near, G_BLOCK])
    disk = s.log[far, G_DISK]
    if disk != 0:
        approach_node(s, s.disks[disk, D_LEDGER], s.log[far, G_GUEST])
    disk = s.log[near, G_DISK]
    if disk != 0:
        approach(s, s.disks[disk, D_LEDGER], s.log[near, G_GUEST])


@njit("void(int64)", cache=True)
def settle(t: Any) -> None:
    """Apply the log to media and ledgers, in order, and empty it."""
    s = view(t)
    rows = s.counters[C_LOG, 0]
    for row in range(rows):
        _look_ahead(s, row, rows)
        op = s.log[row, G_OP]
        medium = s.volumes[s.log[row, G_VOLUME], V_MEDIUM]
        block = s.log[row, G_BLOCK]
        count = s.log[row, G_COUNT]
        if op == _WRITE:
            token = np.uint64(s.log[row, G_TOKEN])
            put_run(s, medium, block, count, token, _NEXT)
            disk = s.log[row, G_DISK]
            if disk != 0:
                put_run(s, s.disks[disk, D_LEDGER], s.log[row, G_GUEST], count, token, _NEXT)
        elif op == _ZEROED:
            put_run(s, medium, block, count, _ZERO, _SAME)
        else:
            for i in range(count):
                word = token_at(s, s.log[row, G_TOKEN], s.log[row, G_FROM] + i)
                put(s, medium, block + i, word)
    s.counters[C_LOG, 0] = 0


@njit("void(int64, int64, int64, uint64[::1])", cache=True)
def read_medium(t: Any, volume: Any, start: Any, out: Any) -> None:
    """Fill *out* with the tokens of *volume* from *start* on."""
    s = view(t)
    for i in range(out.shape[0]):
        out[i] = token_at(s, volume, start + i)
