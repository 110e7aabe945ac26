"""vim25, the interface of a vSphere hypervisor: how what it does is said on the wire."""

from __future__ import annotations

__all__: list[str] = []
