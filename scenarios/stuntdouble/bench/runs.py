"""Runs of a world: build it, let it warm up, measure; and whether the engines agree on it."""

from __future__ import annotations

import gc
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.bench.cases import Case, Sample, rss_mib, wall_seconds
from stuntdouble.errors import Bug

if TYPE_CHECKING:
    from stuntdouble.bench.worlds import Content, EngineName, Scenario

STATUS: Final = Path("/proc/self/status")


def measure(scenario: Scenario, engine: EngineName, content: Content) -> Sample:
    """Run a scenario once, from nothing, and measure what follows its warm-up."""
    gc.collect()
    world = scenario.build(engine, content)
    tally = world.tally
    world.env.run(max(scenario.warm_up_seconds, 1e-9))
    tally.close()
    ios, served, visits, events = tally.ios, tally.served, int(tally.by_purpose.sum()), world.events
    fired = world.fired()
    began, worked = wall_seconds(), process_time()
    world.env.run(scenario.warm_up_seconds + scenario.seconds)
    tally.close()
    seconds = wall_seconds() - began
    facts = {
        "share of a core": (process_time() - worked) / seconds,  # low: others were on it
        "p50 ms": 1000 * tally.percentile_seconds(50),
        "p99 ms": 1000 * tally.percentile_seconds(99),
        "RSS MiB": rss_mib(STATUS),
        **_per_write(fired, world.fired()),
        **world.facts(),
    }
    return Sample(
        tally.ios - ios,
        seconds,
        tally.served - served,
        int(tally.by_purpose.sum()) - visits,
        world.events - events,
        facts,
    )


def _per_write(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return how often each kind of side I/O came about in between, per foreground write."""
    writes = after.get("writes", 0.0) - before.get("writes", 0.0)
    if not writes:
        return {}
    return {
        f"{kind} per write": (times - before[kind]) / writes
        for kind, times in after.items()
        if kind != "writes"
    }


def agree(scenario: Scenario, content: Content) -> int:
    """Run both engines on a scenario; return on how many I/Os they agree, to the bit.

    Raises:
        Bug: they do not.
    """
    found = []
    for engine in ("specification", "compiled"):
        world = scenario.build(engine, content)
        world.env.run(scenario.warm_up_seconds + scenario.seconds)
        world.tally.close()
        tally = world.tally
        found.append((tally.ios, tally.by_purpose.tolist(), tally.print, world.fired()))
    if found[0] != found[1]:
        raise Bug(f"the engines do not agree on {scenario}: {found[0]} and {found[1]}")
    return int(found[0][0])


def cases(bench: str, scenario: Any, piece_seconds: float, *contents: Content) -> list[Case]:
    """Return the cases of a scenario: the specification on the first *piece_seconds*, ours whole.

    The specification's run says, too, on how many I/Os of the piece both engines agreed.
    """
    piece = replace(scenario, warm_up_seconds=0.0, seconds=piece_seconds)
    return [
        Case(bench, "specification, a slice", partial(_compared, piece), "counts"),
        *(
            Case(bench, "compiled", partial(measure, scenario, "compiled", content), content)
            for content in contents
        ),
    ]


def _compared(piece: Scenario) -> Sample:
    sample = measure(piece, "specification", "counts")
    sample.facts["I/Os equal to the bit"] = agree(piece, "counts")
    return sample
