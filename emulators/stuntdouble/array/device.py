"""An initiator in process, and the LUNs it has attached: bytes in bulk, in the engine's time."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from stuntdouble.clock import perform
from stuntdouble.errors import AccessDenied, InvalidState, Misuse
from stuntdouble.extents import Runs
from stuntdouble.iops import Io, Purpose, StreamSpec, read_bulk
from stuntdouble.ports import Span

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator

    from simpy.events import Event

    from stuntdouble.array.system import Array
    from stuntdouble.array.volume import Volume
    from stuntdouble.ports import Mapping, Throttle


class LocalInitiator:
    """Implements ``ports.Initiator``: what one host sees of an emulated array.

    Args:
        array: where the volumes are.
        iqn: the name by which the array masks.
        link: the engine's station that what is read crosses (a storage network), or -1.
    """

    def __init__(self, array: Array, iqn: str, *, link: int = -1) -> None:
        array.masking.check_iqn(iqn)
        self._array = array
        self._iqn = iqn
        self._link = link

    @property
    def iqn(self) -> str:
        """The name by which the array masks."""
        return self._iqn

    async def attach(self, mapping: Mapping) -> LocalLun:
        """Open the LUN after checking that what is there has the mapping's NAA identifier.

        Raises:
            AccessDenied: nothing is mapped to this initiator there.
            InvalidState: another volume is.
        """
        self._array.core.check_reachable()
        volume = self._array.masking.at(self._iqn, mapping.lun)
        if volume is None or mapping.initiator_iqn != self._iqn:
            raise AccessDenied(self._iqn, f"LUN {mapping.lun}")
        if volume.naa != mapping.naa:
            state = f"volume {volume.naa}"
            raise InvalidState(f"LUN {mapping.lun}", state, f"attach {mapping.naa} there")
        return LocalLun(self._array, volume, self._iqn, self._link)


class LocalLun:
    """Implements ``ports.BlockDevice`` over an attached LUN.

    Access is checked at every span: a LUN that is unmapped while it is read stops to be readable.
    """

    def __init__(self, array: Array, volume: Volume, iqn: str, link: int) -> None:
        self._array = array
        self._volume = volume
        self._iqn = iqn
        self._link = link
        self._open = True

    @property
    def identity(self) -> str:
        """The volume's NAA identifier."""
        return self._volume.naa

    @property
    def size_bytes(self) -> int:
        """Capacity in bytes."""
        return self._volume.size_bytes

    async def read(self, runs: Runs, throttle: Throttle) -> AsyncIterator[Span]:
        """Yield the bytes of *runs* in rising order.

        Raises:
            AccessDenied: no longer mapped.
            MediumError: the storage is damaged, or the array has given the snapshot up.
            Unreachable: the array is lost.
            Misuse: beyond the end of the device.
        """
        self._check()
        if runs.clip(0, self.size_bytes) != runs:
            raise Misuse(f"read of {self.identity}", f"it ends at byte {self.size_bytes}")
        lun = self._volume.lun
        spec = StreamSpec(
            Io.READ_LUN, lun, Runs.empty().blocks(1), throttle.depth, Purpose.BACKUP,
            link=self._link, luns=(lun,),
        )  # fmt: skip
        spans = read_bulk(self._array.core.engine, spec, runs, throttle, self._render)
        async with aclosing(cast("AsyncGenerator[tuple[int, memoryview]]", spans)) as closing:
            async for offset, data in closing:
                yield Span(offset, data)

    async def write(self, offset: int, data: memoryview) -> None:
        """Write *data* at *offset*; a block that is covered in part keeps the rest.

        Raises:
            AccessDenied: read-only, or no longer mapped.
            NoSpace: the snapshot reserve is full; what came before is written.
            Misuse: beyond the end of the device.
        """
        self._check()
        if self._volume.read_only:
            raise AccessDenied(self._iqn, f"read-only volume {self.identity} for writing")
        if offset < 0 or offset + len(data) > self.size_bytes:
            raise Misuse(f"write to {self.identity}", f"it ends at byte {self.size_bytes}")
        await perform(self._array.core.env, self._write(offset, data))

    async def close(self) -> None:
        """Let go of the device; idempotent."""
        self._open = False

    def _check(self) -> None:
        self._array.core.check_reachable()
        if not self._open:
            raise InvalidState(f"device {self.identity}", "closed", "use it")
        if not self._array.masking.sees(self._iqn, self._volume):
            raise AccessDenied(self._iqn, self.identity)

    def _render(self, first: int, count: int) -> Any:
        self._check()
        return self._array.show_parts(self._volume, first, count)

    def _write(self, offset: int, data: memoryview) -> Generator[Event, Any, None]:
        stop = offset + len(data)
        while offset < stop:
            most = self._array.io_bytes
            size = min(stop, (offset // most + 1) * most) - offset
            yield from self._array.unfenced(self._volume.lun)
            self._check()
            steps = self._array.write_steps(self._volume, offset, data[:size])
            yield self._array.core.engine.submit(steps, Purpose.RESTORE)
            offset, data = offset + size, data[size:]
