"""Show that long work is under way, on stderr, so that stdout stays for results.

On a terminal: one line per method, drawn again in place.  Elsewhere (a log, a pipe): a plain line
per phase, without control characters.  Work that ends within a second shows nothing at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column

from stuntdouble.results import wording

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.progress import TaskID

QUIET_SECONDS: Final = 1.0
"""Wall seconds before anything is shown: less is not worth a flicker."""

REDRAW_SECONDS: Final = 0.1
"""Wall seconds between two drawings: the eye follows no faster, and drawing costs the run."""


class Progress:
    """Report stages of work as a context manager: ``stage`` opens one, ``update`` moves it.

    A stage is usually a method.  ``quiet`` shows nothing at all.  ``opening`` is called when the
    first stage begins, also where all is quiet.  The wall clock is the console's own and decides
    only what is shown; no figure of a result depends on it.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        console: Console | None = None,
        opening: Callable[[], None] = lambda: None,
    ) -> None:
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._opening = opening
        self._now = self._console.get_time
        self._began = self._now()
        self._drawn = float("-inf")
        self._drawing = False
        self._name = ""
        self._told: tuple[str, str] | None = None
        self._task: TaskID | None = None
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=12),
            TaskProgressColumn(),
            TextColumn(
                "{task.fields[text]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._began = self._now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._drawing:
            self._bars.stop()
            self._drawing = False

    def stage(self, name: str) -> None:
        """Begin the stage *name*; the one before it is done."""
        if self._task is None:
            self._opening()
        else:
            self._bars.update(self._task, completed=1.0)
        self._name = wording.printable(name)
        self._task = self._bars.add_task(self._name, total=1.0, text="")
        self.update(0.0)

    def update(self, fraction: float, text: str = "") -> None:
        """Say that *fraction* (0 to 1) of the stage is done, and what goes on in *text*.

        Call it as often as is convenient: drawing is limited to ten times a second.
        """
        self._show(fraction, text, "")

    def emulated(
        self, fraction: float, *, phase: str, seconds: float, ios: int, restore_points: int
    ) -> None:
        """Say what a run of a method knows about itself.

        *seconds* is site time; *ios* counts the guest I/Os completed so far.
        """
        points = wording.counted(restore_points, "restore point")
        done = wording.counted(ios, "I/O")
        words = phase.replace("-", " ")
        self._show(fraction, f"{words}, {wording.watch(seconds)}, {done}, {points}", words)

    def _show(self, fraction: float, text: str, phase: str) -> None:
        if self._quiet or self._task is None:
            return
        words = wording.printable(text)
        self._bars.update(self._task, completed=min(max(fraction, 0.0), 1.0), text=words)
        if self._now() - self._began < QUIET_SECONDS:
            return
        if self._console.is_terminal:
            self._draw()
        elif self._told is None or self._told[0] != self._name or phase not in {"", self._told[1]}:
            self._told = (self._name, phase)
            line = f"{self._name}: {words}" if words else self._name
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        if not self._drawing:
            self._bars.start()
            self._drawing = True
        if self._now() - self._drawn >= REDRAW_SECONDS:
            self._drawn = self._now()
            self._bars.refresh()
