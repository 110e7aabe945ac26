"""Mode pages: what an initiator may ask of a unit's behaviour, and change (SPC-4 7.5, SBC-3 6.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from stuntdouble.scsi.sense import bad_parameter, illegal


class PageCode(NamedTuple):
    """Which page."""

    page: int
    subpage: int = 0


RECOVERY: Final = PageCode(0x01)
CACHING: Final = PageCode(0x08)
CONTROL: Final = PageCode(0x0A)
CONTROL_EXTENSION: Final = PageCode(0x0A, 0x01)
EXCEPTIONS: Final = PageCode(0x1C)

_PS: Final = 0x80  # the page can be saved
_SPF: Final = 0x40  # the page has a subpage
_D_SENSE: Final = 0x04
_SWP: Final = 0x08

_DEFAULTS: Final = {
    # Bad blocks are put elsewhere without asking (AWRE, ARRE).
    RECOVERY: bytes.fromhex("c0 000000000000 0000 00"),
    # Nothing is lost that was acknowledged, so there is no cache to speak of (WCE = 0).
    CACHING: bytes.fromhex("00 00 0000 0000 0000 0000 00 00 0000 000000 00"),
    # Log parameters are not saved by themselves (GLTSD); commands are reordered at will, a failed
    # one leaves the others alone; 30 s of BUSY at most.
    CONTROL: bytes.fromhex("02 10 00 00 0000 012c 0000"),
    CONTROL_EXTENSION: bytes(28),
    # No informational exceptions are reported (DEXCPT).
    EXCEPTIONS: bytes.fromhex("08 00 00000000 00000000"),
}

_CHANGEABLE: Final = {
    code: {
        CACHING: b"\x04".ljust(18, b"\0"),  # WCE
        CONTROL: bytes((_D_SENSE, 0, _SWP)).ljust(10, b"\0"),
    }.get(code, bytes(len(default)))
    for code, default in _DEFAULTS.items()
}

_ALL: Final = 0x3F
_ALL_SUBPAGES: Final = 0xFF
CURRENT, CHANGEABLE, DEFAULT, SAVED = range(4)  # page control (SPC-4 table 176)


@dataclass
class Modes:
    """The mode pages of one unit."""

    current: dict[PageCode, bytes] = field(default_factory=lambda: dict(_DEFAULTS))
    saved: dict[PageCode, bytes] = field(default_factory=lambda: dict(_DEFAULTS))

    @property
    def descriptors(self) -> bool:
        """Whether sense data is in descriptor format (D_SENSE)."""
        return bool(self.current[CONTROL][0] & _D_SENSE)

    @property
    def protected(self) -> bool:
        """Whether software has protected the unit against writes (SWP)."""
        return bool(self.current[CONTROL][2] & _SWP)

    def reset(self) -> None:
        """Take what was saved."""
        self.current = dict(self.saved)

    def pages(self, page: int, subpage: int, control: int) -> bytes:
        """Return pages one after another, as they are, could be changed, came, or were saved.

        Returns:
            nothing where there is no such page.
        """
        if page == _ALL and subpage not in (0, _ALL_SUBPAGES):
            return b""
        values = (self.current, _CHANGEABLE, _DEFAULTS, self.saved)[control]
        return b"".join(
            _packed(code, values[code])
            for code in sorted(_DEFAULTS)
            if page in (code.page, _ALL) and subpage in (code.subpage, _ALL_SUBPAGES)
        )

    def select(self, data: bytes, start: int, *, save: bool) -> bool:
        """Change pages, all that are listed from byte *start* on or none; say if any changed.

        Raises:
            CheckError: a page is unknown, cut off, or would change what cannot be changed.
        """
        wanted = dict(self.current)
        while start < len(data):
            code, body, at = _parsed(data, start)
            _check_changes(self.current[code], data[body:at], _CHANGEABLE[code], body)
            wanted[code] = data[body:at]
            start = at
        changed = wanted != self.current
        self.current = wanted
        if save:
            self.saved = dict(wanted)
        return changed


def _packed(code: PageCode, body: bytes) -> bytes:
    if code.subpage:
        return bytes((_PS | _SPF | code.page, code.subpage)) + len(body).to_bytes(2, "big") + body
    return bytes((_PS | code.page, len(body))) + body


def _parsed(data: bytes, start: int) -> tuple[PageCode, int, int]:
    """Return which page begins at *start*, and where its body begins and ends."""
    has_subpage = bool(data[start] & _SPF)
    body = start + (4 if has_subpage else 2)
    if len(data) < body:
        raise illegal(0x1A)
    code = PageCode(data[start] & _ALL, data[start + 1] if has_subpage else 0)
    if code not in _DEFAULTS or data[start] & _PS:
        raise bad_parameter(start)
    at = 2 if has_subpage else 1
    length = int.from_bytes(data[start + at : body], "big")
    if length != len(_DEFAULTS[code]):
        raise bad_parameter(start + at)
    if len(data) < body + length:
        raise illegal(0x1A)
    return code, body, body + length


def _check_changes(old: bytes, new: bytes, changeable: bytes, start: int) -> None:
    for place, (was, wanted, may) in enumerate(zip(old, new, changeable, strict=True)):
        wrong = (was ^ wanted) & ~may & 0xFF
        if wrong:
            raise bad_parameter(start + place, wrong.bit_length() - 1)
