"""Damage: who shows it, what heals it, and that the truth stays as it was."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stuntdouble.content import known_zeros
from stuntdouble.errors import MediumError, Unsupported
from stuntdouble.extents import Runs
from stuntdouble.site import (
    COPY_INTO_EACH,
    COPY_ON_WRITE,
    REDIRECT_ON_WRITE,
    Image,
    Lun,
    Site,
    compare,
)

BLOCK, BLOCKS, CHUNK = 512, 32, 4
FAULTS = {"error": 1, "silent": 2}


def site_of(content: str = "bytes") -> tuple[Site, Lun]:
    site = Site(block_bytes=BLOCK, content=content)
    pool = site.create_pool(4 * BLOCKS, 64 * BLOCKS)
    return site, site.create_lun(BLOCKS, CHUNK, pool, 0)


def shown(site: Site, source, count: int = BLOCKS) -> bytes:
    return site.show(source, 0, count, "device").tobytes()


def write(lun: Lun, block: int, count: int = 1, data: bytes | None = None) -> None:
    view = None if data is None else memoryview(data)
    lun.site.volume_write(lun, block * BLOCK, count * BLOCK, view)


@dataclass(eq=False)
class View:
    """A LUN as the model knows it: where each chunk is kept, and the fault of each block."""

    lun: Lun
    places: list[object]
    faults: list[int]
    image: Image | None = None  # that it shows, or was opened from


def twin(view: View, lun: Lun, image: Image) -> View:
    return View(lun, list(view.places), list(view.faults), image)


def part(view: View, chunk: int, others: list[View], kind: int) -> None:
    """Let a view have a chunk to itself; what shared it goes on doing so, unless each gets a copy."""
    shared, view.places[chunk] = view.places[chunk], object()
    if kind == COPY_INTO_EACH and view.image is None:
        copies: dict[Image | None, object] = defaultdict(object)
        for other in others:
            if other.places[chunk] is shared:
                other.places[chunk] = copies[other.image]


span = st.tuples(st.integers(0, BLOCKS - 1), st.integers(1, 9))
step = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 9), span),
    st.tuples(st.just("damage"), st.integers(0, 9), span, st.sampled_from(["error", "silent"])),
    st.tuples(st.just("freeze")),
    st.tuples(st.just("open"), st.integers(0, 9)),
)
TWO_IMAGES = [("freeze",), ("freeze",), ("write", 0, (0, 1))]


@given(
    st.lists(step, max_size=25),
    st.sampled_from([COPY_ON_WRITE, REDIRECT_ON_WRITE, COPY_INTO_EACH]),
)
# The older of two images looks through the newer one, or has a copy of its own.
@example([*TWO_IMAGES, ("damage", 0, (0, 1), "silent")], COPY_ON_WRITE)
@example([*TWO_IMAGES, ("damage", 1, (0, 1), "silent")], COPY_ON_WRITE)
@example([*TWO_IMAGES, ("damage", 1, (0, 1), "silent")], COPY_INTO_EACH)
def test_damage_is_of_a_place_and_shows_through_all_that_share_it(steps, kind: int) -> None:
    site, lun = site_of()
    base = View(lun, [object() for _ in range(BLOCKS // CHUNK)], [0] * BLOCKS)
    written, images, kept = [base], [], []
    for what, *arguments in steps:
        if what == "freeze":
            (image,) = site.freeze([base.lun], kind)
            images.append(image)
            kept.append(twin(base, image.lun, image))
        elif what == "open" and images:
            at = arguments[0] % len(images)
            written.append(twin(kept[at], images[at].open(), images[at]))
        elif what == "write":
            view, (start, count) = written[arguments[0] % len(written)], arguments[1]
            stop = min(start + count, BLOCKS)
            write(view.lun, start, stop - start)
            view.faults[start:stop] = [0] * (stop - start)
            for chunk in range(start // CHUNK, (stop - 1) // CHUNK + 1):
                part(view, chunk, [v for v in written + kept if v is not view], kind)
        elif what == "damage":
            everyone = written + kept
            view, (start, count), mode = everyone[arguments[0] % len(everyone)], *arguments[1:]
            stop = min(start + count, BLOCKS)
            view.lun.damage(Runs.single(start * BLOCK + 7, (stop - start) * BLOCK - 7), mode)
            for block in range(start, stop):
                for other in everyone:
                    if other.places[block // CHUNK] is view.places[block // CHUNK]:
                        other.faults[block] = FAULTS[mode]
        for view in written + kept:
            check(site, view)


def check(site: Site, view: View) -> None:
    truth = view.lun.render(0, BLOCKS)
    unreadable = [block for block, fault in enumerate(view.faults) if fault == FAULTS["error"]]
    if unreadable:
        with pytest.raises(MediumError) as broken:
            shown(site, view.lun)
        assert broken.value.args == ("device", unreadable[0] * BLOCK)
    for block, fault in enumerate(view.faults):
        if fault != FAULTS["error"]:
            (found,) = site.show(view.lun, block, 1, "device")
            wrong = found != truth[block]
            assert wrong.all() if fault else not wrong.any()


def test_a_block_heals_when_the_same_is_written_there_again() -> None:
    site, lun = site_of()
    data = bytes(range(256)) * 2
    write(lun, 3, data=data)
    lun.damage(Runs.single(0, lun.size_bytes), "silent")
    write(lun, 3, data=data)
    assert shown(site, lun)[3 * BLOCK : 4 * BLOCK] == data
    assert shown(site, lun) != lun.render(0, BLOCKS).tobytes()


def chain(site: Site, lun: Lun):
    """Return a disk of a flat file and a delta on top, everything placed."""
    store = site.create_store([lun], CHUNK, CHUNK)
    base = store.create_file("base", 8, sparse=False, zeroed=False)
    delta = store.create_file("delta", 8, sparse=True, zeroed=True)
    for index in range(2):
        base.place(index, 0, index)
        delta.place(index, 0, 2 + index)
    disk = site.create_disk("disk", 8, base)
    site.write(disk, 0, 4 * BLOCK)
    disk.push(delta)
    site.write(disk, 2 * BLOCK, 4 * BLOCK)
    return disk, base, delta


def test_zeroing_heals_zeros() -> None:
    site, lun = site_of()
    disk, base, _ = chain(site, lun)
    for _ in range(2):
        lun.damage(Runs.single(0, 8 * BLOCK), "error")
        with pytest.raises(MediumError):
            shown(site, lun, 8)
        for _ in site.zero_file(base):
            pass
        assert shown(site, lun, 8) == bytes(8 * BLOCK)
    assert disk.head.file is not base


def test_a_disk_shows_what_lies_below_its_chain_and_no_more() -> None:
    site, lun = site_of()
    disk, _, _ = chain(site, lun)
    truth = site.render(site.chain_tokens(disk.head, 0, 8))
    # guest block 1 is in the base; 2 is in the delta's first grain; 6 was never written
    lun.damage(Runs.of([(1 * BLOCK, 1), (2 * BLOCK, 1), (6 * BLOCK, 1), (8 * BLOCK, 1)]), "silent")
    found = site.show(disk.head, 0, 8, "disk")
    assert np.flatnonzero((found != truth).any(axis=1)).tolist() == [1, 2]
    found = site.show(disk.head.parent, 0, 8, "disk")
    below = site.render(site.chain_tokens(disk.head.parent, 0, 8))
    assert np.flatnonzero((found != below).any(axis=1)).tolist() == [1, 2]
    assert np.array_equal(site.render(site.chain_tokens(disk.head, 0, 8)), truth)


def test_a_move_takes_wrong_bytes_along_and_stops_at_what_it_cannot_read() -> None:
    site, lun = site_of()
    disk, _, _ = chain(site, lun)
    base = disk.head.parent
    lun.damage(Runs.single(8 * BLOCK, 1), "silent")  # the delta's first grain: guest block 2
    lun.damage(Runs.single(9 * BLOCK, 1), "error")
    with pytest.raises(MediumError) as broken:
        site.move(disk.head, 2, 4)
    assert broken.value.args == ("delta", 3 * BLOCK)
    site.write(disk, 3 * BLOCK, BLOCK)
    site.move(disk.head, 2, 4)
    truth = site.render(site.chain_tokens(base, 0, 8))
    found = site.show(base, 0, 8, "disk")
    assert np.flatnonzero((found != truth).any(axis=1)).tolist() == [2]


def test_a_lun_made_after_damage_begins_whole() -> None:
    site, lun = site_of()
    lun.damage(Runs.single(0, lun.size_bytes), "error")
    other = site.create_lun(BLOCKS, CHUNK, lun.pool, BLOCKS)
    assert shown(site, other) == other.render(0, BLOCKS).tobytes()
    (image,) = site.freeze([lun], COPY_ON_WRITE)
    with pytest.raises(MediumError):
        shown(site, image.open())


def test_a_site_of_counts_has_no_damage() -> None:
    _, lun = site_of("counts")
    with pytest.raises(Unsupported, match="counts"):
        lun.damage(Runs.single(0, 1), "error")


@pytest.mark.parametrize("damaged", [False, True])
@given(start=st.integers(0, 7), count=st.integers(1, 8), piece=st.integers(1, 4))
def test_parts_are_the_whole_cut_where_zeros_begin_or_end(damaged, start, count, piece) -> None:
    site, lun = site_of()
    disk, _, _ = chain(site, lun)
    if damaged:
        lun.damage(Runs.single(0, 12 * BLOCK), "silent")
    count = min(count, 8 - start)
    whole = site.show(disk.head, start, count, "disk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "_PIECE_BYTES", piece * BLOCK)
        parts = site.show_parts(disk.head, start, count, "disk")
    assert np.array_equal(np.concatenate(parts), whole)
    edges = start + np.cumsum([len(part) for part in parts])
    assert all(edge % piece == 0 for edge in edges[:-1])
    if not damaged:
        held = [part.any() for part in parts]
        assert all(one != next_ for one, next_ in pairwise(held))
        assert [not known_zeros(part.reshape(-1).data) for part in parts] == held
