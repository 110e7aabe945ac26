"""A client of QEMU's machine protocol, over a socket of the file system.

    us     {"execute": "block-commit", "arguments": {…}, "id": 7}
    QEMU   {"return": {}, "id": 7}                 or {"error": {"class": …, "desc": …}, "id": 7}
    QEMU   {"event": "BLOCK_JOB_READY", "data": {"device": "commit", …}, "timestamp": {…}}

One JSON object to a line; events come between answers, at any time.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Error, TimedOut, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stuntdouble.lab.processes import Program

    Message = dict[str, Any]

ANSWER_SECONDS_MAX: Final = 30.0
"""Commands only begin things, and answer in milliseconds; a loaded machine gets more."""

_RETRY_SECONDS: Final = 0.02
_LINE_BYTES_MAX: Final = 1 << 20
"""The longest answer that we ask for is a few KiB."""


class CommandError(Error):
    """QEMU refused a command.  Facts: command, reason in QEMU's words."""

    template = "QEMU refused {0}: {1}"


class Qmp:
    """A connection; ``monitor`` makes one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._events: list[Message] = []
        self._news = asyncio.Event()
        self._number = 0
        self._closed = False

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command and return its result.

        An argument's underscores become hyphens, as QEMU spells them.

        Raises:
            CommandError: QEMU says why.
            Unreachable: the connection is gone.
            TimedOut: there is no answer.
        """
        spelt = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._number += 1
        number = self._number
        if self._closed:
            raise Unreachable("QEMU")
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"execute": command, "arguments": spelt, "id": number}
        self._writer.write(json.dumps(message).encode() + b"\n")
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                found = await answer
        except TimeoutError:
            raise TimedOut(f"QEMU's answer to {command}", f"{ANSWER_SECONDS_MAX:g}") from None
        finally:
            del self._answers[number]
        if "error" in found:
            raise CommandError(command, found["error"].get("desc", found["error"]))
        return found["return"]

    async def event(self, *names: str, seconds: float) -> Message:
        """Return the first event of one of these names, and forget it and what came before it.

        Raises:
            Unreachable: the connection is gone, and it never came.
            TimedOut: it has not come after *seconds*.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for index, found in enumerate(self._events):
                        if found["event"] in names:
                            del self._events[: index + 1]
                            return found
                    if self._closed:
                        raise Unreachable("QEMU")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TimedOut(f"QEMU's {' or '.join(names)}", f"{seconds:g}") from None

    async def listen(self) -> None:
        """Sort what comes in until the connection ends."""
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except (OSError, ValueError):
            pass  # cut off in the middle, or no longer QEMU's protocol: either way nobody is there
        finally:
            self._closed = True
            self._news.set()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(Unreachable("QEMU"))

    def _take(self, message: Message) -> None:
        if "event" in message:
            self._events.append(message)
            self._news.set()
            return
        answer = self._answers.get(message.get("id", 0))
        if answer is not None and not answer.done():
            answer.set_result(message)


@asynccontextmanager
async def monitor(path: Path, program: Program) -> AsyncIterator[Qmp]:
    """Connect to the socket that *program* opens at *path* when it is ready.

    Raises:
        ProgramError: it ended instead.
        TimedOut: it does not open the socket.
    """
    reader, writer = await _connect(path, program)
    qmp = Qmp(reader, writer)
    listening = asyncio.create_task(qmp.listen())
    try:
        await qmp.execute("qmp_capabilities")
        yield qmp
    finally:
        listening.cancel()
        writer.close()
        with suppress(asyncio.CancelledError):
            await listening


async def _connect(
    path: Path, program: Program
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            while True:
                try:
                    return await asyncio.open_unix_connection(str(path), limit=_LINE_BYTES_MAX)
                except OSError:
                    if program.process.returncode is not None:
                        raise program.failure() from None
                await asyncio.sleep(_RETRY_SECONDS)
    except TimeoutError:
        raise TimedOut(f"the socket of {program.name}", f"{ANSWER_SECONDS_MAX:g}") from None
