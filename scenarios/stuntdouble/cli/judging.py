"""The exit code of a comparison, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Corrupt
from stuntdouble.results.wording import counted, listed

if TYPE_CHECKING:
    from stuntdouble.results import RemoteResult, Result

GOAL_MET: Final = 0
GOAL_MISSED: Final = 1
WRONG_DATA: Final = Corrupt.exit_code


def judged(result: Result | RemoteResult) -> tuple[int, str]:
    """Return the exit code of *result* and why, in one line: the worst that happened counts."""
    wrong = sum(point.verified is False for point in result.restore_points)
    unchecked = sum(point.verified is None for point in result.restore_points)
    if wrong:
        differ = "differs" if wrong == 1 else "differ"
        return (
            WRONG_DATA,
            f"wrong data: {wrong} of {_points(result)} {differ} from the guest's disks",
        )
    missed = list(_missed(result))
    if missed:
        return GOAL_MISSED, f"goal missed: {'; '.join(missed)}"
    if unchecked:
        return GOAL_MET, f"goal met, but {unchecked} of {_points(result)} could not be checked"
    one = len(result.restore_points) == 1
    met = f"{_points(result)}, {'equal' if one else 'each equal'} to the guest's disks"
    failed = [name for name, _ in result.ordered_methods() if name in result.expected_failures]
    if failed:
        met = f"{listed(failed)} failed, as the scenario expects; {met}"
    return GOAL_MET, f"goal met: {met}"


def _points(result: Result | RemoteResult) -> str:
    return counted(len(result.restore_points), "restore point")


def _missed(result: Result | RemoteResult) -> list[str]:
    missed = []
    for name, method in result.ordered_methods():
        failed = sum(run.outcome != "ok" for run in method.runs)
        if name in result.expected_failures:
            if not failed:
                missed.append(f"{name}: was expected to fail and did not")
        elif failed:
            missed.append(f"{name}: {failed} of {counted(len(method.runs), 'run')} failed")
        elif not method.restore_points:
            missed.append(f"{name}: no restore point was made")
        missed += [f"{name}: {why}" for why in method.not_restored]
        if method.leftovers:
            missed.append(f"{name}: {counted(len(method.leftovers), 'thing')} left behind")
    return missed
