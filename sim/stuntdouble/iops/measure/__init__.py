"""What was measured: latencies per guest, busy time per station and purpose, gauges.

Utilisation is busy time over wall-to-wall site time, as an array's own counters have it; each
visit's time is put down where it was spent, cell by cell.

    buckets     latency in buckets of bounded relative error; ``Felt``, what comes out
    cells       time in cells that grow with the run, cut where something else goes on
    doors       how engines hand over rows
    absorb      the compiled pass over a batch of rows
    meter       ``Meter``: what is kept of them, and what can be asked
    recorder    ``Recorder``: the same, with every row kept

Rows, as engines hand them over, batch after batch:

    an I/O      guest: int64                  arrived, completed: float64   when it has completed
    a visit     station, purpose: 2 × int64   start, seconds: float64       when it has started
"""

from stuntdouble.iops.measure.buckets import ALPHA, Felt
from stuntdouble.iops.measure.meter import Meter
from stuntdouble.iops.measure.recorder import Latencies, Recorder, busy_between

__all__ = ["ALPHA", "Felt", "Latencies", "Meter", "Recorder", "busy_between"]
