"""A served site as a backup server reaches it: by vSphere, by the native interface, and over NBD."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote, urlsplit

from stuntdouble.adapters.native import NativeClient, NativeSide
from stuntdouble.adapters.vsphere import Connection, Server, VsphereHypervisor, options
from stuntdouble.backup.work import together
from stuntdouble.errors import InvalidState, Lost, Misuse, Unreachable
from stuntdouble.initiators import connect
from stuntdouble.scenarios.loading import parse
from stuntdouble.scenarios.remote.arrays import OURS, Way
from stuntdouble.scenarios.vendors import as_flasharrays

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from stuntdouble.adapters.native import Clock
    from stuntdouble.ports import Array, BlockDevice, Initiator, VmSnapshot
    from stuntdouble.scenarios.remote.arrays import ArrayChoice, Reached
    from stuntdouble.scenarios.remote.target import Target
    from stuntdouble.scenarios.spec import Scenario

T = TypeVar("T")

_NODE: Final = "stuntdouble."
"""Where the options lie by which a served site tells of its other endpoints."""

_STEP_SECONDS: Final = 300.0
"""Site time that is let pass by one call: the interface waits for a minute, and a site that is
slower than this in it is too slow to be served."""

_SILENT_SECONDS: Final = 90.0
"""Wall time without an answer after which a site is given up: its interface gives up after 60 s."""

_LOOK_SECONDS: Final = 5.0
"""Wall time between two looks whether the site is still there."""

_NBD_PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Wall seconds between tries to open an export: a site that was put back listens anew in these."""


class _Calls:
    """Runs calls that block in threads; none any more once ``given_up``."""

    def __init__(self) -> None:
        self.given_up = False

    async def __call__(self, function: Callable[[], Any]) -> Any:
        """Return what *function* returns; ConnectionError, as of a socket, once given up."""
        if self.given_up:
            raise ConnectionError("the server was given up")
        return await asyncio.to_thread(function)


class Remembering(VsphereHypervisor):
    """Remembers which snapshot each moment of a VM belongs to: the oracle asks for its name."""

    taken: dict[tuple[str, float], str]

    async def create_snapshot(self, vm: str, name: str, *, quiesce: bool) -> VmSnapshot:
        """Take a snapshot; see ``VsphereHypervisor``."""
        made = await super().create_snapshot(vm, name, quiesce=quiesce)
        self.taken[vm, made.moment] = made.id
        return made

    async def snapshots(self, vm: str) -> tuple[VmSnapshot, ...]:
        """Return the snapshots of *vm*: one whose maker lost the answer is found here."""
        found = await super().snapshots(vm)
        self.taken.update({(vm, each.moment): each.id for each in found})
        return found


@dataclass(frozen=True)
class RemoteSite:
    """A served site; a context manager that lets go of it.

    ``reached`` is the array that the scenario names first, as in a comparison in process.
    """

    connection: Connection
    calls: _Calls
    native: NativeClient
    hypervisor: Remembering
    reached: Reached

    @property
    def array(self) -> Array:
        """The array."""
        return self.reached.array

    @property
    def initiator(self) -> Initiator:
        """The way to its LUNs."""
        return self.reached.initiator

    @classmethod
    async def reach(
        cls, target: Target, scenario: Scenario, choice: ArrayChoice = OURS
    ) -> RemoteSite:
        """Log in everywhere.

        Raises:
            AccessDenied: wrong user or password.
            Misuse: the certificate is not trusted, or the server lacks an endpoint.
            Unreachable: somebody does not answer.
        """
        await target.check_certificate()
        server = Server(
            target.host,
            target.port,
            target.user,
            target.password,
            target.path,
            encrypted=target.scheme == "https",
            fingerprint=target.fingerprint,
            insecure=target.insecure,
        )
        calls = _Calls()
        connection = Connection(server.opener(), calls)
        try:
            told = await options(connection, _NODE)
            native = _beside(target, told, "native")
            nbd = _beside(target, told, "nbd")
            client = NativeClient(native, target.user, target.password)

            async def open_(name: str) -> BlockDevice:
                return await _opened(f"{nbd}/{quote(name, safe='/')}")

            beside = partial(_beside, target, told)
            way = Way(choice, target, beside, client, open_, scenario.arrays[0].name)
            try:
                return await cls._with(connection, calls, way)
            except BaseException:
                await client.close()
                raise
        except BaseException:
            await connection.close()
            raise

    @classmethod
    async def _with(cls, connection: Connection, calls: _Calls, way: Way) -> RemoteSite:
        client = way.native
        await client.check()
        side = NativeSide(client, way.open_)
        hypervisor = Remembering(connection, side, await client.epoch())
        hypervisor.taken = {}
        return cls(connection, calls, client, hypervisor, await way.reach())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.reached.close()
        await self.connection.close()
        await self.native.close()

    async def check(self, scenario: Scenario, seed: int) -> Any:
        """Make sure that the site is the one that is meant; return a checkpoint of it as it is.

        Raises:
            Misuse: it serves another scenario or seed, or its clock stands still.
        """
        served = await self.native.site()
        where = self.native.url
        if served.scenario != scenario.name:
            text = f"serves scenario {served.scenario}, not {scenario.name}: compare that one"
            raise Misuse(where, text)
        if served.seed != seed:
            raise Misuse(where, f"serves seed {served.seed}, not {seed}: give --seed {served.seed}")
        checkpoint = await self.native.checkpoint()
        theirs = parse(checkpoint["scenario"], "checkpoint: scenario")
        alike = [scenario, *(as_flasharrays(scenario, array.name) for array in scenario.arrays)]
        if theirs.model_dump() not in [each.model_dump() for each in alike]:
            text = f"serves a scenario named {scenario.name} with other values: serve this file"
            raise Misuse(where, text)
        await self.going()
        return checkpoint

    async def going(self) -> Clock:
        """Return site time; Misuse where it stands still."""
        clock = await self.native.clock()
        if clock.paused:
            raise Misuse(self.native.url, "its clock is paused: resume it, and try again")
        return clock

    async def attended(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work*; once the site says nothing any more, give it up: nobody waits for ever.

        Raises:
            Unreachable: the site does not answer; *work* was cancelled.
            TimedOut: likewise.
        """
        found: list[T] = []

        async def do() -> None:
            found.append(await work)

        await together([do()], meanwhile=self._watch())
        return found[0]

    async def _watch(self) -> None:
        """Ask again and again whether the site is there; return never."""
        try:
            while True:
                await self.native.check(_SILENT_SECONDS)
                await asyncio.sleep(_LOOK_SECONDS)
        except Lost:
            self.native.give_up()
            self.calls.given_up = True
            raise

    async def pass_time(self, seconds: float) -> None:
        """Let site time pass as fast as it can: nobody here has anything to do meanwhile."""
        while seconds > 0:
            step = min(seconds, _STEP_SECONDS)
            await self.native.advance(step)
            seconds -= step


def _beside(target: Target, told: dict[str, str], name: str) -> str:
    """Return where another endpoint of the site is.

    One that listens at every address of its machine is where the vSphere endpoint is.
    """
    url = told.get(f"{_NODE}{name}", "")
    if not url:
        needed = dict.fromkeys(("native", "nbd", name))
        options = ", ".join(f"--{each}" for each in needed)
        text = f"tells of no {name} endpoint: serve the site with {options} as well"
        raise Misuse(target.url, text)
    parts = urlsplit(url)
    if parts.hostname not in {"0.0.0.0", "::"}:  # noqa: S104  (compared with, not listened at)
        return url
    host = f"[{target.host}]" if ":" in target.host else target.host
    return parts._replace(netloc=f"{host}:{parts.port}").geturl()


async def _opened(uri: str) -> BlockDevice:
    """Open an export; a server that is just about to listen again is waited for."""
    for pause in _NBD_PAUSES:
        try:
            return await connect(uri)
        except (Unreachable, InvalidState):
            await asyncio.sleep(pause)
    return await connect(uri)
