"""Run the validity suite as ``python -m stuntdouble.validity``."""

from stuntdouble.validity.command import main

main()
