"""What a device server serves: units with bytes behind them, and which initiator sees which."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from stuntdouble.scsi.answers import Buffer


class Run(NamedTuple):
    """A range of a unit that is allocated throughout, or nowhere.  In bytes."""

    offset: int
    length: int
    allocated: bool


class Unit(Protocol):
    """A logical unit: a disk of blocks.

    Ranges are in bytes, in whole blocks, and lie within the unit; a request of 0 bytes is never
    passed on.  A method may answer at once or with an awaitable.  What it raises becomes sense data:
    MediumError 03/11/00 with the block of its byte offset; NoSpace 07/27/07; AccessDenied 07/27/00;
    NotFound 05/25/00; TaskInProgress BUSY; LimitReached TASK SET FULL; Lost 02/04/00; any other
    ``Error`` 04/44/00.
    """

    @property
    def naa(self) -> str:
        """The identifier: 32 hexadecimal digits, the first of them a 6."""
        ...

    @property
    def serial(self) -> str:
        """The unit serial number (VPD page 80)."""
        ...

    @property
    def vendor(self) -> str:
        """Who made it; 8 characters of ASCII at most."""
        ...

    @property
    def product(self) -> str:
        """What it is; 16 characters of ASCII at most."""
        ...

    @property
    def revision(self) -> str:
        """Of which version; 4 characters of ASCII at most."""
        ...

    @property
    def size_bytes(self) -> int:
        """Capacity, in whole blocks; may change, see ``DeviceServer.capacity_changed``."""
        ...

    @property
    def block_bytes(self) -> int:
        """The logical block: 512 or 4096."""
        ...

    @property
    def physical_block_bytes(self) -> int:
        """What is best written at a time; a power of two times the logical block."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""
        ...

    @property
    def thin(self) -> bool:
        """Whether blocks can be given back (UNMAP); they read as zeros then."""
        ...

    @property
    def unmap_granularity_bytes(self) -> int:
        """The least that can be given back, in whole blocks."""
        ...

    def read(self, offset: int, length: int) -> Sequence[Buffer] | Awaitable[Sequence[Buffer]]:
        """Return the bytes of a range, in parts of any size that follow each other."""
        ...

    def write(self, offset: int, data: Buffer) -> Awaitable[None] | None:
        """Write *data*."""
        ...

    def zero(self, offset: int, length: int, *, unmap: bool) -> Awaitable[None] | None:
        """Make a range read as zeros; with *unmap* its room may be given back."""
        ...

    def change(
        self, offset: int, length: int, update: Callable[[bytes], bytes | None]
    ) -> Awaitable[None] | None:
        """Replace the bytes of a range by what *update* makes of them, as one action.

        Nothing comes in between reading and writing.  None leaves all as it is.
        """
        ...

    def flush(self) -> Awaitable[None] | None:
        """Have on stable storage what was written."""
        ...

    def allocated(self, offset: int, length: int) -> Iterable[Run]:
        """Return what is allocated of a range: runs in order, without gaps, from *offset* on."""
        ...


class LunMap(Protocol):
    """Which initiator sees which unit; asked anew at every command."""

    def units(self, initiator_iqn: str) -> Mapping[int, Unit]:
        """Return what an initiator sees, by LUN: 0 to 16383."""
        ...
