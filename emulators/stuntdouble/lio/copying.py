"""The step ``copy``: a LUN or a file as a sparse file of its own, where nothing better works.

A file is cloned where its file system shares blocks, else copied around its holes.  An NBD export
is read with several requests under way; what the server calls a hole, or what reads as zeros, is
one in the copy.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import ChunkHeader, Command, ReplyType
from stuntdouble.errors import InvalidState, MediumError, Misuse, NoSpace, NotFound
from stuntdouble.lio.negotiated import Negotiated
from stuntdouble.lio.requests import NbdSource, Source, source, words
from stuntdouble.lio.work import Made
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from stuntdouble.lio.requests import Session
    from stuntdouble.lio.work import Work

_ANSWER_SECONDS: Final = 30.0
"""Wall time for an answer of the server: as ``initiators.nbd`` gives it."""

_REQUEST_BYTES: Final = MIB  # the block size of backup products
_DEPTH: Final = 16  # requests under way: 16 MiB, which hides a round trip of 10 ms at 1.6 GB/s
_FICLONE: Final = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_PIECE_BYTES: Final = 64 * KIB  # what becomes a hole if it is zeros: what file systems like to have
_ZEROS: Final = bytes(_PIECE_BYTES)
_CANNOT_SHARE: Final = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY}


@dataclass(frozen=True)
class CopyStep:
    """A copy of an export or a file, thrown away with the export.

    Args:
        given: the source, as ``requests.words`` tells it.
        read_only: whether the copy is made unwritable.
    """

    kind: ClassVar[str] = "copy"
    given: str
    read_only: bool

    @property
    def _source(self) -> Source:
        return source(self.given)

    def _file(self, work: Work) -> Path:
        return Path(work.machine.directory, f"{work.mark}.raw")

    def check(self, work: Work) -> None:
        """Look for the file that is to be made."""
        if self._file(work).exists():
            raise InvalidState(str(self._file(work)), "there already", "copy a LUN to it")

    def do(self, work: Work, below: Made) -> Made:
        """Copy."""
        del below
        path = self._file(work)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            given = self._source
            if isinstance(given, NbdSource):
                _from_nbd(given, descriptor, work)
            else:
                _from_file(words(given), descriptor, work)
            if self.read_only:
                os.fchmod(descriptor, 0o400)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            free = os.fstatvfs(descriptor)
            raise NoSpace(str(path), "more", free.f_bavail * free.f_frsize) from None
        finally:
            os.close(descriptor)
        return Made(str(path))

    def undo(self, work: Work) -> None:
        """Remove the copy."""
        self._file(work).unlink(missing_ok=True)

    def users(self, work: Work) -> list[Session]:
        """Nobody knows of it."""
        del work
        return []

    def words(self) -> str:
        """Say what it is."""
        return f"copy of {self.given}"


def _from_file(path: str, target: int, work: Work) -> None:
    """Clone a file, or copy it around its holes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound("file or device", path) from None
    try:
        try:
            fcntl.ioctl(target, _FICLONE, descriptor)
        except OSError as error:
            if error.errno not in _CANNOT_SHARE:
                raise
            _sparsely(descriptor, target, work)
    finally:
        os.close(descriptor)


def _sparsely(given: int, target: int, work: Work) -> None:
    size = os.lseek(given, 0, os.SEEK_END)
    os.ftruncate(target, size)
    stop = 0
    while stop < size:
        start, stop = _next_data(given, stop, size)
        for offset in range(start, stop, _REQUEST_BYTES):
            data = os.pread(given, min(_REQUEST_BYTES, stop - offset), offset)
            _put(target, offset, memoryview(data))
            work.say("copy", offset + len(data), size)


def _next_data(descriptor: int, at: int, size: int) -> tuple[int, int]:
    """Return where data begins and ends, from *at* on; all of it where holes are not told."""
    try:
        start = os.lseek(descriptor, at, os.SEEK_DATA)
        return start, os.lseek(descriptor, start, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:  # lseek(2): nothing but a hole follows
            return size, size
        return at, size


def _put(target: int, offset: int, data: memoryview) -> None:
    """Write *data*, but for pieces that are zeros, which a new file has everywhere."""
    for begin in range(0, len(data), _PIECE_BYTES):
        piece, at = data[begin : begin + _PIECE_BYTES], offset + begin
        if piece == _ZEROS[: len(piece)]:
            continue
        while piece:
            count = os.pwrite(target, piece, at)
            piece, at = piece[count:], at + count


def _from_nbd(given: NbdSource, target: int, work: Work) -> None:
    with Negotiated(given, _ANSWER_SECONDS, structured=True) as link:
        os.ftruncate(target, link.size_bytes)
        _Reader(link, given.uri, target, work).run()
        with suppress(OSError):
            link.socket.sendall(nbd.Request(0, Command.DISC, 0, 0, 0).pack())


class _Reader:
    """Reads an export from its begin to its end into a file."""

    def __init__(self, link: Negotiated, uri: str, target: int, work: Work) -> None:
        self._link, self._uri, self._target, self._work = link, uri, target, work
        self._block = min(_REQUEST_BYTES, link.request_bytes_max)
        self._buffer = memoryview(bytearray(self._block))
        self._pending: dict[int, int] = {}  # what is left of a request, by its offset, the cookie

    def run(self) -> None:
        """Read all of it."""
        size, done = self._link.size_bytes, 0
        offsets = deque(range(0, size, self._block))
        while offsets or self._pending:
            while offsets and len(self._pending) < _DEPTH:
                offset = offsets.popleft()
                length = min(self._block, size - offset)
                self._pending[offset] = length
                request = nbd.Request(0, Command.READ, offset, offset, length)
                self._link.send(request.pack())
            done += self._reply()
            self._work.say("copy", done, size)

    def _reply(self) -> int:
        """Take a reply or a chunk of one; return for how many bytes it stands."""
        head = self._link.next(nbd.SIMPLE_HEADER_BYTES)
        header = nbd.parse_reply_header(head)
        if header is None:
            head += self._link.next(nbd.CHUNK_HEADER_BYTES - len(head))
            header = nbd.parse_reply_header(head)
        if header is None or header.cookie not in self._pending:
            raise Misuse(self._uri, "a reply to a request that there is not")
        if isinstance(header, ChunkHeader):
            return self._chunk(header)
        if header.error:
            raise MediumError(self._uri, header.cookie)
        length = self._pending.pop(header.cookie)
        self._data(header.cookie, length)
        return length

    def _chunk(self, header: ChunkHeader) -> int:
        count = 0
        if header.is_error:
            raise MediumError(self._uri, header.cookie)
        if header.kind == ReplyType.OFFSET_DATA:
            offset, count = nbd.parse_data_offset(self._link.next(8)), header.length - 8
            self._within(header.cookie, offset, count)
            self._data(offset, count)
        elif header.kind == ReplyType.OFFSET_HOLE:
            offset, count = nbd.parse_hole(self._link.next(header.length))
            self._within(header.cookie, offset, count)
        elif header.kind != ReplyType.NONE or header.length:
            raise Misuse(self._uri, f"a chunk of type {header.kind}")
        self._pending[header.cookie] -= count
        if header.is_last and self._pending.pop(header.cookie):
            raise Misuse(self._uri, "a reply that ends before its data does")
        return count

    def _within(self, cookie: int, offset: int, count: int) -> None:
        stop = min(cookie + self._block, self._link.size_bytes)
        if not (cookie <= offset and 0 < count <= self._pending[cookie] and offset + count <= stop):
            raise Misuse(self._uri, f"{count} bytes at {offset} that nobody asked for")

    def _data(self, offset: int, count: int) -> None:
        data = self._buffer[:count]
        self._link.into(data)
        _put(self._target, offset, data)
