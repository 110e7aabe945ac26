"""When copies expire, and how long they are kept whoever asks for their deletion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.wsapi.bodies import INT32_MAX, whole
from stuntdouble.arrayapi.wsapi.codes import Refusal

if TYPE_CHECKING:
    from stuntdouble.arrayapi.wsapi.vvs import Vv

HOURS_MAX: Final = 43_800  # the guide: 1,825 days

_HOUR_SECONDS: Final = 3600.0  # by definition

_AT_ONCE_SECONDS: Final = 0.001  # chosen: for what has expired, and is in use

HOURS: Final = {
    "expirationHours": whole(-INT32_MAX - 1),
    "retentionHours": whole(-INT32_MAX - 1),
}


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from now on; None where nothing is said."""

    expires: float | None = None
    retained: float | None = None

    @property
    def said(self) -> dict[str, float | None]:
        """The same as the array's requests call them."""
        return {"expires_seconds": self.expires, "retain_seconds": self.retained}

    def after(self, vv: Vv, now: float, *, forget: bool) -> Times:
        """Return what is to hold for something that has times of its own already.

        Args:
            vv: what it is.
            now: site time.
            forget: whether it is never to expire.
        """
        left = None if vv.retain_until is None else max(vv.retain_until - now, 0.0) or None
        if left is not None and self.retained is not None and self.retained < left:
            raise Refusal("INV_INPUT_TIME", "a retention is never shortened", "retentionHours")
        expires = self.expires
        if expires is None and vv.expires is not None and not forget:
            expires = max(vv.expires - now, _AT_ONCE_SECONDS)
        retained = left if self.retained is None else self.retained
        if expires is not None and retained is not None and expires < retained:
            raise Refusal("INV_INPUT_RETAIN_GT_EXPIRE", ref="retentionHours")
        return Times(expires, retained)


def times_of(found: dict[str, Any]) -> Times:
    """Return what a body says of time: negative hours are ignored, as the guide has it."""
    expires, retained = (_seconds(name, found.get(name, -1)) for name in HOURS)
    if expires is not None and retained is not None and retained > expires:
        raise Refusal("INV_INPUT_RETAIN_GT_EXPIRE", ref="retentionHours")
    return Times(expires, retained)


def _seconds(name: str, hours: int) -> float | None:
    if hours < 0:
        return None
    if not 1 <= hours <= HOURS_MAX:
        raise Refusal("INV_INPUT_TIME", f"1 to {HOURS_MAX} hours", name)
    return hours * _HOUR_SECONDS
