"""What a site must hold and plan, said once more with dictionaries and sets.

A second opinion, from the model's description and not from the site's code.  All numbers are content
blocks, but for the bytes of a plan: (group, kind, write, pool, pool block, bytes).  An image is a
volume with a base; a delta disk has slots.  What cannot be admitted raises ``Lack`` and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

ZERO = 1 << 62
GROUPS = {"read": 0, "move-read": 0, "metadata": 3, "zero-fill": 4, "data": 5}


class Lack(Exception): ...


@dataclass(eq=False)
class Volume:
    pool: object  # has a number, and the start, size and free blocks of its reserve
    home: int
    chunk: int
    born: int
    content: dict = field(default_factory=dict)
    origin: Volume = None  # the image it was opened from; an image is its own
    images: list = field(default_factory=list)  # oldest first
    moved: set = field(default_factory=set)
    own: set = field(default_factory=set)
    base: Volume = None
    copying: bool = False  # copy on write; else redirect on write
    copied: set = field(default_factory=set)

    def token(self, block):
        return self.content.get(block, self.born << 42 | block)

    def aside(self, block):
        return self.pool.start + (self.home + block) % self.pool.size

    def nearby(self, block):  # where a redirected chunk lies: 64 chunks in bit-reversed order
        n, k = divmod(block // self.chunk, 64)
        return self.home + (n * 64 + int(f"{k:06b}"[::-1], 2)) * self.chunk + block % self.chunk

    def lies(self, block):  # in the pool: at home, nearby, or aside in the reserve
        chunk, aside, home = block // self.chunk, self.aside(block), self.home + block
        if not self.origin:
            return self.nearby(block) if chunk in self.moved else home
        base = self.origin.base
        for image in base.images[base.images.index(self.origin) :]:
            if chunk in self.own or chunk in image.copied:
                return aside if chunk in self.own or image.copying else home
        return base.lies(block)

    def kept(self):  # the set in which a chunk must be before it is written
        return self.images[-1].copied if self.images else self.own if self.origin else None

    def open(self):
        return Volume(self.pool, self.home, self.chunk, self.born, dict(self.content), self)

    def freeze(self, copying):
        image = self.open()
        image.origin, image.base, image.copying = image, self, copying
        self.images.append(image)
        return image

    def thaw(self, image):  # what the next older image lacks is handed down to it
        at = self.images.index(image)
        older = self.images[at - 1].copied if at else image.copied
        freed = len(older & image.copied) * self.chunk
        older |= image.copied
        self.images.remove(image)
        self.pool.free += freed
        return freed


@dataclass(eq=False)
class Level:
    volumes: list
    fs: int
    unit: int
    slots: dict = None  # of a delta disk: guest block -> grain
    zeroed: set = None  # units; None: all of them
    places: dict = field(default_factory=dict)
    parent: Level = None
    mirror: bool = False

    def spot(self, block):
        ordinal, fs_block = self.places.get(block // self.fs, (None, 0))
        there = fs_block * self.fs + block % self.fs
        return None if ordinal is None else (self.volumes[ordinal], there)

    def stale(self, d):
        return self.slots is None and self.zeroed is not None and d // self.unit not in self.zeroed

    def where(self, d):  # None: guest block d reads as zeros
        if self.slots is None:
            return None if self.stale(d) else self.spot(d)
        return self.spot(self.slots[d]) if d in self.slots else self.parent.where(d)

    def token(self, d):
        return at[0].token(at[1]) if (at := self.where(d)) else ZERO

    def target(self, blocks):
        spots, grains = [], {}
        for d in blocks:
            b = d if self.slots is None else self.slots.get(d)
            if b is None:
                b = grains[d] = len(self.slots) + len(grains)
            if not self.spot(b):
                raise Lack
            spots.append((*self.spot(b), d))
        table = [("metadata", *self.spot(0), 0, 1)] if grains else []
        units = sorted({d // self.unit for d in blocks if self.stale(d)})
        zeros = [("zero-fill", *self.spot(u * self.unit), 0, self.unit) for u in units]
        made = (self.slots, grains) if grains else (self.zeroed, units)
        return [*zeros, *runs("data", spots), *table], made


def runs(kind, spots):
    """Yield (kind, volume, block, guest block, count): contiguous on both sides."""
    key = lambda n: (spots[n][0], spots[n][1] - n, spots[n][2] - n)  # noqa: E731
    for _, (first, *rest) in groupby(range(len(spots)), key):
        yield kind, *spots[first], 1 + len(rest)


def protect(pieces, size):
    """Give images what they are owed; return the steps of copying and merging."""
    owed, steps = {}, []
    for kind, v, block, _, count in pieces:
        for chunk in range(block // v.chunk, (block + count - 1) // v.chunk + 1):
            if "read" not in kind and v.kept() is not None and chunk not in v.kept():
                whole = block <= chunk * v.chunk and (chunk + 1) * v.chunk <= block + count
                owed.setdefault((v, chunk), whole)  # the first write to a chunk decides
    for v, _ in owed:
        if sum(w.chunk for w, _ in owed if w.pool is v.pool) > v.pool.free:
            raise Lack
    for (v, chunk), whole in owed.items():
        copying, at = v.images and v.images[-1].copying, chunk * v.chunk
        for name in ("copy-read", "copy-write") if copying else () if whole else ("merge-read",):
            aside = name == "copy-write"
            place = v.aside(at) if aside else v.lies(at)
            steps.append((1 + aside, name, aside, v.pool.number, place, v.chunk * size))
        v.kept().add(chunk)
        v.pool.free -= v.chunk
        if v.images and not copying:
            v.moved.add(chunk)
    return steps


def plan(pieces, size, start=0, stop=1 << 62):
    steps = protect(pieces, size)
    for kind, v, block, guest, count in pieces:
        key = lambda i, v=v, block=block: v.lies(block + i) - i  # noqa: E731
        for _, (first, *rest) in groupby(range(count), key):
            a, b = (guest + first) * size, (guest + first + len(rest) + 1) * size
            length = min(b, stop) - max(a, start) if kind in {"read", "data"} else b - a
            where = "read" not in kind, v.pool.number, v.lies(block + first)
            steps.append((GROUPS[kind], "data" if kind == "read" else kind, *where, length))
    return steps


def commit(pieces, token, made=()):
    for kept, new in made:
        if new:
            kept.update(new)
    for kind, v, block, guest, count in pieces:
        for i in range(count) if kind in {"data", "zero-fill"} else ():
            v.content[block + i] = token(guest + i) if kind == "data" else ZERO


def write(disk, start, stop, size, first):
    blocks = range(start // size, -(-stop // size))
    levels = [disk.head, disk.head.parent] if disk.head.mirror else [disk.head]
    found, made = zip(*(level.target(blocks) for level in levels), strict=True)
    steps = plan(pieces := [piece for some in found for piece in some], size, start, stop)
    commit(pieces, lambda d: first + d - blocks[0], made)
    disk.ledger.update((d, first + d - blocks[0]) for d in blocks)
    disk.tracked.update(d // disk.grain for d in blocks if disk.grain)
    return steps


def read(level, start, stop, size):
    spots = [(level.where(d), d) for d in range(start // size, -(-stop // size))]
    return plan(list(runs("read", [(*at, d) for at, d in spots if at])), size, start, stop)


def move(level, block, count, size):
    blocks = [d for d in range(block, block + count) if d in level.slots]
    pieces, made = level.parent.target(blocks)
    tokens = {d: level.token(d) for d in blocks}
    steps = plan([*pieces, *runs("move-read", [(*level.where(d), d) for d in blocks])], size)
    commit(pieces, tokens.get, [made])
    return steps


def address(kind, volume, block, count, size, first=0):
    steps = plan(pieces := [(kind, volume, block, block, count)], size)
    commit(pieces, lambda d: first + d - block)
    return steps
