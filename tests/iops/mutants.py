"""Mutants of the compiled loop and of the site, each one line of source changed, as plain Python.

Run as a program with NUMBA_DISABLE_JIT=1, it prints a line for each: the history that noticed, and
what differed.  What the specification makes of the histories is found once; each mutant of the loop
is then a process of its own that has not imported the kernel yet, so that it imports the changed
source.  The site is shared by both engines, which agree on its errors: the judges of its mutants are
those of ``iops.second``, and each of them imports the whole project anew.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from iops.ahead import Answers, history_of
from iops.histories import ACTS, MEMBERS, Plan, World
from stuntdouble.iops import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

KERNEL = "stuntdouble.iops.kernel"
HISTORIES = (*range(14), 22)  # seeds: the last has wake-ups among arrivals
ASKED = 8  # histories in which control asks and waits a lot
ADDED = {"mirror", "promote", "split"}  # at fixed times
SECONDS = 15  # of processor time: a mutant may run for ever
SITE_HISTORIES = 30
SITE_SECONDS = 30  # the same, with the time of importing the project, and of judging
ANEW = {"stuntdouble", "iops", "log_replay", "textbook"}  # what a mutant of the site may change


class Mutant(NamedTuple):
    """A change of the source of one module."""

    name: str
    module: str
    old: str
    new: str


RANKS = "= 0, 1, 1 << 17"
MUTANTS = (
    Mutant("ends before posts", "tables", RANKS, "= 1 << 17, 0, (1 << 17) + 1"),
    Mutant("arrivals before ends", "tables", RANKS, "= 0, 1 << 17, 1"),
    Mutant("serials run backwards", "agenda", "rank << _RANK_SHIFT | serial",
           "rank << _RANK_SHIFT | (1 << 40) - serial"),
    Mutant("data beside the zeroing before it", "visits", "(table[i, T_GROUP],",
           "(min(table[i, T_GROUP], 4),"),
    Mutant("side effects on the guest's account", "visits", "_SIDE if aside else", "purpose if aside else"),
    Mutant("an arm that stays", "services", "k.stations[station, A_ARM] = position + size", "pass"),
    Mutant("a stun's shift is forgotten", "engine", "guest.shift += self.env.now - guest.stunned_at",
           "pass"),
    Mutant("a limit off by one", "guests", "return k.guests[g, G_IN_FLIGHT] < limit",
           "return k.guests[g, G_IN_FLIGHT] <= limit"),
    Mutant("a fence that holds no stream", "streams", "if k.streams[z, S_FENCES] == 0:", "if True:"),
    Mutant("a pace that forgets bytes", "streams", "= _bytes(k, s, z, count)\n        add", "= 0\n        add"),
    Mutant("a mark one item late", "streams", "prefix >= k.streams[z, S_MARK]",
           "prefix > k.streams[z, S_MARK]"),
    Mutant("loops that are not let go", "guests", "if k.jobs[job, J_LOADER] != 0:\n            add_normal",
           "if False:\n            add_normal"),
    Mutant("a lost pool that answers", "lost", "O_CUT] != 0:", "O_CUT] != 0 and job < 0:"),
    Mutant("a watch one step late", "watches", ">= k.watches", "> k.watches"),
    Mutant("a waiter that is not let go", "copies", "if left == 0:\n", "if left < 0:\n"),
    Mutant("copies that nobody finds", "copies", "k.cells[cell, 0] = span\n", "pass\n"),
    Mutant("copies that end too early", "copies", "= last\n", "= -1\n"),
    Mutant("copies of a growth that end too late", "copies", "_BEFORE_ALL = -1 << 30",
           "_BEFORE_ALL = -1"),
    Mutant("a bucket that is not refilled", "tokens", "+ come,", "+ 0.0 * come,"),
    Mutant("a token that nobody takes", "guests", "        take_token(k, g, job)\n", ""),
    Mutant("a wake-up among arrivals", "tokens", "plan(k, due, _RANK_POST", "plan(k, due, (1 << 17) + _RANK_POST"),
    Mutant("room that is not returned", "cache", "    _count(k, later, -1)\n", ""),
    Mutant("room for one more", "cache", "CACHE_DIRTY] >= k.caches", "CACHE_DIRTY] > k.caches"),
    Mutant("a destage too many", "cache", "CACHE_UNDER_WAY] < k.caches",
           "CACHE_UNDER_WAY] <= k.caches"),
    Mutant("half dirty is dirty enough", "cache", "return block >= stop", "return True"),
    Mutant("a mirror is written past the cache", "cache", "int(Role.MERGE_READ))",
           "int(Role.MERGE_READ), int(Role.REPLICA_WRITE))"),
    Mutant("a rate for those that come later only", "rates", "if row < k.ints[N_SERVICES, 0]:", "if False:"),
    Mutant("services that change their rate", "rates", "if k.services[i, SERVED_START] > now or left <= 0:",
           "if True:"),
    Mutant("servers that are not given back", "rates", "k.free[server, 0] = start", "pass"),
    Mutant("a group that ends with its first visit", "visits", "if end > last or (",
           "if last < 0.0 or end < last or ("),
    Mutant("ends that those who wait do not hear", "guests", "        speak(k, g)\n", "        pass\n"),
    Mutant("ends that drains do not hear", "silent", "and k.guests[g, G_DRAINS] == 0", ""),
    Mutant("ends that watches do not hear", "silent", "k.ints[N_WATCHES, 0] != 0 or", ""),
    Mutant("ends before their place in the instant", "silent", "begun and has_happened(k, k.jobs[job, J_KEY])",
           "True"),
    Mutant("a latest server first", "services", "< k.free[first + below, 0])", "> k.free[first + below, 0])"),
    Mutant("clean blocks that stay dirty", "dirt", "k.dirty[hole, DIRTY_KEY] = 0", "pass"),
)  # fmt: skip


SITE_MUTANTS = (
    Mutant("data before the copy of what it overwrites", "stuntdouble.site.plan",
           "Role.DATA, write=True, group=5", "Role.DATA, write=True, group=1"),
    Mutant("copies that are not read", "stuntdouble.site.plan",
           "Stage(Place.COPIED_CHUNK, Role.COPY_READ, write=False, group=1),", ""),
    Mutant("redirected chunks that are not merged", "stuntdouble.site.plan",
           "Stage(Place.PARTIAL_CHUNK, Role.MERGE_READ, write=False, group=1),", ""),
    Mutant("grain tables that are not written", "stuntdouble.site.plan",
           "Stage(Place.TABLE, Role.METADATA, write=True, group=3),", ""),
    Mutant("mirrors that are not written", "stuntdouble.site.plan",
           "Stage(Place.REPLICA, Role.REPLICA_WRITE, write=True, group=5),", ""),
    Mutant("a ledger settled a block too far", "stuntdouble.site.log",
           "s.log[row, G_GUEST], count, token, _NEXT", "s.log[row, G_GUEST] + 1, count, token, _NEXT"),
    Mutant("moves settled from the next block", "stuntdouble.site.log",
           "s.log[row, G_FROM] + i)", "s.log[row, G_FROM] + i + 1)"),
    Mutant("writes settled a block short", "stuntdouble.site.log",
           "put_run(s, medium, block, count, token, _NEXT)",
           "put_run(s, medium, block, count - 1, token, _NEXT)"),
    Mutant("zeroes that are not settled", "stuntdouble.site.log",
           "put_run(s, medium, block, count, _ZERO, _SAME)", "pass"),
    Mutant("grains that nobody tracks", "stuntdouble.site.rules", "if tracked != 0:", "if tracked < 0:"),
    Mutant("moves that are not logged", "stuntdouble.site.rules", "    _log_moves(s, n)\n", ""),
    Mutant("writes that do not follow to the parent", "stuntdouble.site.rules",
           "    _log_data(s, middle, pieces, 0, block, token)\n", ""),
    Mutant("a reserve of one chunk less", "stuntdouble.site.protect",
           "s.pools[pool, P_FREE] < copies << shift", "s.pools[pool, P_FREE] <= copies << shift"),
    Mutant("chunks merged though overwritten whole", "stuntdouble.site.protect",
           "size = 0 if whole and", "size = 0 if False and"),
    Mutant("copies that plain writes forget", "stuntdouble.site.plain", "if not test(s, kept, chunk):",
           "if False:"),
    Mutant("replicas that plain writes forget", "stuntdouble.site.plain",
           "if s.volumes[volume, V_REPLICA] != 0:", "if False:"),
    Mutant("mirrors that plain writes forget", "stuntdouble.site.plain",
           "if s.levels[level, L_MIRROR] != 0:", "if False:"),
    Mutant("plain writes of scattered grains", "stuntdouble.site.plain",
           "if np.int64(get(s, slots, block + i)) != slot + i:", "if False:"),
    Mutant("plain reads of two files", "stuntdouble.site.plain",
           "if other != file or there != at + i:", "if False:"),
)  # fmt: skip


class Changed(SourceFileLoader):
    """Loads a module of the kernel with the mutant's change."""

    mutant: Mutant

    def get_data(self, path: str) -> bytes:
        source = super().get_data(path)
        if path.endswith(".pyc"):
            raise OSError("not the change")
        old, new = self.mutant.old.encode(), self.mutant.new.encode()
        assert source.count(old) == 1, f"{self.mutant.name}: {source.count(old)} places to change"
        return source.replace(old, new)


class Finder(MetaPathFinder):
    """Finds the module that a mutant changes; a module of the kernel goes by its last name."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        spec = PathFinder.find_spec(name, path, target)
        if name in {self.mutant.module, f"{KERNEL}.{self.mutant.module}"}:
            spec.loader = Changed(name, spec.origin)
            spec.loader.mutant = self.mutant
        return spec


def plan_of(seed: int) -> Plan:
    """Return one of the fixed histories: everything happens in some of them."""
    draw = np.random.default_rng(seed)
    services = ["lattice", "lattice", "instant", "disk", "exponential"][seed % 5]
    kinds = [act for act in ACTS if act not in ADDED and (act != "cut" or seed % 4 == 0)]
    acts = [
        (int(draw.integers(0, 30)), str(draw.choice(kinds)), *map(int, draw.integers(0, 60, 2)))
        for _ in range(25)
    ]
    acts += [
        (3, "limit", 2, 1),
        (6, "limit", 1, 1),
        (9, "drop", 1, 2),
        (12, "limit", 1, 0),
        (15, "mirror", 1, 7),
        (18, "promote", 1, 7),
        (25, "split", 1, 1),
        (27, "promote", 3, 2),
    ]
    most = 2 if seed % 4 == 3 else 8  # whole blocks fill a cache to its mark exactly
    rows = [
        (
            int(t),
            0,
            bool(draw.random() < 0.7),
            int(draw.integers(0, 14)),
            int(draw.integers(1, most)),
        )
        for t in np.sort(draw.integers(0, 20, 14))
    ]
    return Plan(
        raid=list(MEMBERS)[seed % 4], services=services, servers=1 + seed % 2, port=seed % 3 == 0,
        reserve=1 << 16, room=60, counts=seed % 2 == 0,
        loads=[(0, rows), (7, []), (2, rows)], acts=acts,
        blocking=seed % 3 != 0, cache=[None, (2, 1), None, (1, 2)][seed % 4], hot=True,
        each=seed % 5 == 4, mirror=seed % 3,
    )  # fmt: skip


def plays() -> list[Callable[[Any], dict[str, Any]]]:
    """Return the fixed histories of the loop: what comes of each on an engine."""
    worlds = [partial(World, plan_of(seed)) for seed in HISTORIES]
    asked = [partial(Answers, *history_of(seed)) for seed in range(ASKED)]
    return [
        *(lambda engine, play=play: play(engine).outcome() for play in worlds),
        *(lambda engine, play=play: {"said": play(engine).said} for play in asked),
    ]


def difference(play: Callable[[Any], dict[str, Any]], expected: dict[str, Any]) -> str:
    """Return what the compiled loop makes different; nothing where it is the same."""
    from stuntdouble.iops.kernel import CompiledEngine

    found = play(CompiledEngine)
    return next((what for what, value in expected.items() if found[what] != value), "")


def killer(told: list[tuple[Any, dict[str, Any]]]) -> str:
    """Return what noticed in which history; nothing if all are the same."""
    for number, (play, expected) in enumerate(told):
        try:
            what = difference(play, expected)
        except Exception as error:  # noqa: BLE001  (a mutant may break in any way)
            what = type(error).__name__
        if what:
            return f"history {number:2}: {what}"
    return ""


def second_opinion() -> str:
    """Import the project anew; return which judge noticed what of it in which history."""
    for name in [name for name in sys.modules if name.split(".")[0] in ANEW]:
        del sys.modules[name]
    histories, second = (import_module(f"iops.{name}") for name in ("histories", "second"))
    engines = import_module("stuntdouble.iops")
    plan_of = import_module("iops.mutants").plan_of
    for number in range(SITE_HISTORIES):
        plan = plan_of(number)
        plan.reserve = 64 if number % 2 else plan.reserve  # which is soon full
        try:
            arguments = plan, engines.Reference, engines.Recorder, second.BookedSite
            world = histories.World(*arguments)
            world.outcome()
            world.site.compare(world.disks)
        except Exception as error:  # noqa: BLE001  (a mutant may break in any way)
            return f"history {number:2}: {str(error).splitlines()[0] or type(error).__name__}"
    return ""


def judge(mutant: Mutant | None, opinion: Callable[[], str], seconds: int) -> str:
    """Let a mutant play in a process of its own; return what noticed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, seconds)  # which ends it
        if mutant is not None:
            sys.meta_path.insert(0, Finder(mutant))
        os.write(write, opinion().encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        text = answer.read().decode()
    _, status = os.waitpid(child, 0)
    return text if status == 0 else "it never ends" if os.WIFSIGNALED(status) else "it breaks"


def main(of_site: bool) -> None:
    np.seterr(over="ignore")
    mutants, opinion, seconds = SITE_MUTANTS, second_opinion, SITE_SECONDS
    if not of_site:
        told = [(play, play(Reference)) for play in plays()]
        mutants, opinion, seconds = MUTANTS, lambda: killer(told), SECONDS
    for mutant in (None, *mutants):
        name = "nothing is changed" if mutant is None else mutant.name
        print(f"{name}|{judge(mutant, opinion, seconds)}", flush=True)  # noqa: T201  (the answer)


if __name__ == "__main__":
    main(sys.argv[1:] == ["site"])
