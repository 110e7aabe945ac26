"""Mutants of the site: each breaks one rule, and a judge of the random histories must notice.

``pytest tests/site/test_mutants.py -rP`` prints which judge killed which mutant.  What is compiled
cannot be replaced while it runs, so its mutants live where the compiler is off.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from site_history import run_history
from stuntdouble.site import (
    PLAN,
    Level,
    Replica,
    Site,
    log,
    lun,
    pieces,
    places,
    protect,
    replicate,
    rules,
    steps,
    words,
)
from stuntdouble.site.arena import Arena
from stuntdouble.site.disk import Disk, Moment
from stuntdouble.site.pool import INDEX
from stuntdouble.site.store import Store
from stuntdouble.site.tables import (
    C_LOG,
    D_LEDGER,
    D_TRACKED,
    F_SLOTS,
    F_USED,
    I_AREA,
    I_NEWER,
    V_BORN,
    V_NEWEST,
    V_PHYSICAL,
)

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
HISTORIES, STEPS = 20, 80


def wrap(patch, owner, name, after):
    """Let *after(result, *arguments)* say what a function of the site returns."""
    real = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **facts: after(real(*args, **facts), *args))


# Maps. ---------------------------------------------------------------------------------------------


def a_map_is_not_forked(patch):
    patch.setattr(Arena, "fork", lambda _arena, source: source)


def a_fork_is_not_marked_shared(patch):
    def after(number, arena, source):
        for each in (source, number):
            first, roots = arena.tables.maps[each]
            arena.tables.roots[first : first + roots] &= INDEX
        return number

    wrap(patch, Arena, "fork", after)


def the_log_is_applied_out_of_order(patch):
    real = log.settle

    def settle(addresses):
        tables = history_site[0].arena.tables
        count = int(tables.counters[C_LOG, 0])
        tables.log[:count] = tables.log[:count][::-1].copy()
        real(addresses)

    history_site = remembered_site(patch)
    patch.setattr(log, "settle", settle)


def remembered_site(patch):
    """Return a list that will hold the site that was made last."""
    made = []
    real = Site.__init__

    def build(self, **facts):
        real(self, **facts)
        made[:] = [self]

    patch.setattr(Site, "__init__", build)
    return made


# VM snapshots. -------------------------------------------------------------------------------------


def a_delta_is_dropped(patch):
    def after(plan, site, *_):
        site.arena.tables.counters[C_LOG, 0] = 0
        return plan

    def move(self, *args):
        self.settle()
        return after(real(self, *args), self)

    real = Site.move
    patch.setattr(Site, "move", move)


def writes_are_not_mirrored(patch):
    patch.setattr(Level, "mirror", lambda *_: None)


def a_level_stays_on_the_file_that_was_merged(patch):
    patch.setattr(Level, "hang_on", lambda *_: None)


def the_tracker_is_not_sealed(patch):
    def after(sealed, disk):
        disk.site.arena.tables.disks[disk.number, D_TRACKED] = sealed.number
        return sealed

    wrap(patch, Disk, "seal", after)


def a_moment_goes_on_changing(patch):
    def moment(disk, seconds):
        return Moment(disk, seconds, disk.site.arena.column("disks", disk.number, D_LEDGER))

    patch.setattr(Disk, "moment", moment)


def a_row_to_be_zeroed_is_read_raw(patch):
    real = places.locate

    def locate(addresses, level, start, out):
        real(addresses, level, start, out)
        out[out != 0] |= 1 << 40

    patch.setattr(places, "locate", locate)


def stale_blocks_count_as_zeroed(patch):
    real = Store.create_file
    patch.setattr(
        Store,
        "create_file",
        lambda self, name, blocks, *, sparse, zeroed: real(
            self, name, blocks, sparse=sparse, zeroed=True
        ),
    )


def eager_zeroing_writes_nothing(patch):
    patch.setattr(Site, "_zero", staticmethod(lambda *_: 0))


# Array snapshots. ----------------------------------------------------------------------------------


def chunks_are_not_handed_down_on_thaw(patch):
    patch.setattr(Arena, "merge", lambda *_: None)


def the_reserve_stays_taken_after_a_thaw(patch):
    patch.setattr(Site, "release_reserve", lambda *_: None)


def an_older_image_does_not_look_through_the_newer(patch):
    def after(images, site, *_):
        site.arena.tables.images[:, I_NEWER] = 0
        return images

    wrap(patch, Site, "freeze", after)


def an_older_image_is_not_protected_again(patch):
    def after(freed, site, image):
        site.arena.tables.volumes[image.base.number, V_NEWEST] = 0
        return freed

    wrap(patch, Site, "thaw", after)


def an_image_is_taken_before_the_log_is_settled(patch):
    real, settle = lun.freeze, Site.settle

    def freeze(*args):
        Site.settle = lambda _self: None
        try:
            return real(*args)
        finally:
            Site.settle = settle

    patch.setattr(Site, "settle", settle)
    patch.setattr(lun, "freeze", freeze)
    patch.setattr(Site, "freeze", freeze)


def copies_into_each_lie_in_one_area(patch):
    def after(images, site, *_):
        site.arena.tables.images[:, I_AREA] = 0
        return images

    wrap(patch, Site, "freeze", after)


def a_replica_stays_attached_when_it_is_split_off(patch):
    patch.setattr(Replica, "detach", lambda *_: None)


def what_was_split_off_is_read_from_the_volume(patch):
    def after(images, site, *_):
        rows = site.arena.tables.volumes
        for image in images:
            rows[image.lun.number, V_PHYSICAL] = rows[image.base.number, V_PHYSICAL]
        return images

    wrap(patch, Site, "split", after)


def garbage_takes_the_name_of_the_copy(patch):
    def after(luns, site, *_):
        for each in luns:
            site.arena.tables.volumes[each.number, V_BORN] = each.number
        return luns

    wrap(patch, Site, "fork_luns", after)


def each_forked_file(change):
    def mutate(patch):
        def after(twin, *_):
            for file in twin.files.values():
                if file.sparse:
                    change(twin.site.arena, file.number)
            return twin

        wrap(patch, Store, "fork", after)

    return mutate


def lose_slots(arena, number):
    arena.clear(int(arena.tables.files[number, F_SLOTS]))


def lose_use(arena, number):
    arena.tables.files[number, F_USED] = 0


# Plans. --------------------------------------------------------------------------------------------


def rounding_is_charged(patch):
    wrap(patch, Site, "_rounded", lambda found, *_: (*found[:2], 0, 0))


def without_line(line):
    def mutate(patch):
        def build(self):
            real(self)
            kept = np.delete(self.tables.plan[: len(PLAN)], line, axis=0)
            self.tables.plan[: len(PLAN)] = -1
            self.tables.plan[: len(kept)] = kept

        real = Arena.__init__
        patch.setattr(Arena, "__init__", build)

    return mutate


MUTANTS = {
    mutate.__name__.replace("_", " "): mutate
    for mutate in (
        a_map_is_not_forked,
        a_fork_is_not_marked_shared,
        the_log_is_applied_out_of_order,
        a_delta_is_dropped,
        writes_are_not_mirrored,
        a_level_stays_on_the_file_that_was_merged,
        the_tracker_is_not_sealed,
        a_moment_goes_on_changing,
        a_row_to_be_zeroed_is_read_raw,
        stale_blocks_count_as_zeroed,
        eager_zeroing_writes_nothing,
        chunks_are_not_handed_down_on_thaw,
        the_reserve_stays_taken_after_a_thaw,
        an_older_image_does_not_look_through_the_newer,
        an_older_image_is_not_protected_again,
        an_image_is_taken_before_the_log_is_settled,
        copies_into_each_lie_in_one_area,
        a_replica_stays_attached_when_it_is_split_off,
        what_was_split_off_is_read_from_the_volume,
        garbage_takes_the_name_of_the_copy,
        rounding_is_charged,
    )
}
MUTANTS["a catalogue loses the slots of deltas"] = each_forked_file(lose_slots)
MUTANTS["a catalogue forgets how full deltas are"] = each_forked_file(lose_use)
MUTANTS |= {
    f"PLAN without {stage.role.name} at {stage.place.name}": without_line(line)
    for line, stage in enumerate(PLAN)
}


# Where the compiler is off. ------------------------------------------------------------------------


def replaced(owner, name, new):
    return lambda patch: patch.setattr(owner, name, new)


def nothing(*_):
    return None


UNCOMPILED = {
    "a refused copy stays marked": replaced(protect, "_undo", nothing),
    "chunks that were copied are not counted": replaced(rules, "commit_protection", nothing),
    "a unit is not zeroed": replaced(rules, "_log_units", nothing),
    "a unit to be zeroed is not seen": replaced(pieces, "_units", lambda _s, n, *_: n),
    "stale blocks are read": replaced(places, "is_stale", lambda *_: False),
    "neither grains nor units are marked": replaced(rules, "mark", nothing),
    "a redirected chunk costs no step of its own": replaced(
        steps, "stretch", lambda s, volume, b, stop: (places.physical(s, volume, b), stop)
    ),
    "a shared leaf is written in place": replaced(words, "_SHARED", np.uint64(1 << 40)),
    "every chunk is where it always was": replaced(
        steps, "physical", lambda s, volume, b: s.volumes[volume, 8] + b
    ),
    "an image is owed nothing": replaced(protect, "kept_map", lambda *_: 0),
    "only the newest image is ever given a copy": replaced(protect, "_owed", lambda *_: 1),
    "writes do not go to replicas": replaced(rules, "replicate", lambda _s, _pieces, n: n),
    "what changes after a split counts as equal": replaced(replicate, "unmark", nothing),
}


def killer(mutate):
    """Return which judge noticed, and in which history; None if the mutant lives."""
    for seed in range(HISTORIES):
        with pytest.MonkeyPatch.context() as patch:
            mutate(patch)
            try:
                run_history(seed, STEPS)
            except (AssertionError, IndexError) as error:  # a wild index tells itself, uncompiled
                return str(error).splitlines()[0], seed
    return None


def test_histories_pass_without_a_mutant():
    for seed in range(HISTORIES):
        assert run_history(seed, STEPS).written > 0


@pytest.mark.parametrize("name", MUTANTS)
def test_a_judge_kills(name):
    found = killer(MUTANTS[name])
    print(f"{name:56} {found}")  # noqa: T201  # the table of mutants
    assert found, f"{name}: no judge noticed"


if PLAIN:

    @pytest.mark.plain
    @pytest.mark.parametrize("name", UNCOMPILED)
    def test_a_judge_kills_uncompiled(name):
        found = killer(UNCOMPILED[name])
        print(f"{name:56} {found}")  # noqa: T201  # the table of mutants
        assert found, f"{name}: no judge noticed"
