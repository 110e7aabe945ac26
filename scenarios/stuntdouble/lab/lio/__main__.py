"""Run the laboratory as ``python -m stuntdouble.lab.lio``."""

from __future__ import annotations

from stuntdouble.lab.lio.command import main

main()
