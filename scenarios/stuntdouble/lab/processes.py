"""Programs of others, run so that none outlives us and none is waited for without end."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Error, TimedOut

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping

_END_SECONDS_MAX: Final = 1.0
"""How long a program that hung up may take to be gone, before it counts as alive."""


class ProgramError(Error):
    """A program ended as it should not.  Facts: program, how it ended, what it said last."""

    template = "{0} ended with {1}: {2}"


@dataclass(frozen=True, slots=True)
class Program:
    """A program under way."""

    name: str
    process: Process
    output: Path

    def said(self) -> str:
        """Return the last line that the program wrote."""
        lines = self.output.read_text("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing was said")

    def failure(self) -> ProgramError:
        """Return the error that says how the program ended."""
        code = self.process.returncode or 0
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return ProgramError(self.name, how, self.said())

    async def finished(self, seconds: float) -> None:
        """Wait until the program has ended well.

        Raises:
            TimedOut: it has not ended after *seconds*.
            ProgramError: it ended with another exit code than 0.
        """
        try:
            async with asyncio.timeout(seconds):
                code = await self.process.wait()
        except TimeoutError:
            raise TimedOut(self.name, f"{seconds:g}") from None
        if code:
            raise self.failure()

    async def is_gone(self) -> bool:
        """Return whether the program has ended, or does at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS_MAX):
                await self.process.wait()
        return self.process.returncode is not None


@asynccontextmanager
async def running(
    *words: str, directory: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Run *words* in *directory*, and kill what is left of them when the block ends.

    The program gets a session of its own: Ctrl-C reaches us alone, and what the program starts
    is killed with it; a program that has ended by itself is left alone, and what it started too.
    Nothing of it is worth a gentler end: all that it wrote is thrown away.

    Raises:
        ProgramError: it could not be started.
    """
    name = Path(words[0]).name
    output = directory / f"{name}.out"
    try:
        with output.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise ProgramError(name, "no start", error.strerror or str(error)) from error
    try:
        yield Program(name, process, output)
    finally:
        # Until it has been waited for, its number is nobody else's.
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def run(
    *words: str, directory: Path, seconds: float, environment: Mapping[str, str] | None = None
) -> str:
    """Run *words* to their end, and return what they wrote.

    Raises:
        TimedOut: they have not ended after *seconds*.
        ProgramError: they ended with another exit code than 0.
    """
    async with running(*words, directory=directory, environment=environment) as program:
        await program.finished(seconds)
        return program.output.read_text("utf-8", "replace")
