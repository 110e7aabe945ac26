"""Operations of a VM that somebody has disabled, by the names of the vSphere API.

A backup that reads a VM's disks keeps it from being relocated meanwhile (VDDK's PrepareForAccess
disables ``RelocateVM_Task``).  Each source takes back only what it has disabled itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.hypervisor.inventory import Vm


def disable(vm: Vm, names: Iterable[str], source: str) -> None:
    """Refuse operations of a VM from now on, until *source* enables them.

    Raises:
        Misuse: nobody says who disables them.
    """
    if not source:
        raise Misuse(f"methods of {vm.name}", "name the source that disables them")
    for name in names:
        vm.disabled.setdefault(name, set()).add(source)


def enable(vm: Vm, names: Iterable[str], source: str) -> None:
    """Take back what *source* has disabled; one that others disabled, too, stays so."""
    for name in names:
        sources = vm.disabled.get(name, set())
        sources.discard(source)
        if not sources:
            vm.disabled.pop(name, None)
