"""The compiled engine's map of dirty blocks, made so small that blocks get in each other's way."""

from __future__ import annotations

import os
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.iops.kernel import dirt

ROWS = 16
PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"

pytestmark = [
    pytest.mark.plain,
    pytest.mark.skipif(not PLAIN, reason="what is compiled cannot be made small"),
]

blocks = st.tuples(st.integers(0, 2), st.integers(0, 40) | st.integers(1 << 40, (1 << 40) + 9))


@given(st.lists(st.tuples(blocks, st.booleans()), max_size=60))
def test_a_block_is_dirty_as_long_as_it_is_counted(changes) -> None:
    k = SimpleNamespace(dirty=np.zeros((ROWS, 2), np.int64), ints=np.zeros((64, 1), np.int64))
    counted: Counter[tuple[int, int]] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dirt, "_MASK", ROWS - 1)
        for block, more in changes:
            if more and (block in counted or len(counted) < ROWS - 1):
                dirt.add_dirt(k, *block)
                counted[block] += 1
            elif counted[block]:
                dirt.take_dirt(k, *block)
                counted[block] -= 1
            counted += Counter()  # without those that are not there
            assert all(dirt.is_dirty(k, *each) for each in counted)
            assert int(k.ints[dirt.N_DIRTY_BLOCKS, 0]) == len(counted)
            assert int((k.dirty[:, 0] != 0).sum()) == len(counted)
