"""Reading about and writing to volumes by byte ranges: what whoever serves their blocks asks for.

Writing is an admission: what comes back are the steps whose time has still to pass, by
``engine.submit``.  A range that covers content blocks in part keeps the rest of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import InvalidState, MediumError, Misuse
from stuntdouble.iops import Purpose
from stuntdouble.site import IO_BLOCKS_MAX
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.snapshot import Snapshots
    from stuntdouble.array.volume import Volume
    from stuntdouble.extents import Runs
    from stuntdouble.site import Step

_IO_BYTES: Final = MIB  # one I/O of a long range; a multiple of every content block


class Blocks:
    """The bytes of volumes."""

    def __init__(self, core: Core, snapshots: Snapshots) -> None:
        self._core = core
        self._snapshots = snapshots

    # Looking. ------------------------------------------------------------------------------

    def show(self, volume: Volume, first: int, count: int) -> Any:
        """Return the bytes of content blocks; see ``Array.show``."""
        self._check_readable(volume, first)
        return volume.lun.site.show(volume.lun, first, count, volume.naa)

    def show_parts(self, volume: Volume, first: int, count: int) -> Any:
        """Return the bytes of content blocks in parts; see ``Array.show_parts``."""
        self._check_readable(volume, first)
        return volume.lun.site.show_parts(volume.lun, first, count, volume.naa)

    def allocated(self, volume: Volume, runs: Runs) -> Runs:
        """Return what holds anything but zeros; see ``Array.allocated``."""
        self._check_readable(volume, 0)
        return volume.lun.held(runs) & runs

    # Writing. ------------------------------------------------------------------------------

    def write_steps(self, volume: Volume, offset: int, data: memoryview) -> list[Step]:
        """Admit a write; see ``Array.write_steps``."""
        self._check_io(volume, offset, len(data))
        start, whole = self._whole_blocks(volume, offset, data)
        return self._core.site.volume_write(volume.lun, start, len(whole), whole)

    def zero_steps(self, volume: Volume, offset: int, length: int) -> list[Step]:
        """Admit the zeroing of a range; see ``Array.zero_steps``."""
        self._check_io(volume, offset, length)
        size, stop = self._core.site.block_bytes, offset + length
        first, last = -(-offset // size) * size, stop // size * size
        if first >= last:  # no whole block, or a seam between two
            return self.write_steps(volume, offset, memoryview(bytes(length)))
        steps: list[Step] = []
        if offset < first:
            steps += self.write_steps(volume, offset, memoryview(bytes(first - offset)))
        steps += self._core.site.volume_zero(volume.lun, first, last - first)
        if last < stop:
            steps += self.write_steps(volume, last, memoryview(bytes(stop - last)))
        return sorted(steps, key=lambda step: step[0])

    def zero(self, name: str, offset: int, length: int) -> Generator[Event, Any, None]:
        """Zero a range, however long; see ``Array.zero_volume``."""
        core = self._core
        yield from core.take(0.0)
        self._check_writable(core.inventory.volume(name), offset, length)
        for start, size in pieces(offset, length, self.io_bytes):
            volume = core.inventory.volume(name)
            yield from self._snapshots.unfenced(volume.lun)
            yield core.engine.submit(self.zero_steps(volume, start, size), Purpose.RESTORE)

    @property
    def io_bytes(self) -> int:
        """What one I/O of a long range covers at most."""
        return min(_IO_BYTES, IO_BLOCKS_MAX // 2 * self._core.site.block_bytes)

    # Parts. --------------------------------------------------------------------------------

    def _check_readable(self, volume: Volume, first: int) -> None:
        self._core.check_reachable()
        if not volume.readable:
            raise MediumError(volume.naa, first * volume.lun.site.block_bytes)

    def _check_io(self, volume: Volume, offset: int, length: int) -> None:
        most = (IO_BLOCKS_MAX - 1) * self._core.site.block_bytes  # wherever it begins in a block
        if length > most:
            raise Misuse(f"write to {volume.naa}", f"{length} bytes are more than {most} at a time")
        self._check_writable(volume, offset, length)

    def _check_writable(self, volume: Volume, offset: int, length: int) -> None:
        self._check_readable(volume, offset // volume.lun.site.block_bytes)
        if volume.read_only:
            raise InvalidState(f"volume {volume.name}", "read-only", "write to it")
        if offset < 0 or length < 1 or offset + length > volume.size_bytes:
            text = f"{length} bytes at {offset} of {volume.size_bytes}"
            raise Misuse(f"write to {volume.naa}", text)

    def _whole_blocks(
        self, volume: Volume, offset: int, data: memoryview
    ) -> tuple[int, memoryview]:
        """Round a write outward to content blocks, with what lies there around it."""
        size = self._core.site.block_bytes
        first, stop = offset // size, -(-(offset + len(data)) // size)
        if offset % size == 0 and len(data) % size == 0:
            return offset, data
        around = bytearray(self.show(volume, first, stop - first).tobytes())
        at = offset - first * size
        around[at : at + len(data)] = data
        return first * size, memoryview(around)


def pieces(offset: int, length: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of the pieces of a range that multiples of *size* cut."""
    stop = offset + length
    while offset < stop:
        end = min(stop, (offset // size + 1) * size)
        yield offset, end - offset
        offset = end
