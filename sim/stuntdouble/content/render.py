"""Tokens to bytes.

Every rendered 512 B sector starts with its token and its number within the block, so a wrong byte
names the write it came from.  The rest of its first half is pseudo-random words that token and
sector choose, the same nowhere else; the second half is zeros.  So content compresses to about one
half, the planning default of backup products, whatever the compressor remembers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import types

from stuntdouble.compiled import njit
from stuntdouble.content.token import KIND_SHIFT, ZERO, TokenKind
from stuntdouble.content.zeros import zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

SECTOR_WORDS: Final = 64  # 512 B
RANDOM_WORDS: Final = 32  # of each sector; the rest is zeros

_ZERO = np.uint64(ZERO)
_KIND = np.uint64(KIND_SHIFT)
_LITERAL = np.uint64(TokenKind.LITERAL)
_NUMBER = np.uint64((1 << KIND_SHIFT) - 1)

# splitmix64 (Steele, Lea, Flood 2014): increment and the two multipliers of its finaliser.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@njit(forceinline=True)
def mix(word: Any) -> Any:
    """Scramble a 64-bit word (the finaliser of splitmix64): a bijection."""
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))


# What is read of a file cannot be written to, and need not be: readonly takes either.
_WORDS = types.Array(types.uint64, 1, "C", readonly=True)
_FIRST_WRONG = types.int64(_WORDS, _WORDS, types.uint64[:, ::1], types.int64)


@njit("void(uint64[::1], uint64[:, ::1], uint64[:, ::1])", cache=True, nogil=True)
def _render(tokens: Any, out: Any, literals: Any) -> None:
    sectors = out.shape[1] // SECTOR_WORDS
    for i in range(tokens.shape[0]):
        token = tokens[i]
        if token == _ZERO or token == np.uint64(0):
            for w in range(out.shape[1]):
                out[i, w] = np.uint64(0)
        elif token >> _KIND == _LITERAL:
            row = np.int64(token & _NUMBER)
            for w in range(out.shape[1]):
                out[i, w] = literals[row, w]
        else:
            for sector in range(sectors):
                at = sector * SECTOR_WORDS
                seed = mix(token + np.uint64(sector) * _GAMMA)
                out[i, at] = token
                out[i, at + 1] = np.uint64(sector)
                for w in range(2, RANDOM_WORDS):
                    out[i, at + w] = mix(seed + np.uint64(w) * _GAMMA)
                for w in range(RANDOM_WORDS, SECTOR_WORDS):
                    out[i, at + w] = np.uint64(0)


@njit(_FIRST_WRONG, cache=True, nogil=True)
def _first_wrong(tokens: Any, found: Any, literals: Any, words: Any) -> Any:
    """Return the first row of *found* that is not what ``_render`` makes of its token, or -1.

    The bits that differ are gathered over a block before they are looked at: so each loop is one
    of vectors, and nothing is written to memory.
    """
    for i in range(tokens.shape[0]):
        token = tokens[i]
        begin = i * words
        wrong = np.uint64(0)
        if token == _ZERO or token == np.uint64(0):
            for w in range(words):
                wrong |= found[begin + w]
        elif token >> _KIND == _LITERAL:
            row = np.int64(token & _NUMBER)
            for w in range(words):
                wrong |= found[begin + w] ^ literals[row, w]
        else:
            for sector in range(words // SECTOR_WORDS):
                at = begin + sector * SECTOR_WORDS
                seed = mix(token + np.uint64(sector) * _GAMMA)
                wrong |= (found[at] ^ token) | (found[at + 1] ^ np.uint64(sector))
                for w in range(2, RANDOM_WORDS):
                    wrong |= found[at + w] ^ mix(seed + np.uint64(w) * _GAMMA)
                for w in range(RANDOM_WORDS, SECTOR_WORDS):
                    wrong |= found[at + w]
        if wrong != np.uint64(0):
            return i
    return -1


def render(
    tokens: NDArray[np.uint64], block_bytes: int, literals: NDArray[np.uint64]
) -> NDArray[np.uint8]:
    """Return the bytes of *tokens*, one row of *block_bytes* each.

    Args:
        tokens: what each block holds; the word 0 is rendered as zeros.
        block_bytes: a multiple of 512.
        literals: the pool that literal tokens point into (``LiteralPool.rows``).

    What is zeros throughout cannot be written to: see ``zeros``.
    """
    if not (tokens & ~_ZERO).any():
        return zeros(len(tokens) * block_bytes).reshape(-1, block_bytes)
    out = np.empty((len(tokens), block_bytes // 8), np.uint64)
    _render(np.ascontiguousarray(tokens, np.uint64), out, literals)
    return out.view(np.uint8)


def first_wrong(
    tokens: NDArray[np.uint64],
    found: NDArray[np.uint8],
    block_bytes: int,
    literals: NDArray[np.uint64],
) -> int | None:
    """Return which block of *found* is the first that is not what its token stands for, if any.

    The same as rendering *tokens* and comparing, without the bytes that takes.

    Args:
        tokens: what each block should hold; the word 0 stands for zeros.
        found: as many blocks of *block_bytes* each, one after the other.
        block_bytes: a multiple of 512.
        literals: the pool that literal tokens point into (``LiteralPool.rows``).
    """
    assert len(found) == len(tokens) * block_bytes, "a block of bytes for each token"
    words = found.view(np.uint64)
    if not words.flags.aligned:
        words = words.copy()
    tokens = np.ascontiguousarray(tokens, np.uint64)
    wrong = _first_wrong(tokens, words, literals, block_bytes // 8)
    return None if wrong < 0 else int(wrong)


def digest(tokens: NDArray[np.uint64], block_bytes: int, literals: NDArray[np.uint64]) -> str:
    """Return the SHA-256 of the bytes of *tokens*, rendered 4 MiB at a time."""
    state = hashlib.sha256()
    step = max(1, (4 << 20) // block_bytes)
    for start in range(0, len(tokens), step):
        state.update(render(tokens[start : start + step], block_bytes, literals).data)
    return state.hexdigest()
