"""Run the laboratory as ``python -m stuntdouble.lab``."""

from __future__ import annotations

from stuntdouble.lab.command import main

main()
