"""One image of a group of VMs: hold them all still, and take one array snapshot meanwhile.

All VM snapshots of a group stay open until its array snapshot is taken, so the first VM waits
for the last: that is part of the cost of the methods that read from array snapshots.  So is what the
array does beforehand, but no VM snapshot is open meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from stuntdouble.backup.cleanup import Undo
from stuntdouble.backup.report import failing_alone
from stuntdouble.backup.work import together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from stuntdouble.backup.arrayside import ArraySide
    from stuntdouble.backup.report import Diary
    from stuntdouble.backup.select import Target
    from stuntdouble.backup.work import Work
    from stuntdouble.ports import ArraySnapshot

T = TypeVar("T")


async def take_image(
    work: Work,
    undo: Undo,
    side: ArraySide,
    group: Sequence[Target],
    diaries: Mapping[str, Diary],
    *,
    hold: Callable[[Target, Diary, Undo], Awaitable[T]],
    volumes: Callable[[T], Iterable[str]],
) -> tuple[list[T], tuple[ArraySnapshot, ...]]:
    """Return what *hold* returned for each VM, and the array snapshots of their *volumes*.

    *hold* takes the VM snapshot and asks what can be asked only while it is open.  A VM that
    cannot be held still fails alone; without any VM there is nothing to snapshot.  The VM
    snapshots go at once, whatever happens: their delta disks grow.  One that cannot, because the
    array has no room for copies, is *undo*'s last step: the array snapshot goes before it.
    """
    held: dict[str, T] = {}

    async def one(target: Target, thaw: Undo) -> None:
        diary = diaries[target.vm.name]
        with failing_alone(diary):
            held[target.vm.name] = await hold(target, diary, thaw)

    ours = tuple(diaries[target.vm.name] for target in group)
    await side.prepare(naa for target in group for naa in target.volumes)
    async with Undo(ours, work.spec.retry_seconds, at_once=True, heir=undo) as thaw:
        await together(one(target, thaw) for target in group)
        in_order = [held[target.vm.name] for target in group if target.vm.name in held]
        if not in_order:
            return [], ()
        wanted = dict.fromkeys(naa for each in in_order for naa in volumes(each))
        snapshots = await side.snapshot(wanted)
    return in_order, snapshots
