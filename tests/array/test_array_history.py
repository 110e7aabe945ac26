"""Any history of an array's requests: everything there is holds what a dictionary says it holds.

The model knows names and lists of tokens, and who is promoted from whom; nothing of layers, hidden
snapshots or chunks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

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

from stuntdouble.content import FIRST_WRITTEN, ZERO
from stuntdouble.errors import InvalidState, LimitReached
from stuntdouble.units import KIB, MIB

CHUNK = 4  # blocks of 4 KiB
BLOCKS = 6 * CHUNK
THINGS_MAX = 14
HOST = "iqn.2026-01.example:a"
INSTANT = dict.fromkeys(("fence_seconds", "snapshot_create_seconds", "promote_seconds", "create_seconds", "grow_seconds", "map_seconds", "unmap_seconds", "delete_seconds", "reclaim_bytes_per_second"), 0.0)  # fmt: skip


@dataclass(eq=False)
class Thing:
    """A volume or snapshot, as its users know it; ``parent`` is what it needs to exist."""

    name: str
    tokens: list[int]
    snapshot: bool = False
    read_only: bool = False
    parent: Thing | None = None
    volume: Thing | None = None
    mapped: bool = False
    expires: float | None = None


class HistoryMachine(RuleBasedStateMachine):
    """The array against the dictionary; *seen* counts what came about, over all histories."""

    def __init__(self, build, kind: str, policy: str, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen
        policies = {"snapshot_kind": kind, "copy_policy": policy}
        self.rack = build(
            **policies,
            chunk_bytes=16 * KIB,
            reserve=16 * MIB,
            pool={"disk_bytes": 32 * MIB},
            **INSTANT,
        )
        self.array = self.rack.array
        self.array.hosts.create("host", (HOST,))
        self.serial = 0
        self.things: dict[str, Thing] = {}
        volume = self.rack.volume("base", BLOCKS * 4 * KIB)
        self.things["base"] = Thing("base", volume.lun.tokens(0, BLOCKS).tolist())

    # The model. ----------------------------------------------------------------------------

    def name(self) -> str:
        self.serial += 1
        return f"n{self.serial}"

    def some(self, data, *, snapshot: bool | None, wanted=lambda _thing: True) -> Thing | None:
        found = [
            t.name for t in self.things.values() if snapshot in (None, t.snapshot) and wanted(t)
        ]
        return self.things[data.draw(st.sampled_from(found))] if found else None

    def children(self, thing: Thing) -> list[Thing]:
        return [t for t in self.things.values() if t.parent is thing]

    def in_use(self, thing: Thing) -> bool:
        return thing.mapped or bool(self.children(thing))

    def lun(self, thing: Thing):
        if thing.snapshot:
            return self.array.snapshot(thing.name).image.lun
        return self.array.volume(thing.name).lun

    def forget(self, thing: Thing) -> None:
        del self.things[thing.name]

    # Bytes. --------------------------------------------------------------------------------

    @initialize(depth=st.integers(0, 3), independent=st.booleans())
    def begin(self, depth: int, independent: bool) -> None:
        """Begin with a chain of promoted volumes and their snapshots."""
        last = self.things["base"]
        for n in range(depth):
            snapshot = self.snapshotted([last])[0]
            self.written(last, n, 2 * CHUNK)
            last = self.promoted(snapshot, read_only=False, independent=independent)
            self.written(last, CHUNK + n, CHUNK)

    @rule(data=st.data(), block=st.integers(0, BLOCKS - 1), count=st.integers(1, 3 * CHUNK))
    def write(self, data, block: int, count: int) -> None:
        thing = self.some(data, snapshot=False, wanted=lambda t: not t.read_only)
        if thing:
            self.written(thing, block % len(thing.tokens), count)

    def written(self, thing: Thing, block: int, count: int) -> None:
        count = min(count, len(thing.tokens) - block)
        first = FIRST_WRITTEN | self.rack.site.writes
        self.rack.write(self.array.volume(thing.name), block, count)
        thing.tokens[block : block + count] = range(first, first + count)

    @rule(data=st.data(), block=st.integers(0, BLOCKS - 1), count=st.integers(1, 3 * CHUNK))
    def zero(self, data, block: int, count: int) -> None:
        thing = self.some(data, snapshot=False, wanted=lambda t: not t.read_only)
        if thing:
            block %= len(thing.tokens)
            count = min(count, len(thing.tokens) - block)
            self.rack.do(self.array.zero_volume(thing.name, block * 4 * KIB, count * 4 * KIB))
            thing.tokens[block : block + count] = [ZERO] * count

    # Requests. -----------------------------------------------------------------------------

    @precondition(lambda self: len(self.things) < THINGS_MAX)
    @rule(chunks=st.integers(1, 6))
    def make(self, chunks: int) -> None:
        name = self.name()
        self.rack.do(self.array.make_volume(name, chunks * 16 * KIB, "pool-1"))
        self.things[name] = Thing(name, [ZERO] * (chunks * CHUNK))

    @precondition(lambda self: len(self.things) < THINGS_MAX)
    @rule(data=st.data(), group=st.booleans())
    def snapshot(self, data, group: bool) -> None:
        chosen = [self.some(data, snapshot=False) for _ in range(2 if group else 1)]
        if all(chosen):
            self.snapshotted(list(dict.fromkeys(chosen)))

    def snapshotted(self, things: list[Thing], **lifetime) -> list[Thing]:
        name = self.name()
        naas = tuple(self.array.volume(t.name).naa for t in things)
        try:
            self.rack.do(self.array.prepare(naas))
        except LimitReached:
            self.seen["no mirror left"] += 1
            return []
        made = self.rack.do(self.array.create_snapshots(naas, name, **lifetime))
        for thing, snapshot in zip(things, made, strict=True):
            self.things[snapshot.name] = Thing(
                snapshot.name, list(thing.tokens), True, True, thing, thing, False, snapshot.expires
            )
            self.seen["a snapshot of a promoted volume"] += thing.volume is not None
        return [self.things[snapshot.name] for snapshot in made]

    @precondition(lambda self: len(self.things) < THINGS_MAX)
    @rule(data=st.data(), read_only=st.booleans(), independent=st.booleans())
    def promote(self, data, read_only: bool, independent: bool) -> None:
        snapshot = self.some(data, snapshot=True)
        if snapshot:
            self.promoted(snapshot, read_only=read_only, independent=independent)

    def promoted(self, snapshot: Thing, *, read_only: bool, independent: bool) -> Thing:
        name = self.name()
        model = self.array.promote(
            snapshot.name, name, read_only=read_only, independent=independent
        )
        self.rack.do(model)
        parent = None if independent else snapshot
        made = Thing(name, list(snapshot.tokens), False, read_only, parent, snapshot)
        self.things[name] = made
        return made

    @rule(data=st.data(), waits=st.booleans())
    def copy(self, data, waits: bool) -> None:
        target = self.some(data, snapshot=False, wanted=lambda t: not (t.read_only or t.mapped))
        if target is None:
            return
        fits = lambda t: t is not target and len(t.tokens) <= len(target.tokens)  # noqa: E731
        source = self.some(data, snapshot=None, wanted=fits)
        if source is None:
            return
        task = self.rack.do(self.array.start_copy(source.name, target.name))
        moment = list(source.tokens)
        if not waits and not source.read_only:
            self.written(source, 0, len(source.tokens))
            self.seen["a write while it is copied"] += task.active
        if task.active:
            self.rack.env.run(until=task.ended)
        assert (task.state, task.done_bytes) == ("done", task.total_bytes)
        target.tokens[: len(moment)] = moment
        self.seen["a copy"] += 1

    @rule(data=st.data(), any_source=st.booleans())
    def revert(self, data, any_source: bool) -> None:
        target = self.some(data, snapshot=False, wanted=lambda t: not t.read_only)
        if target is None:
            return
        size = len(target.tokens)
        source = self.some(
            data,
            snapshot=None if any_source else True,
            wanted=lambda t: (
                t is not target and len(t.tokens) == size and (any_source or t.volume is target)
            ),
        )
        if source is None:
            return
        request = self.array.overwrite if any_source else self.array.revert
        self.rack.do(request(target.name, source.name, mapped=True))
        self.seen["an overwriting" if any_source else "a revert"] += target.tokens != source.tokens
        target.tokens[:] = source.tokens

    @rule(data=st.data(), chunks=st.integers(1, 3))
    def grow(self, data, chunks: int) -> None:
        thing = self.some(data, snapshot=False, wanted=lambda t: len(t.tokens) < 3 * BLOCKS)
        if thing is None:
            return
        size = (len(thing.tokens) + chunks * CHUNK) * 4 * KIB
        model = self.array.grow_volume(thing.name, size)
        if thing.read_only or self.array.volume(thing.name).mirrors:
            with pytest.raises(InvalidState):
                self.rack.do(model)
            return
        self.rack.do(model)
        thing.tokens += [ZERO] * (chunks * CHUNK)
        self.seen["growth over a snapshot"] += bool(self.children(thing))
        self.seen["growth of a promoted volume"] += thing.volume is not None

    @rule(data=st.data())
    def rename(self, data) -> None:
        thing = self.some(data, snapshot=None)
        if thing:
            new = self.name()
            self.rack.do(self.array.rename(thing.name, new))
            del self.things[thing.name]
            thing.name = new
            self.things[new] = thing

    @rule(data=st.data())
    def map(self, data) -> None:
        thing = self.some(data, snapshot=None, wanted=lambda t: not t.mapped)
        if thing:
            self.rack.do(self.array.map_to_host(thing.name, "host"))
            thing.mapped = True
            self.seen["a snapshot mapped"] += thing.snapshot

    @rule(data=st.data())
    def unmap(self, data) -> None:
        thing = self.some(data, snapshot=None, wanted=lambda t: t.mapped)
        if thing:
            thing.mapped = False
            self.rack.do(self.array.unmap_from_host(thing.name, "host"))
            self.expired()

    @rule(data=st.data())
    def delete(self, data) -> None:
        thing = self.some(data, snapshot=None)
        if thing is None:
            return
        request = self.array.delete_snapshot if thing.snapshot else self.array.delete_volume
        if self.in_use(thing):
            with pytest.raises(InvalidState):
                self.rack.do(request(thing.name))
            return
        orphans = [t for t in self.things.values() if t.volume is thing]
        self.seen["deleted before what came from it"] += bool(orphans)
        self.rack.do(request(thing.name))
        self.forget(thing)
        self.expired()

    # Lifetimes. ----------------------------------------------------------------------------

    @precondition(lambda self: len(self.things) < THINGS_MAX)
    @rule(data=st.data(), seconds=st.integers(1, 20))
    def snapshot_for_a_while(self, data, seconds: int) -> None:
        thing = self.some(data, snapshot=False)
        if thing:
            self.snapshotted([thing], expires_seconds=float(seconds))

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        self.rack.env.run(until=self.rack.env.now + seconds + 0.1234)  # never just at an end
        self.expired()

    def expired(self) -> None:
        """Forget what has expired, last the one that has been waited for."""
        due = [
            t
            for t in self.things.values()
            if t.expires is not None and t.expires < self.rack.env.now and not self.in_use(t)
        ]
        for thing in due:
            self.forget(thing)
            self.seen["expired"] += 1
        if due:
            self.expired()

    @rule()
    def reclaim(self) -> None:
        self.rack.site.reclaim(thorough=False)

    # Judged. -------------------------------------------------------------------------------

    @invariant()
    def everything_holds_what_it_should(self) -> None:
        self.expired()  # copies take time
        inventory = self.array.inventory
        assert set(inventory.volumes) == {t.name for t in self.things.values() if not t.snapshot}
        assert set(inventory.snapshots) == {t.name for t in self.things.values() if t.snapshot}
        for thing in self.things.values():
            lun = self.lun(thing)
            assert lun.tokens(0, lun.blocks).tolist() == thing.tokens
        seen = self.array.luns(HOST)
        assert sorted(v.name for v in seen.values()) == sorted(
            t.name for t in self.things.values() if t.mapped
        )
        for volume in seen.values():
            tokens = self.things[volume.name].tokens
            assert volume.lun.tokens(0, volume.lun.blocks).tolist() == tokens
            shown = self.array.show(volume, 0, 1).tobytes()
            assert shown == self.rack.site.render(volume.lun.tokens(0, 1)).tobytes()

    def teardown(self) -> None:
        """Delete everything, in an order that the model allows: nothing is left of it."""
        for thing in self.things.values():
            if thing.mapped:
                self.rack.do(self.array.unmap_from_host(thing.name, "host"))
                thing.mapped = False
        self.expired()
        while self.things:
            thing = next(t for t in self.things.values() if not self.in_use(t))
            request = self.array.delete_snapshot if thing.snapshot else self.array.delete_volume
            self.rack.do(request(thing.name))
            self.forget(thing)
            self.expired()
        self.rack.env.run(until=self.rack.env.now + 100.0)
        self.rack.settle()
        assert self.rack.pool.reserve_used_bytes == 0
        assert self.rack.pool.free_bytes == self.rack.pool.area_bytes
        assert not self.rack.site.luns


@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        ("copy-on-write", "copy-into-newest"),
        ("copy-on-write", "copy-into-each"),
        ("redirect-on-write", "copy-into-newest"),
        ("split-mirror", "copy-into-newest"),
    ],
)
def test_everything_holds_what_it_should(build, kind: str, policy: str) -> None:
    seen: Counter[str] = Counter()
    run_state_machine_as_test(
        lambda: HistoryMachine(build, kind, policy, seen),
        settings=settings(max_examples=150, stateful_step_count=40),
    )
    for what in (
        "a snapshot of a promoted volume",
        "a copy",
        "a write while it is copied",
        "a revert",
        "an overwriting",
        "growth of a promoted volume",
        "a snapshot mapped",
        "deleted before what came from it",
        "expired",
    ):
        assert seen[what], f"never came about: {what}"
    assert seen["growth over a snapshot"] or kind == "split-mirror"
    assert bool(seen["no mirror left"]) <= (kind == "split-mirror")
