"""What is tried in the guest and in front of it, one finding after the other."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from stuntdouble.codecs.iscsi import Credentials
from stuntdouble.errors import AccessDenied, Error, Lost, Misuse
from stuntdouble.extents import Runs
from stuntdouble.initiators import connect
from stuntdouble.initiators.iscsi import IscsiInitiator, Limits
from stuntdouble.lab.lio.guest import ADDRESS, PORTS
from stuntdouble.lab.lio.site import opened
from stuntdouble.lio import EXPORTERS
from stuntdouble.ports import Throttle
from stuntdouble.scenarios.build import BACKUP_IQN
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from typing import TypeAlias

    from stuntdouble.lab.lio.guest import Guest
    from stuntdouble.lab.lio.site import Site
    from stuntdouble.ports import BlockDevice, Mapping, Span

    Check: TypeAlias = Callable[["Lab"], Awaitable[str]]

STRANGER: Final = "iqn.2026-11.org.example:stranger"
GUEST: Final = "iqn.2026-11.org.example:guest"
"""As the guest's own initiator is named; its agent knows it."""

_CONTRACT_SECONDS: Final = 300.0  # for a check of the contract: a dozen starts of Python, emulated
_READ_SECONDS: Final = 300.0  # for all of a LUN, read and hashed under emulation


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check.

    Args:
        what: was tried.
        met: whether it went as it must.
        figure: how far, how much, or what was said.
    """

    what: str
    met: bool
    figure: str


@dataclass(frozen=True)
class Lab:
    """Guest and site, side by side."""

    guest: Guest
    site: Site
    folder: Path

    @asynccontextmanager
    async def exported(
        self, request: dict[str, Any], kind: str = "lio-iscsi"
    ) -> AsyncIterator[Any]:
        """Let the guest export something until the block ends."""
        export = await self.guest.call("export", {"kind": kind, "request": request})
        try:
            yield export
        finally:
            await self.guest.call("unexport", {"number": export["id"], "force": True})


async def contract(guest: Guest, told: Callable[[Finding], object]) -> None:
    """Run the contract on each exporter in the guest; tell of each check."""
    for kind in EXPORTERS:

        def line(row: list[str], kind: str = kind) -> None:
            name, figure, failure = row
            told(Finding(f"{kind}: {name}", not failure, failure or figure))

        facts = {"kind": kind}
        await guest.call("contract", facts, seconds=_CONTRACT_SECONDS, on_line=line)


async def site_checks(lab: Lab, told: Callable[[Finding], object]) -> None:
    """Run every check that takes the site; tell of each."""
    for what, check in CHECKS.items():
        try:
            told(Finding(what, met=True, figure=await check(lab)))
        except (AssertionError, Error) as error:
            told(Finding(what, met=False, figure=" ".join(str(error).split()) or repr(error)))


# Reading. -------------------------------------------------------------------------------------


async def _digest(device: BlockDevice) -> str:
    """Return the SHA-256 of all of a device, and close it."""
    found = hashlib.sha256()
    try:
        runs, throttle = Runs.single(0, device.size_bytes), Throttle(depth=16)
        spans = cast("AsyncGenerator[Span, None]", device.read(runs, throttle))
        async with aclosing(spans) as each:
            async for span in each:
                found.update(span.data)
    finally:
        await device.close()
    return found.hexdigest()


@asynccontextmanager
async def _promoted(lab: Lab) -> AsyncIterator[tuple[Mapping, str]]:
    """Yield a promoted LUN, and the SHA-256 of its bytes as the site itself hands them out."""
    mapping = await lab.site.promoted(f"lab-{secrets.token_hex(3)}")
    try:
        uri = lab.site.uri(mapping.naa).replace("10.0.2.2", "127.0.0.1")
        yield mapping, await _digest(await connect(uri))
    finally:
        await lab.site.forget(mapping)


# Checks. --------------------------------------------------------------------------------------


async def _backup(lab: Lab) -> str:
    read, right = await lab.site.back_up(lab.folder / "repository")
    assert right, "the restore point does not hold what the guest had"
    return f"{read / MIB:.0f} MiB by the offset table"


async def _same_bytes(lab: Lab) -> str:
    people = [[BACKUP_IQN, None], [GUEST, None]]
    async with _promoted(lab) as (mapping, truth):
        async with lab.exported(lab.site.request(mapping, initiators=people)) as export:
            assert export["naa"] == mapping.naa, "the LUN goes by another name"
            found = await _digest(await opened(lab.guest, export, mapping))
            assert found == truth, "our initiator reads other bytes"
            facts = {name: export[name] for name in ("target", "naa", "lun")}
            facts["portal"] = f"{ADDRESS}:{PORTS[0]}"
            local = await lab.guest.call("kernel_digest", facts, seconds=_READ_SECONDS)
            assert local == truth, "the kernel's initiator reads other bytes"
        request = {"source": lab.site.uri(mapping.naa)}
        async with lab.exported(request, "lio-loopback") as export:
            facts = {"naa": export["naa"]}
            local = await lab.guest.call("local_digest", facts, seconds=_READ_SECONDS)
            assert local == truth, "the loopback disk reads other bytes"
            return f"{export['size_bytes'] / MIB:.0f} MiB, three ways, sha256 {truth[:12]}"


async def _masking(lab: Lab) -> str:
    async with _promoted(lab) as (mapping, _), lab.exported(lab.site.request(mapping)) as export:
        portal = f"127.0.0.1:{lab.guest.ports[PORTS[0]]}"
        try:
            names = await IscsiInitiator(portal, STRANGER).targets()
        except AccessDenied:
            names = ()
        assert names == (), f"it is told of {names}"
        stranger = type(mapping)(mapping.volume, mapping.naa, STRANGER, mapping.lun)
        try:
            device = await opened(lab.guest, export, stranger)
        except AccessDenied as error:
            assert await lab.guest.call("sessions", {"number": export["id"]}) == []
            return f"0 targets, 0 bytes: {error}"
        await device.close()
        raise AssertionError("it gets in")


async def _chap(lab: Lab) -> str:
    chap = {"user": "backup", "secret": "a secret of ours", "mutual_user": "array"}
    chap["mutual_secret"] = "and one of theirs"  # noqa: S105  (of a target that lives for a minute)
    async with _promoted(lab) as (mapping, truth):
        request = lab.site.request(mapping, initiators=[[BACKUP_IQN, chap]])
        async with lab.exported(request) as export:
            for wrong in (None, Credentials("backup", "a secret, guessed")):
                how = {"chap": wrong, "limits": Limits(patience_seconds=1.0)}
                try:
                    device = await opened(lab.guest, export, mapping, **how)
                except (AccessDenied, Lost):  # the kernel hangs up on who offers no CHAP at all
                    continue
                await device.close()
                raise AssertionError("it gets in without the secret")
            device = await opened(lab.guest, export, mapping, chap=Credentials(**chap))
            assert await _digest(device) == truth
    return "2 refused, mutual CHAP reads"


async def _by_hand(lab: Lab) -> str:
    async with _promoted(lab) as (mapping, _):
        request = lab.site.request(mapping, naa=mapping.naa)
        facts = {"kind": "lio-iscsi", "request": request}
        by_hand, by_us = await lab.guest.call("by_hand", facts, seconds=_CONTRACT_SECONDS)
    other = sorted({*by_hand} ^ {*by_us})
    assert not other, f"{len(other)} lines differ: {other[:4]}"
    return f"{len(by_us)} attributes are the same"


async def _killed(lab: Lab) -> str:
    async with _promoted(lab) as (mapping, _):
        facts = {"request": lab.site.request(mapping, initiators=[[GUEST, None]])}
        return str(await lab.guest.call("killed", facts, seconds=_CONTRACT_SECONDS))


async def _fileio(lab: Lab) -> str:
    return str(await lab.guest.call("fileio", seconds=_CONTRACT_SECONDS))


async def _refused(lab: Lab) -> str:
    before = await lab.guest.call("listing")
    source = await lab.guest.call("truth")
    portal = ["192.0.2.77", PORTS[0]]  # RFC 5737: of no machine
    facts = {"source": source, "portal": portal, "initiators": [[GUEST, None]]}
    try:
        async with lab.exported(facts):
            pass
    except Misuse as error:
        after = await lab.guest.call("listing")
        assert after == before, f"left: {', '.join(after)}"
        return str(error)
    raise AssertionError("it is exported")


async def _nothing_left(lab: Lab) -> str:
    left = await lab.guest.call("listing")
    assert left == [], f"left: {', '.join(left)}"
    found = await lab.guest.call("recover", {"everything": True})
    assert found == {"ended": [], "left": {}}, found
    return "no target, no back end, no device"


CHECKS: Final[dict[str, Check]] = {
    "a backup by iSCSI restores what the VM had": _backup,
    "iSCSI here, iSCSI there and loopback read what the site has": _same_bytes,
    "an initiator without a mapping sees nothing": _masking,
    "CHAP keeps others out": _chap,
    "the printed commands make what we make": _by_hand,
    "a kill between any two steps is recovered from": _killed,
    "a file by the page cache is protected, or written": _fileio,
    "a portal that is nobody's address leaves nothing": _refused,
    "nothing is left in the kernel's configuration": _nothing_left,
}
