"""What an NBD server serves: the Protocol of an export, and of those that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stuntdouble.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class Export(Protocol):
    """Bytes that clients may read, and perhaps write.

    The server has checked that a request lies within the export, that what is written may be, and
    that a context was selected.  Whatever a method raises goes to the client as an error.
    """

    @property
    def name(self) -> str:
        """The name by which clients ask for it: 4096 bytes of UTF-8 at most."""
        ...

    @property
    def description(self) -> str:
        """A line for human beings."""
        ...

    @property
    def size_bytes(self) -> int:
        """Capacity in bytes."""
        ...

    @property
    def block_bytes(self) -> int:
        """What requests had better be multiples of: a power of two, 512 or more."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written.

        A client is told when it chooses the export; where that changes, its writes are refused.
        """
        ...

    async def read(self, offset: int, length: int) -> Iterator[memoryview]:
        """Take the time that the read takes; return its bytes in parts, *length* in all.

        The next part is asked for when the last one is on its way, so a slow client holds one part
        in memory, however much it has asked for.  Zeros that ``content.known_zeros`` knows go over
        the wire as a hole.
        """
        ...

    async def write(self, offset: int, data: memoryview) -> None:
        """Write *data*, of any alignment; return when it is where it stays."""
        ...

    async def zero(self, offset: int, length: int, *, allocate: bool) -> None:
        """Let the range read as zeros; where not to *allocate*, holes may stay or come to be."""
        ...

    async def flush(self) -> None:
        """Return when all writes that have returned are where they stay."""
        ...

    def contexts(self) -> Iterable[str]:
        """Return the contexts of block status that are known: what a client may be shown."""
        ...

    async def has_context(self, name: str) -> bool:
        """Say whether a context can be selected; there may be more than are known."""
        ...

    async def status(self, context: str, offset: int, length: int) -> Sequence[tuple[int, int]]:
        """Return (length, flags) of consecutive extents from *offset* on, at least one.

        They may end before ``offset + length``, never beyond; the client asks again.
        """
        ...


class Exports(Protocol):
    """The exports that there are at the moment."""

    def find(self, name: str) -> Export:
        """Return an export for one client; NotFound where there is none of that name."""
        ...

    def listing(self) -> Iterable[tuple[str, str]]:
        """Return name and description of each."""
        ...


class Fixed:
    """A fixed set of exports, by their names."""

    def __init__(self, exports: Iterable[Export]) -> None:
        self._exports: Mapping[str, Export] = {export.name: export for export in exports}

    def find(self, name: str) -> Export:
        """Return an export; NotFound where there is none of that name."""
        if name not in self._exports:
            raise NotFound("NBD export", name)
        return self._exports[name]

    def listing(self) -> Iterable[tuple[str, str]]:
        """Return name and description of each, in the order in which they were given."""
        return [(export.name, export.description) for export in self._exports.values()]


class Joined:
    """Several sets of exports as one; where two have one name, the first is found."""

    def __init__(self, parts: Sequence[Exports]) -> None:
        self._parts = parts

    def find(self, name: str) -> Export:
        """Return an export; NotFound where no part has it."""
        for part in self._parts:
            try:
                return part.find(name)
            except NotFound:
                continue
        raise NotFound("NBD export", name)

    def listing(self) -> Iterable[tuple[str, str]]:
        """Return name and description of each, part by part."""
        return [row for part in self._parts for row in part.listing()]
