"""Histories of one store's guests, and what an engine says of them whenever it is asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from iops.lab import BLOCK, Lab, Script, fixed
from stuntdouble.iops import Purpose, Recorder, disk, exponential
from stuntdouble.iops.quantity import GuestCount, OfGuest
from stuntdouble.site import Role

TICKS = 60  # quarters of a second
ACTS = ("look", "rate", "limit", "drain", "stun", "submit", "watch", "busy")
SERVICES = {
    "lattice": lambda k: fixed(1.0 + k % 3),
    "exponential": lambda _: exponential(1.5),
    "disk": lambda _: disk(7200, 0.1, 1.04, 1e6),
}


class Answers:
    """What one engine says of a history."""

    def __init__(self, services, stations, servers, guests, script, engine) -> None:
        self.lab = lab = Lab(engine)
        services = [SERVICES[services](k) for k in range(stations)]
        self.stations = lab.stripe(*services, servers=servers)
        self.said: list[Any] = []
        self.guests = [
            lab.guest(
                Script([(t / 4, 0, write, at * BLOCK, BLOCK) for t, write, at in sorted(mine)]),
                f"vm-{number}",
            )
            for number, mine in enumerate(guests)
        ]
        for tick, act, number in script:
            lab.at(tick / 4, lambda a=act, n=number: getattr(self, a)(n))
        lab.run(400.0)
        meter = lab.engine.meter
        assert isinstance(meter, Recorder)
        self.look(0)
        self.said += [meter.visit_rows(), [meter.ios(g.name).tolist() for g in self.guests]]

    def tell(self, event: Any, what: str) -> None:
        event.callbacks.append(lambda _: (self.said.append((what, self.lab.env.now)), self.look(0)))

    def look(self, _number: int) -> None:
        self.said.append([(g.arrived, g.in_flight, g.completed) for g in self.guests])

    def busy(self, _number: int) -> None:
        self.said.append(self.lab.engine.meter.recent_latency(["vm-0"], self.lab.env.now - 5.0))

    def rate(self, number: int) -> None:
        station = self.stations[number % len(self.stations)]
        self.lab.engine.set_rate(station, (0.5, 1.0, 2.0)[number % 3])

    def limit(self, number: int) -> None:
        self.lab.engine.set_limit(self.guests[number % len(self.guests)], number // 2)

    def drain(self, number: int) -> None:
        self.tell(self.lab.engine.drained(self.guests[number % len(self.guests)]), "drained")

    def stun(self, number: int) -> None:
        guest = self.guests[number % len(self.guests)]
        self.lab.engine.stun(guest)
        self.lab.at(self.lab.env.now + number, lambda: self.lab.engine.resume(guest))

    def submit(self, number: int) -> None:
        step = (0, int(Role.DATA), 1, self.lab.pool, number, (1 + number % 3) * BLOCK)
        event = self.lab.engine.submit([step], Purpose.CONTROL)
        self.tell(event, "submitted")
        if number % 2:  # whoever hears of an end may act on it in the middle of its instant
            event.callbacks.append(lambda _: self.rate(number))

    def watch(self, number: int) -> None:
        guest = self.guests[number % len(self.guests)]
        quantity = GuestCount(guest, OfGuest.COMPLETED)
        self.tell(self.lab.engine.watch(quantity, quantity() + number), "watched")


def history_of(seed: int) -> tuple[str, int, int, list[Any], list[Any]]:
    """Return one of the fixed histories: what ``Answers`` takes behind the engine."""
    draw = np.random.default_rng(seed)
    script = [
        (int(draw.integers(TICKS)), str(draw.choice(ACTS)), int(draw.integers(8)))
        for _ in range(12)
    ]
    guests = [
        [
            (int(draw.integers(TICKS)), bool(draw.integers(2)), int(draw.integers(64)))
            for _ in range(30)
        ]
        for _ in range(1 + seed % 2)
    ]
    return sorted(SERVICES)[seed % 3], 1 + seed % 2, 1 + seed % 4, guests, script
