"""The tables of a site, and how compiled code sees them.

State enters a compiled function as *one* number: where the table of addresses lies (int64 rows of
address and number of rows, one per table); ``view`` turns it into arrays inside.  Passing the
arrays themselves would cost 3 µs a call and, for the optimiser, the knowledge that they do not
move; passing the one table as an array, two atomic operations on its reference count at every call.

    disk ─head─▶ level ─parent─▶ level ─parent─▶ … base
                   │ file                          │ file
                   ▼                               ▼
                 file: place (file-system block → volume, block), slots, zeroed
                   │ store
                   ▼
                 store: up to 32 volumes and the size of a file-system block
                   │
                   ▼
                 volume: medium (block → token), faults, origin … image, replica ─▶ pool

Column names start with the letter of their table.  Maps are referred to by number; map 0 is
"none".  Numbers of volumes, files, levels, disks and images start at 1, so 0 is "none" there too.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from stuntdouble.compiled.tables import viewer

STORE_VOLUMES: Final = 32  # VMFS: 32 extents to a datastore (vSphere configuration maximums)
LOCATION_BITS: Final = 40  # a place is ordinal << 40 | block, plus one: 4 PiB of 4 KiB blocks

# Columns. ------------------------------------------------------------------------------------
M_ROOT, M_ROOTS = range(2)
D_HEAD, D_LEDGER, D_TRACKED, D_TRACK_SHIFT, D_BLOCKS = range(5)
L_FILE, L_PARENT, L_MIRROR = range(3)
F_STORE, F_PLACE, F_SLOTS, F_USED, F_ROOM, F_ZEROED = range(6)
S_FS_SHIFT, S_ZERO_SHIFT, S_VOLUMES = range(3)  # S_VOLUMES is the first of 32 columns
(V_MEDIUM, V_BLOCKS, V_CHUNK_SHIFT, V_POOL, V_PHYSICAL, V_NEWEST, V_MOVED, V_ORIGIN, V_OWN,
 V_BORN, V_FAULTS, V_REPLICA, V_GARBAGE) = range(13)  # fmt: skip
I_VOLUME, I_COPIED, I_NEWER, I_CHUNKS, I_KIND, I_OLDER, I_AREA = range(7)
P_FREE, P_RESERVE, P_RESERVE_BLOCKS = range(3)
R_VOLUME, R_POOL, R_PHYSICAL, R_EQUAL, R_ATTACHED, R_NEXT = range(6)

# Counters. -----------------------------------------------------------------------------------
(C_LEAVES, C_NODES, C_WRITTEN, C_LOG, C_STEPS, C_COUNT_ONLY, C_NEED, C_NEED_AT,
 C_NEED_FILE, C_BLOCK_BYTES, C_BLOCK_SHIFT) = range(11)  # fmt: skip

# Rows of a step: what one stage of an I/O touches, at an address of a pool. -------------------
T_GROUP, T_ROLE, T_WRITE, T_POOL, T_BLOCK, T_BYTES = range(6)

# Rows of the content log. --------------------------------------------------------------------
(G_OP, G_DISK, G_GUEST, G_VOLUME, G_BLOCK, G_COUNT, G_TOKEN, G_FROM) = range(8)

# Rows of the scratch table: pieces of an I/O that are still addresses of volumes. --------------
X_VOLUME, X_BLOCK, X_COUNT, X_GUEST, X_STATE, X_COPIES = range(6)


class Tables(NamedTuple):
    """The site's tables, as numpy arrays; in compiled code, as views of the same memory."""

    roots: Any  # uint32 [:, 1]
    nodes: Any  # uint32 [:, 256]
    leaves: Any  # uint64 [:, 64]
    maps: Any  # int64 from here on
    disks: Any
    levels: Any
    files: Any
    stores: Any
    volumes: Any
    images: Any
    pools: Any
    plan: Any
    steps: Any
    scratch: Any
    log: Any
    counters: Any
    replicas: Any


SHAPES: Final[dict[str, tuple[int, int, Any]]] = {
    "roots": (1 << 25, 1, np.uint32),
    "nodes": (1 << 19, 256, np.uint32),
    "leaves": (1 << 26, 64, np.uint64),
    "maps": (1 << 20, 2, np.int64),
    "disks": (1 << 14, 5, np.int64),
    "levels": (1 << 18, 3, np.int64),
    "files": (1 << 18, 6, np.int64),
    "stores": (1 << 12, 2 + STORE_VOLUMES, np.int64),
    "volumes": (1 << 14, 13, np.int64),
    "images": (1 << 14, 7, np.int64),
    "pools": (1 << 8, 3, np.int64),
    "plan": (64, 4, np.int64),
    "steps": (1 << 18, 6, np.int64),
    "scratch": (1 << 16, 6, np.int64),
    "log": (1 << 18, 8, np.int64),
    "counters": (16, 1, np.int64),
    "replicas": (1 << 12, 6, np.int64),
}
"""Rows, columns and type of each table.  Rows are reserved address space, not memory; the log is
settled long before it is full.  An I/O of 1024 blocks, through a mirrored delta disk, with units to
be zeroed, touches fewer than 3,700 blocks: a step each, a copy of each for up to 32 images and a
write of each to up to 8 replicas fit (``EACH_IMAGES_MAX``, ``REPLICAS_MAX``)."""

EACH_IMAGES_MAX: Final = 32
"""Images of a volume that each get a copy of their own; none of the sources sets a limit."""

REPLICAS_MAX: Final = 8
"""Replicas of a volume; more than any source speaks of."""

view = viewer(Tables, SHAPES)
"""From where the table of addresses lies to the tables."""
