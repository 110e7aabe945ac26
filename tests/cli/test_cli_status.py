"""The line that says how a site fares, and the word when it cannot keep up."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from stuntdouble.cli.status import Status, line


class Loop:
    """Enough of a paced loop."""

    def __init__(self):
        self.rate = 10.0
        self.paused = False
        self.now = 0.0
        self.timers = []

    def time(self):
        return 3725.0

    def wall_time(self):
        return self.now

    def call_later_wall(self, seconds, callback, *args):
        self.timers.append((seconds, lambda: callback(*args)))


@pytest.fixture
def site():
    guests = [SimpleNamespace(completed=1200), SimpleNamespace(completed=34)]
    world = SimpleNamespace(engine=SimpleNamespace(guests=guests))
    return SimpleNamespace(loop=Loop(), world=world, pacer=SimpleNamespace(lag_seconds=0.0))


def console(*, terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=200)


def test_a_lag_is_said_at_once_and_then_every_ten_seconds():
    shown, loop = console(terminal=False), Loop()
    with Status(console=shown) as status:
        for second in range(25):
            loop.now = float(second)
            status.lags(loop, 5.0)  # half a wall second: a hiccup
        assert shown.file.getvalue() == ""
        for second in range(100, 125):
            loop.now = float(second)
            status.lags(loop, 600.0)
    lines = shown.file.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("stuntdouble: site time lags by 10 min")
    assert "cannot keep up with rate 10;" in lines[0]


def test_a_lag_that_shrinks_is_said_to_be_made_up_for():
    shown, loop = console(terminal=False), Loop()
    with Status(console=shown) as status:
        for now, seconds in ((100, 900.0), (120, 600.0), (125, 0.0), (140, 600.0)):
            loop.now = float(now)
            status.lags(loop, seconds)
    endings = [text.rpartition(": ")[2].split()[0] for text in shown.file.getvalue().splitlines()]
    assert endings == ["this", "it", "this"]


def test_quiet_says_nothing(site):
    shown = console(terminal=True)
    with Status(quiet=True, console=shown) as status:
        status.watch(site)
        status.lags(site.loop, 1e6)
    assert shown.file.getvalue() == ""
    assert site.loop.timers == []


def test_the_line_is_drawn_again_until_the_end_on_a_terminal_alone(site):
    shown = console(terminal=True)
    with Status(console=shown) as status:
        status.watch(site)
        [(seconds, again)] = site.loop.timers
        assert seconds == 0.5
        again()
        assert len(site.loop.timers) == 2
    assert "1,234 I/Os" in shown.file.getvalue()
    site.loop.timers[-1][1]()
    assert len(site.loop.timers) == 2
    log = console(terminal=False)
    with Status(console=log) as status:
        status.watch(site)
    assert log.file.getvalue() == ""


def test_the_line_says_how_the_site_fares(site):
    assert line(site) == "site time 1 h 02 min · rate 10 · 1,234 I/Os"
    site.loop.paused = True
    site.pacer.lag_seconds = 60.0
    assert line(site).endswith("· paused · 1,234 I/Os · lags by 1 min 00 s")
