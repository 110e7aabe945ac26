"""What a block holds: 64-bit tokens, and the bytes they stand for."""

from stuntdouble.content.literals import LiteralPool
from stuntdouble.content.render import digest, first_wrong, render
from stuntdouble.content.token import (
    BORN_BLOCK_BITS,
    FIRST_LITERAL,
    FIRST_WRITTEN,
    ZERO,
    TokenKind,
    born,
    describe,
    kind_of,
    written,
)
from stuntdouble.content.zeros import known_zeros, zeros

__all__ = [
    "BORN_BLOCK_BITS",
    "FIRST_LITERAL",
    "FIRST_WRITTEN",
    "ZERO",
    "LiteralPool",
    "TokenKind",
    "born",
    "describe",
    "digest",
    "first_wrong",
    "kind_of",
    "known_zeros",
    "render",
    "written",
    "zeros",
]
