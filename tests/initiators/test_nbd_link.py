"""The client's link against servers that talk nonsense: every request ends, and in a known way."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import Errno
from stuntdouble.errors import (
    AccessDenied,
    Error,
    LimitReached,
    MediumError,
    Misuse,
    NoSpace,
    Unreachable,
    Unsupported,
)
from stuntdouble.initiators.link import Link, error_of

SIZE = 3000
DATA = bytes(range(250)) * 12


class Transport:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.sent = b""
        self.aborted = False

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def abort(self) -> None:
        self.aborted = True


def feed(link: Link, data: bytes, rng: random.Random) -> None:
    """Let bytes arrive in pieces of any size."""
    while data:
        room = link.get_buffer(-1)
        assert len(room)
        count = min(len(room), len(data), rng.randint(1, 1500))
        room[:count] = data[:count]
        link.buffer_updated(count)
        data = data[count:]


def reply(cookie: int, rng: random.Random) -> bytes:
    """Return an honest reply to a read of SIZE bytes from 100 on, in one of its shapes."""
    shape = rng.randrange(4)
    if shape == 0:
        return nbd.simple_reply(Errno.OK, cookie) + DATA
    if shape == 1:
        return nbd.error_chunk(cookie, Errno.EIO, "no")
    cut = rng.randrange(1, SIZE)
    chunks = [nbd.data_chunk(cookie, 100, cut) + DATA[:cut]]
    if shape == 2:
        chunks.append(nbd.hole_chunk(cookie, 100 + cut, SIZE - cut))
    else:
        chunks.append(nbd.data_chunk(cookie, 100 + cut, SIZE - cut) + DATA[cut:])
    rng.shuffle(chunks)
    return b"".join(chunks) + nbd.done_chunk(cookie)


def linked() -> tuple[Link, Transport]:
    link, transport = Link("x"), Transport()
    link.connection_made(transport)  # type: ignore[arg-type]
    return link, transport


async def hear(data_of: Any, seed: int) -> list[Any]:
    """Ask four times, let bytes come, then end the connection; return what became of the four."""
    rng = random.Random(seed)
    link, _ = linked()
    buffers = [bytearray(SIZE) for _ in range(4)]
    futures = [link.read(100, memoryview(buffer)) for buffer in buffers]
    data = data_of(rng)
    while data and not link.lost:
        feed(link, data[:5000], rng)
        data = data[5000:]
    link.connection_lost(None)
    found: list[Any] = await asyncio.gather(*futures, return_exceptions=True)
    with pytest.raises(Unreachable):
        link.read(0, memoryview(bytearray(1)))
    return [(error, bytes(buffer)) for error, buffer in zip(found, buffers, strict=True)]


@given(st.integers(0, 2**32))
def test_honest_replies_in_any_order_and_any_pieces_are_taken(seed: int):
    def replies(rng):
        cookies = [1, 2, 3, 4]
        rng.shuffle(cookies)
        return b"".join(reply(cookie, rng) for cookie in cookies)

    for error, data in asyncio.run(hear(replies, seed)):
        if error is None:
            stop = next((i for i in range(SIZE) if data[i:] == bytes(SIZE - i)), SIZE)
            assert data[:stop] == DATA[:stop]
        else:
            assert error == MediumError("x (no)", 100)


@given(st.integers(0, 2**32))
def test_whatever_comes_every_request_ends(seed: int):
    def garbled(rng):
        data = bytearray(b"".join(reply(rng.randint(1, 5), rng) for _ in range(4)))
        for _ in range(rng.randint(1, 5)):
            at = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randint(1, 30)]
                case 2:
                    data[at:at] = rng.randbytes(rng.randint(1, 30))
        return bytes(data)

    for error, _ in asyncio.run(hear(garbled, seed)):
        assert error is None or isinstance(error, Error), error


@pytest.mark.parametrize(
    "said",
    [
        bytes(16),
        nbd.done_chunk(1),
        nbd.done_chunk(9),
        nbd.simple_reply(Errno.OK, 9),
        nbd.data_chunk(1, 99, 10) + bytes(10),
        nbd.data_chunk(1, 100, SIZE + 1) + bytes(SIZE + 1),
        nbd.hole_chunk(1, 100, SIZE + 1),
        nbd.hole_chunk(1, 100, 2000) * 2,
        nbd.status_chunk(1, 1, [(0, 0)], done=True),
        nbd.hole_chunk(1, 100, 10)[:6] + b"\0\7" + nbd.hole_chunk(1, 100, 10)[8:],
    ],
)
def test_a_reply_that_makes_no_sense_ends_the_connection(said: bytes):
    async def main():
        link, transport = linked()
        future = link.read(100, memoryview(bytearray(SIZE)))
        feed(link, said, random.Random(1))
        assert transport.aborted
        with pytest.raises(Unreachable, match=r"x \(NBD"):
            await asyncio.wait_for(future, 1)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("errno", "kind"),
    [
        (Errno.EPERM, AccessDenied),
        (Errno.EIO, MediumError),
        (Errno.ENOMEM, LimitReached),
        (Errno.EINVAL, Misuse),
        (Errno.ENOSPC, NoSpace),
        (Errno.EOVERFLOW, Misuse),
        (Errno.ENOTSUP, Unsupported),
        (Errno.ESHUTDOWN, Unreachable),
        (4711, MediumError),
    ],
)
def test_an_errors_number_says_which_it_is(errno: int, kind: type[Error]):
    found = error_of(errno, "why", "nbd://h/x", 512, 1024)
    assert type(found) is kind
    assert "nbd://h/x (why)" in str(found)
