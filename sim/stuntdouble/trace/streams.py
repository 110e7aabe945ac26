"""Randomness by name: a draw more here shifts nothing there.

``Streams(seed)["arrivals", "vm-1"]`` is the sequence of that name under that seed, whatever else
is drawn, in any order, in any process.  Compiled code, which draws by position instead of in
sequence, uses ``unit(stream_key(seed, *names), index)``.
"""

from __future__ import annotations

from hashlib import blake2b
from math import log1p
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from stuntdouble.compiled import njit

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

_TO_UNIT: Final = 2.0**-53  # the top 53 of 64 bits, as a fraction in [0, 1)

# splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_SHIFT_1: Final = np.uint64(30)
_SHIFT_2: Final = np.uint64(27)
_SHIFT_3: Final = np.uint64(31)
_SHIFT_UNIT: Final = np.uint64(11)
_ONE: Final = np.uint64(1)


def _digest(purpose: bytes, seed: int, names: tuple[str, ...], size: int) -> int:
    # Each part carries its length, so that ("ab", "c") and ("a", "bc") differ.
    parts = [str(seed).encode(), *(name.encode() for name in names)]
    text = b"".join(b"%d:%s" % (len(part), part) for part in parts)
    return int.from_bytes(blake2b(text, digest_size=size, person=purpose).digest(), "little")


def stream_key(seed: int, *names: str) -> int:
    """Return the 64-bit key of a counter-based stream, for ``unit``."""
    return _digest(b"unit", seed, names, 8)


@njit(cache=True, forceinline=True)
def unit(key: np.uint64, index: np.int64) -> np.float64:
    """Return number *index* of the stream *key*, a float64 in [0, 1).

    It depends on nothing else, so results do not change with the order of the draws.  (splitmix64
    at its *index*-th step; as plain Python its wrap-around raises NumPy's overflow warning.)
    """
    word = np.uint64(key) + (np.uint64(index) + _ONE) * _GAMMA
    word = (word ^ (word >> _SHIFT_1)) * _MIX_1
    word = (word ^ (word >> _SHIFT_2)) * _MIX_2
    word = word ^ (word >> _SHIFT_3)
    return np.float64(word >> _SHIFT_UNIT) * _TO_UNIT


class Stream:
    """One named sequence of draws.

    The words are Philox's, which NumPy keeps stable; the distributions are made from them here,
    because NumPy's own may change from version to version (NEP 19).
    """

    def __init__(self, key: int) -> None:
        self._words = np.random.Philox(key=key)

    def _word(self) -> int:
        return int(self._words.random_raw())

    def uniform(self) -> float:
        """Return a float in [0, 1)."""
        return (self._word() >> 11) * _TO_UNIT

    def exponential(self, mean: float) -> float:
        """Return the gap to the next arrival when gaps are *mean* on average."""
        return -mean * log1p(-self.uniform())

    def integers(self, low: int, high: int) -> int:
        """Return a whole number, low <= n < high, each as likely; at most 2**64 of them."""
        span = high - low
        if not 0 < span <= 1 << 64:
            raise ValueError(f"integers({low}, {high}): high must be above low, by 2**64 at most")
        # Words past the last whole multiple of span would make the low numbers likelier.
        bound = (1 << 64) // span * span
        while (word := self._word()) >= bound:
            pass
        return low + word % span

    def choice(self, options: Sequence[T]) -> T:
        """Return one of *options*, each as likely."""
        return options[self.integers(0, len(options))]

    def hex(self, digits: int) -> str:
        """Return *digits* lower-case hexadecimal digits."""
        words = (f"{self._word():016x}" for _ in range(0, digits, 16))
        return "".join(words)[:digits]


class Streams:
    """All the randomness of a run: one seed, streams by name, each of them created once."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[tuple[str, ...], Stream] = {}

    def __getitem__(self, names: str | tuple[str, ...]) -> Stream:
        path = (names,) if isinstance(names, str) else names
        if path not in self._streams:
            self._streams[path] = Stream(_digest(b"stream", self.seed, path, 16))
        return self._streams[path]
