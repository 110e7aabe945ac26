"""What TCP does on this machine by itself: nobody reads a LUN over it any faster."""

from __future__ import annotations

import multiprocessing
import socket
import time
from typing import TYPE_CHECKING, Final

from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from contextlib import ExitStack

    from stuntdouble.bench.figures import Figures, Goal

LOOPBACK: Final = "loopback"

_ASKED_BYTES: Final = 48  # a command
_ANSWER_BYTES: Final = 4 * KIB + 48


class Loopback:
    """Streams of 1 MiB pieces, and round trips of a command and 4 KiB, between two processes.

    Args:
        quick: a tenth of it.
    """

    name = LOOPBACK

    def __init__(self, *, quick: bool = False) -> None:
        self._pieces = 400 if quick else 4000
        self._trips = 2000 if quick else 20_000

    def open(self, stack: ExitStack) -> None:
        """Start nothing: each round has a process of its own."""

    def turn(self) -> Figures:
        """Measure both once."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            other = multiprocessing.get_context("spawn").Process(
                target=_other, args=(address, self._pieces, self._trips)
            )
            other.start()
            connected, _ = listener.accept()
        with connected:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            streamed = _stream(connected, self._pieces)
            trips = _trips(connected, self._trips)
        other.join()
        return {"stream, MiB/s": self._pieces / streamed, "round trips a second": trips}

    def goals(self, medians: Figures) -> list[Goal]:
        """Ask for nothing."""
        del medians
        return []

    def missing(self) -> list[str]:
        """Return nobody."""
        return []


def _stream(connected: socket.socket, pieces: int) -> float:
    piece = memoryview(bytes(MIB))
    began = time.perf_counter()  # noqa: TID251  (a benchmark)
    for _ in range(pieces):
        connected.sendall(piece)
    connected.recv(1)  # all of it has come
    return time.perf_counter() - began  # noqa: TID251  (a benchmark)


def _trips(connected: socket.socket, trips: int) -> float:
    room = memoryview(bytearray(_ANSWER_BYTES))
    asked = bytes(_ASKED_BYTES)
    began = time.perf_counter()  # noqa: TID251  (a benchmark)
    for _ in range(trips):
        connected.sendall(asked)
        _fill(connected, room)
    return trips / (time.perf_counter() - began)  # noqa: TID251  (a benchmark)


def _other(address: tuple[str, int], pieces: int, trips: int) -> None:
    """Take the stream, and answer the round trips."""
    room = memoryview(bytearray(MIB))
    with socket.create_connection(address) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(pieces):
            _fill(connected, room)
        connected.sendall(b".")
        answer = bytes(_ANSWER_BYTES)
        for _ in range(trips):
            _fill(connected, room[:_ASKED_BYTES])
            connected.sendall(answer)


def _fill(connected: socket.socket, room: memoryview) -> None:
    at = 0
    while at < len(room):
        got = connected.recv_into(room[at:])
        if not got:
            raise ConnectionError("the other side of a benchmark has gone")
        at += got
