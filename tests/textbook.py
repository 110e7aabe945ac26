"""What a site must hold and plan, said once more with dictionaries and sets.

A second opinion, from the model's description, not the site's code.  Numbers are blocks, but for the
bytes of a plan: (group, kind, write, pool, pool block, bytes).  A replica keeps the chunks in which it
is equal; its kind says "attached".  What cannot be admitted raises ``Lack`` and changes nothing.
"""

from itertools import groupby

ZERO = 1 << 62
GROUPS = {"metadata": 3, "record": 3, "zero-fill": 4}  # other writes are 5, reads 0
NAMES = {"read": "data", "record": "metadata"}  # a record: metadata that has no block of its own
Lack = type("Lack", (Exception,), {})


class Volume:
    def __init__(self, pool, home, chunk, born, blocks, content=(), origin=None):
        self.home, self.pool = home, pool  # with a number; start, size and room of its reserve
        self.shape = self.chunk, self.born, self.blocks = chunk, born, blocks
        self.content, self.moved, self.replicas = dict(content), set(), []
        self.images = []  # oldest first; but those that were split off
        self.base, self.origin = None, origin  # the image it was opened from; an image is its own
        self.kept, self.area = set(), 0  # chunks that an image was given, or an opened one wrote
        self.kind = ""  # of images: "copy" into the newest, into "each", "redirect", "split" off

    def token(self, block):
        return self.content.get(block, self.born << 42 | block)

    def aside(self, block, area):
        there = self.home + block + area * (self.blocks + self.chunk)
        return self.pool.start + there % self.pool.size

    def nearby(self, block):  # where a redirected chunk lies: 64 chunks in bit-reversed order
        n, k = divmod(block // self.chunk, 64)
        return self.home + (n * 64 + int(f"{k:06b}"[::-1], 2)) * self.chunk + block % self.chunk

    def lies(self, block):  # in the pool: at home, nearby, or aside in the reserve
        chunk, home = block // self.chunk, self.home + block
        if not self.origin:
            return self.nearby(block) if chunk in self.moved else home
        images, split = self.origin.base.images, self.origin.kind == "split"
        for each in [self] if split else [self, *images[images.index(self.origin) :]]:
            if chunk in each.kept:
                return home if each.kind == "redirect" else self.aside(block, each.area)
        return home if split else self.origin.base.lies(block)

    def owing(self, chunk):  # who must be given a chunk before it is written
        who = self.images[-1:] or [self] * bool(self.origin)
        who = self.images if who and who[0].kind == "each" else who
        return [each for each in who if chunk not in each.kept]

    def open(self):
        return Volume(self.pool, self.home, self.chunk, self.born, self.blocks, self.content, self)

    def freeze(self, kind, replica=None):
        image = self.open()
        image.origin, image.base, image.kind = image, self, kind
        if replica:
            image.pool, image.home, replica.kind = replica.pool, replica.home, ""
            return image
        image.area = min(set(range(99)) - {i.area for i in self.images}) if kind == "each" else 0
        self.images.append(image)
        return image

    def thaw(self, image):  # what the next older image lacks is handed down to it
        at = self.images.index(image)
        older = self.images[at - 1].kept if at else image.kept
        freed = len(older & image.kept) * self.chunk
        older |= image.kept
        self.images.remove(image)
        self.pool.free += freed
        return freed


class Level:
    def __init__(self, volumes, fs, unit, slots=None, zeroed=None, places=()):
        self.volumes, self.fs, self.unit, self.places = volumes, fs, unit, dict(places)
        self.slots, self.zeroed = slots, zeroed  # of a delta, by guest block; units, None: all
        self.parent, self.mirror = None, False

    def spot(self, block):
        at = self.places.get(block // self.fs)
        return at and (self.volumes[at[0]], at[1] * self.fs + block % self.fs)

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


def runs(kind, spots):  # (kind, volume, block, guest block, count): contiguous on both sides
    key = lambda n: (spots[n][0], spots[n][1] - n, spots[n][2] - n)  # noqa: E731
    found = [list(run) for _, run in groupby(range(len(spots)), key)]
    return [(kind, *spots[run[0]], len(run)) for run in found]


def protect(pieces, size):  # give images what they are owed: the steps of copying and merging
    owed, steps = {}, []
    for kind, v, block, _, count in pieces:
        for chunk in range(block // v.chunk, (block + count - 1) // v.chunk + 1):
            if "read" not in kind and v.owing(chunk):
                whole = block <= chunk * v.chunk and (chunk + 1) * v.chunk <= block + count
                owed.setdefault((v, chunk), whole)  # the first write to a chunk decides
    for pool in {v.pool.number: v.pool for v, _ in owed}.values():
        if sum(v.chunk * len(v.owing(c)) for v, c in owed if v.pool is pool) > pool.free:
            raise Lack
    for (v, chunk), whole in owed.items():
        copying, at = v.images and v.images[-1].kind != "redirect", chunk * v.chunk
        reads = (1, "copy-read" if copying else "merge-read", False, v.pool.number, v.lies(at))
        steps += [(*reads, v.chunk * size)] if copying or not whole else []
        for each in v.owing(chunk):
            where = v.pool.number, v.aside(at, each.area)
            steps += [(2, "copy-write", True, *where, v.chunk * size)] if copying else []
            each.kept.add(chunk)
            v.pool.free -= v.chunk
        v.moved |= {chunk} if v.images and not copying else set()
    return steps


def follow(pieces):  # what goes to attached replicas where they are equal; others get unequal
    for kind, v, block, _, count in pieces:
        for r in v.replicas if "read" not in kind else ():
            spots = [(r, b, b) for b in range(block, block + count) if b // v.chunk in r.kept]
            yield from runs("replica-write", spots) if r.kind else ()
            r.kept -= set() if r.kind else {b // v.chunk for _, b, _ in spots}


def admit(pieces, size, token=None, made=(), start=0, stop=1 << 62):  # the plan; and commit it
    steps = protect(pieces, size)
    for kind, v, block, guest, count in [*pieces, *follow(pieces)]:
        key = lambda i, v=v, block=block: v.lies(block + i) - i  # noqa: E731
        for _, (first, *rest) in groupby(range(count), key):
            a, b = (guest + first) * size, (guest + first + len(rest) + 1) * size
            length = min(b, stop) - max(a, start) if kind in {"read", "data", "record"} else b - a
            name, wrote = NAMES.get(kind, kind), "read" not in kind
            where = wrote, v.pool.number, v.lies(block + first)
            steps.append((GROUPS.get(kind, 5 * wrote), name, *where, length))
    for kept, new in ((kept, new) for kept, new in made if new):
        kept.update(new)
    for kind, v, block, guest, count in pieces:
        for i in range(count) if kind in {"data", "zero-fill"} else ():
            v.content[block + i] = token(guest + i) if kind == "data" else ZERO
    return steps


def write(disk, start, stop, size, first):
    blocks = range(start // size, -(-stop // size))
    levels = [disk.head, disk.head.parent] if disk.head.mirror else [disk.head]
    found, made = zip(*(level.target(blocks) for level in levels), strict=True)
    token = lambda d: first + d - blocks[0]  # noqa: E731
    steps = admit([p for some in found for p in some], size, token, made, start, stop)
    disk.ledger.update((d, token(d)) for d in blocks)
    disk.tracked.update(d // disk.grain for d in blocks if disk.grain)
    return steps


def read(level, start, stop, size):
    spots = [(level.where(d), d) for d in range(start // size, -(-stop // size))]
    return admit(runs("read", [(*at, d) for at, d in spots if at]), size, None, (), start, stop)


def move(level, block, count, size):
    blocks = [d for d in range(block, block + count) if d in level.slots]
    pieces, made = level.parent.target(blocks)
    tokens = {d: level.token(d) for d in blocks}
    pieces += runs("move-read", [(*level.where(d), d) for d in blocks])
    return admit(pieces, size, tokens.get, [made])


def address(kind, volume, block, count, size, first=0, stop=1 << 62):
    pieces = [(kind, volume, block, block, count)]
    return admit(pieces, size, lambda d: first + d - block, (), 0, stop)


def equalise(v, r, start, stop, size):
    blocks = [b for b in range(start * v.chunk, stop * v.chunk) if b // v.chunk not in r.kept]
    r.kept.update(range(start, stop))
    reads = runs("replica-read", [(v, b, b) for b in blocks])
    return admit([*reads, *runs("replica-write", [(r, b, b) for b in blocks])], size)
