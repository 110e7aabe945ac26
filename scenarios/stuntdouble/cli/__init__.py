"""The command line: ``stuntdouble compare``, ``serve``, ``scenarios``, ``restore``, ``doctor``, ``completion``.

What a command needs is imported when it runs, so that ``--help`` and completion answer at once.
"""

from __future__ import annotations

from stuntdouble.cli.program import main, program

__all__ = ["main", "program"]
