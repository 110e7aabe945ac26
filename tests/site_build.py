"""A small site that single rules are tried on."""

from __future__ import annotations

from stuntdouble.site import Role, Site

SIZE = 512
FS = 64


class Keeper:
    """Places blocks from both ends of two LUNs in turn: no two of them are neighbours."""

    def __init__(self):
        self.given = 0
        self.step = 3

    def provide(self, file, index):
        last = file.blocks // FS
        for k in range(min(self.step, last + 1 - index) if file.sparse else 1):
            block = 5 * self.given % 4099  # prime: each block comes up once
            file.place(index + k, self.given % len(file.store.luns), block)
            self.given += 1
        return 1


class Build:
    def __init__(self, *, luns=1, blocks=2048, unit=1, chunk=1, reserve=1 << 20, zeroed=False):
        self.site = Site(block_bytes=SIZE)
        self.pool = self.site.create_pool(1 << 30, reserve)
        self.luns = [
            self.site.create_lun(4112 * FS, chunk, self.pool, i << 24) for i in range(luns)
        ]
        self.store = self.site.create_store(self.luns, FS, unit)
        self.store.keeper = Keeper()
        file = self.store.create_file("disk", blocks, sparse=False, zeroed=zeroed)
        self.disk = self.site.create_disk("disk", blocks, file)

    def delta(self, name="delta"):
        return self.disk.push(
            self.store.create_file(name, self.disk.blocks, sparse=True, zeroed=True)
        )

    def tokens(self, level=None):
        level = level or self.disk.head
        return self.site.chain_tokens(level, 0, self.disk.blocks).tolist()

    def kinds(self, steps):
        return [Role(step[1]) for step in steps]
