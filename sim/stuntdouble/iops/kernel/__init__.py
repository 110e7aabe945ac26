"""The compiled engine: tables of its own, an agenda, and one loop between two events of control."""

from stuntdouble.iops.kernel.engine import CompiledEngine

__all__ = ["CompiledEngine"]
