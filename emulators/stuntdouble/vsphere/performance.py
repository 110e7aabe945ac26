"""Performance statistics: who has which, over which intervals, in either format.

VMs and hosts have samples of 20 s, kept for an hour; these and datastores have sums of 300 s, for
as long.  A vCenter keeps the latter for a day and coarser ones for a year; nothing here is that old.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.vsphere.counters import COUNTERS, Counter, Source
from stuntdouble.vsphere.datastores import Datastore
from stuntdouble.vsphere.faults import invalid_argument
from stuntdouble.vsphere.hosts import HostSystem
from stuntdouble.vsphere.objects import Managed, operation, prop
from stuntdouble.vsphere.samples import INTERVAL_SECONDS, KEPT
from stuntdouble.vsphere.vm import VirtualMachine
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session

PERIOD_SECONDS: Final = 300
"""The shortest of a vCenter's historical intervals (vSphere API, HistoricalInterval)."""
VALUES_MAX: Final = 1_000_000
"""Values in one answer: what a thousand VMs did in an hour, in five counters.  Chosen."""
LEVELS: Final = range(1, 5)
"""Levels of collection (vSphere API, PerfCounterInfo.level)."""

_P: Final = vim.PerformanceManager
_LIVE: Final = (VirtualMachine, HostSystem)
_ROLLUPS: Final = ("average", "maximum", "minimum", "latest", "summation", "none")
_STATS: Final = ("absolute", "delta", "rate")


class _Budget:
    """How many values an answer may still have."""

    def __init__(self) -> None:
        self._left = VALUES_MAX

    def spend(self, values: int) -> None:
        """Take so many; refuse what asks for too much before it is worked out."""
        self._left -= values
        if self._left < 0:
            raise invalid_argument("querySpec.size", f"it asks for more than {VALUES_MAX} values")


class PerformanceManager(Managed):
    """``vim.PerformanceManager``."""

    kind = vim.PerformanceManager

    def __init__(self, center: VirtualCenter, moid: str) -> None:
        super().__init__(center, moid)
        self._source = Source(center)

    # What there is. --------------------------------------------------------------------------

    @prop
    def description(self) -> Any:
        return new(
            vim.PerformanceDescription,
            counterType=[_named(each) for each in _ROLLUPS],
            statsType=[_named(each) for each in _STATS],
        )

    @prop
    def historical_interval(self) -> list[Any]:
        length = KEPT * INTERVAL_SECONDS
        return [
            new(
                vim.HistoricalInterval,
                key=1,
                samplingPeriod=PERIOD_SECONDS,
                name="Past hour",
                length=length,
                level=1,
                enabled=True,
            )
        ]

    @prop
    def perf_counter(self) -> list[Any]:
        return [counter.described(key) for key, counter in _numbered()]

    @operation("QueryPerfCounter")
    def query_counters(self, session: Session, counter_id: list[int]) -> list[Any]:
        del session
        if len(counter_id) > len(COUNTERS):
            raise invalid_argument("counterId", f"there are no more than {len(COUNTERS)} counters")
        return [_counter(key, "counterId").described(key) for key in counter_id]

    @operation("QueryPerfCounterByLevel")
    def query_by_level(self, session: Session, level: int) -> list[Any]:
        """Return the counters that are collected at a level: those of lower ones, too."""
        del session
        if level not in LEVELS:
            raise invalid_argument("level", f"{level} is none of 1 to 4")
        return [c.described(key) for key, c in _numbered() if c.levels[0] <= level]

    @operation("QueryPerfProviderSummary")
    def query_provider(self, session: Session, entity: Any) -> Any:
        del session
        found = self._provider(entity)
        if found is None:
            raise invalid_argument("entity", "it has no statistics")
        live = isinstance(found, _LIVE)
        return new(
            _P.ProviderSummary,
            entity=found.ref,
            currentSupported=live,
            summarySupported=True,
            refreshRate=INTERVAL_SECONDS if live else None,
        )

    @operation("QueryAvailablePerfMetric")
    def query_available(
        self,
        session: Session,
        entity: Any,
        begin_time: datetime | None = None,
        end_time: datetime | None = None,
        interval_id: int | None = None,
    ) -> list[Any]:
        """Return what there is of an entity; nothing where no interval is over yet."""
        del session
        found = self._provider(entity)
        if found is None or (interval_id == INTERVAL_SECONDS and not isinstance(found, _LIVE)):
            return []
        self._source.refresh()
        period = _period(found, interval_id)
        if not list(self._spans(period, begin_time, end_time)):
            return []
        return [
            new(_P.MetricId, counterId=key, instance=instance)
            for key, counter in _numbered()
            for instance in counter.instances(self._source, found)
        ]

    def _provider(self, ref: Any) -> Managed | None:
        """Return the entity that a client names, None where it has no statistics."""
        found = self.center.resolve(ref)
        return found if isinstance(found, (*_LIVE, Datastore)) else None

    # Values. ---------------------------------------------------------------------------------

    @operation("QueryPerf")
    def query(self, session: Session, query_spec: list[Any]) -> list[Any]:
        """Return the values that are asked for; entities without statistics are left out."""
        del session
        self._source.refresh()
        found = [(self._provider(spec.entity), spec) for spec in query_spec]
        budget = _Budget()
        return [self._metric(entity, spec, budget) for entity, spec in found if entity is not None]

    @operation("QueryPerfComposite")
    def query_composite(self, session: Session, query_spec: Any) -> Any:
        """Return the values of a host, and those of each VM on it."""
        del session
        if not query_spec.metricId:
            raise invalid_argument("querySpec.metricId", "it is empty")
        host = self.center.resolve(query_spec.entity)
        if not isinstance(host, HostSystem):
            raise invalid_argument("querySpec.entity", "it is no host")
        self._source.refresh()
        roots = self.center.roots
        within = [vm for vm in roots.vms() if roots.host_of(vm.vm) is host]
        budget = _Budget()
        return new(
            _P.CompositeEntityMetric,
            entity=self._metric(host, query_spec, budget),
            childEntity=[self._metric(vm, query_spec, budget) for vm in within],
        )

    def _metric(self, entity: Managed, spec: Any, budget: _Budget) -> Any:
        period = _period(entity, spec.intervalId)
        spans = list(self._spans(period, spec.startTime, spec.endTime))
        if spec.maxSample is not None and period == INTERVAL_SECONDS:
            if spec.maxSample < 1:
                raise invalid_argument("querySpec.maxSample", f"{spec.maxSample} is below 1")
            spans = spans[-spec.maxSample :]
        wanted = list(self._wanted(entity, spec.metricId))
        budget.spend(len(wanted) * len(spans))
        series = [
            (key, instance, [round(c.measure(self._source, entity, instance, s)) for s in spans])
            for key, c, instance in wanted
        ]
        times = [self.center.when(span.stop * INTERVAL_SECONDS) for span in spans]
        if spec.format == "csv":
            return _as_text(entity.ref, period, times, series)
        if spec.format not in {None, "", "normal"}:
            raise invalid_argument("querySpec.format", f"{spec.format!r} is neither normal nor csv")
        return new(
            _P.EntityMetric,
            entity=entity.ref,
            sampleInfo=[new(_P.SampleInfo, timestamp=t, interval=period) for t in times],
            value=[new(_P.IntSeries, id=_id(key, i), value=v) for key, i, v in series],
        )

    def _wanted(self, entity: Managed, ids: list[Any]) -> Iterator[tuple[int, Counter, str]]:
        """Yield the counters that are asked for, with each instance that the entity has."""
        wanted = dict.fromkeys((each.counterId, each.instance) for each in ids)
        for key, asked in wanted or [(key, "*") for key, _ in _numbered()]:
            counter = _counter(key, "querySpec.metricId")
            for instance in counter.instances(self._source, entity):
                if asked in {"*", instance}:
                    yield key, counter, instance

    def _spans(self, period: int, begin: datetime | None, end: datetime | None) -> Iterator[range]:
        """Yield the intervals of each sample after *begin*, up to *end*."""
        known, count = self._source.samples.known, period // INTERVAL_SECONDS
        first = -(-known.start // count) * count
        for start in range(first, known.stop - count + 1, count):
            at = self.center.when((start + count) * INTERVAL_SECONDS)
            if (begin is None or at > begin) and (end is None or at <= end):
                yield range(start, start + count)


def _numbered() -> Iterator[tuple[int, Counter]]:
    return enumerate(COUNTERS, 1)


def _counter(key: int, argument: str) -> Counter:
    if not 0 < key <= len(COUNTERS):
        raise invalid_argument(argument, f"there is no counter {key}")
    return COUNTERS[key - 1]


def _period(entity: Managed, asked: int | None) -> int:
    """Return the length of samples: as asked, or the nearest that there is."""
    if asked is None:
        return INTERVAL_SECONDS if isinstance(entity, _LIVE) else PERIOD_SECONDS
    if asked == INTERVAL_SECONDS and isinstance(entity, _LIVE):
        return INTERVAL_SECONDS
    if asked >= PERIOD_SECONDS:
        return PERIOD_SECONDS
    raise invalid_argument("querySpec.intervalId", f"there are no samples of {asked} s")


def _named(key: str) -> Any:
    return new(vim.ElementDescription, key=key, label=key, summary=key)


def _id(key: int, instance: str) -> Any:
    return new(_P.MetricId, counterId=key, instance=instance)


def _as_text(
    ref: Any, period: int, times: list[datetime], series: list[tuple[int, str, list[int]]]
) -> Any:
    """Return the values as lines of numbers with commas."""
    stamps = [f"{period},{time:%Y-%m-%dT%H:%M:%SZ}" for time in times]
    return new(
        _P.EntityMetricCSV,
        entity=ref,
        sampleInfoCSV=",".join(stamps),
        value=[
            new(_P.MetricSeriesCSV, id=_id(key, i), value=",".join(map(str, v)))
            for key, i, v in series
        ],
    )
