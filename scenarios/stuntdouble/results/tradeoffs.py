"""Which method cost the guests least, and what it costs instead: in sentences.

The yardstick is the excess latency of all guest I/O, the one figure in which every I/O that took
longer ends up; a stunned guest issues none, so stuns and stalls are told beside it.  Methods that
failed are not ranked: not to finish costs nobody much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from stuntdouble.results import wording
from stuntdouble.results.comparison import (
    COST_SAME_WITHIN,
    SAME_WITHIN,
    excess_milliseconds_per_io,
    excess_seconds,
    succeeded,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stuntdouble.results.figures import MethodName
    from stuntdouble.results.model import MethodResult, Result

    Methods = Sequence[tuple[MethodName, MethodResult]]


class Price(NamedTuple):
    """Something that one method may have more of than another, and would rather not."""

    words: str
    figure: Callable[[MethodResult], float | None]
    text: Callable[[float | None], str]


_PRICES: Final = (
    Price("a VM snapshot open longer", lambda m: m.snapshot_open_seconds, wording.seconds),
    Price("a longer stun", lambda m: m.stuns.longest_seconds, wording.seconds),
    Price("larger deltas", lambda m: m.delta_peak_bytes, wording.size),
    Price("more array space for snapshots", lambda m: m.array_snapshot_peak_bytes, wording.size),
    Price(
        "a higher p95 latency after the job",
        lambda m: m.foreground.after.latency_ms.p95,
        wording.milliseconds,
    ),
    Price("a longer backup", lambda m: m.backup.seconds, wording.seconds),
    Price("more to read", lambda m: m.backup.bytes_read, wording.size),
)


def tradeoff_sentences(result: Result) -> list[str]:
    """Return who cost the guests least, what merging felt like, and the price of the best."""
    sound = [(name, method) for name, method in result.ordered_methods() if succeeded(method)]
    if not sound:
        return []
    best = _cheapest(sound)
    return [
        _cost(sound, best),
        *_merging(sound),
        _times(sound),
        *_prices(sound, best),
        *_always_in_full(sound),
    ]


def _cheapest(methods: Methods) -> list[MethodName]:
    """Return the method that cost the guests least, and those that cost about the same."""
    least = min(excess_seconds(method) for _, method in methods)
    return [
        name
        for name, method in methods
        if excess_seconds(method) - least
        <= COST_SAME_WITHIN * max(abs(least), abs(excess_seconds(method)))
    ]


def _cost(methods: Methods, best: list[MethodName]) -> str:
    waited = {name: wording.seconds(excess_seconds(method)) for name, method in methods}
    if len(methods) == 1:
        ((name, method),) = methods
        each = wording.milliseconds(excess_milliseconds_per_io(method))
        return (
            f"With the {_title(name)}, the guests' I/O took {waited[name]} longer, all of it"
            f" together, than without a backup: {each} per I/O."
        )
    others = [name for name in waited if name not in best]
    against = f", against {_listed(waited, others)}" if others else ""
    than = "longer, all of it together, than without a backup"
    if len(best) == 1:
        mine = f"{waited[best[0]]} {than}{against}"
        return f"The {_title(best[0])} cost the guests least: their I/O took {mine}."
    titles = wording.listed(f"the {_title(name)}" for name in best)
    least = "least, and about the same" if others else "about the same"
    mine = f"{_listed(waited, best)} {than}{against}"
    return f"{titles[0].upper()}{titles[1:]} cost the guests {least}: their I/O took {mine}."


def _listed(texts: dict[MethodName, str], names: list[MethodName]) -> str:
    return wording.listed(f"{texts[name]} ({name})" for name in names)


def _merging(methods: Methods) -> list[str]:
    """Say how long and how bad it was when the VM snapshots were removed."""
    felt = [
        (name, method)
        for name, method in methods
        if method.foreground.consolidating.latency_ms.p95 is not None
    ]
    if not felt:
        return []
    before = felt[0][1].foreground.before.latency_ms.p95
    usual = f", against {wording.milliseconds(before)} before the job" if before else ""
    how = _grouped(felt, _while_merging)
    return [f"Merging the deltas back took {how}{usual}."]


def _while_merging(method: MethodResult) -> str:
    load = method.foreground.consolidating
    p95 = wording.milliseconds(load.latency_ms.p95)
    return f"{wording.seconds(load.seconds)} at a p95 latency of {p95}"


def _times(methods: Methods) -> str:
    opened = _grouped(methods, lambda m: wording.seconds(m.snapshot_open_seconds))
    stuns = _grouped(methods, lambda m: wording.seconds(m.stuns.longest_seconds))
    took = _grouped(methods, lambda m: wording.seconds(m.backup.seconds))
    return (
        f"VM snapshots were open for up to {opened}; the longest stun was {stuns};"
        f" the backup took {took}."
    )


def _grouped(methods: Methods, text: Callable[[MethodResult], str]) -> str:
    """Return the texts of all methods, those that are alike once: ``"9 s (a and b), 1 s (c)"``."""
    if len(methods) == 1:
        return text(methods[0][1])
    groups: dict[str, list[str]] = {}
    for name, method in methods:
        groups.setdefault(text(method), []).append(name)
    return wording.listed(f"{words} ({wording.listed(names)})" for words, names in groups.items())


def _prices(methods: Methods, best: list[MethodName]) -> list[str]:
    """Say in what each of the *best* is worse than another method."""
    sentences = []
    for name, method in methods:
        if name in best and len(methods) > 1:
            others = [other for other_name, other in methods if other_name != name]
            prices = [words for price in _PRICES if (words := _price(price, method, others))]
            if prices:
                sentences.append(f"The price of the {_title(name)}: {wording.listed(prices)}.")
    return sentences


def _price(price: Price, method: MethodResult, others: list[MethodResult]) -> str:
    mine = price.figure(method)
    theirs = [figure for other in others if (figure := price.figure(other)) is not None]
    if mine is None or not theirs or mine - min(theirs) <= SAME_WITHIN * min(theirs):
        return ""
    if not min(theirs):
        return f"{price.words} ({price.text(mine)}, another method none)"
    return f"{price.words} ({price.text(mine)}, at best {price.text(min(theirs))})"


def _always_in_full(methods: Methods) -> list[str]:
    """Say which methods could not run incrementals where others could."""
    kinds = {name: {run.kind for run in method.runs} for name, method in methods}
    if not any("incremental" in kind for kind in kinds.values()):
        return []
    full = [f"the {_title(name)}" for name, kind in kinds.items() if kind == {"full"}]
    return [f"Every run of {wording.listed(full)} had to read in full."] if full else []


def _title(name: MethodName) -> str:
    return wording.METHOD_TITLES[name].lower()
