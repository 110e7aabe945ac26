"""Tables as compiled code sees them: the cells of the arrays that Python holds, and nothing else."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.compiled import njit
from stuntdouble.compiled.tables import prefetch, prefetch_cell, viewer

pytestmark = pytest.mark.plain

ROWS = 5
SHAPES = {
    "words": (ROWS, 3, np.int64),
    "small": (ROWS, 4, np.uint32),
    "large": (ROWS, 2, np.uint64),
    "floats": (ROWS, 2, np.float64),
}


class Some(NamedTuple):
    """Four memories; ``seconds`` is that of ``words`` again."""

    words: Any
    small: Any
    large: Any
    floats: Any
    seconds: Any


look = viewer(Some, {**SHAPES, "seconds": (ROWS, 3, np.float64)}, {"seconds": "words"})


@njit
def copy_cell(at, table, row, column, other):
    """Copy a cell of a table to another row, and ask for it beforehand."""
    s = look(at)
    if table == 0:
        prefetch_cell(s.words, row, column)
        s.words[other, column] = s.words[row, column]
    elif table == 1:
        s.small[other, column] = s.small[row, column]
    elif table == 2:
        s.large[other, column] = s.large[row, column]
    else:
        s.floats[other, column] = s.floats[row, column]


@njit
def cast_and_count(at, row, flag):
    """Store a truth value and a whole number where other types are, and add in place."""
    s = look(at)
    prefetch(at)
    s.words[row, 0] = flag
    s.floats[row, 0] = row
    s.words[row, 1] += 3
    return s.words.shape[0] * 100 + s.small.shape[1]


@njit
def write_and_read_again(at, row):
    """Store a time in one view, and read its bits in the other before and after."""
    s = look(at)
    s.words[row, 2] = 7
    before = s.words[row, 2]
    s.seconds[row, 2] = 1.0
    return before, s.words[row, 2]


def memory() -> tuple[list[np.ndarray], np.ndarray]:
    arrays = [np.zeros(shape[:2], shape[2]) for shape in SHAPES.values()]
    held = [*arrays, arrays[0]]
    return arrays, np.array([[a.ctypes.data, len(a)] for a in held], np.int64)


@given(
    st.integers(0, 3).flatmap(
        lambda t: st.tuples(
            st.just(t),
            st.integers(0, ROWS - 1),
            st.integers(0, list(SHAPES.values())[t][1] - 1),
            st.integers(0, ROWS - 1),
        )
    ),
    st.randoms(use_true_random=False),
)
def test_a_store_changes_one_cell(act, random) -> None:
    table, row, column, other = act
    arrays, addresses = memory()
    for array in arrays:
        array[:] = np.array([random.randrange(1 << 31) for _ in range(array.size)]).reshape(
            array.shape
        )
    wanted = [array.copy() for array in arrays]
    wanted[table][other, column] = wanted[table][row, column]
    copy_cell(addresses.ctypes.data, table, row, column, other)
    for array, expected in zip(arrays, wanted, strict=True):
        assert np.array_equal(array, expected)


@pytest.mark.parametrize("flag", [True, False])
def test_what_is_stored_takes_the_type_of_the_table(flag) -> None:
    arrays, addresses = memory()
    assert cast_and_count(addresses.ctypes.data, 2, flag) == ROWS * 100 + 4
    assert arrays[0][2].tolist() == [int(flag), 3, 0]
    assert arrays[3][2].tolist() == [2.0, 0.0]


def test_two_views_of_a_memory_see_each_other() -> None:
    _arrays, addresses = memory()
    before, after = write_and_read_again(addresses.ctypes.data, 1)
    assert before == 7
    assert after == np.array(1.0).view(np.int64)


def test_whole_words_survive() -> None:
    arrays, addresses = memory()
    arrays[2][0, 1] = (1 << 64) - 1
    arrays[1][0, 3] = (1 << 32) - 1
    copy_cell(addresses.ctypes.data, 2, 0, 1, 4)
    copy_cell(addresses.ctypes.data, 1, 0, 3, 4)
    assert int(arrays[2][4, 1]) == (1 << 64) - 1
    assert int(arrays[1][4, 3]) == (1 << 32) - 1
