"""When things happen: load, stations, side I/O, streams, and what is measured of them."""

from stuntdouble.iops.bulk import read_bulk
from stuntdouble.iops.cache import Cache
from stuntdouble.iops.checks import OUTSTANDING_MAX
from stuntdouble.iops.curve import BATCH_NIGHT, OFFICE_DAY, RateCurve
from stuntdouble.iops.engine import Engine, Guest, Io, Load, Purpose, Stream, StreamSpec
from stuntdouble.iops.fastpath import FastStation
from stuntdouble.iops.fleet import VmProfile, fleet
from stuntdouble.iops.load import ClosedLoad, Mix, Pattern, PoissonLoad, TraceLoad
from stuntdouble.iops.measure import Felt, Latencies, Meter, Recorder
from stuntdouble.iops.quantity import (
    DeltaGrains,
    GuestCount,
    ItemsDone,
    OfGuest,
    Quantity,
    ReserveTaken,
)
from stuntdouble.iops.reference import Reference
from stuntdouble.iops.route import Geometry, Raid
from stuntdouble.iops.traces import Recorded, Summary, read_trace, read_vscsi
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
    "BATCH_NIGHT",
    "DISK_10K",
    "DISK_7200",
    "FLASH_CHANNEL",
    "OFFICE_DAY",
    "OUTSTANDING_MAX",
    "Cache",
    "ClosedLoad",
    "DeltaGrains",
    "Engine",
    "FastStation",
    "Felt",
    "Geometry",
    "Guest",
    "GuestCount",
    "Io",
    "ItemsDone",
    "Latencies",
    "Load",
    "Meter",
    "Mix",
    "OfGuest",
    "Pattern",
    "PoissonLoad",
    "Purpose",
    "Quantity",
    "Raid",
    "RateCurve",
    "Recorded",
    "Recorder",
    "Reference",
    "ReserveTaken",
    "Service",
    "Stream",
    "StreamSpec",
    "Summary",
    "TraceLoad",
    "VmProfile",
    "disk",
    "exponential",
    "flash",
    "fleet",
    "link",
    "read_bulk",
    "read_trace",
    "read_vscsi",
]
