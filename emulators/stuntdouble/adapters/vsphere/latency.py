"""The latency of a datastore, by the server's performance counters."""

from __future__ import annotations

from typing import Any, Final

from pyVmomi import vim

from stuntdouble.adapters.vsphere.inventory import retrieve
from stuntdouble.errors import NotFound, Unsupported

INTERVAL_SECONDS: Final = 20
"""Real-time samples are 20 s apart (vSphere API)."""

MICROSECONDS: Final = 1e6  # in a second

_IOPS: Final = ("datastore.numberReadAveraged.average", "datastore.numberWriteAveraged.average")
_LATENCY: Final = "datastore.datastoreVMObservedLatency.latest"
"""Of reads and writes together, in microseconds (vSphere API); the ones that tell them apart are in
whole milliseconds."""


def recent(content: Any, datastore: str) -> float:
    """Return the mean latency of a datastore's I/O in the latest sample, over all hosts.

    Each host's counts by how many I/Os it had.
    """
    found = retrieve(content, vim.Datastore, ("name", "summary.url", "host"))
    values = next((v for _, v in found if v.get("name") == datastore), None)
    if values is None:
        raise NotFound("datastore", datastore)
    uuid = values["summary.url"].rstrip("/").rpartition("/")[2]
    ids = {
        f"{c.groupInfo.key}.{c.nameInfo.key}.{c.rollupType}": c.key
        for c in content.perfManager.perfCounter
    }
    wanted = (*_IOPS, _LATENCY)
    for name in wanted:
        if name not in ids:
            raise Unsupported(f"latency of {datastore}", f"the server has no counter {name}")
    metrics = [
        vim.PerformanceManager.MetricId(counterId=ids[name], instance=uuid) for name in wanted
    ]
    specs = [
        vim.PerformanceManager.QuerySpec(
            entity=mount.key, metricId=metrics, intervalId=INTERVAL_SECONDS, maxSample=1
        )
        for mount in values.get("host", ())
    ]
    if not specs:
        return 0.0
    names: dict[int, str] = {ids[name]: name for name in wanted}
    total = spent = 0.0
    for answer in content.perfManager.QueryPerf(specs):
        latest: dict[str, int] = {
            names[each.id.counterId]: each.value[-1] for each in answer.value if each.value
        }
        count = sum(latest.get(name, 0) for name in _IOPS)
        total += count
        spent += count * latest.get(_LATENCY, 0) / MICROSECONDS
    return spent / total if total else 0.0
