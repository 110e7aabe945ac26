"""Tokens: what a block holds, in 64 bits.

    63 62 61                                                    0
    ┌────┬──────────────────────────────────────────────────────┐
    │ 00 │ volume (20 bits)            block (42 bits)          │  born: garbage that was there before us
    │ 01 │ 0                                                    │  zero
    │ 10 │ number of the write, from one site-wide counter      │  written
    │ 11 │ row in the literal pool                              │  literal: real bytes from outside
    └────┴──────────────────────────────────────────────────────┘

The bytes of a block are a function of its token alone; the address is never part of it.  So a
block that was moved, copied or read through the wrong map still says which write it came from.
Volume numbers start at 1, hence no token is the word 0: in a volume's medium the word 0 means
"as born", in a guest's ledger it means "never written", which a guest reads as zeros.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

KIND_SHIFT: Final = 62
BORN_BLOCK_BITS: Final = 42  # 2^42 blocks of 4 KiB are 16 EiB: no volume is larger
BORN_VOLUME_BITS: Final = KIND_SHIFT - BORN_BLOCK_BITS

ZERO: Final = 1 << KIND_SHIFT
FIRST_WRITTEN: Final = 2 << KIND_SHIFT
FIRST_LITERAL: Final = 3 << KIND_SHIFT


class TokenKind(IntEnum):
    """The two highest bits of a token."""

    BORN = 0
    ZERO = 1
    WRITTEN = 2
    LITERAL = 3


def kind_of(token: int) -> TokenKind:
    """Return the kind of *token*."""
    return TokenKind(token >> KIND_SHIFT)


def born(volume: int, block: int) -> int:
    """Return the token of what *block* of *volume* held before anything was written to it."""
    if not (0 < volume < 1 << BORN_VOLUME_BITS and 0 <= block < 1 << BORN_BLOCK_BITS):
        raise ValueError(f"volume {volume} or block {block} does not fit into a token")
    return volume << BORN_BLOCK_BITS | block


def written(number: int) -> int:
    """Return the token of the block that was written as the site's write *number*."""
    return FIRST_WRITTEN | number


def describe(token: int) -> str:
    """Return *token* in words, for a report of wrong bytes."""
    kind = kind_of(token)
    if kind is TokenKind.ZERO:
        return "zeros"
    if kind is TokenKind.BORN:
        volume, block = token >> BORN_BLOCK_BITS, token & ((1 << BORN_BLOCK_BITS) - 1)
        return f"stale bytes of volume {volume}, block {block}" if token else "nothing written"
    number = token & ((1 << KIND_SHIFT) - 1)
    return f"write {number}" if kind is TokenKind.WRITTEN else f"literal {number}"
