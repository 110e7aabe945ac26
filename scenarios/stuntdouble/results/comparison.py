"""The comparison as rows: every figure once, one cell per method, and which of them is best.

The terminal and the page draw the same rows.  A row has a best cell only where one value is
better than another for everybody (a shorter stun), not where it is a matter of course (more bytes
in a full backup than in an incremental), and only where methods really differ.  Phases are not
ranked: they differ in length between methods, so only the whole job compares.  Nor is a method
that failed: to give up early is cheap.  Rows that say
nothing, zero or no figure with every method, are folded: named in a line below the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from stuntdouble.results import wording
from stuntdouble.results.figures import LOAD_PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stuntdouble.results.figures import Kind, MethodName
    from stuntdouble.results.model import MethodResult, Result
    from stuntdouble.results.parts import DatastoreResult, Load, PointResult, RunResult, WholeJob

    Methods = tuple[MethodResult, ...]
    Figures = Callable[[MethodResult], float | None]

SAME_WITHIN: Final = 0.02
"""Values within two per cent of the best count as equally good: less is noise of the seed."""

COST_SAME_WITHIN: Final = 0.1
"""Excess latencies within ten per cent are called about the same: another seed may turn them."""

_NO_FIGURE: Final = {wording.NONE, f"{wording.NONE} ({wording.NONE})"}
_ZEROS: Final = {"0", "0 s", "0 B", *_NO_FIGURE}


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure as text, and as the number by which it is ranked (None: it has no rank)."""

    text: str
    rank: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A figure for all methods; ``best`` holds the columns that deserve a mark."""

    label: str
    cells: tuple[Cell, ...]
    better: Literal["lower", "higher"] = "lower"
    same_within: float = SAME_WITHIN

    @property
    def best(self) -> frozenset[int]:
        """The columns that are as good as the best, or none when no column is worse."""
        ranked = {i: cell.rank for i, cell in enumerate(self.cells) if cell.rank is not None}
        if len(ranked) < 2:
            return frozenset()
        best = min(ranked.values()) if self.better == "lower" else max(ranked.values())
        winners = frozenset(
            i
            for i, value in ranked.items()
            if abs(value - best) <= self.same_within * max(abs(best), abs(value))
        )
        return winners if len(winners) < len(ranked) else frozenset()

    @property
    def nothing(self) -> Literal["zero", "no figure", ""]:
        """What every cell says, where none says anything else."""
        texts = {cell.text for cell in self.cells}
        if texts <= _NO_FIGURE:
            return "no figure"
        return "zero" if texts <= _ZEROS else ""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows about one subject; ``own`` where their labels say nothing without its title."""

    title: str
    rows: tuple[Row, ...]
    own: bool = False

    def folded(self, what: Literal["zero", "no figure"]) -> list[str]:
        """Return the names of the rows that say *what* and are left out."""
        gone = [row for row in self.rows if row.nothing == what]
        if len(gone) == len(self.rows):
            return [self.title]
        return [f"{self.title}, {row.label}" if self.own else row.label for row in gone]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All groups with something in them, with the methods in the order of the cells."""

    methods: tuple[MethodName, ...]
    groups: tuple[Group, ...]
    folded: tuple[str, ...]
    """Sentences that name the rows left out."""


def compare(result: Result) -> Comparison:
    """Lay out every figure of *result* side by side."""
    names = tuple(name for name, _ in result.ordered_methods())
    methods = tuple(method for _, method in result.ordered_methods())
    whole = (
        Group("VM snapshots", _snapshot_rows(methods)),
        Group("Stuns and stalls", _stun_rows(methods)),
        Group("Consolidation", _consolidation_rows(methods)),
        *(Group(f"Guest I/O {_title(p)}", _load_rows(methods, p), own=True) for p in LOAD_PHASES),
        Group("Guest I/O over the whole job", _whole_rows(methods), own=True),
        Group("Array busy (due to backup)", _array_rows(methods), own=True),
        Group("Backup", _backup_rows(methods)),
        Group("Restore points", _point_rows(methods)),
    )
    kept = (replace(g, rows=tuple(row for row in g.rows if not row.nothing)) for g in whole)
    return Comparison(names, tuple(group for group in kept if group.rows), tuple(_folded(whole)))


def _folded(groups: tuple[Group, ...]) -> Iterator[str]:
    kinds: tuple[tuple[Literal["zero", "no figure"], str], ...] = (
        ("zero", "Zero with every method"),
        ("no figure", "No figure"),
    )
    for kind, words in kinds:
        names = [name for group in groups for name in group.folded(kind)]
        if names:
            yield f"{words}: {'; '.join(names)}."


def headlines(result: Result) -> tuple[Row, ...]:
    """Return the few figures that a reader in a hurry wants; the first two are the outcome."""
    methods = tuple(method for _, method in result.ordered_methods())
    return (
        _cost_row("longer, all guest I/O together", methods),
        _row("per guest I/O", methods, excess_milliseconds_per_io, wording.milliseconds),
        _row("p95 latency during job", methods, _whole_p95, wording.milliseconds),
        _row("VM snapshot open", methods, lambda m: m.snapshot_open_seconds, wording.seconds),
        _row("longest stun", methods, lambda m: m.stuns.longest_seconds, wording.seconds),
        _row("delta, peak", methods, lambda m: m.delta_peak_bytes, wording.size),
        _row("consolidation", methods, lambda m: m.consolidation.seconds, wording.seconds),
        _row("array snapshots, peak", methods, lambda m: m.array_snapshot_peak_bytes, wording.size),
        _row("backup took", methods, lambda m: m.backup.seconds, wording.seconds),
        _row("read from disks", methods, lambda m: m.backup.bytes_read, wording.size),
        _point_rows(methods)[0],
    )


def succeeded(method: MethodResult) -> bool:
    """Return whether every run of a method ended well."""
    return all(run.outcome == "ok" for run in method.runs)


def excess_seconds(method: MethodResult) -> float:
    """Return what a method cost the guests: how much longer all their I/O took, in seconds."""
    return method.foreground.whole.excess_latency_seconds


def excess_milliseconds_per_io(method: MethodResult) -> float | None:
    """Return how much longer a guest I/O of the run took on average, in milliseconds."""
    count = sum(method.series.iops) * method.series.bin_seconds
    return 1000 * excess_seconds(method) / count if count >= 1 else None


def _whole_p95(method: MethodResult) -> float | None:
    return method.foreground.whole.latency_ms.p95


def tightest(datastores: Iterable[DatastoreResult]) -> DatastoreResult | None:
    """Return the datastore with the least free share, or None when there is none."""
    sized = [store for store in datastores if store.capacity_bytes]
    return min(sized, key=lambda store: store.free_bytes_min / store.capacity_bytes, default=None)


def _title(phase: str) -> str:
    return wording.PHASE_TITLES[phase]


def _row(
    label: str,
    methods: Methods,
    figure: Figures,
    text: Callable[[float | None], str],
    better: Literal["lower", "higher"] = "lower",
) -> Row:
    values = [figure(method) for method in methods]
    cells = (
        Cell(text(value), value if succeeded(method) else None)
        for method, value in zip(methods, values, strict=True)
    )
    return Row(label, tuple(cells), better)


def _cost_row(label: str, methods: Methods) -> Row:
    row = _row(label, methods, excess_seconds, wording.seconds)
    return replace(row, same_within=COST_SAME_WITHIN)


def _plain(label: str, methods: Methods, text: Callable[[MethodResult], str]) -> Row:
    return Row(label, tuple(Cell(text(method)) for method in methods))


def _unranked(row: Row) -> Row:
    return Row(row.label, tuple(Cell(cell.text) for cell in row.cells))


def _snapshot_rows(methods: Methods) -> tuple[Row, ...]:
    return (
        _row("open, longest", methods, lambda m: m.snapshot_open_seconds, wording.seconds),
        _row("delta, peak", methods, lambda m: m.delta_peak_bytes, wording.size),
        _row("datastore free, lowest", methods, _free_bytes, wording.size, "higher"),
        _row("  as a share", methods, _free_share, wording.share, "higher"),
    )


def _free_bytes(method: MethodResult) -> float | None:
    store = tightest(method.datastores)
    return None if store is None else store.free_bytes_min


def _free_share(method: MethodResult) -> float | None:
    store = tightest(method.datastores)
    return None if store is None else store.free_bytes_min / store.capacity_bytes


def _stun_rows(methods: Methods) -> tuple[Row, ...]:
    return (
        _row("stuns", methods, lambda m: m.stuns.count, wording.number),
        _row("stunned, total", methods, lambda m: m.stuns.total_seconds, wording.seconds),
        _row("stunned, longest", methods, lambda m: m.stuns.longest_seconds, wording.seconds),
        _row("client stalls over 5 s", methods, lambda m: m.stalls.over_5_seconds, wording.number),
        _row(
            "client stalls over 30 s", methods, lambda m: m.stalls.over_30_seconds, wording.number
        ),
        _row(
            "client stalls over 60 s", methods, lambda m: m.stalls.over_60_seconds, wording.number
        ),
    )


def _consolidation_rows(methods: Methods) -> tuple[Row, ...]:
    return (
        _plain("rounds", methods, lambda m: wording.number(m.consolidation.rounds)),
        _row("duration", methods, lambda m: m.consolidation.seconds, wording.seconds),
        _plain("converged", methods, lambda m: wording.yes_no(m.consolidation.converged)),
    )


def _load_rows(methods: Methods, phase: str) -> tuple[Row, ...]:
    def load(method: MethodResult) -> Load:
        found: Load = getattr(method.foreground, phase)
        return found

    def iops(method: MethodResult) -> float | None:
        return load(method).iops if load(method).seconds else None

    return (
        _plain("length", methods, lambda m: wording.seconds(load(m).seconds or None)),
        _plain("IOPS", methods, lambda m: wording.number(iops(m))),
        *(_unranked(row) for row in _latency_rows(methods, load)),
    )


def _whole_rows(methods: Methods) -> tuple[Row, ...]:
    def whole(method: MethodResult) -> WholeJob:
        return method.foreground.whole

    return (
        _cost_row("excess latency", methods),
        _plain(
            "  per I/O of the run",
            methods,
            lambda m: wording.milliseconds(excess_milliseconds_per_io(m)),
        ),
        _row("IOPS", methods, lambda m: whole(m).iops, wording.number, "higher"),
        *_latency_rows(methods, whole),
    )


def _latency_rows(
    methods: Methods, part: Callable[[MethodResult], Load | WholeJob]
) -> tuple[Row, ...]:
    def row(label: str, field: str) -> Row:
        return _row(
            label, methods, lambda m: getattr(part(m).latency_ms, field), wording.milliseconds
        )

    return (
        row("latency p50", "p50"),
        row("latency p95", "p95"),
        row("latency p99", "p99"),
        row("latency max", "max"),
    )


def _array_rows(methods: Methods) -> tuple[Row, ...]:
    def busy(phase: str) -> Row:
        def text(method: MethodResult) -> str:
            whole = getattr(method.array_utilisation, phase)
            part = getattr(method.array_utilisation_backup_share, phase)
            return f"{wording.share(whole)} ({wording.share(part)})"

        return _plain(_title(phase), methods, text)

    return (
        *(busy(phase) for phase in LOAD_PHASES),
        _plain(
            "snapshot space, peak", methods, lambda m: wording.size(m.array_snapshot_peak_bytes)
        ),
    )


def _backup_rows(methods: Methods) -> tuple[Row, ...]:
    rows = [_plain("kind", methods, lambda m: m.backup.kind)]
    kinds: tuple[Kind, ...] = ("full", "incremental")
    for kind in kinds:
        if any(run.kind == kind for method in methods for run in method.runs):
            rows += _kind_rows(methods, kind)
    if any(len(method.runs) != 1 for method in methods):
        rows += [
            _row("all runs, duration", methods, lambda m: m.backup.seconds, wording.seconds),
            _row("all runs, read", methods, lambda m: m.backup.bytes_read, wording.size),
        ]
    return (
        *rows,
        _plain("stored", methods, lambda m: wording.size(m.backup.bytes_stored)),
        _plain("windows met", methods, _windows),
        _row("RPO achieved, worst", methods, _rpo_seconds, wording.seconds),
        _plain("runs that failed", methods, _failures),
    )


def _kind_rows(methods: Methods, kind: Kind) -> list[Row]:
    def runs(method: MethodResult) -> list[RunResult]:
        return [run for run in method.runs if run.kind == kind and run.outcome == "ok"]

    def duration(method: MethodResult) -> float | None:
        return _mean([run.end - run.start for run in runs(method)])

    def read(method: MethodResult) -> float | None:
        return _mean([run.bytes_read for run in runs(method)])

    return [
        _row(f"{kind}, duration (mean)", methods, duration, wording.seconds),
        _row(f"{kind}, read (mean)", methods, read, wording.size),
    ]


def _mean(values: list[float] | list[int]) -> float | None:
    return sum(values) / len(values) if values else None


def _windows(method: MethodResult) -> str:
    asked = [run.window_met for run in method.runs if run.window_met is not None]
    return f"{sum(asked)} of {len(asked)}" if asked else wording.NONE


def _rpo_seconds(method: MethodResult) -> float | None:
    achieved = (run.rpo_seconds_achieved for run in method.runs)
    return max((value for value in achieved if value is not None), default=None)


def _failures(method: MethodResult) -> str:
    return _of([run.outcome != "ok" for run in method.runs]) or "0"


def _of(found: list[bool]) -> str:
    """Return how many of *found* are true, or nothing where none is."""
    return f"{sum(found)} of {len(found)}" if any(found) else ""


def _point_rows(methods: Methods) -> tuple[Row, ...]:
    def row(label: str, wanted: Callable[[PointResult], bool]) -> Row:
        return _plain(
            label, methods, lambda m: _of([wanted(point) for point in m.restore_points]) or "0"
        )

    def verified(method: MethodResult) -> str:
        found = [point.verified is True for point in method.restore_points]
        return f"{sum(found)} of {len(found)}"

    return (
        _plain("restore points verified", methods, verified),
        row("restore points wrong", lambda p: p.verified is False),
        row("restore points not checked", lambda p: p.verified is None),
        row("with disks skipped", lambda p: bool(p.skipped)),
    )
