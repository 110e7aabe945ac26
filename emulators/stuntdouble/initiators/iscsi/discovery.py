"""Which targets a portal shows to an initiator: a discovery session (RFC 7143, 4.3 and appendix C)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.iscsi import (
    NO_TAG,
    LogoutReason,
    LogoutRequest,
    Opcode,
    TextRequest,
    TextResponse,
    pack_text,
    parse_text,
)
from stuntdouble.errors import Misuse, Unreachable
from stuntdouble.initiators.iscsi.login import Login, MovedError
from stuntdouble.initiators.iscsi.session import LOGIN_SECONDS
from stuntdouble.initiators.iscsi.talk import Talk, connected, parse_portal
from stuntdouble.initiators.wall import Wall

if TYPE_CHECKING:
    from stuntdouble.initiators.iscsi.login import Who

_ANSWERS_MAX: Final = 64
"""Answers to one request, of 8 KiB or more each.  Chosen: thousands of targets."""


async def discover(portal: str, who: Who) -> dict[str, tuple[str, ...]]:
    """Return the targets that a portal shows us, and the portals of each.

    Raises:
        Misuse: no iSCSI target there.
        AccessDenied: it does not let us in.
        Unreachable: nobody answers, or it sends us elsewhere.
        TimedOut: not within 15 s.
    """
    where = f"iSCSI discovery at {portal}"
    try:
        async with Wall().limit(LOGIN_SECONDS, where):
            made = await connected(*parse_portal(portal))
            try:
                return await _asked(Talk(made, where), who)
            finally:
                made.close()
    except MovedError as moved:
        raise Unreachable(f"{where} (it has moved to {moved})") from None
    except OSError as error:
        raise Unreachable(f"{where} ({error})") from error


async def _asked(talk: Talk, who: Who) -> dict[str, tuple[str, ...]]:
    agreed = await Login(talk, who).run()
    cmdsn, expstatsn, tag, text = agreed.cmdsn, agreed.expstatsn, NO_TAG, b""
    request = pack_text([("SendTargets", "All")])
    for _ in range(_ANSWERS_MAX):
        sent = TextRequest(1, tag, cmdsn, expstatsn)
        await talk.send(sent.pack(len(request)), request)
        header, data = await talk.next(Opcode.TEXT_RESPONSE)
        reply = TextResponse.parse(header)
        text += data
        tag, cmdsn, expstatsn, request = reply.ttt, cmdsn + 1, reply.numbers.statsn + 1, b""
        if reply.final:
            break
    else:
        raise Misuse(talk.where, f"more than {_ANSWERS_MAX} answers to one request")
    logout = LogoutRequest(LogoutReason.SESSION, 2, 0, cmdsn, expstatsn)
    await talk.send(logout.pack())
    await talk.next(Opcode.LOGOUT_RESPONSE)
    return _targets(parse_text(text))


def _targets(pairs: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Group addresses by the target that stands before them."""
    found: dict[str, tuple[str, ...]] = {}
    name = ""
    for key, value in pairs:
        if key == "TargetName":
            name = value
            found.setdefault(name, ())
        elif key == "TargetAddress" and name:
            found[name] += (value.partition(",")[0],)
    return found
