"""Benchmarks: what an emulated I/O costs, side by side with other ways to simulate it."""

from stuntdouble.bench.full import Full

__all__ = ["Full"]
