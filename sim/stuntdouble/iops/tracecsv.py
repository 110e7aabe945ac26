"""Traces as CSV files whose first line names the columns: what any other tool can be made to write.

    seconds,op,offset,size,disk
    0.000125,write,8192,4096,sda
    0.020140,read,0,65536,sda

| column | names, of which a file has one | values |
|---|---|---|
| time | seconds, time, timestamp; ms, milliseconds; us, microseconds; ns, nanoseconds | decimal, 0 or more, from any origin |
| operation | op, operation, type | read, r, write, w in any case; sync, flush, trim, discard, unmap are counted, not returned |
| place | offset (bytes); lba, sector (of 512 bytes) | whole |
| length | size, length, bytes; sectors (of 512 bytes) | whole |
| disk, may be absent | disk, device, volume | any text |

Names are read in any case and in any order; columns of other names are left alone.  Where the name
does not say the unit, times are seconds; a file whose times then span more than ten years is
refused, since its unit is another one.  Lines are in order of time: one that is earlier than one
above it, of its disk, is refused.  Times are float64: nanoseconds since 1970 keep a quarter of
a microsecond.
"""  # fmt: skip

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse
from stuntdouble.iops.textrows import OTHER, READ, WRITE, Batch, Gathered, batches, csv_fields
from stuntdouble.units import SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.iops.recorded import Recorded

_SECONDS: Final = {"seconds": 1, "time": 1, "timestamp": 1}
_MILLISECONDS: Final = {"milliseconds": 1_000, "ms": 1_000}
_MICROSECONDS: Final = {"microseconds": 1_000_000, "us": 1_000_000}
_NANOSECONDS: Final = {"nanoseconds": 1_000_000_000, "ns": 1_000_000_000}
_COLUMNS: Final[dict[str, dict[str, int]]] = {
    "time": _SECONDS | _MILLISECONDS | _MICROSECONDS | _NANOSECONDS,  # ticks in a second
    "operation": {"op": 1, "operation": 1, "type": 1},
    "place": {"offset": 1, "lba": SECTOR_BYTES, "sector": SECTOR_BYTES},  # bytes in one
    "length": {"size": 1, "length": 1, "bytes": 1, "sectors": SECTOR_BYTES},
    "disk": {"disk": 1, "device": 1, "volume": 1},
}
_KINDS: Final = {
    **dict.fromkeys(("read", "r"), READ),
    **dict.fromkeys(("write", "w"), WRITE),
    **dict.fromkeys(("sync", "flush", "trim", "discard", "unmap"), OTHER),
}
_SPAN_SECONDS_MAX: Final = 10 * 365 * 86400  # chosen: a week in milliseconds is longer, taken so


def is_csv(line: str) -> bool:
    """Tell by the first line whether a file could be of this format."""
    return any(_role(field.strip(' "')) for field in line.split(","))


def _role(field: str) -> str:
    word = field.strip().lower()
    return next((role for role, names in _COLUMNS.items() if word in names), "")


def read_csv(name: str, first_line: str, disk: str | None) -> Recorded:
    """Read a CSV trace; *disk* is a value of its disk column.

    Raises:
        Misuse: a column is missing or there twice, a value makes no sense, the clock goes back, or
            no disk is chosen of several.
    """
    header = csv_fields(Batch(name, [1], [[first_line]])).rows[0]
    at, unit = _columns(name, header)
    if disk is not None and "disk" not in at:
        raise Misuse(name, f"has no column that names disks: leave {disk} out")
    gathered = Gathered(name, disk, unit["time"])
    for lines in batches(name, skip=1):
        batch = csv_fields(lines)
        columns = batch.columns(len(header))
        words = [word.lower() for word in columns[at["operation"]]]
        gathered.add(
            batch,
            disks=columns[at["disk"]] if "disk" in at else [""] * len(words),
            ticks=batch.floats(columns[at["time"]], "has the time"),
            kinds=batch.kinds(words, _KINDS),
            offset=batch.whole(columns[at["place"]], "has the place", unit["place"]),
            length=batch.whole(columns[at["length"]], "has the length", unit["length"]),
        )
    recorded = gathered.recorded()
    if recorded.seconds[-1] > _SPAN_SECONDS_MAX:
        word = header[at["time"]]
        raise Misuse(
            name, f"spans {recorded.seconds[-1]:.6g} seconds: is {word!r} in ms, us or ns?"
        )
    return recorded


def _columns(name: str, header: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Return where each column is, and its unit."""
    at: dict[str, int] = {}
    unit: dict[str, int] = {}
    for index, field in enumerate(header):
        role = _role(field)
        if role in at:
            raise Misuse(name, f"line 1 has two columns for {role}: {header[at[role]]} and {field}")
        if role:
            at[role], unit[role] = index, _COLUMNS[role][field.strip().lower()]
    for role, names in _COLUMNS.items():
        if role not in at and role != "disk":
            raise Misuse(name, f"line 1 names no column for {role}: one of {', '.join(names)}")
    return at, unit
