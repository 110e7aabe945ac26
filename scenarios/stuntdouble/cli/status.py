"""How a running site fares: one line on a terminal, and a word when it cannot keep up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from stuntdouble.units import format_duration

if TYPE_CHECKING:
    from types import TracebackType

    from stuntdouble.clock import PacedLoop
    from stuntdouble.serve import LiveSite

REDRAW_SECONDS: Final = 0.5
"""Wall seconds between two drawings: a clock is read no more often."""

LAG_SECONDS: Final = 1.0
"""Wall seconds behind before a word is said: a hiccup of the machine is not worth one."""

AGAIN_SECONDS: Final = 10.0
"""Wall seconds until it is said again."""


class Status:
    """Shows how a site fares, on stderr, as a context manager; ``quiet`` shows nothing."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._said, self._lagged = float("-inf"), 0.0
        self._live: Live | None = None
        if self._console.is_terminal and not quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def lags(self, loop: PacedLoop, seconds: float) -> None:
        """Say that the site is *seconds* of its own time behind: at once, then now and again."""
        if not seconds:
            self._lagged = 0.0
        now = loop.wall_time()
        behind = seconds / loop.rate
        if self._quiet or behind < LAG_SECONDS or now < self._said + AGAIN_SECONDS:
            return
        why = f"this machine cannot keep up with rate {loop.rate:g}; lower it, or load it less"
        if seconds < self._lagged:
            why = "it is catching up"
        self._said, self._lagged = now, seconds
        text = f"stuntdouble: site time lags by {format_duration(seconds)}: {why}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def watch(self, site: LiveSite) -> None:
        """Draw the line from now on, while the site runs."""
        if self._live is None:
            return
        self._live.start()
        self._draw(site)

    def _draw(self, site: LiveSite) -> None:
        if self._live is None or not self._live.is_started:
            return
        self._live.update(Text(line(site), no_wrap=True, overflow="ellipsis"), refresh=True)
        site.loop.call_later_wall(REDRAW_SECONDS, self._draw, site)


def line(site: LiveSite) -> str:
    """Return in a line how a site fares."""
    loop = site.loop
    ios = sum(guest.completed for guest in site.world.engine.guests)
    pace = "paused" if loop.paused else f"rate {loop.rate:g}"
    lag = site.pacer.lag_seconds
    behind = f" · lags by {format_duration(lag)}" if lag / loop.rate >= LAG_SECONDS else ""
    return f"site time {format_duration(loop.time())} · {pace} · {ios:,} I/Os{behind}"
