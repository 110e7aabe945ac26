"""Trees of LUNs and images: layers, growth, copies and zeroes, against lists of tokens and sets."""

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

from stuntdouble.content import FIRST_WRITTEN, ZERO
from stuntdouble.errors import MediumError, NoSpace, Unsupported
from stuntdouble.extents import Runs
from stuntdouble.site import COPY_INTO_EACH, COPY_ON_WRITE, REDIRECT_ON_WRITE, Role, Site

if TYPE_CHECKING:
    from stuntdouble.site import Image, Lun

SIZE = 512
CHUNK = 4
BLOCKS = 6 * CHUNK
RESERVE = 1 << 16


@dataclass(eq=False)
class Node:
    """A LUN, what it should hold, and the chunks of its own; of an original, None."""

    lun: Lun
    tokens: list[int]
    origin: Frozen | None = None
    own: set[int] | None = None
    images: list[Frozen] = field(default_factory=list)
    gone: bool = False


@dataclass(eq=False)
class Frozen:
    """An image, what it should hold, and the chunks kept for it: aside, or in its layer."""

    image: Image
    node: Node
    tokens: list[int]
    kept: set[int]
    opened: list[Node] = field(default_factory=list)


class Tree:
    """A site with one original LUN, and everything that descends from it."""

    def __init__(self, kind: int = COPY_ON_WRITE, *, clean: bool = False) -> None:
        self.site = Site(block_bytes=SIZE)
        self.kind = kind
        self.pool = self.site.create_pool(1 << 20, RESERVE)
        lun = self.site.create_lun(BLOCKS, CHUNK, self.pool, 0, clean=clean)
        self.nodes = [Node(lun, lun.tokens(0, BLOCKS).tolist())]
        self.home = 0

    def frozen(self) -> list[Frozen]:
        return [image for node in self.nodes for image in node.images]

    def _changed(self, node: Node, block: int, tokens: list[int]) -> None:
        node.tokens[block : block + len(tokens)] = tokens
        chunks = set(range(block // CHUNK, (block + len(tokens) - 1) // CHUNK + 1))
        if node.own is not None:
            node.own |= chunks
            return
        for image in node.images if self.kind == COPY_INTO_EACH else node.images[-1:]:
            image.kept |= {c for c in chunks if c < len(image.tokens) // CHUNK}

    def write(self, node: Node, block: int, count: int) -> list:
        first = FIRST_WRITTEN | self.site.writes
        steps = self.site.volume_write(node.lun, block * SIZE, count * SIZE)
        self._changed(node, block, list(range(first, first + count)))
        return steps

    def zero(self, node: Node, block: int, count: int) -> None:
        self.site.volume_zero(node.lun, block * SIZE, count * SIZE)
        self._changed(node, block, [ZERO] * count)

    def copy(self, node: Node, lun: Lun, tokens: list[int], block: int, count: int) -> list:
        at, length = block * SIZE, count * SIZE
        steps = self.site.volume_copy(node.lun, at, lun, length, "device")
        self._changed(node, block, tokens[block : block + count])
        return steps

    def freeze(self, *nodes: Node) -> None:
        images = self.site.freeze([node.lun for node in nodes], self.kind)
        for node, image in zip(nodes, images, strict=True):
            layer, node.own = node.own, None if node.own is None else set()
            node.images.append(Frozen(image, node, list(node.tokens), layer or set()))

    def open(self, frozen: Frozen) -> None:
        node = Node(frozen.image.open(), list(frozen.tokens), frozen, set())
        frozen.opened.append(node)
        self.nodes.append(node)

    def thaw(self, frozen: Frozen) -> None:
        freed = self.site.thaw(frozen.image)
        self.site.drop_lun(frozen.image.lun)
        images, before = frozen.node.images, self.used()
        at = images.index(frozen)
        if frozen.node.own is None:
            if at and self.kind != COPY_INTO_EACH:
                most = len(images[at - 1].tokens) // CHUNK
                images[at - 1].kept |= {c for c in frozen.kept if c < most}
        elif at + 1 < len(images):
            images[at + 1].kept |= frozen.kept
        elif not frozen.node.gone:
            frozen.node.own |= frozen.kept
        images.remove(frozen)
        assert freed == before - self.used()
        if frozen.node.gone and not images:
            self.nodes.remove(frozen.node)

    def drop(self, node: Node) -> None:
        self.site.drop_lun(node.lun)
        node.origin.opened.remove(node)
        node.own, node.gone = set(), True
        if not node.images:
            self.nodes.remove(node)

    def grow(self, node: Node, chunks: int) -> None:
        self.home += 1 << 10
        blocks = len(node.tokens) + chunks * CHUNK
        if node.own is not None:
            node.own |= set(range(len(node.tokens) // CHUNK, blocks // CHUNK))
        node.lun.grow(blocks, self.home)
        node.tokens += [ZERO] * (chunks * CHUNK)

    def used(self) -> int:
        chunks = sum(len(node.own or ()) for node in self.nodes)
        chunks += sum(len(image.kept) for image in self.frozen())
        return chunks * CHUNK * SIZE

    def check(self) -> None:
        for node in self.nodes:
            if not node.gone:
                self._check(node.lun, node.tokens)
        for frozen in self.frozen():
            self._check(frozen.image.lun, frozen.tokens)
        assert RESERVE * SIZE - self.site.reserve_free_bytes(self.pool) == self.used()

    def _check(self, lun: Lun, tokens: list[int]) -> None:
        assert lun.tokens(0, lun.blocks).tolist() == tokens
        nonzero = Runs.of((i * SIZE, SIZE) for i, token in enumerate(tokens) if token != ZERO)
        assert lun.held(Runs.single(0, lun.size_bytes)) == nonzero
        steps = self.site.volume_read(lun, 0, lun.size_bytes)
        assert sum(step[5] for step in steps) == lun.size_bytes


class TreeMachine(RuleBasedStateMachine):
    """Any history of a tree; *seen* counts what came about, over all histories."""

    def __init__(self, kind: int, seen: Counter[str]) -> None:
        super().__init__()
        self.tree = Tree(kind)
        self.seen = seen

    def node(self, data, *, opened: bool = False) -> Node | None:
        some = [n for n in self.tree.nodes if not n.gone and (n.own is not None or not opened)]
        return data.draw(st.sampled_from(some)) if some else None

    def at(self, data, tokens: list[int]) -> tuple[int, int]:
        block = data.draw(st.integers(0, len(tokens) - 1))
        return block, data.draw(st.integers(1, min(3 * CHUNK, len(tokens) - block)))

    @initialize(depth=st.integers(0, 4), more=st.integers(0, 2), dropped=st.booleans())
    def begin(self, depth: int, more: int, dropped: bool) -> None:
        """Begin with a chain of layers, each with something of its own; perhaps its end is gone."""
        for n in range(depth):
            self.tree.write(self.tree.nodes[-1], CHUNK * n, CHUNK + 1)
            self.tree.freeze(self.tree.nodes[-1])
            self.tree.open(self.tree.nodes[-1].images[-1])
        for n in range(more):
            self.tree.write(self.tree.nodes[-1], 2 * n, 3 * CHUNK)
            self.tree.freeze(self.tree.nodes[-1])
        if dropped and depth:
            self.tree.write(self.tree.nodes[-1], 0, 1)
            self.tree.drop(self.tree.nodes[-1])

    @rule(data=st.data())
    def write(self, data) -> None:
        node = self.node(data)
        self.tree.write(node, *self.at(data, node.tokens))
        self.seen["a write over a layer"] += bool(node.own is not None and node.images)

    @rule(data=st.data())
    def zero(self, data) -> None:
        node = self.node(data)
        self.tree.zero(node, *self.at(data, node.tokens))

    @rule(data=st.data())
    def copy(self, data) -> None:
        target, source = self.node(data), self.node(data)
        lun, tokens = source.lun, list(source.tokens)
        if source.images and data.draw(st.booleans()):
            lun, tokens = source.images[0].image.lun, source.images[0].tokens
        if lun is not target.lun:
            shorter = min(tokens, target.tokens, key=len)
            self.tree.copy(target, lun, tokens, *self.at(data, shorter))
            self.seen["a copy"] += 1

    @rule(data=st.data(), both=st.booleans())
    def freeze(self, data, both: bool) -> None:
        nodes = {self.node(data), self.node(data)} if both else {self.node(data)}
        self.tree.freeze(*nodes)
        self.seen["originals and layers in one instant"] += len({n.own is None for n in nodes}) > 1

    @precondition(lambda self: self.tree.frozen())
    @rule(data=st.data())
    def open(self, data) -> None:
        frozen = data.draw(st.sampled_from(self.tree.frozen()))
        self.tree.open(frozen)
        self.seen["opened from a layer"] += frozen.node.own is not None

    @precondition(lambda self: any(not f.opened for f in self.tree.frozen()))
    @rule(data=st.data())
    def thaw(self, data) -> None:
        free = [f for f in self.tree.frozen() if not f.opened]
        frozen = data.draw(st.sampled_from(free))
        if frozen.node.own is not None:
            last = frozen.node.images[-1] is frozen
            self.seen["a layer merged into a layer"] += not last
            self.seen["a layer merged into a LUN"] += last and not frozen.node.gone
            self.seen["a layer dropped"] += last and frozen.node.gone
        self.tree.thaw(frozen)

    @rule(data=st.data())
    def drop(self, data) -> None:
        node = self.node(data, opened=True)
        if node is not None:
            self.tree.drop(node)

    @rule(data=st.data(), chunks=st.integers(1, 3))
    def grow(self, data, chunks: int) -> None:
        node = self.node(data)
        if len(node.tokens) < 20 * CHUNK:
            self.tree.grow(node, chunks)
            self.seen["growth over an image"] += bool(node.images)

    @rule()
    def reclaim(self) -> None:
        self.tree.site.reclaim(thorough=False)

    @invariant()
    def everything_holds_what_it_should(self) -> None:
        self.tree.check()

    def teardown(self) -> None:
        while len(self.tree.nodes) > 1 or self.tree.frozen():
            for node in [n for n in self.tree.nodes if n.own is not None and not n.gone]:
                self.tree.drop(node)
            for frozen in [f for f in self.tree.frozen() if not f.opened]:
                self.tree.thaw(frozen)
            for frozen in self.tree.frozen():  # dropped LUNs whose images are gone
                frozen.opened = [node for node in frozen.opened if node in self.tree.nodes]
        self.tree.check()
        assert self.tree.used() == 0


@pytest.mark.parametrize("kind", [COPY_ON_WRITE, COPY_INTO_EACH, REDIRECT_ON_WRITE])
def test_a_tree_of_luns_and_images(kind) -> None:
    seen: Counter[str] = Counter()
    run_state_machine_as_test(
        lambda: TreeMachine(kind, seen),
        settings=settings(max_examples=80, stateful_step_count=30),
    )
    for what in (
        "a write over a layer",
        "a copy",
        "originals and layers in one instant",
        "opened from a layer",
        "a layer merged into a layer",
        "a layer merged into a LUN",
        "a layer dropped",
        "growth over an image",
    ):
        assert seen[what], f"never came about: {what}"


@pytest.mark.plain
@pytest.mark.parametrize("kind", [COPY_ON_WRITE, COPY_INTO_EACH, REDIRECT_ON_WRITE])
def test_a_chain_of_layers_keeps_each_moment(kind) -> None:
    tree = Tree(kind)
    for n in range(4):
        tree.write(tree.nodes[-1], n, CHUNK)
        tree.freeze(tree.nodes[-1])
        tree.open(tree.nodes[-1].images[-1])
    tree.grow(tree.nodes[0], 2)
    tree.grow(tree.nodes[-1], 3)
    tree.write(tree.nodes[-1], BLOCKS - 2, 3 * CHUNK)
    tree.copy(tree.nodes[-1], tree.nodes[0].lun, tree.nodes[0].tokens, 1, BLOCKS)
    tree.check()
    tree.site.reclaim()
    tree.check()


@pytest.mark.plain
def test_what_a_layer_holds_is_read_where_it_was_written() -> None:
    tree = Tree()
    tree.freeze(tree.nodes[0])
    tree.open(tree.nodes[0].images[0])
    node = tree.nodes[1]
    wrote = tree.write(node, 0, CHUNK)
    tree.freeze(node)
    read = tree.site.volume_read(node.lun, 0, 2 * CHUNK * SIZE)
    assert [step[4] for step in read] == [wrote[0][4], CHUNK]  # aside, then where it always was
    again = tree.write(node, 1, 1)
    assert [step[1] for step in again] == [Role.MERGE_READ, Role.DATA]  # nothing is copied


@pytest.mark.plain
def test_a_copy_reads_and_writes_and_pays_what_a_write_pays() -> None:
    tree = Tree()
    other = tree.site.create_lun(BLOCKS, CHUNK, tree.pool, 512, clean=True)
    target = Node(other, [ZERO] * BLOCKS)
    tree.nodes.append(target)
    tree.freeze(target)
    steps = tree.copy(target, tree.nodes[0].lun, tree.nodes[0].tokens, 0, CHUNK)
    assert [step[1] for step in steps] == [
        Role.MOVE_READ, Role.COPY_READ, Role.COPY_WRITE, Role.DATA,
    ]  # fmt: skip
    tree.check()


@pytest.mark.plain
def test_a_clean_volume_reads_as_zeros() -> None:
    tree = Tree(clean=True)
    assert set(tree.nodes[0].tokens) == {ZERO}
    assert not tree.site.render(tree.nodes[0].lun.tokens(0, 4)).any()
    tree.write(tree.nodes[0], 3, 2)
    tree.zero(tree.nodes[0], 4, 1)
    tree.check()


def test_growth_of_an_opened_lun_needs_room() -> None:
    tree = Tree()
    tree.freeze(tree.nodes[0])
    tree.open(tree.nodes[0].images[0])
    with pytest.raises(NoSpace):
        tree.nodes[1].lun.grow(RESERVE + BLOCKS + CHUNK, 0)
    tree.check()
    with pytest.raises(AssertionError, match="shrink"):
        tree.nodes[0].lun.grow(CHUNK, 0)
    with pytest.raises(AssertionError, match="whole chunks"):
        tree.nodes[0].lun.grow(BLOCKS + 1, 0)
    tree.site.add_replica(tree.nodes[0].lun, tree.pool, 1 << 12)
    with pytest.raises(AssertionError, match="replicas"):
        tree.nodes[0].lun.grow(2 * BLOCKS, 0)


def test_what_writing_would_take_is_known_before() -> None:
    for kind, images in ((COPY_ON_WRITE, 1), (REDIRECT_ON_WRITE, 1), (COPY_INTO_EACH, 2)):
        tree = Tree(kind)
        base = tree.nodes[0]
        everything = Runs.single(0, base.lun.size_bytes)
        assert base.lun.owed_bytes(everything) == 0
        tree.freeze(base)
        tree.freeze(base)
        tree.write(base, 0, 1)
        some = Runs.single(1, CHUNK * SIZE)  # two chunks, of which one is kept
        assert base.lun.owed_bytes(some) == images * CHUNK * SIZE
        tree.open(base.images[0])
        assert tree.nodes[1].lun.owed_bytes(some) == 2 * CHUNK * SIZE
        assert base.lun.differing(base.images[0].image.lun) == Runs.single(0, CHUNK * SIZE)
        before = tree.used()
        tree.write(base, 0, 2 * CHUNK)
        assert tree.used() - before == images * CHUNK * SIZE


def test_damage_is_shared_through_layers_until_written_over() -> None:
    tree = Tree()
    base = tree.nodes[0]
    tree.freeze(base)
    tree.open(base.images[0])
    node = tree.nodes[1]
    tree.write(node, 0, 1)
    tree.freeze(node)
    base.lun.damage(Runs.single(CHUNK * SIZE, SIZE), "error")  # all of them lie there
    node.lun.damage(Runs.single(0, SIZE), "error")  # the layer's own

    def bad(lun: Lun, block: int) -> bool:
        try:
            tree.site.show(lun, block, 1, "device")
        except MediumError:
            return True
        return False

    layer = node.images[0].image.lun
    assert [bad(lun, CHUNK) for lun in (base.lun, layer, node.lun)] == [True] * 3
    assert [bad(lun, 0) for lun in (base.lun, layer, node.lun)] == [False, True, True]
    with pytest.raises(MediumError, match="device: unrecoverable read error at byte 2048"):
        tree.copy(base, layer, [], CHUNK, 1)
    tree.write(node, 0, 1)
    assert [bad(lun, 0) for lun in (base.lun, layer, node.lun)] == [False, True, False]


def test_a_site_of_counts_takes_layers() -> None:
    site = Site(block_bytes=SIZE, content="counts")
    pool = site.create_pool(1 << 20, RESERVE)
    lun = site.create_lun(BLOCKS, CHUNK, pool, 0)
    opened = site.freeze([lun], COPY_ON_WRITE)[0].open()
    site.volume_write(opened, 0, SIZE)
    image = site.freeze([opened], COPY_ON_WRITE)[0]
    site.volume_copy(opened, 0, lun, SIZE, "device")
    assert image.space_bytes == CHUNK * SIZE
    assert site.thaw(image) == CHUNK * SIZE
    with pytest.raises(Unsupported):
        opened.damage(Runs.single(0, 1), "error")
