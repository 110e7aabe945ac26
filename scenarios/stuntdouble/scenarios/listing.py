"""What the library holds; light enough for a shell's completion."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIBRARY: Final = Path(__file__).parent / "library"


@dataclass(frozen=True, slots=True)
class Listed:
    """A scenario of the library."""

    name: str
    title: str
    path: Path


def library() -> tuple[Listed, ...]:
    """Return the scenarios that come with the package, by name."""
    return tuple(
        Listed(path.stem, tomllib.loads(path.read_text("utf-8"))["title"], path)
        for path in sorted(LIBRARY.glob("*.toml"))
    )
