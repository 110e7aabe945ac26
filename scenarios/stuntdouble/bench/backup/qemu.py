"""The other client: ``qemu-img convert`` of the same ranges of the same LUN to a raw file."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

COROUTINES: Final = 8
_SECONDS_MAX: Final = 600.0


def missing() -> list[str]:
    """Return what is not there, and what would help."""
    found = shutil.which("qemu-img")
    return [] if found else ["qemu-img: install qemu-utils and qemu-block-extra"]


def source(portal: str, target: str, lun: int, initiator: str, offset: int, length: int) -> str:
    """Return a range of a LUN as qemu-img takes it."""
    where = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": portal,
        "target": target,
        "lun": lun,
        "initiator-name": initiator,
    }
    return "json:" + json.dumps({"driver": "raw", "offset": offset, "size": length, "file": where})


def convert_seconds(sources: Iterable[str], out: Path) -> float:
    """Copy the ranges, one behind the other, to a raw file; return the seconds that it took.

    Raises:
        Misuse: qemu-img is missing, or fails, in its own words.
    """
    words = ["qemu-img", "convert", "-m", str(COROUTINES), "-W", "-O", "raw", *sources, str(out)]
    began = time.perf_counter()  # noqa: TID251  (a benchmark)
    try:
        subprocess.run(words, check=True, capture_output=True, text=True, timeout=_SECONDS_MAX)  # noqa: S603
    except FileNotFoundError:
        raise Misuse("bench backup", missing()[0]) from None
    except subprocess.CalledProcessError as error:
        raise Misuse(words[0], error.stderr.strip() or f"exit code {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise Misuse(words[0], f"took longer than {_SECONDS_MAX:g} s") from None
    return time.perf_counter() - began  # noqa: TID251  (a benchmark)
