"""When things happen: load, stations, side I/O, streams, and what is measured of them."""

from stuntdouble.iops.bulk import read_bulk
from stuntdouble.iops.engine import Engine, Guest, Io, Load, Purpose, Stream, StreamSpec
from stuntdouble.iops.load import ClosedLoad, Pattern, PoissonLoad, TraceLoad
from stuntdouble.iops.measure import Latencies, Meter
from stuntdouble.iops.reference import Reference
from stuntdouble.iops.route import Geometry, Raid
from stuntdouble.iops.traces import Recorded, Summary, read_vscsi
from stuntdouble.iops.work import (
    DISK_10K,
    DISK_7200,
    FLASH_CHANNEL,
    Service,
    disk,
    exponential,
    flash,
    link,
)

__all__ = [
    "DISK_10K",
    "DISK_7200",
    "FLASH_CHANNEL",
    "ClosedLoad",
    "Engine",
    "Geometry",
    "Guest",
    "Io",
    "Latencies",
    "Load",
    "Meter",
    "Pattern",
    "PoissonLoad",
    "Purpose",
    "Raid",
    "Recorded",
    "Reference",
    "Service",
    "Stream",
    "StreamSpec",
    "Summary",
    "TraceLoad",
    "disk",
    "exponential",
    "flash",
    "link",
    "read_bulk",
    "read_vscsi",
]
