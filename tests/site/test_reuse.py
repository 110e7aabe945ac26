"""Rows and leaves of what is gone are given out again, and nothing else ever is."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.site import COPY_INTO_EACH, COPY_ON_WRITE, REDIRECT_ON_WRITE, Site, words
from stuntdouble.site.arena import Arena
from stuntdouble.site.pool import ROOT_WORDS
from stuntdouble.site.reuse import reclaim
from stuntdouble.site.tables import C_LEAVES, C_NODES, SHAPES

SIZE, BLOCKS, FS = 512, 256, 8
TABLES = ("disks", "levels", "files", "stores", "volumes", "images", "maps", "roots", "replicas")


class Holder:
    """A handle, to a test."""


def small_site():
    """Return a site with a store of one thick disk on one LUN."""
    site = Site(block_bytes=SIZE)
    pool = site.create_pool(1 << 16, 1 << 14)
    lun = site.create_lun(2 * BLOCKS, 8, pool, 0)
    store = site.create_store([lun], FS, FS)
    file = store.create_file("base", BLOCKS, sparse=False, zeroed=True)
    for index in range(BLOCKS // FS):
        file.place(index, 0, index)
    return site, lun, site.create_disk("disk", BLOCKS, file)


def used(site):
    return {table: site.arena.used(table) for table in (*TABLES, "nodes", "leaves")}


def opened_disk(site, image):
    """Open an image as an array and a hypervisor do; return the LUN and a disk on it."""
    lun = image.open()
    store = lun.stores[0]
    store.lie_on((lun,))
    return lun, site.create_disk("copy", BLOCKS, store.files["base"])


@pytest.mark.parametrize(
    ("kind", "cycles"),
    [(COPY_ON_WRITE, 5000), (REDIRECT_ON_WRITE, 500), (COPY_INTO_EACH, 500)],
)
def test_five_thousand_snapshots_with_promotion_stay_small(kind, cycles):
    site, lun, disk = small_site()
    draw = np.random.default_rng(kind)
    free = site.reserve_free_bytes(1)
    most = dict.fromkeys(used(site), 0)
    older, expected = None, site.chain_tokens(disk.head, 0, BLOCKS)
    for cycle in range(cycles):
        (image,) = site.freeze([lun], kind)
        kept = site.chain_tokens(disk.head, 0, BLOCKS)
        assert kept.tolist() == expected.tolist()
        moment = disk.moment(float(cycle))
        at, there = (int(n) for n in draw.integers(0, BLOCKS - 8, 2))
        copy, copied = opened_disk(site, image)
        site.write(disk, at * SIZE, 5 * SIZE)
        site.write(copied, there * SIZE, 3 * SIZE)
        expected = kept.copy()
        expected[at : at + 5] = site.truth(disk.moment(0.0), at, 5)
        if cycle % 100 == 0:
            shown = site.chain_tokens(copied.head, 0, BLOCKS)
            changed = np.flatnonzero(shown != kept)
            assert changed.tolist() == list(range(there, there + 3))
            assert image.lun.tokens(0, BLOCKS).tolist() == kept.tolist()
            assert (site.truth(moment, 0, BLOCKS)[kept < 1 << 62] == 0).all()
        site.drop_lun(copy)
        if older is not None:  # one image is older than the one that is opened
            site.thaw(older)
            site.drop_lun(older.lun)
        older = image
        del copy, copied, image, moment
        most = {table: max(most[table], now) for table, now in used(site).items()}
    for table, now in most.items():
        assert now <= SHAPES[table][0] // 8 + 64, table
    assert most["leaves"] < 60_000
    assert most["volumes"] < min(2 * cycles, 1000)
    site.thaw(older)
    site.drop_lun(older.lun)
    assert site.reserve_free_bytes(1) <= free
    assert site.chain_tokens(disk.head, 0, BLOCKS).tolist() == expected.tolist()
    del older
    site.reclaim()
    at_rest = used(site)
    assert at_rest["volumes"] == 2  # row 0 is none
    assert at_rest["images"] == 1
    assert at_rest["leaves"] < 40


def test_replicas_that_are_split_off_and_dropped_leave_nothing():
    site, lun, disk = small_site()
    rest = None
    for cycle in range(40):
        replica = site.add_replica(lun, 1, 1 << 20)
        replica.attach()
        for start, stop in replica.unequal(lun.size_bytes).tolist():
            replica.equalise(start, stop)
        site.reclaim(thorough=False)
        (image,) = site.split([replica])
        frozen = site.chain_tokens(disk.head, 0, BLOCKS).tolist()
        site.write(disk, (cycle % 200) * SIZE, 7 * SIZE)
        site.reclaim(thorough=False)
        assert replica.unequal_bytes in (lun.chunk_bytes, 2 * lun.chunk_bytes)
        assert image.lun.tokens(0, BLOCKS).tolist() == frozen
        site.thaw(image)
        site.drop_lun(image.lun)
        replica.drop()
        del replica, image
        site.reclaim()
        at_rest = {name: count for name, count in used(site).items() if name != "leaves"}
        rest = rest or at_rest
        assert at_rest == rest


def test_leaves_are_reclaimed_by_themselves(monkeypatch):
    site, lun, disk = small_site()
    monkeypatch.setitem(site.arena._limits, "leaves", 60)
    seen = []
    monkeypatch.setattr(
        "stuntdouble.site.reuse.reclaim",
        lambda arena, *, thorough: (seen.append(thorough), reclaim(arena, thorough=thorough)),
    )
    for cycle in range(100):
        disk.moment(0.0)
        site.write(disk, (cycle % BLOCKS) * SIZE, SIZE)
        site.settle()
    assert seen
    assert lun.tokens(0, 1)[0] != 0


def test_what_is_held_is_kept_and_what_it_names_is_kept():
    site, lun, disk = small_site()
    site.write(disk, 0, SIZE)
    (image,) = site.freeze([lun], COPY_ON_WRITE)
    moment, before = disk.moment(0.0), site.chain_tokens(disk.head, 0, BLOCKS)
    disk.track(1)
    site.write(disk, 0, 3 * SIZE)
    sealed = disk.seal()
    copy, _ = opened_disk(site, image)
    site.thaw(image)
    site.drop_lun(image.lun)
    del image, _
    site.reclaim()
    shown = copy.stores[0].files["base"]
    level = site.new_level(shown, None)
    assert site.chain_tokens(level, 0, BLOCKS).tolist() == before.tolist()
    assert site.truth(moment, 0, 1)[0] == before[0]
    assert site.changed(disk, [sealed]).total == 3 * SIZE
    site.write(disk, 8 * SIZE, SIZE)
    assert site.volume_read(copy, 0, SIZE)  # through the image that is no more


def test_a_deleted_file_goes_with_its_last_level():
    site, _, disk = small_site()
    store = disk.head.file.store
    base, before = disk.head, used(site)
    delta = store.create_file("delta", BLOCKS, sparse=True, zeroed=True)
    delta.place(0, 0, BLOCKS // FS)
    level = disk.push(delta)
    site.write(disk, 0, SIZE)
    disk.set_head(base)
    store.delete_file("delta")
    del delta
    site.reclaim()
    assert used(site)["files"] == before["files"] + 1
    assert site.chain_tokens(level, 0, 1)[0] == 2 << 62
    del level
    site.reclaim()
    assert used(site)["files"] == before["files"]
    assert used(site)["levels"] == before["levels"]


def test_a_row_that_is_given_out_again_is_blank_and_the_lowest():
    arena = Arena()
    holders = [Holder() for _ in range(6)]
    for holder in holders:
        row = arena.new_row("images")
        arena.tables.images[row] = 7
        arena.tables.images[row, [0, 2]] = 0  # names nobody
        arena.tables.images[row, 1] = 0
        arena.hold("images", row, holder)
    del holder, holders[1], holders[2]  # rows 2 and 4
    gc.collect()
    reclaim(arena, thorough=False)
    assert [arena.new_row("images") for _ in range(3)] == [2, 4, 7]
    assert (arena.tables.images[[2, 4]] == 0).all()


def test_a_new_volume_has_garbage_of_its_own_in_an_old_row():
    site = Site(block_bytes=SIZE)
    pool = site.create_pool(0, 64)
    first = site.create_lun(64, 8, pool, 0)
    number, garbage = first.number, first.tokens(0, 1)[0]
    site.drop_lun(first)
    del first
    site.reclaim()
    second = site.create_lun(64, 8, pool, 0)
    assert second.number == number
    assert second.tokens(0, 1)[0] != garbage


LENGTH = 2 * ROOT_WORDS + 100
PLACES = [0, 1, 63, 64, ROOT_WORDS - 1, ROOT_WORDS, 2 * ROOT_WORDS, LENGTH - 1]

changes = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "fork", "clear", "drop", "reclaim"]),
        st.integers(0, 7),
        st.sampled_from(PLACES) | st.integers(0, LENGTH - 1),
        st.integers(1, 2**64 - 1),
    ),
    max_size=40,
)


@pytest.mark.plain
@settings(max_examples=60)
@given(changes)
def test_maps_are_what_they_were_whatever_is_reclaimed_around_them(changes):
    arena = Arena()
    maps = []

    def add(number, book):
        holder = Holder()
        arena.hold("maps", number, holder)
        maps.append((number, book, holder))

    add(arena.new_map(LENGTH), {})
    for what, which, place, word in changes:
        number, book, holder = maps[which % len(maps)]
        if what == "put":
            words.put_word(arena.addresses, number, place, word)
            book[place] = word
        elif what == "fork":
            add(arena.fork(number), dict(book))
        elif what == "clear" and word % 4 == 0:
            arena.clear(number)
            book.clear()
        elif what == "drop" and len(maps) > 1:
            del maps[which % len(maps)]
        elif what == "reclaim":
            del holder
            reclaim(arena, thorough=False)
            check_tight(arena, [number for number, _, _ in maps])
    touched = {place for _, _, place, _ in changes} | set(PLACES)
    for number, book, _ in maps:
        for place in touched:
            assert arena.words(number, place, 1)[0] == book.get(place, 0)


def check_tight(arena, maps):
    """Assert that nodes and leaves in use are those reachable, and shared if and only if shared."""
    index, shared = (1 << 31) - 1, 1 << 31
    nodes, leaves = {}, {}
    for number in maps:
        first, count = arena.tables.maps[number].tolist()
        for word in arena.tables.roots[first : first + count, 0].tolist():
            nodes.setdefault(word & index, []).append(word & shared)
    nodes.pop(0, None)
    for node in nodes:
        for word in arena.tables.nodes[node].tolist():
            leaves.setdefault(word & index, []).append(word & shared)
    leaves.pop(0, None)
    for found, counter in ((nodes, C_NODES), (leaves, C_LEAVES)):
        assert sorted(found) == list(range(1, int(arena.tables.counters[counter, 0])))
        for bits in found.values():
            assert all(bool(bit) == (len(bits) > 1) for bit in bits)
