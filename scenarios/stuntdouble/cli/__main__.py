"""Run the command line as ``python -m stuntdouble.cli``."""

from __future__ import annotations

from stuntdouble.cli import main

main()
