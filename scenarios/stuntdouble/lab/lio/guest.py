"""The guest: a machine under QEMU's emulation that does what it is told by lines of JSON.

It has no disk: its root file system comes with it, and what it changes goes with it.  It reaches
this machine's loopback address as ``HOST``, and we reach its portals by forwarded ports.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stuntdouble import errors
from stuntdouble.errors import Error, Interrupted, TimedOut
from stuntdouble.lab.lio.archive import padded
from stuntdouble.lab.processes import running
from stuntdouble.lio import KernelError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from stuntdouble.lab.lio.image import Image
    from stuntdouble.lab.processes import Program

QEMU: Final = "qemu-system-x86_64"
HOST: Final = "10.0.2.2"  # this machine, as QEMU's user network shows it
ADDRESS: Final = "10.0.2.15"  # the guest's own, as that network gives it

PORTS: Final = (3260, 3261)
"""The guest's ports that are reached from here: the registered one, and one beside it."""

_START_SECONDS_MAX: Final = 30.0  # until QEMU listens: within one, on a machine with time for it
_BOOT_SECONDS_MAX: Final = 240.0
"""Until the guest says its first word: 10 s on an idle machine, and minutes on one with no time."""

_CALL_SECONDS_MAX: Final = 120.0  # for an answer, or a line of it; most take a second or two
_LINE_BYTES_MAX: Final = 1 << 22  # of an answer


@dataclass
class Guest:
    """A guest that runs.

    Attributes:
        ports: where its portals are reached from here, by the port there.
        console: what its kernel says.
    """

    program: Program
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ports: dict[int, int]
    console: Path
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def call(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        seconds: float = _CALL_SECONDS_MAX,
        on_line: Callable[[list[Any]], object] | None = None,
    ) -> Any:
        """Let the guest do something; return what came of it.

        Args:
            name: of a call of the guest's agent.
            arguments: of it.
            seconds: for the answer, and between two lines of it.
            on_line: called with each line that comes before the answer.

        Raises:
            Error: as the guest says.
            TimedOut: it says nothing.
            Interrupted: it is no more.
        """
        number = next(self.numbers)
        line = {"id": number, "call": name, "arguments": arguments or {}}
        self.writer.write(json.dumps(line).encode() + b"\n")
        await self.writer.drain()
        while True:
            found = await self._next(name, seconds)
            if found.get("id") != number:
                continue
            if "line" in found:
                if on_line is not None:
                    on_line(found["line"])
            elif "error" in found:
                raise _error(found)
            else:
                return found["result"]

    async def _next(self, name: str, seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                row = await self.reader.readline()
        except TimeoutError:
            raise TimedOut(f"{name} in the guest ({self.last_words()})", f"{seconds:g}") from None
        except ConnectionError:
            row = b""
        if not row:
            raise Interrupted(f"{name} in the guest ({self.last_words()})")
        found: dict[str, Any] = json.loads(row)
        return found

    def last_words(self) -> str:
        """Return the last line that a program of the guest has said, or else its kernel."""
        with suppress(OSError):
            text = self.console.read_text("utf-8", "replace")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            ours = [line for line in lines if not line.startswith("[")]
            return (ours or lines or ["no word"])[-1]
        return "no word"


def _error(found: dict[str, Any]) -> Error:
    kind = getattr(errors, found["error"], None)
    if isinstance(kind, type) and issubclass(kind, Error):
        with suppress(AssertionError):
            return kind(*found["facts"])
    return KernelError("go on in the guest", f"{found['error']}: {' '.join(found['facts'])}")


@asynccontextmanager
async def booted(image: Image, overlay: bytes, directory: Path) -> AsyncIterator[Guest]:
    """Boot a guest with *overlay* over its root file system; it is killed when the block ends.

    Raises:
        ProgramError: QEMU does not start.
        TimedOut: the guest does not say that it is there.
    """
    root = directory / "root"
    root.write_bytes(padded(image.root.read_bytes()) + overlay)
    channel, console = directory / "channel", directory / "console"
    ports = {port: _free_port() for port in PORTS}
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{ours}-:{port}" for port, ours in ports.items())
    words = (
        *(QEMU, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536"),
        *("-kernel", str(image.kernel), "-initrd", str(root)),
        *("-append", "console=ttyS0 quiet panic=-1 rdinit=/init"),
        *("-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{console}"),
        *("-nic", f"user,model=virtio-net-pci{forwards}"),
        *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent"),
        *("-chardev", f"socket,id=agent,path={channel},server=on,wait=off"),
        *("-object", "rng-random,id=rng,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=rng"),
    )
    async with running(*words, directory=directory) as program:
        reader, writer = await _connected(program, channel)
        try:
            guest = Guest(program, reader, writer, ports, console)
            await _greeted(guest)
            yield guest
        finally:
            writer.close()


async def _connected(
    program: Program, channel: Path
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the guest's channel, which is there once QEMU has begun."""
    for _ in range(round(_START_SECONDS_MAX * 10)):
        with suppress(OSError):
            return await asyncio.open_unix_connection(channel, limit=_LINE_BYTES_MAX)
        if program.process.returncode is not None:
            break
        await asyncio.sleep(0.1)
    if await program.is_gone():
        raise program.failure()
    raise TimedOut(f"{QEMU} (no channel to its guest)", f"{_START_SECONDS_MAX:g}")


async def _greeted(guest: Guest) -> None:
    """Wait for the guest's first word."""
    waiting = asyncio.create_task(guest._next("boot", _BOOT_SECONDS_MAX))  # noqa: SLF001  (ours)
    gone = asyncio.create_task(guest.program.process.wait())
    try:
        while not waiting.done():
            if gone.done():
                raise guest.program.failure()
            await asyncio.sleep(0.1)
        waiting.result()
    finally:
        for task in (waiting, gone):
            task.cancel()
        await asyncio.gather(waiting, gone, return_exceptions=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
