"""The benchmarks of iSCSI: what is read, how, by whom, and how often."""

from __future__ import annotations

import filecmp
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.bench.figures import Goal
from stuntdouble.bench.iscsi import parties
from stuntdouble.bench.iscsi.estate import Content
from stuntdouble.bench.iscsi.loopback import Loopback
from stuntdouble.errors import DigestMismatch, Misuse
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from contextlib import ExitStack

    from stuntdouble.bench.figures import Contest, Figures
    from stuntdouble.bench.iscsi.parties import Served

READS: Final = "reads"
RENDERED: Final = "rendered"

_MIB: Final = 1024
_QUICK_MIB: Final = 128
_PARTS: Final = ("numba", "numpy", "simpy", "crc32c")
_OF_TGTD: Final = "of tgtd's"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a LUN is read; without a size it is converted, with *depth* coroutines."""

    name: str
    depth: int
    size_bytes: int = 0
    count: int = 0


SHAPES: Final = (
    Shape("convert -m 1", 1),
    Shape("convert -m 8", 8),
    Shape("4 KiB, depth 1", 1, 4 * KIB, 20_000),
    Shape("4 KiB, depth 32", 32, 4 * KIB, 80_000),
    Shape("64 KiB, depth 32", 32, 64 * KIB, 24_000),
    Shape("1 MiB, depth 8", 8, MIB, 2_000),
)


class Reads:
    """A LUN read in every shape, by turns from our target and from tgtd.

    Args:
        content: where the bytes of our LUN come from; tgtd has them in a file.
        quick: a small LUN, and a tenth of the requests.
    """

    def __init__(self, content: Content, *, quick: bool = False) -> None:
        self.name = RENDERED if content is Content.TOKENS else READS
        self._content = content
        self._mib = _QUICK_MIB if quick else _MIB
        self._divisor = 10 if quick else 1
        self._missing = parties.missing()
        self._served: list[Served] = []
        self._raw = self._out = Path()

    def open(self, stack: ExitStack) -> None:
        """Build the LUN and serve it twice; what one holds is what the other serves."""
        if any(line.startswith("qemu-img") for line in self._missing):
            raise Misuse("bench iscsi", "; ".join(self._missing))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_fast_folder())))
        self._raw, self._out = folder / "raw", folder / "out"
        self._served = [stack.enter_context(parties.ours(self._mib, self._content, self._raw))]
        if not self._missing:
            self._served.append(stack.enter_context(parties.tgtd(self._raw)))

    def turn(self) -> Figures:
        """Read in every shape; who comes first changes from round to round."""
        self._served.reverse()
        figures: Figures = {}
        for shape in SHAPES:
            rates = {served.who: self._rate(served, shape) for served in self._served}
            for who, rate in sorted(rates.items()):
                figures[f"{shape.name}: {who}, MiB/s"] = rate
            if len(rates) > 1:
                ratio = rates["stuntdouble"] / rates["tgtd"]
                figures[f"{shape.name}: {_OF_TGTD}"] = ratio
        return figures

    def _rate(self, served: Served, shape: Shape) -> float:
        if shape.size_bytes:
            count = shape.count // self._divisor
            seconds = parties.read_seconds(served, shape.size_bytes, shape.depth, count)
            return count * shape.size_bytes / MIB / seconds
        began = time.perf_counter()  # noqa: TID251  (a benchmark)
        parties.convert(served, shape.depth, self._out)
        seconds = time.perf_counter() - began  # noqa: TID251  (a benchmark)
        if not filecmp.cmp(self._raw, self._out, shallow=False):
            raise DigestMismatch(f"what {served.who} served", str(self._raw), "another")
        self._out.unlink()
        return self._mib / seconds

    def goals(self, medians: Figures) -> list[Goal]:
        """Ask for no less than tgtd in every shape."""
        return [
            Goal(name, ratio, 1.0) for name, ratio in medians.items() if name.endswith(_OF_TGTD)
        ]

    def missing(self) -> list[str]:
        """Return who does not take part, and why."""
        return self._missing


def _fast_folder() -> str | None:
    """Return a folder in memory where there is one, so that no disk is measured."""
    shared = Path("/dev/shm")  # noqa: S108  (files of our own, in a directory of our own)
    return str(shared) if shared.is_dir() else None


def contests(*, quick: bool = False) -> list[Contest]:
    """Return the benchmarks."""
    return [*(Reads(content, quick=quick) for content in Content), Loopback(quick=quick)]


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    found = {name: version(name) for name in _PARTS}
    return found | {name: parties.version_of(name) for name in ("qemu-img", "tgtd")}
