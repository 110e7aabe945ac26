"""A restore point against the served site's oracle: by digest, as bytes of the truth stay there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from stuntdouble.adapters.native import NativeClient
    from stuntdouble.backup.repository import Repository
    from stuntdouble.ports import DiskPoint, RestorePoint


async def holds_the_truth(
    repository: Repository, point: RestorePoint, snapshot: str, native: NativeClient
) -> bool:
    """Say whether every disk of *point* gives back what the guest had written at *snapshot*.

    The snapshot may be gone: the oracle keeps its moment.
    """
    for disk in point.disks:
        found, truth = await asyncio.gather(
            asyncio.to_thread(_digest, repository, point.id, disk),
            native.digest(point.vm, disk.key, snapshot),
        )
        if found != truth:
            return False
    return True


def _digest(repository: Repository, point: str, disk: DiskPoint) -> str:
    """Return the BLAKE3 of a disk as a restore point gives it back."""
    digest = blake3()
    for piece in repository.read(point, disk.key, 0, disk.capacity_bytes):
        digest.update(piece)
    return digest.hexdigest()
