"""PLAN: which stages an I/O has, given the places it touches.

Admission resolves an I/O into *places* on volumes; PLAN says what is done at each kind of place,
in which order.  Stages of one group run side by side, a group starts when the one before it has
ended.  It is a table and not code so that it can be read at a glance, and so that a test can break
a line of it and show that a judge notices.

    an overwrite of a snapshotted chunk, through a VM snapshot's delta disk:

    group 1           group 2          group 3        group 5
    read old chunk ─▶ write it aside ─▶ grain table ─▶ data, and the same on attached replicas
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

COPY_ON_WRITE: Final = 1
REDIRECT_ON_WRITE: Final = 2
COPY_INTO_EACH: Final = 3
SPLIT_REPLICA: Final = 4
LAYER: Final = 5


class Place(IntEnum):
    """A kind of place that an I/O touches."""

    READ = 0  # data to be read
    SOURCE = 1  # data to be moved from here
    COPIED_CHUNK = 2  # a chunk that an array snapshot needs as it was: copy before write
    PARTIAL_CHUNK = 3  # a chunk that is redirected but not wholly overwritten: merge
    TABLE = 4  # the grain table of a delta disk that allocates, or a file system's own metadata
    UNIT = 5  # a unit that must be zeroed before its first write
    DATA = 6  # data to be written
    REPLICA = 7  # what is written, on a replica that is kept equal
    UNEQUAL = 8  # chunks that a replica is to get a copy of


class Role(IntEnum):
    """Why a stage is there."""

    DATA = 0
    MOVE_READ = 1
    COPY_READ = 2
    COPY_WRITE = 3
    MERGE_READ = 4
    METADATA = 5
    ZERO_FILL = 6
    REPLICA_READ = 7
    REPLICA_WRITE = 8


class Stage(NamedTuple):
    """A line of PLAN: at each *place*, do *role*, in *group*."""

    place: Place
    role: Role
    write: bool
    group: int


PLAN: Final[tuple[Stage, ...]] = (
    Stage(Place.READ, Role.DATA, write=False, group=0),
    Stage(Place.SOURCE, Role.MOVE_READ, write=False, group=0),
    Stage(Place.UNEQUAL, Role.REPLICA_READ, write=False, group=0),
    Stage(Place.COPIED_CHUNK, Role.COPY_READ, write=False, group=1),
    Stage(Place.PARTIAL_CHUNK, Role.MERGE_READ, write=False, group=1),
    Stage(Place.COPIED_CHUNK, Role.COPY_WRITE, write=True, group=2),
    Stage(Place.TABLE, Role.METADATA, write=True, group=3),
    Stage(Place.UNIT, Role.ZERO_FILL, write=True, group=4),
    Stage(Place.DATA, Role.DATA, write=True, group=5),
    Stage(Place.REPLICA, Role.REPLICA_WRITE, write=True, group=5),
)
"""Copy-on-write costs 1 read and 2 writes on the first overwrite of a chunk; redirect-on-write the
read that a partial chunk pays; both as the QEMU block layer was measured to (k = 2 and k = 1).
Where each image gets a copy, the line of the copy is applied once for each that lacks the chunk."""
