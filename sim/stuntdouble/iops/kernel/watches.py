"""Watches: when I/O has driven a quantity to a threshold, control hears of it at that instant.

A quantity that is a cell of the tables is looked at here; any other is a function, and control is
asked whenever an I/O arrives, is admitted or ends.  Either way it is control that decides, so that
watches happen in the order in which they were set.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.np.numpy_support import carray

from stuntdouble.compiled import njit
from stuntdouble.compiled.tables import as_pointer
from stuntdouble.iops.kernel.agenda import push
from stuntdouble.iops.kernel.tables import (
    DO_CHECK,
    N_OPAQUE,
    N_WATCHES,
    W_ADDRESS,
    W_SIGN,
    W_THRESHOLD,
    WATCH,
)

_DO_CHECK = DO_CHECK
_WATCH = WATCH


@njit(forceinline=True)
def check_later(k: Any) -> None:
    """Let the watches be looked at next, if there are any."""
    if k.ints[N_WATCHES, 0] != 0:
        push(k, _DO_CHECK, 0)


@njit(forceinline=True)
def check(k: Any) -> Any:
    """Return WATCH where control has to look, or 0."""
    if k.ints[N_OPAQUE, 0] != 0:
        return _WATCH
    for w in range(k.ints[N_WATCHES, 0]):
        cell = carray(as_pointer(k.watches[w, W_ADDRESS]), (1,), np.int64)
        if cell[0] * k.watches[w, W_SIGN] >= k.watches[w, W_THRESHOLD]:
            return _WATCH
    return 0
