"""Names that a user types: completed by the shell, and corrected when mistyped."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Iterable


class ScenarioName(click.ParamType[str]):
    """A scenario: a name of the library, or a TOML file where *files* are allowed."""

    name = "scenario"

    def __init__(self, *, files: bool) -> None:
        self._files = files

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the names that begin with *incomplete*, then files."""
        from stuntdouble.scenarios import library  # noqa: PLC0415

        items = [
            CompletionItem(listed.name, help=listed.title)
            for listed in library()
            if listed.name.startswith(incomplete)
        ]
        # Files only where no name fits: a shell would offer both in one heap.
        return items or ([CompletionItem(incomplete, type="file")] if self._files else [])


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return `` (did you mean a or b?)`` for the names closest to *wrong*, or nothing."""
    close = difflib.get_close_matches(wrong, list(known), n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
