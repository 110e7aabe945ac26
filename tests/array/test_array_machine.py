"""Any history of writes, snapshots, promotions and deletions: every image keeps its moment.

The model is lists of tokens and sets of chunks; it knows nothing of the site's maps.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stuntdouble.content import FIRST_WRITTEN
from stuntdouble.errors import AccessDenied, InvalidState, LimitReached, LunInUse, NotFound
from stuntdouble.site import EACH_IMAGES_MAX
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from stuntdouble.array import Volume

CHUNK = 16
BLOCKS = 8 * CHUNK
INSTANT = dict.fromkeys(("fence_seconds", "snapshot_create_seconds", "promote_seconds", "map_seconds", "unmap_seconds", "delete_seconds", "reclaim_bytes_per_second"), 0.0)  # fmt: skip


@dataclass
class Shadow:
    """What a volume should hold; chunks of its own if it was promoted."""

    volume: Volume
    tokens: list[int]
    own: set[int] | None = None
    snapshots: list[Frozen] = field(default_factory=list)


@dataclass
class Frozen:
    """What a snapshot should hold, and the chunks kept for its sake."""

    name: str
    tokens: list[int]
    kept: set[int] = field(default_factory=set)
    copies: list[Shadow] = field(default_factory=list)


class ArrayMachine(RuleBasedStateMachine):
    """The array against the model; *seen* counts what was done and judged, over all histories."""

    def __init__(self, build, kind: str, policy: str, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen
        policies = {"snapshot_kind": kind, "copy_policy": policy}
        self.each = policy == "copy-into-each"
        self.rack = build(**policies, chunk_bytes=64 * KIB, reserve=32 * MIB, **INSTANT)
        self.serial = 0
        self.bases = []
        for name in ("v1", "v2"):
            volume = self.rack.volume(name, BLOCKS * 4 * KIB)
            self.bases.append(Shadow(volume, volume.lun.tokens(0, BLOCKS).tolist()))
        born = self.bases[0].tokens + self.bases[1].tokens
        assert len(set(born)) == 2 * BLOCKS  # garbage names its place

    def frozen(self) -> list[tuple[Shadow, Frozen]]:
        return [(base, image) for base in self.bases for image in base.snapshots]

    def copies(self) -> list[tuple[Frozen, Shadow]]:
        return [(image, copy) for _, image in self.frozen() for copy in image.copies]

    def written(self, shadow: Shadow, block: int, count: int) -> None:
        count = min(count, BLOCKS - block)
        first = self.rack.site.writes
        self.rack.write(shadow.volume, block, count)
        shadow.tokens[block : block + count] = [
            FIRST_WRITTEN | n for n in range(first, first + count)
        ]
        chunks = set(range(block // CHUNK, (block + count - 1) // CHUNK + 1))
        if shadow.own is not None:
            shadow.own |= chunks
            self.seen["a write to a copy"] += 1
        for image in shadow.snapshots if self.each else shadow.snapshots[-1:]:
            image.kept |= chunks
            self.seen["a write over a snapshot"] += 1

    @initialize(snapshots=st.integers(0, 3), copies=st.integers(0, 2), deleted=st.booleans())
    def begin(self, snapshots: int, copies: int, deleted: bool) -> None:
        """Begin somewhere: what needs several steps to come about is met in every few histories."""
        for block in range(snapshots):
            self.snapshot((0, 1))
            self.written(self.bases[0], block, CHUNK)
        for block in range(copies if snapshots else 0):
            self.promoted(self.bases[0].snapshots[0], read_only=False)
            self.written(self.bases[0].snapshots[0].copies[-1], block, 1)
        if deleted and copies and snapshots:
            self.copy_deleted(*self.copies()[0])
        if deleted and snapshots:
            self.snapshot_deleted(self.bases[0], self.bases[0].snapshots[-1])

    @rule(
        which=st.integers(0, 1), block=st.integers(0, BLOCKS - 1), count=st.integers(1, 3 * CHUNK)
    )
    def write(self, which: int, block: int, count: int) -> None:
        self.written(self.bases[which], block, count)

    @rule(which=st.sampled_from([(0,), (1,), (0, 1), (1, 0)]))
    def snapshot(self, which: tuple[int, ...]) -> None:
        self.serial += 1
        name = f"s{self.serial}"
        chosen = [self.bases[i] for i in which]
        if self.each and any(len(base.snapshots) == EACH_IMAGES_MAX for base in chosen):
            with pytest.raises(LimitReached):
                self.rack.snapshot(*(base.volume for base in chosen), name=name)
            return
        made = self.rack.snapshot(*(base.volume for base in chosen), name=name)
        assert len(made) == len(which)
        for base, snapshot in zip(chosen, made, strict=True):
            assert snapshot.volume is base.volume
            assert snapshot.created == self.rack.env.now
            base.snapshots.append(Frozen(snapshot.name, list(base.tokens)))
        self.seen["a snapshot of a group"] += len(made) > 1

    @precondition(lambda self: self.frozen())
    @rule(data=st.data(), read_only=st.booleans())
    def promote(self, data, read_only: bool) -> None:
        _, image = data.draw(st.sampled_from(self.frozen()))
        self.promoted(image, read_only=read_only)

    def promoted(self, image: Frozen, *, read_only: bool) -> None:
        self.serial += 1
        model = self.rack.array.promote(image.name, f"c{self.serial}", read_only=read_only)
        volume = self.rack.do(model)
        assert volume.read_only is read_only
        known = [base.volume.naa for base in self.bases] + [
            copy.volume.naa for _, copy in self.copies()
        ]
        assert volume.naa not in known
        image.copies.append(Shadow(volume, list(image.tokens), set()))

    @precondition(lambda self: self.copies())
    @rule(data=st.data(), block=st.integers(0, BLOCKS - 1), count=st.integers(1, 2 * CHUNK))
    def write_copy(self, data, block: int, count: int) -> None:
        _, copy = data.draw(st.sampled_from(self.copies()))
        if not copy.volume.read_only:
            self.written(copy, block, count)

    @precondition(lambda self: self.copies())
    @rule(data=st.data())
    def delete_copy(self, data) -> None:
        self.copy_deleted(*data.draw(st.sampled_from(self.copies())))

    def copy_deleted(self, image: Frozen, copy: Shadow) -> None:
        self.rack.do(self.rack.array.delete_volume(copy.volume.name))
        image.copies.remove(copy)
        self.seen["a copy deleted"] += 1

    @precondition(lambda self: self.frozen())
    @rule(data=st.data())
    def delete_snapshot(self, data) -> None:
        self.snapshot_deleted(*data.draw(st.sampled_from(self.frozen())))

    def snapshot_deleted(self, base: Shadow, image: Frozen) -> None:
        model = self.rack.array.delete_snapshot(image.name)
        if image.copies:
            with pytest.raises(InvalidState):
                self.rack.do(model)
            return
        self.rack.do(model)
        at = base.snapshots.index(image)
        self.seen["a snapshot deleted"] += 1
        if at and not self.each:  # what the next older one lacks is handed down to it
            base.snapshots[at - 1].kept |= image.kept
        base.snapshots.remove(image)

    @rule(which=st.integers(0, 1))
    def a_parent_stays(self, which: int) -> None:
        if self.bases[which].snapshots:
            with pytest.raises(InvalidState):
                self.rack.do(self.rack.array.delete_volume(self.bases[which].volume.name))
            self.seen["a parent kept"] += 1

    @invariant()
    def every_image_keeps_its_moment(self) -> None:
        for base in self.bases:
            assert base.volume.lun.tokens(0, BLOCKS).tolist() == base.tokens
        for base, image in self.frozen():
            snapshot = self.rack.array.snapshot(image.name)
            assert snapshot.valid
            assert snapshot.image.lun.tokens(0, BLOCKS).tolist() == image.tokens
            self.seen["an image that differs from its volume judged"] += image.tokens != base.tokens
        for image, copy in self.copies():
            assert copy.volume.lun.tokens(0, BLOCKS).tolist() == copy.tokens
            self.seen["a copy that differs from its image judged"] += copy.tokens != image.tokens

    @invariant()
    def space_adds_up(self) -> None:
        self.rack.settle()
        size = 64 * KIB
        for _, image in self.frozen():
            assert self.rack.array.snapshot(image.name).space_bytes == size * len(image.kept)
        chunks = sum(len(image.kept) for _, image in self.frozen())
        chunks += sum(len(copy.own) for _, copy in self.copies())
        assert self.rack.pool.reserve_used_bytes == size * chunks
        assert self.rack.gauge("snapshot_bytes", "array-1")[-1] <= size * chunks

    def teardown(self) -> None:
        for image, copy in self.copies():
            self.rack.do(self.rack.array.delete_volume(copy.volume.name))
            image.copies.remove(copy)
        for _, image in self.frozen():
            self.rack.do(self.rack.array.delete_snapshot(image.name))
        self.rack.settle()
        assert self.rack.pool.reserve_used_bytes == 0
        assert self.rack.gauge("snapshot_bytes", "array-1")[-1] == 0
        assert self.rack.array.inventory.snapshots == {}


@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        ("copy-on-write", "copy-into-newest"),
        ("copy-on-write", "copy-into-each"),
        ("redirect-on-write", "copy-into-newest"),
    ],
)
def test_every_image_keeps_its_moment(build, kind: str, policy: str) -> None:
    seen: Counter[str] = Counter()
    run_state_machine_as_test(
        lambda: ArrayMachine(build, kind, policy, seen),
        settings=settings(max_examples=60, stateful_step_count=50),
    )
    for what in (
        "a write over a snapshot",
        "a snapshot of a group",
        "a write to a copy",
        "a copy deleted",
        "a snapshot deleted",
        "a parent kept",
        "an image that differs from its volume judged",
        "a copy that differs from its image judged",
    ):
        assert seen[what], f"never came about: {what}"


INITIATORS = ("iqn.2026-01.example:a", "iqn.2026-01.example:b")


class MaskingMachine(RuleBasedStateMachine):
    """The mapping table against a set of (initiator, LUN, volume); *seen* counts what happened."""

    def __init__(self, build, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen
        self.array = build(**INSTANT, lun_max=3).array
        self.rack_pool = self.array.pools["pool-1"]
        self.env = self.array.core.env
        self.table: set[tuple[str, int, str]] = set()
        self.naas: dict[str, str] = {}
        self.serial = 0

    def do(self, model):
        return self.env.run(until=self.env.process(model))

    @initialize(volumes=st.sampled_from([0, 2, 6]), mapped=st.sampled_from([0, 4]))
    def begin(self, volumes: int, mapped: int) -> None:
        """Begin somewhere: in some histories all LUNs of an initiator are taken."""
        for _ in range(volumes):
            self.create()
        for name in list(self.naas)[:mapped]:
            self.mapped(name, INITIATORS[0], None)

    @precondition(lambda self: len(self.naas) < 6)
    @rule()
    def create(self) -> None:
        self.serial += 1
        volume = self.array.create_volume(f"v{self.serial}", MIB, self.rack_pool)
        assert volume.naa not in self.naas.values()
        self.naas[volume.name] = volume.naa

    @precondition(lambda self: self.naas)
    @rule(data=st.data(), iqn=st.sampled_from(INITIATORS), lun=st.none() | st.integers(0, 3))
    def map(self, data, iqn: str, lun: int | None) -> None:
        self.mapped(data.draw(st.sampled_from(sorted(self.naas))), iqn, lun)

    def mapped(self, name: str, iqn: str, lun: int | None) -> None:
        taken = {number for seen_by, number, _ in self.table if seen_by == iqn}
        again = any((seen_by, volume) == (iqn, name) for seen_by, _, volume in self.table)
        free = sorted(set(range(4)) - taken)
        model = self.array.map_volume(name, iqn, lun)
        if again or not free or lun in taken:
            refusal = InvalidState if again else LimitReached if lun is None else LunInUse
            with pytest.raises(refusal):
                self.do(model)
            return
        mapping = self.do(model)
        assert mapping.lun == (free[0] if lun is None else lun)
        assert mapping.naa == self.naas[name]
        self.table.add((iqn, mapping.lun, name))
        self.seen["mapped"] += 1

    @precondition(lambda self: self.naas)
    @rule(data=st.data(), iqn=st.sampled_from(INITIATORS))
    def unmap(self, data, iqn: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.naas)))
        for _ in range(2):  # idempotent
            self.do(self.array.unmap_volume(name, iqn))
        self.table = {row for row in self.table if (row[0], row[2]) != (iqn, name)}

    @precondition(lambda self: self.naas)
    @rule(data=st.data())
    def delete(self, data) -> None:
        name = data.draw(st.sampled_from(sorted(self.naas)))
        if any(volume == name for _, _, volume in self.table):
            with pytest.raises(InvalidState):
                self.do(self.array.delete_volume(name))
            return
        for _ in range(2):
            self.do(self.array.delete_volume(name))
        del self.naas[name]
        with pytest.raises(NotFound):
            self.array.volume(name)
        self.seen["deleted"] += 1

    @invariant()
    def nobody_sees_more_than_was_mapped(self) -> None:
        everything = {(m.initiator_iqn, m.lun, m.volume) for m in self.array.mappings()}
        assert everything == self.table
        for iqn in INITIATORS:
            seen = {row[1:] for row in self.table if row[0] == iqn}
            assert {(m.lun, m.volume) for m in self.array.mappings(iqn)} == seen
            names = {volume for _, volume in seen}
            for name, naa in self.naas.items():
                if name in names:
                    assert self.array.lun_for(iqn, naa) is self.array.volume(name).lun
                    self.seen["a mapped volume found"] += 1
                    continue
                with pytest.raises(AccessDenied) as refused:
                    self.array.lun_for(iqn, naa)
                with pytest.raises(AccessDenied) as unknown:
                    self.array.lun_for(iqn, "6000nobody")
                # not even whether there is such a volume
                assert str(refused.value).replace(naa, "") == str(unknown.value).replace(
                    "6000nobody", ""
                )
                self.seen["a masked volume hidden"] += 1


def test_masking(build) -> None:
    seen: Counter[str] = Counter()
    run_state_machine_as_test(
        lambda: MaskingMachine(build, seen),
        settings=settings(max_examples=30, stateful_step_count=30),
    )
    for what in ("mapped", "deleted", "a mapped volume found", "a masked volume hidden"):
        assert seen[what], f"never came about: {what}"
