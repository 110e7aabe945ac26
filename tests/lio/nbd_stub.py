"""An NBD server of a few lines, which also answers as no server should."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import Errno, Option, Reply, TransmissionFlag
from stuntdouble.lio import NbdSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HAS = TransmissionFlag.HAS_FLAGS


class Stub:
    """What it serves, and how."""

    def __init__(self, data: bytes, **how) -> None:
        self.data = data
        self.structured = how.get("structured", True)
        self.flags = how.get("flags", HAS)
        self.greeting = how.get("greeting", nbd.greeting())
        self.refusal: Reply | None = how.get("refusal")
        self.described = how.get("described", True)
        self.answer: Callable[[nbd.Request], list[bytes]] = how.get("answer", self.read)
        self.requests: list[nbd.Request] = []

    def read(self, request: nbd.Request) -> list[bytes]:
        """Answer a read: a hole where there are zeros, in two chunks; or in one piece."""
        data = self.data[request.offset : request.stop]
        if not self.structured:
            return [nbd.simple_reply(Errno.OK, request.cookie), data]
        rows = []
        for offset in range(0, len(data), 65536):
            part = data[offset : offset + 65536]
            at = request.offset + offset
            if any(part):
                rows += [nbd.data_chunk(request.cookie, at, len(part)), part]
            else:
                rows.append(nbd.hole_chunk(request.cookie, at, len(part)))
        return [*rows, nbd.done_chunk(request.cookie)]

    def serve(self, link: socket.socket) -> None:
        file = link.makefile("rwb")
        try:
            self._negotiate(file)
            while head := file.read(nbd.REQUEST_BYTES):
                request = nbd.Request.parse(head)
                if request.command == nbd.Command.DISC:
                    return
                self.requests.append(request)
                rows = self.answer(request)
                if not rows:
                    return
                file.write(b"".join(rows))
                file.flush()
        except (OSError, EOFError):
            return
        finally:
            link.close()

    def _negotiate(self, file) -> None:
        file.write(self.greeting)
        file.flush()
        if not file.read(4):
            raise EOFError
        while True:
            header = nbd.OptionHeader.parse(file.read(nbd.OPTION_HEADER_BYTES))
            file.read(header.length)
            rows = self._reply(header.kind)
            file.write(b"".join(rows))
            file.flush()
            if header.kind == Option.GO:
                if self.refusal:
                    raise EOFError
                return

    def _reply(self, kind: int) -> list[bytes]:
        if kind == Option.STRUCTURED_REPLY:
            reply = Reply.ACK if self.structured else Reply.ERR_UNSUP
            return [nbd.option_reply(kind, reply)]
        if kind != Option.GO:
            return [nbd.option_reply(kind, Reply.ERR_UNSUP)]
        if self.refusal:
            return [nbd.option_reply(kind, self.refusal, b"no")]
        sizes = nbd.info_block_sizes(nbd.BlockSizes(512, 4096, 1 << 25))
        rows = [nbd.option_reply(kind, Reply.INFO, sizes)]
        if self.described:
            export = nbd.info_export(len(self.data), self.flags)
            rows.append(nbd.option_reply(kind, Reply.INFO, export))
        return [*rows, nbd.option_reply(kind, Reply.ACK)]


@contextmanager
def serving(stub: Stub, name: str = "lun/x") -> Iterator[NbdSource]:
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=stub.serve, args=(link,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield NbdSource(f"nbd://127.0.0.1:{listener.getsockname()[1]}/{name}")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
