"""Single rules of the site at their edges: limits, refusals, and what one instant means."""

from __future__ import annotations

import numpy as np
import pytest

from site_build import FS, SIZE, Build
from stuntdouble.content import FIRST_WRITTEN, ZERO, TokenKind, kind_of
from stuntdouble.errors import Bug, LimitReached, NoSpace
from stuntdouble.site import (
    COPY_INTO_EACH,
    COPY_ON_WRITE,
    EACH_IMAGES_MAX,
    IO_BLOCKS_MAX,
    REDIRECT_ON_WRITE,
    REPLICAS_MAX,
    Role,
    Site,
)
from stuntdouble.site.tables import C_LOG, SHAPES


def test_the_longest_write_in_the_worst_place_is_admitted_whole():
    """Every block scattered, every unit to be zeroed, every chunk to be copied, and mirrored."""
    built = Build(blocks=IO_BLOCKS_MAX, unit=1, chunk=1)
    site, disk = built.site, built.disk
    base = disk.head
    delta = built.delta()
    for d in range(IO_BLOCKS_MAX - 1, -1, -1):  # grains lie the other way round
        site.write(disk, d * SIZE, SIZE)
    site.freeze(built.luns, COPY_ON_WRITE)
    delta.mirror(True)
    kinds = built.kinds(site.write(disk, 0, IO_BLOCKS_MAX * SIZE))
    assert kinds.count(Role.ZERO_FILL) == IO_BLOCKS_MAX
    assert kinds.count(Role.COPY_READ) == kinds.count(Role.COPY_WRITE) == 2 * IO_BLOCKS_MAX
    assert kinds.count(Role.DATA) == IO_BLOCKS_MAX + IO_BLOCKS_MAX // FS
    expected = list(range(FIRST_WRITTEN | IO_BLOCKS_MAX, FIRST_WRITTEN | 2 * IO_BLOCKS_MAX))
    assert built.tokens() == built.tokens(base) == expected


def test_the_longest_write_fits_with_as_many_images_and_replicas_as_there_may_be():
    built = Build(blocks=IO_BLOCKS_MAX, unit=1, chunk=1)
    site, disk, lun = built.site, built.disk, built.luns[0]
    delta = built.delta()
    for d in range(IO_BLOCKS_MAX - 1, -1, -1):
        site.write(disk, d * SIZE, SIZE)
    for number in range(REPLICAS_MAX):
        replica = site.add_replica(lun, built.pool, (2 + number) << 24)
        replica.attach()
        pieces = replica.unequal(lun.size_bytes).tolist()
        assert max(stop - start for start, stop in pieces) == 4096
        for start, stop in pieces:
            assert len(replica.equalise(start, stop)) == 2
            assert replica.equalise(start, stop) == []  # there is nothing left
    for _ in range(EACH_IMAGES_MAX):
        site.freeze(built.luns, COPY_INTO_EACH)
    free = site.reserve_free_bytes(built.pool)
    delta.mirror(True)
    kinds = built.kinds(steps := site.write(disk, 0, IO_BLOCKS_MAX * SIZE))
    assert kinds.count(Role.COPY_READ) == 2 * IO_BLOCKS_MAX
    assert kinds.count(Role.COPY_WRITE) == EACH_IMAGES_MAX * 2 * IO_BLOCKS_MAX
    everything = (Role.DATA, Role.ZERO_FILL, Role.METADATA)  # the base grows below the delta
    written = sum(step[5] for step in steps if step[1] in everything)
    mirrored = sum(step[5] for step in steps if step[1] == Role.REPLICA_WRITE)
    assert mirrored == REPLICAS_MAX * written
    assert len(steps) < SHAPES["steps"][0] // 2
    taken = free - site.reserve_free_bytes(built.pool)
    assert taken == EACH_IMAGES_MAX * 2 * IO_BLOCKS_MAX * SIZE
    with pytest.raises(LimitReached, match="copies of their own"):
        site.freeze(built.luns, COPY_INTO_EACH)
    with pytest.raises(LimitReached, match="replicas of volume"):
        site.add_replica(lun, built.pool, 1 << 29)


def test_an_own_copy_costs_each_image_room_and_nothing_of_a_refused_write_stays():
    built = Build(chunk=8, reserve=5 * 8)
    site, lun = built.site, built.luns[0]
    older, newer = (site.freeze([lun], COPY_INTO_EACH)[0] for _ in range(2))
    site.volume_write(lun, 0, SIZE)
    assert (older.space_bytes, newer.space_bytes) == (lun.chunk_bytes, lun.chunk_bytes)
    with pytest.raises(NoSpace):  # four of the three that are left
        site.volume_write(lun, 8 * SIZE, 9 * SIZE)
    assert site.reserve_free_bytes(built.pool) == 3 * lun.chunk_bytes
    steps = site.volume_write(lun, 8 * SIZE, SIZE)
    assert built.kinds(steps) == [Role.COPY_READ, *[Role.COPY_WRITE] * 2, Role.DATA]
    assert len({step[4] for step in steps}) == 4 - 1  # each copy in a place of its own
    assert site.thaw(newer) == 2 * lun.chunk_bytes
    assert older.space_bytes == 2 * lun.chunk_bytes


@pytest.mark.parametrize("first", [COPY_ON_WRITE, COPY_INTO_EACH])
def test_images_with_copies_of_their_own_are_among_themselves(first):
    built = Build()
    built.site.freeze(built.luns, first)
    with pytest.raises(AssertionError, match="among themselves"):
        built.site.freeze(built.luns, COPY_ON_WRITE + COPY_INTO_EACH - first)


def test_only_what_is_attached_and_equal_can_be_split_off():
    built = Build(chunk=8)
    lun = built.luns[0]
    replica = built.site.add_replica(lun, built.pool, 1 << 25)
    with pytest.raises(AssertionError, match="attached"):
        built.site.split([replica])
    with pytest.raises(AssertionError, match="stay equal"):
        replica.equalise(0, 1)
    replica.attach()
    with pytest.raises(AssertionError, match="equal"):
        built.site.split([replica])
    for start, stop in replica.unequal(64 * lun.chunk_bytes).tolist():
        assert stop - start <= 64
        replica.equalise(start, stop)
    (image,) = built.site.split([replica])
    assert image.space_bytes == built.site.thaw(image) == 0
    assert not replica.attached


def test_a_dropped_replica_is_followed_no_more_wherever_it_stands_in_the_row():
    built = Build(chunk=8)
    lun = built.luns[0]
    replicas = [built.site.add_replica(lun, built.pool, n << 25) for n in range(1, 4)]
    for each in replicas:
        each.attach()
        each.equalise(0, 1)
    for each in (replicas[1], replicas[2], replicas[0]):
        kinds = built.kinds(built.site.volume_write(lun, 0, SIZE))
        assert kinds.count(Role.REPLICA_WRITE) == len(replicas)
        each.drop()
        replicas.remove(each)
    assert Role.REPLICA_WRITE not in built.kinds(built.site.volume_write(lun, 0, SIZE))


def test_the_longest_move_is_admitted_whole():
    built = Build(blocks=IO_BLOCKS_MAX)
    base, delta = built.disk.head, built.delta()
    for d in range(IO_BLOCKS_MAX - 1, -1, -1):
        built.site.write(built.disk, d * SIZE, SIZE)
    expected = built.tokens()
    built.site.freeze(built.luns, COPY_ON_WRITE)
    kinds = built.kinds(built.site.move(delta, 0, IO_BLOCKS_MAX))
    assert kinds.count(Role.MOVE_READ) == IO_BLOCKS_MAX
    assert built.tokens(base) == expected


@pytest.mark.parametrize(
    ("offset", "length"), [(-1, 1), (0, 0), (2048 * SIZE, 1), (0, IO_BLOCKS_MAX * SIZE + 1)]
)
def test_an_io_outside_the_disk_or_too_long_is_a_bug(offset, length):
    built = Build()
    with pytest.raises(AssertionError):
        built.site.write(built.disk, offset, length)
    with pytest.raises(AssertionError):
        built.site.read(built.disk.head, offset, length)
    with pytest.raises(AssertionError):
        built.site.fast_forward(built.disk, np.array([(offset // SIZE, -(-length // SIZE))]))
    assert built.site.writes == 0


def test_real_bytes_are_whole_blocks():
    built = Build()
    with pytest.raises(AssertionError, match="whole blocks"):
        built.site.write_bytes(built.disk, 0, memoryview(bytes(SIZE + 1)))
    with pytest.raises(AssertionError, match="whole blocks"):
        built.site.volume_write(built.luns[0], 1, SIZE, memoryview(bytes(SIZE)))
    with pytest.raises(AssertionError, match="as many bytes"):
        built.site.volume_write(built.luns[0], 0, SIZE, memoryview(bytes(2 * SIZE)))
    built.site.volume_write(built.luns[0], SIZE, SIZE, memoryview(b"x" * SIZE))
    assert built.luns[0].render(1, 1).tobytes() == b"x" * SIZE


@pytest.mark.plain
def test_rounding_costs_nothing_and_marks_everything():
    built = Build(zeroed=True)
    built.disk.track(4)
    steps = built.site.write(built.disk, 3 * SIZE + 100, 2 * SIZE)
    assert [step[5] for step in steps if step[1] == Role.DATA] == [2 * SIZE]
    assert [tuple(x) for x in built.site.changed(built.disk, [built.disk.seal()])] == [
        (0, 8 * SIZE)
    ]
    kinds = [kind_of(token) for token in built.tokens()[2:7]]
    born, new = TokenKind.BORN, TokenKind.WRITTEN
    assert kinds == [born, new, new, new, born]


def test_a_fast_forward_is_longer_than_the_log():
    built = Build(zeroed=True)
    built.site.write(built.disk, 0, SIZE)  # the first block exists from here on
    count = SHAPES["log"][0] + 40_000
    blocks = np.arange(count) % FS
    built.site.fast_forward(built.disk, np.stack([blocks, np.ones_like(blocks)], axis=1))
    assert built.site.writes == count + 1
    last = {int(b): FIRST_WRITTEN | i + 1 for i, b in enumerate(blocks.tolist())}
    assert built.tokens()[:FS] == [last[b] for b in range(FS)]


def test_many_single_writes_settle_the_log_in_time():
    built = Build(zeroed=True)
    built.site.write(built.disk, 0, SIZE)
    built.site.arena.tables.counters[C_LOG] = SHAPES["log"][0] - IO_BLOCKS_MAX
    built.site.arena.tables.log[1 : SHAPES["log"][0]] = built.site.arena.tables.log[0]
    built.site.write(built.disk, SIZE, SIZE)
    assert built.site.arena.tables.counters[C_LOG, 0] == 1


def test_a_log_is_kept_for_judges():
    built = Build(zeroed=True)
    built.site = Site(block_bytes=SIZE, keep_log=True)
    lun = built.site.create_lun(64, 8, built.site.create_pool(0, 0), 0)
    built.site.volume_write(lun, 0, 3 * SIZE)
    built.site.settle()
    assert [event[3:6] for event in built.site.history] == [(lun.number, 0, 3)]


@pytest.mark.parametrize("kind", [COPY_ON_WRITE, REDIRECT_ON_WRITE])
def test_luns_frozen_together_are_of_one_instant(kind):
    built = Build(luns=2, zeroed=True)
    built.site.write(built.disk, 0, 200 * SIZE)
    expected = built.tokens()
    images = built.site.freeze(built.luns, kind)
    built.site.write(built.disk, 0, 300 * SIZE)
    luns = [image.open() for image in images]
    store = luns[0].stores[0]
    store.lie_on(tuple(luns))
    level = built.site.new_level(store.files["disk"], None)
    assert built.site.chain_tokens(level, 0, 200).tolist() == expected[:200]
    assert not luns[1].stores, "the catalogue is on the first LUN alone"


def test_what_an_opened_lun_wrote_comes_free_with_it():
    built = Build(chunk=8, reserve=64)
    free = built.site.reserve_free_bytes(built.pool)
    lun = built.site.freeze(built.luns, COPY_ON_WRITE)[0].open()
    built.site.volume_write(lun, 0, 9 * SIZE)
    assert built.site.reserve_free_bytes(built.pool) == free - 2 * lun.chunk_bytes
    built.site.drop_lun(lun)
    assert built.site.reserve_free_bytes(built.pool) == free


def test_without_a_keeper_a_full_reserve_refuses():
    built = Build(chunk=8, reserve=8)
    built.site.freeze(built.luns, COPY_ON_WRITE)
    with pytest.raises(NoSpace, match="snapshot reserve"):
        built.site.volume_write(built.luns[0], 0, 9 * SIZE)
    assert built.site.writes == 0
    assert built.site.reserve_free_bytes(built.pool) == 8 * SIZE


class Idle:
    """A keeper that neither helps nor refuses."""

    def provide(self, _file, _index):
        return 0

    def make_room(self, _lun):
        return None


def test_a_keeper_that_does_nothing_is_a_bug_and_not_a_hang():
    built = Build(chunk=8, reserve=0)
    built.store.keeper = built.luns[0].keeper = Idle()
    with pytest.raises(Bug, match="neither placed"):
        built.site.write(built.disk, 0, SIZE)
    built.site.freeze(built.luns, COPY_ON_WRITE)
    with pytest.raises(Bug, match="neither made room"):
        built.site.volume_write(built.luns[0], 0, SIZE)
    built.store.keeper = None
    with pytest.raises(Bug, match="nobody keeps"):
        built.site.write(built.disk, 0, SIZE)


def test_a_store_has_a_limit_of_luns():
    built = Build()
    with pytest.raises(LimitReached, match="LUNs of one datastore"):
        built.site.create_store(built.luns * 33, FS, 1)
    assert built.site.create_store(built.luns * 32, FS, 1).luns == tuple(built.luns * 32)


def test_a_block_has_one_place():
    built = Build()
    built.disk.head.file.place(0, 0, 0)
    with pytest.raises(AssertionError, match="already has a place"):
        built.disk.head.file.place(0, 0, 1)
    with pytest.raises(AssertionError, match="may not have"):
        built.disk.head.file.place(2048 // FS + 1, 0, 1)


@pytest.mark.plain
def test_a_revert_rewinds_the_ledger():
    built = Build(zeroed=True)
    built.site.write(built.disk, 0, SIZE)
    moment = built.disk.moment(1.0)
    base, _ = built.disk.head, built.delta()
    built.site.write(built.disk, 0, 2 * SIZE)
    built.disk.rewind(moment)
    built.disk.set_head(base)
    again = built.disk.moment(2.0)
    assert built.site.truth(again, 0, 2).tolist() == [FIRST_WRITTEN, 0]
    built.site.write(built.disk, SIZE, SIZE)
    assert built.site.truth(again, 0, 2).tolist() == [FIRST_WRITTEN, 0], "rewound by copy"


def test_an_untracked_disk_notes_nothing():
    built = Build(zeroed=True)
    with pytest.raises(AssertionError, match="not tracked"):
        built.disk.seal()
    built.disk.track(8)
    built.disk.untrack()
    built.site.write(built.disk, 0, SIZE)
    built.disk.track(8)
    assert not built.site.changed(built.disk, [built.disk.seal()])


@pytest.mark.plain
def test_zeroing_goes_through_the_log_and_protects_images():
    built = Build(chunk=8)
    file = built.disk.head.file
    built.store.keeper.provide(file, 0)
    image = built.site.freeze(built.luns, COPY_ON_WRITE)[0]
    steps = [step for some in built.site.zero_file(file) for step in some]
    kinds = built.kinds(steps)
    assert kinds.count(Role.COPY_READ) == FS // 8
    assert kinds.count(Role.ZERO_FILL) == 1
    assert built.luns[0].tokens(0, FS).tolist() == [ZERO] * FS
    assert {kind_of(token) for token in image.lun.tokens(0, FS).tolist()} == {TokenKind.BORN}
    assert image.space_bytes == FS * SIZE


def test_sizes_divide():
    site = Site(block_bytes=SIZE)
    with pytest.raises(AssertionError, match="whole chunks"):
        site.create_lun(100, 16, site.create_pool(0, 0), 0)
    lun = site.create_lun(128, 16, 1, 0)
    with pytest.raises(AssertionError, match="whole units"):
        site.create_store([lun], 8, 16)


def test_a_redirected_volume_reads_in_more_steps():
    """Redirection fragments: what was one read becomes three, and stays so after the thaw."""
    built = Build(chunk=8)
    lun = built.luns[0]
    assert len(built.site.volume_read(lun, 0, FS * SIZE)) == 1
    image = built.site.freeze([lun], REDIRECT_ON_WRITE)[0]
    (first,) = built.site.volume_write(lun, 8 * SIZE, 8 * SIZE)
    assert first[4] == 8 * 32, "chunk 1 of 64 goes to place 32 of 64: its bits reversed"
    assert len(built.site.volume_read(lun, 0, FS * SIZE)) == 3
    assert len(built.site.volume_read(image.lun, 0, FS * SIZE)) == 1
    built.site.thaw(image)
    assert len(built.site.volume_read(lun, 0, FS * SIZE)) == 3


@pytest.mark.parametrize("size", [0, -4096, 1000, 4097])
def test_a_content_block_is_a_power_of_two(size) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Site(block_bytes=size)
