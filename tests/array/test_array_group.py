"""Snapshots under load: one instant for a group, and what the fence costs its guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.content import FIRST_WRITTEN
from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from stuntdouble.array import Volume

FENCE = 0.4


def busy(rack, add_disk, *volumes: Volume, iops: float = 300.0):
    """Start a guest that writes to and reads from a disk on each of *volumes*."""
    disks = [add_disk(rack, volume, 512) for volume in volumes]
    number = len(rack.engine.guests)
    patterns = tuple(Pattern(0.3, 8192, 2 * MIB) for _ in volumes)
    guest = rack.engine.add_guest(
        f"vm-{number}",
        disks,
        [v.lun for v in volumes],
        PoissonLoad(5, f"vm-{number}", iops, patterns),
    )
    rack.engine.start(guest)
    return guest


def one_instant(rack, snapshots) -> bool:
    """Say whether images are the site's state after some one number of writes."""
    held = [s.image.lun.tokens(0, s.volume.lun.blocks).tolist() for s in snapshots]
    rack.site.settle()
    newest = max(t for image in held for t in image if t & FIRST_WRITTEN == FIRST_WRITTEN)
    state = [s.volume.born[:] for s in snapshots]
    place = {s.volume.lun.number: i for i, s in enumerate(snapshots)}
    for op, _, _, volume, block, count, token, _ in rack.site.history:
        assert op == 1  # writes alone
        if volume in place and token % 2**64 <= newest:
            state[place[volume]][block : block + count] = [token % 2**64 + k for k in range(count)]
    return state == held


def test_a_group_is_one_instant_and_two_snapshots_are_not(build, add_disk) -> None:
    rack = build(reserve=16 * MIB, fence_seconds=0.05)
    volumes = [rack.volume(name) for name in ("v1", "v2", "v3")]
    for volume in volumes:
        volume.born = volume.lun.tokens(0, volume.lun.blocks).tolist()
    for _ in range(2):
        busy(rack, add_disk, *volumes)
    rack.env.run(until=1.0)
    group = rack.snapshot(*volumes, name="group")
    assert [s.name for s in group] == ["group.1", "group.2", "group.3"]
    assert len({s.created for s in group}) == 1
    rack.env.run(until=3.0)
    assert one_instant(rack, group)
    alone = rack.snapshot(volumes[0], name="a") + rack.snapshot(volumes[1], name="b")
    rack.env.run(until=rack.env.now + 1.0)
    assert not one_instant(rack, alone)  # the check can tell


def test_the_fence_is_felt_by_every_guest_on_the_volume_and_by_no_other(build, add_disk) -> None:
    rack = build(fence_seconds=FENCE, reserve=16 * MIB)
    shared, other = rack.volume("v1"), rack.volume("v2")
    fenced = [busy(rack, add_disk, shared)]
    fenced.append(rack.engine.add_guest("vm-x", fenced[0].disks, fenced[0].luns, fenced[0].load))
    rack.engine.start(fenced[1])
    neighbour = busy(rack, add_disk, other)
    rack.env.run(until=1.0)
    [snapshot] = rack.snapshot(shared)
    end = snapshot.created
    start = end - FENCE
    rack.env.run(until=end + 2.0)
    for guest in (*fenced, neighbour):
        rack.engine.retire(guest)
    rack.env.run(until=end + 3.0)
    for guest in fenced:
        held = rack.engine.meter.latencies(guest.name).during(start, end)
        assert len(held.seconds) > 50
        assert (held.arrived + held.seconds > end).all()
        assert guest.arrived == guest.completed  # nothing is lost
    before = rack.engine.meter.latencies(*(g.name for g in fenced)).during(0.0, start - 0.1)
    assert before.percentile(99) < FENCE / 10
    assert rack.engine.meter.latencies(neighbour.name).percentile(99) < FENCE / 10
    assert neighbour.arrived == neighbour.completed


def test_a_group_is_fenced_longer_by_each_further_volume(build) -> None:
    rack = build(fence_seconds=0.1, fence_seconds_per_volume=0.03, snapshot_create_seconds=0.5)
    volumes = [rack.volume(name) for name in ("v1", "v2", "v3")]
    [first, *_] = rack.snapshot(*volumes)
    assert first.created == 0.5 + (0.1 + 2 * 0.03)
    noted = list(rack.journal.of("array-snapshot"))
    assert [event.facts["fenced_seconds"] for event in noted] == [0.1 + 2 * 0.03] * 3


def test_snapshots_that_overlap_in_time_are_each_right(build) -> None:
    rack = build(fence_seconds=0.2)
    volume = rack.volume()
    rack.env.process(rack.array.create_snapshots((volume.naa,), "a"))

    def later():
        yield rack.env.timeout(0.1)
        return (yield from rack.array.create_snapshots((volume.naa,), "b"))

    [second] = rack.do(later())
    first = rack.array.snapshot("a")
    assert (first.created, second.created) == (1.2, 1.3)
    rack.write(volume, 0, 1)
    assert (first.space_bytes, second.space_bytes) == (0, rack.array.parameters.chunk_bytes)
