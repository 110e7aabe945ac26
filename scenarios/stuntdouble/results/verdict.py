"""The outcome in one paragraph, computed from the numbers alone.

What is wrong comes first: bytes that do not match, then failed runs, then what was left behind.
Only then which method cost the guests least, and by what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.results import wording
from stuntdouble.results.comparison import SAME_WITHIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.results.figures import MethodName
    from stuntdouble.results.model import MethodResult, Result


def plain_verdict(result: Result) -> str:
    """Return what happened, for a reader who will not look at the table."""
    checks = [(_is_right(result), verification_line(result))]
    checks.append((not result.leftovers, leftovers_line(result)))
    alarms = [line for fine, line in checks if not fine]
    assurances = [line for fine, line in checks if fine]
    return " ".join([*alarms, comparison_sentences(result), *assurances])


def comparison_sentences(result: Result) -> str:
    """Return which runs failed, which method cost the guests least, and the main figures."""
    return " ".join([*_failures(result), *_winner(result), _main_figures(result)])


def verification_line(result: Result) -> str:
    """Return how many restore points were verified, how many are wrong and how many unchecked."""
    points = result.restore_points
    if not points:
        return "No restore point was made."
    right = sum(point.verified is True for point in points)
    wrong = sum(point.verified is False for point in points)
    unchecked = len(points) - right - wrong
    if right == len(points):
        what = "The restore point equals" if right == 1 else f"All {right} restore points equal"
        return f"{what} what the guests had written, byte for byte."
    parts = [(right, "verified byte for byte"), (wrong, "WRONG"), (unchecked, "not checked")]
    found = wording.listed(f"{count} {what}" for count, what in parts if count)
    return f"Of {wording.counted(len(points), 'restore point')}: {found}."


def leftovers_line(result: Result) -> str:
    """Return what the jobs left behind, or that they left nothing."""
    if not result.leftovers:
        return "Nothing was left behind: no snapshot, mapping, volume or mount."
    names = wording.listed(
        f"{left.kind} {left.name} ({name})"
        for name, method in result.ordered_methods()
        for left in method.leftovers
    )
    return f"Left behind: {names}."


def is_sound(result: Result) -> bool:
    """Return whether no restore point is wrong, no run failed and nothing was left behind."""
    return _is_right(result) and not _failures(result) and not result.leftovers


def _is_right(result: Result) -> bool:
    return all(point.verified is not False for point in result.restore_points)


def _failures(result: Result) -> list[str]:
    sentences = []
    for name, method in result.ordered_methods():
        failed = [run.outcome for run in method.runs if run.outcome != "ok"]
        if failed:
            runs = f"{len(failed)} of {wording.counted(len(method.runs), 'run')}"
            title = wording.METHOD_TITLES[name].lower()
            sentences.append(f"With the {title}, {runs} failed: {failed[0].rstrip('.')}.")
    return sentences


def _winner(result: Result) -> list[str]:
    """Say which method cost the guests least over the whole job, if one clearly did."""
    cost = {name: m.foreground.whole.excess_latency_seconds for name, m in result.ordered_methods()}
    if len(cost) < 2:
        return []
    ranking: list[MethodName] = sorted(cost, key=lambda name: cost[name])
    best, second = cost[ranking[0]], cost[ranking[1]]
    if second - best <= SAME_WITHIN * max(abs(best), abs(second)):
        return ["No method clearly cost the guests least over the whole job."]
    others = wording.listed(
        f"{wording.seconds(cost[name])} with the {wording.METHOD_TITLES[name].lower()}"
        for name in ranking[1:]
    )
    title = wording.METHOD_TITLES[ranking[0]].lower()
    sentence = (
        f"The {title} cost the guests least: their I/O waited {wording.seconds(best)} longer in"
        f" total than it would have at its usual latency, against {others}."
    )
    return [sentence]


def _main_figures(result: Result) -> str:
    """Set the main figures of all methods side by side in one sentence."""
    methods = result.ordered_methods()

    def figures(text: Callable[[MethodResult], str]) -> str:
        return wording.listed(text(method) for _, method in methods)

    named = wording.listed(
        wording.seconds(method.snapshot_open_seconds) + (f" ({name})" if len(methods) > 1 else "")
        for name, method in methods
    )
    stuns = figures(lambda m: wording.seconds(m.stuns.longest_seconds))
    took = figures(lambda m: wording.seconds(m.backup.seconds))
    return (
        f"VM snapshots were open for up to {named}; the longest stun was {stuns};"
        f" the backup took {took}."
    )
