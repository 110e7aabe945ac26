"""The loop's driver: between the clock, control and the compiled loop."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from stuntdouble.errors import Bug, Error, LimitReached, NoSpace
from stuntdouble.iops.kernel import loop
from stuntdouble.iops.kernel.cells import row_of
from stuntdouble.iops.kernel.copies import NO_POOL
from stuntdouble.iops.kernel.parts import KernelGuest, KernelStream
from stuntdouble.iops.kernel.silent import let_all_speak
from stuntdouble.iops.kernel.tables import (
    ANSWER_GIVEN,
    ANSWER_REFUSED,
    ASK_GUEST,
    ASK_ITEM,
    DO_GO,
    DO_NEXT,
    DO_UNTIL,
    DONE,
    FLUSH,
    FULL,
    J_DISK,
    J_LENGTH,
    J_OFFSET,
    J_OWNER,
    J_WRITE,
    JOBS_MAX,
    N_ANSWER,
    N_ASK,
    N_BLOCK_BYTES,
    N_CONTROLLED,
    N_FAULTY,
    N_IOS,
    N_LEAVES_MAX,
    N_NODES_MAX,
    N_NORMAL_HEAD,
    N_NORMAL_TAIL,
    N_OPAQUE,
    N_REFILL,
    N_STEPS,
    N_URGENT_HEAD,
    N_WATCHES,
    NEWS_DRAINED,
    NEWS_ENDED,
    NEWS_FINISHED,
    NEWS_GO,
    NEWS_MARK,
    NEWS_NEXT,
    NEWS_QUIET,
    NEWS_UNREACHABLE,
    NEWS_UNTIL,
    OVERSIZE,
    REFILL,
    SETTLE,
    TRANSFER,
    WATCH,
    WATCHES_MAX,
    bound,
    new_state,
)
from stuntdouble.iops.kernel.telling import tell
from stuntdouble.iops.measure import Meter
from stuntdouble.iops.paths import Paths, fail
from stuntdouble.iops.stream import item_steps, refuse_oversize
from stuntdouble.iops.watches import Watch, Watches

if TYPE_CHECKING:
    from collections.abc import Callable

    from simpy.events import Event

    from stuntdouble.clock import Environment
    from stuntdouble.errors import Unreachable
    from stuntdouble.iops.engine import Guest
    from stuntdouble.site import Site, Step


_OWN_NEWS: Final = {NEWS_GO: DO_GO, NEWS_UNTIL: DO_UNTIL, NEWS_NEXT: DO_NEXT}


class Driver:
    """Runs the loop for the clock, and answers what it asks.

    Python is entered only where control has a part: news for whoever waits, a keeper's decision, a
    full log, the next batch of a load.
    """

    def __init__(self, env: Environment, site: Site, meter: Meter | None = None) -> None:
        if env.kernel is not None:
            raise Bug("the clock has a kernel already: one compiled engine to an environment")
        self.env = env
        self.site = site
        self.meter = Meter() if meter is None else meter
        self.meter.pull = self._flush
        self.guests: list[Guest] = []
        self.state, self._addresses = new_state()
        self.addresses = int(self._addresses.ctypes.data)
        self.state.ints[N_BLOCK_BYTES] = site.block_bytes
        self.streams: dict[int, KernelStream] = {}
        self.paths = Paths()
        self.submitted: dict[int, tuple[Event, list[Step], int]] = {}
        self.quiets: list[Event] = []
        self._watches = Watches()
        self.names: list[str] = []
        self.name_of: list[int] = []
        self.handlers: dict[int, Callable[[], None]] = {
            TRANSFER: self._transfer,
            REFILL: self._refill,
            FLUSH: self._flush,
            SETTLE: self._settle,
            ASK_GUEST: self._ask_guest,
            ASK_ITEM: self._ask_item,
            OVERSIZE: self._oversize,
            FULL: self._full,
            WATCH: self._look,
            NO_POOL: self._no_pool,
        }
        env.kernel = self

    # The clock's kernel. -----------------------------------------------------------------------

    def advance(self, limit: float) -> bool:
        """Run I/O with time < *limit*; True as soon as that scheduled a control event earlier."""
        self._drive(limit, proxy=False)
        return self.env.peek() < limit

    def _drive(self, limit: float, *, proxy: bool) -> None:
        ints = self.state.ints
        self._note_limits()
        tables = self.addresses, self.site.arena.addresses
        while (code := int(loop.run(*tables, limit))) != DONE:
            self.handlers[code]()
            self._note_limits()
            first = self.env.peek()
            limit = min(limit, first)
            ints[N_CONTROLLED] = proxy or first <= self.state.now[0, 0]

    def _note_limits(self) -> None:
        """Tell the kernel when the site wants to look after itself before an admission."""
        ints, arena = self.state.ints, self.site.arena
        if arena.due:
            self._settle()
        limits = arena._limits  # noqa: SLF001  (the site's own, which it moves when it reclaims)
        ints[N_LEAVES_MAX], ints[N_NODES_MAX] = limits["leaves"], limits["nodes"]
        ints[N_FAULTY] = bool(self.site.faults)

    def _go_on(self, do: int, what: int, _event: Event) -> None:
        """Do what the kernel had queued behind control of this instant."""
        loop.do_next(self.addresses, do, what)
        self._drive(-inf, proxy=True)

    def _settle(self) -> None:
        self.site.make_room()

    def _refill(self) -> None:
        wanted = int(self.state.ints[N_REFILL, 0])
        self.state.ints[N_REFILL] = 0
        for guest in self.guests if wanted < 0 else self.guests[wanted - 1 : wanted]:
            if guest.started:
                cast("KernelGuest", guest).refill()

    def _flush(self) -> None:
        """Hand over to the meter what was measured."""
        k = self.state
        services, ios = int(tell(self.addresses)), int(k.ints[N_IOS, 0])
        k.ints[N_IOS] = 0
        if ios:
            kinds = k.io_kinds[:ios]
            names = np.array(self.name_of)[kinds[:, 0]]
            self.meter.take_ios(self.names, names, k.ios[:ios], kinds[:, 1:])
        if services:
            self.meter.take_visits(k.told_kinds[:services], k.told[:services])

    # News for control, and questions to it. ------------------------------------------------------

    def _transfer(self) -> None:
        """Hand over what happens in this instant to SimPy's queue, in order."""
        k = self.state
        self.env._now = float(k.now[0, 0])  # noqa: SLF001  (the clock has come this far)
        first, last = int(k.ints[N_NORMAL_HEAD, 0]), int(k.ints[N_NORMAL_TAIL, 0])
        entries = k.normal[first:last].tolist()
        k.ints[[N_NORMAL_HEAD, N_NORMAL_TAIL]] = 0
        for news, what, count in entries:
            self._tell(news, what, count)

    def _tell(self, news: int, what: int, count: int) -> None:
        if news in _OWN_NEWS:
            later = self.env.event()
            do = _OWN_NEWS[news]
            later.callbacks.append(partial(self._go_on, do, what))
            later.succeed()
        elif news == NEWS_DRAINED:
            drains, self.guests[what].drains = self.guests[what].drains, []
            _let_happen(drains)
        elif news == NEWS_QUIET:
            quiets, self.quiets = self.quiets, []
            _let_happen(quiets)
        elif news == NEWS_UNREACHABLE:
            drains, self.guests[what].drains = self.guests[what].drains, []
            for drain in drains:
                fail(drain, cast("Unreachable", self.guests[what].lost))
        elif news == NEWS_MARK:
            self.streams[what].has_reached(count)
        elif news == NEWS_FINISHED:
            self.streams.pop(what).finish(count)
        elif news == NEWS_ENDED:
            ended, steps, _job = self.submitted.pop(what)
            if (error := self.paths.lost_steps(steps)) is None:
                ended.succeed()
            else:
                fail(ended, error)

    def add_watch(self, quantity: Callable[[], float], threshold: float, event: Event) -> None:
        """Let *event* happen as soon as I/O has driven *quantity* to *threshold*."""
        bound(len(self._watches) + 1, WATCHES_MAX, "watches at a time")
        let_all_speak(self.addresses)
        self._watches.append(Watch(quantity, threshold, event))
        self.check_watches()

    def check_watches(self) -> None:
        """Let the watches happen that are met by now; tell the kernel which are left."""
        self._watches.check()
        ints, rows = self.state.ints, self.state.watches
        ints[N_WATCHES], ints[N_OPAQUE] = len(self._watches), 0
        for number, (quantity, threshold, _event) in enumerate(self._watches):
            row = row_of(self.state, quantity, threshold)
            ints[N_OPAQUE] += row is None
            rows[number] = row or 0

    def _look(self) -> None:
        self._transfer()
        self.check_watches()

    def _ask_guest(self) -> None:
        """Let the site and its keepers admit an I/O for which something is lacking."""
        self._transfer()
        k = self.state
        job = k.jobs[k.ints[N_ASK, 0]]
        guest = self.guests[int(job[J_OWNER])]
        disk, offset, length = guest.disks[int(job[J_DISK])], int(job[J_OFFSET]), int(job[J_LENGTH])
        try:
            if job[J_WRITE]:
                steps = self.site.write(disk, offset, length)
            else:
                steps = self.site.read(disk.head, offset, length)
        except NoSpace as error:
            guest.has_no_space(error)
            k.ints[N_ANSWER] = ANSWER_REFUSED
            return
        self._give(steps)

    def _ask_item(self) -> None:
        """Let the site and its keepers admit an item for which something is lacking."""
        self._transfer()
        k = self.state
        number, index = k.urgent[k.ints[N_URGENT_HEAD, 0]].tolist()
        stream = self.streams[number]
        try:
            steps = item_steps(stream.spec, *stream.item(index), self.site)
        except Error as error:
            stream.fail(error)
            k.ints[N_ANSWER] = ANSWER_REFUSED
            return
        self._give(steps)

    def _give(self, steps: list[Step]) -> None:
        self.write_steps(steps)
        self.state.ints[N_ANSWER], self.state.ints[N_STEPS] = ANSWER_GIVEN, len(steps)

    def write_steps(self, steps: list[Step]) -> None:
        """Put steps where the kernel finds them: in the site's table."""
        table = self.site.arena.tables.steps
        bound(len(steps), len(table), "steps of one I/O")
        if steps:
            table[: len(steps)] = steps

    # What is beyond it. --------------------------------------------------------------------------

    def _oversize(self) -> None:
        refuse_oversize(int(self.state.jobs[self.state.ints[N_ASK, 0], J_LENGTH]), self.site)

    def _full(self) -> None:
        raise LimitReached("I/Os of the compiled engine at a time, with their visits", JOBS_MAX)

    def _no_pool(self) -> None:
        raise Bug("an I/O goes to a pool that lies on no stations: call add_pool")


def _let_happen(events: list[Event]) -> None:
    for event in events:
        event.succeed()
