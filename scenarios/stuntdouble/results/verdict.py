"""The outcome in one paragraph, computed from the numbers alone.

What is wrong comes first: bytes that do not match, then failed runs, then what was left behind.
Only then which method cost the guests least, and at which price.  A failure that the scenario is
there to show is told as what it is: not wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.results import wording
from stuntdouble.results.tradeoffs import tradeoff_sentences

if TYPE_CHECKING:
    from stuntdouble.results.model import Result
    from stuntdouble.results.remote import RemoteResult


def plain_verdict(result: Result) -> str:
    """Return what happened, for a reader who will not look at the table."""
    return " ".join(verdict_parts(result))


def verdict_parts(result: Result) -> list[str]:
    """Return the verdict in parts of a sentence or two, what matters most first."""
    checks = [(_is_right(result), verification_line(result))]
    checks.append((not result.leftovers, leftovers_line(result)))
    alarms = [line for fine, line in checks if not fine]
    assurances = [line for fine, line in checks if fine]
    return [*alarms, *comparison_sentences(result), " ".join(assurances)]


def comparison_sentences(result: Result) -> list[str]:
    """Return which runs failed, which method cost the guests least and at which price."""
    failed = [*_failures(result), *_not_restored(result)]
    cost, *others = tradeoff_sentences(result) or [""]
    headline = f"{cost} {_stalls(result)}".strip()
    return [part for part in (*failed, *_expected(result), headline, *others) if part]


def verification_line(result: Result | RemoteResult) -> str:
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


def leftovers_line(result: Result | RemoteResult) -> str:
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
    """Return whether nothing went wrong but what the scenario expects to.

    That is: no restore point is wrong, no run failed unexpectedly, every restore was possible,
    nothing was left behind.
    """
    failed = _failures(result) or _not_restored(result)
    return _is_right(result) and not failed and not result.leftovers


def _is_right(result: Result) -> bool:
    return all(point.verified is not False for point in result.restore_points)


def _failures(result: Result) -> list[str]:
    """Say which runs failed that should not have, and which should have and did not."""
    sentences = []
    for name, method in result.ordered_methods():
        failed = [run.outcome for run in method.runs if run.outcome != "ok"]
        title = wording.METHOD_TITLES[name].lower()
        if failed and name not in result.expected_failures:
            runs = f"{len(failed)} of {wording.counted(len(method.runs), 'run')}"
            sentences.append(f"With the {title}, {runs} failed: {failed[0].rstrip('.')}.")
        elif name in result.expected_failures and not failed:
            sentences.append(f"The {title} was expected to fail, and did not.")
    return sentences


def _stalls(result: Result) -> str:
    """Say how often clients would have noticed that a guest was silent."""
    counts = [(name, m.stalls.over_5_seconds) for name, m in result.ordered_methods()]
    if not any(count for _, count in counts):
        return ""
    each = wording.listed(f"{count} ({name})" for name, count in counts)
    return f"Stalls of more than 5 s, which clients outside would have noticed: {each}."


def _not_restored(result: Result) -> list[str]:
    """Say which restores could not be done; that is no word about the restore point."""
    return [
        f"With the {wording.METHOD_TITLES[name].lower()}, {why.rstrip('.')}."
        for name, method in result.ordered_methods()
        for why in method.not_restored
    ]


def _expected(result: Result) -> list[str]:
    """Say which methods failed as the scenario means them to, and why."""
    why: dict[str, list[str]] = {}
    titles = []
    for name, method in result.ordered_methods():
        failed = [run.outcome for run in method.runs if run.outcome != "ok"]
        if failed and name in result.expected_failures:
            titles.append(f"the {wording.METHOD_TITLES[name].lower()}")
            why.setdefault(failed[0].rstrip("."), []).append(name)
    if not titles:
        return []
    reasons = "; ".join(f"{reason} ({wording.listed(names)})" for reason, names in why.items())
    who = wording.listed(titles)
    shown = f"As this scenario means to show, {who} failed rather than make a wrong restore point"
    return [f"{shown}: {reasons}."]
