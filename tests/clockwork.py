"""A loop whose time passes only when told."""

from __future__ import annotations

from math import inf


class Clockwork:
    """A loop whose time passes only when told: the pacer's decisions, without a wall clock."""

    def __init__(self, rate=1.0):
        self.rate = rate
        self.now = 0.0
        self.timers = []
        self.soon = []
        self.reported = []

    def time(self):
        return self.now

    def wall_time(self):
        return self.now / self.rate

    def start_clock(self):
        pass

    def call_soon(self, callback, *args):
        self.soon.append((callback, args))

    def call_at(self, when, callback):
        timer = Timer(when, callback)
        self.timers.append(timer)
        return timer

    def call_exception_handler(self, context):
        self.reported.append(context["exception"])

    def next_wake(self):
        return min((timer.moment for timer in self.timers if timer.live), default=inf)

    def wake(self):
        timer = min((timer for timer in self.timers if timer.live), key=lambda t: t.moment)
        self.now = max(self.now, timer.moment)
        timer.live = False
        timer.callback()


class Timer:
    def __init__(self, moment, callback):
        self.moment = moment
        self.callback = callback
        self.live = True

    def when(self):
        return self.moment

    def cancel(self):
        self.live = False
