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

from stuntdouble.compiled import njit
from stuntdouble.content.token import KIND_SHIFT, ZERO, TokenKind

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


@njit("void(uint64[::1], uint64[:, ::1], uint64[:, ::1])", cache=True)
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


def render(
    tokens: NDArray[np.uint64], block_bytes: int, literals: NDArray[np.uint64]
) -> NDArray[np.uint8]:
    """Return the bytes of *tokens*, one row of *block_bytes* each.

    Args:
        tokens: what each block holds; the word 0 is rendered as zeros.
        block_bytes: a multiple of 512.
        literals: the pool that literal tokens point into (``LiteralPool.rows``).
    """
    out = np.empty((len(tokens), block_bytes // 8), np.uint64)
    _render(np.ascontiguousarray(tokens, np.uint64), out, literals)
    return out.view(np.uint8)


def digest(tokens: NDArray[np.uint64], block_bytes: int, literals: NDArray[np.uint64]) -> str:
    """Return the SHA-256 of the bytes of *tokens*, rendered 4 MiB at a time."""
    state = hashlib.sha256()
    step = max(1, (4 << 20) // block_bytes)
    for start in range(0, len(tokens), step):
        state.update(render(tokens[start : start + step], block_bytes, literals).data)
    return state.hexdigest()
