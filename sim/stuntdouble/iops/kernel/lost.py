"""I/O to where nobody answers: it hangs, waiting or in flight, until its guest loses its power."""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.agenda import add_normal
from stuntdouble.iops.kernel.loads import free_job
from stuntdouble.iops.kernel.tables import (
    G_DISKS,
    G_DRAINS,
    G_DROPPED,
    G_HUNG,
    G_HUNG_HEAD,
    G_HUNG_TAIL,
    G_IN_FLIGHT,
    G_LOST,
    G_RETIRED,
    J_DISK,
    J_NEXT,
    N_ANY_CUT,
    NEWS_DRAINED,
    NEWS_UNREACHABLE,
    O_CUT,
)
from stuntdouble.site.tables import (
    D_HEAD,
    F_STORE,
    L_FILE,
    S_VOLUMES,
    STORE_VOLUMES,
    V_POOL,
)

_NEWS_DRAINED = NEWS_DRAINED
_NEWS_UNREACHABLE = NEWS_UNREACHABLE
_STORE_VOLUMES = STORE_VOLUMES


@njit(forceinline=True)
def lost_pool(k: Any, s: Any, g: Any, job: Any) -> Any:
    """Return one more than the pool under a job's disk that was cut off; 0 where all answer."""
    if k.ints[N_ANY_CUT, 0] == 0:
        return 0
    disk = k.disks[k.guests[g, G_DISKS] + k.jobs[job, J_DISK], 0]
    store = s.files[s.levels[s.disks[disk, D_HEAD], L_FILE], F_STORE]
    for i in range(S_VOLUMES, S_VOLUMES + _STORE_VOLUMES):
        volume = s.stores[store, i]
        if volume != 0 and k.pools[s.volumes[volume, V_POOL], O_CUT] != 0:
            return s.volumes[volume, V_POOL] + 1
    return 0


@njit(forceinline=True)
def hang(k: Any, g: Any, job: Any, lost: Any) -> None:
    """Keep an I/O in flight until it is let go of; where its guest is gone, drop it at once.

    Whoever waits for the guest to drain is told that it never will.
    """
    drains = k.guests[g, G_DRAINS] != 0
    if k.guests[g, G_RETIRED] != 0:
        k.guests[g, G_DROPPED] += 1
        k.guests[g, G_IN_FLIGHT] -= 1
        free_job(k, job)
        if drains and k.guests[g, G_IN_FLIGHT] == 0:
            k.guests[g, G_DRAINS] = 0
            add_normal(k, _NEWS_DRAINED, g, 0)
        return
    k.jobs[job, J_NEXT] = 0
    tail = k.guests[g, G_HUNG_TAIL]
    if tail == 0:
        k.guests[g, G_HUNG_HEAD] = job
    else:
        k.jobs[tail, J_NEXT] = job
    k.guests[g, G_HUNG_TAIL] = job
    k.guests[g, G_HUNG] += 1
    k.guests[g, G_LOST] = lost
    if drains:
        k.guests[g, G_DRAINS] = 0
        add_normal(k, _NEWS_UNREACHABLE, g, 0)


@njit(forceinline=True)
def give_up(k: Any, g: Any) -> Any:
    """Drop the I/O that hangs; return the first of what is let go of."""
    first = k.guests[g, G_HUNG_HEAD]
    k.guests[g, G_DROPPED] += k.guests[g, G_HUNG]
    k.guests[g, G_IN_FLIGHT] -= k.guests[g, G_HUNG]
    k.guests[g, G_HUNG] = 0
    k.guests[g, G_HUNG_HEAD] = 0
    k.guests[g, G_HUNG_TAIL] = 0
    return first
