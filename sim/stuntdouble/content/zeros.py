"""Zeros that are known as such without a look: most of a disk that was never full.

A long span that holds nothing is a view of one block of zeros that never changes.  Whoever gets it
may ask whether that is what it has, and need not read it; whoever does not ask reads zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZEROS_BYTES: Final = 8 << 20  # a span of a bulk read

_ZEROS: Final = np.zeros(ZEROS_BYTES, np.uint8)
_ZEROS.flags.writeable = False


def zeros(count: int) -> NDArray[np.uint8]:
    """Return *count* zero bytes that cannot be written to."""
    if count > ZEROS_BYTES:
        made = np.zeros(count, np.uint8)
        made.flags.writeable = False
        return made
    return _ZEROS[:count]


def known_zeros(view: memoryview) -> bool:
    """Return whether *view* is of the zeros that never change; False says nothing."""
    return isinstance(view.obj, np.ndarray) and view.obj.base is _ZEROS
