"""Metadata of file systems: written as anything is, with no content of its own."""

from __future__ import annotations

import pytest

from site_build import SIZE, Build
from stuntdouble.content import ZERO
from stuntdouble.errors import NoSpace
from stuntdouble.site import COPY_INTO_EACH, COPY_ON_WRITE, REDIRECT_ON_WRITE, Role
from stuntdouble.units import SECTOR_BYTES


def layered(kind):
    """Return a build whose LUN has been frozen, or is kept equal to a replica, and its LUN."""
    built = Build(chunk=8, reserve=64)
    lun = built.luns[0]
    if kind == "replica":
        replica = built.site.add_replica(lun, built.pool, 1 << 29)
        replica.attach()
        replica.equalise(0, 1)
    else:
        built.site.freeze([lun], kind)
    return built, lun


@pytest.mark.parametrize("kind", [COPY_ON_WRITE, COPY_INTO_EACH, REDIRECT_ON_WRITE, "replica"])
def test_metadata_goes_where_any_write_goes_and_costs_the_array_as_much(kind):
    (built, lun), (other, twin) = layered(kind), layered(kind)
    found, wanted = built.site.metadata_write(lun, SIZE), other.site.volume_write(twin, 0, SIZE)
    role = {Role.DATA: Role.METADATA}
    assert sorted(step[1:] for step in found) == sorted(
        (role.get(step[1], step[1]), *step[2:]) for step in wanted
    )
    assert len(found) > 1
    assert [step[0] for step in found] == sorted(step[0] for step in found)
    again = built.site.metadata_write(lun, SIZE)
    assert again == [step for step in found if step[1] in (Role.METADATA, Role.REPLICA_WRITE)]


@pytest.mark.parametrize("kind", [COPY_ON_WRITE, COPY_INTO_EACH, REDIRECT_ON_WRITE])
def test_metadata_has_no_content(kind):
    built = Build(chunk=8, reserve=64)
    site, lun = built.site, built.luns[0]
    site.volume_write(lun, 0, 8 * SIZE)
    before, writes = lun.tokens(0, 16).tolist(), site.writes
    [image] = site.freeze([lun], kind)
    site.metadata_write(lun, 3 * SIZE)
    assert site.writes == writes
    assert lun.tokens(0, 16).tolist() == image.lun.tokens(0, 16).tolist() == before
    assert image.space_bytes == lun.chunk_bytes


def test_metadata_costs_its_own_length_on_whole_blocks():
    built = Build(chunk=8)
    steps = built.site.metadata_write(built.luns[0], SIZE + 1)
    assert [step[1:] for step in steps] == [(Role.METADATA, 1, built.pool, 0, SIZE + 1)]


def test_metadata_is_refused_where_the_reserve_has_no_room_and_nothing_changes():
    built = Build(chunk=8, reserve=4)
    site, lun = built.site, built.luns[0]
    [image] = site.freeze([lun], COPY_ON_WRITE)
    with pytest.raises(NoSpace, match="snapshot reserve"):
        site.metadata_write(lun, SIZE)
    assert image.space_bytes == 0
    assert site.reserve_free_bytes(built.pool) == 4 * SIZE
    lun.keeper = Giver(image)
    assert built.kinds(site.metadata_write(lun, SIZE)) == [Role.METADATA]  # no image, no copy


class Giver:
    """A keeper that gives an image up."""

    def __init__(self, image):
        self.image = image

    def make_room(self, lun):
        lun.site.thaw(self.image)


def test_a_growth_pays_the_copy_that_its_metadata_owes():
    built = Build(chunk=8)
    site = built.site
    [image] = site.freeze(built.luns, COPY_ON_WRITE)
    built.store.keeper.given = 100  # away from the first chunk
    steps = site.write(built.disk, 0, SIZE)
    before = [step for step in steps if step[0] < 0]
    assert built.kinds(before) == [Role.COPY_READ, Role.COPY_WRITE, Role.METADATA]
    assert before[-1][4:] == (0, SECTOR_BYTES)
    data = [Role.COPY_READ, Role.COPY_WRITE, Role.ZERO_FILL, Role.DATA]
    assert built.kinds(steps[len(before) :]) == data
    assert image.space_bytes == 2 * built.luns[0].chunk_bytes


def test_a_growth_whose_metadata_finds_no_room_refuses_the_write():
    built = Build(luns=2, chunk=8, reserve=4)
    site, disk = built.site, built.disk
    built.store.keeper.given = 101  # on the second LUN, which owes nobody a copy
    [image] = site.freeze(built.luns[:1], COPY_ON_WRITE)
    with pytest.raises(NoSpace, match="snapshot reserve"):
        site.write(disk, 0, SIZE)
    assert site.writes == 0
    assert image.space_bytes == 0
    assert list(disk.head.file.places) == [0]  # the file keeps its block, which reads as zeros
    assert built.tokens() == [ZERO] * disk.blocks
    site.thaw(image)
    assert built.kinds(site.write(disk, 0, SIZE)) == [Role.ZERO_FILL, Role.DATA]
