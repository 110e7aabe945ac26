"""Limits on I/Os per second: a token bucket, exact to the instant.

    tokens   burst ┤██▆▄▂                                ▂▄▆████
                   │      ▂▁_▁_▁_▁_▁_▁_▁_▁_▁_▁_▁_▁_▂▄▆
                   └──────────────────────────────────────────▶ time
                    burst   then one I/O each 1/iops      idle: it fills up, and no further

In any time t no more than burst + iops · t are admitted.  A burst of 1 spaces I/Os evenly, which is
what mClock's limit does (Gulati, Merchant and Varman, OSDI 2010), the scheduler behind the limit of
a virtual disk in vSphere; throttles of QEMU and of public clouds have a burst.  An I/O takes one
token, whatever its size: vSphere takes one for every 32 KiB begun (yellow-bricks.com on vSphere
5.5), so divide its limit where I/Os are larger.

Nobody polls: a bucket says when its next token is there, and that instant is what is waited for,
so no rounding is between the two.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from stuntdouble.iops.engine import Guest


class TokenBucket:
    """Tokens of a limit: full to begin with.

    Args:
        now: site time.
        iops: tokens that come in a second, above 0.
        burst: tokens that it holds, 1 or more.
    """

    __slots__ = ("_burst", "_iops", "_since", "_tokens", "wake")

    def __init__(self, now: float, iops: float, burst: int) -> None:
        self._iops = iops
        self._burst = float(burst)
        self._tokens = float(burst)  # at the time below
        self._since = now
        self.wake = -inf  # for when somebody has been told to look again

    @property
    def due(self) -> float:
        """When the next token is there; in the past, or now, if one is."""
        return self._since + max(1.0 - self._tokens, 0.0) / self._iops

    def take(self, now: float) -> None:
        """Take a token, at ``due`` or later."""
        self._fill(now)
        self._tokens = max(self._tokens - 1.0, 0.0)  # a hair less than one had come, by rounding

    def change(self, now: float, iops: float, burst: int) -> None:
        """Go on with another rate and burst, and the tokens that are there, if they find room."""
        self._fill(now)
        self._iops, self._burst = iops, float(burst)
        self._tokens = min(self._tokens, self._burst)

    def _fill(self, now: float) -> None:
        self._tokens = min(self._tokens + (now - self._since) * self._iops, self._burst)
        self._since = now


def set_bucket(guest: Guest, disk: int, now: float, iops: float, burst: int) -> None:
    """Put a limit on a disk of a guest, change it, or lift it where *iops* is 0.

    Raises:
        Misuse: no such disk, a rate or a burst that makes no sense.
    """
    where = f"the limit of disk {disk} of {guest.name}"
    if not 0 <= disk < len(guest.disks):
        raise Misuse(where, f"it has {len(guest.disks)} disks, counted from 0")
    number = guest.disks[disk].number
    if iops == 0:
        guest.buckets.pop(number, None)
        return
    if not (iops > 0 and isfinite(iops) and isfinite(1 / iops)):
        raise Misuse(where, f"{iops} I/Os per second: take a number above 0, or 0 for no limit")
    if not 1 <= burst < inf:
        raise Misuse(where, f"a burst of {burst}: take 1 or more, or nothing is ever admitted")
    if number in guest.buckets:
        guest.buckets[number].change(now, iops, burst)
    else:
        guest.buckets[number] = TokenBucket(now, iops, burst)
