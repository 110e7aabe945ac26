"""Rows of a measured block layer: QEMU's, behind a throttle, against the engine.  Nothing is fitted."""

from __future__ import annotations

from functools import partial
from statistics import mean
from typing import TYPE_CHECKING, Final

from stuntdouble.iops import ClosedLoad, Pattern
from stuntdouble.lab import emulated, relative_rms, stored_curves
from stuntdouble.units import KIB, MIB
from stuntdouble.validity.making import Check, Outcome, given
from stuntdouble.validity.qemu import IN_FLIGHT_MAX, PHASES, live_commit
from stuntdouble.validity.rig import VM, fixed
from stuntdouble.validity.row import Point, worst_relative
from stuntdouble.validity.vmrig import Stations, VmRig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stuntdouble.lab import Curve
    from stuntdouble.validity.qemu import Commit
    from stuntdouble.validity.row import Parameter

RMS_MAX: Final = {"no-snapshot": 0.01, "redirect-overlay": 0.02, "copy-before-write": 0.03}
"""Root mean square of the relative errors of all bins."""

COMMIT_MAX: Final = 0.10
"""Relative error of the guest's IOPS in each phase, and of how long a live commit takes."""

SEEDS: Final = 20
"""Runs of the live commit: when it is ready is a matter of luck, and one run says little."""

DRAWS: Final = 8
"""Seeds over which a modelled curve is averaged: which clusters a guest happens to hit is noise."""

REPEATED_SECONDS: Final = (20.51, 26.74, 32.73, 20.89, 25.22, 24.92, 23.22, 23.63)
"""The same live commit until ready, eight times over with fresh random addresses: measured on
qemu-storage-daemon 7.2.22 with fio 3.33."""

_SOURCE: Final = "measured on qemu-storage-daemon 7.2 with fio over NBD; make lab measures it again"
_MEASURED_HERE: Final = "the laboratory's set-up"

# The bins of each phase, as the measured curve shows them: it steps at 20, 40 and 50 s.
_BINS: Final = {
    "before": (1, 10),
    "copying": (10, 20),
    "catching up": (20, 25),
    "after": (26, 35),
}


def _setup(*rows: tuple[str, str, str]) -> tuple[Parameter, ...]:
    """Return what all curves share, and *rows*."""
    setup = stored_curves()["redirect-overlay"].setup
    shared = (
        ("disk", f"{setup.disk_bytes // MIB} MiB in clusters of {setup.chunk_bytes // KIB} KiB"),
        ("guest", f"{setup.io_bytes // KIB} KiB at random, {setup.outstanding} outstanding"),
        ("station", f"{setup.iops:g} I/Os a second, shared by all files"),
    )
    return given(*((name, value, _MEASURED_HERE) for name, value in shared), *rows)


def _curve_points(curve: Curve, modelled: Sequence[float], first: int) -> tuple[Point, ...]:
    width = curve.setup.bin_seconds
    return tuple(
        Point(
            label=f"{k * width:g} s",
            measured=curve.iops[k],
            modelled=modelled[k],
            x=(k + 0.5) * width,
        )
        for k in range(first, len(curve.iops))
    )


def _curve(name: str, seed: int) -> Outcome:
    curve = stored_curves()[name]
    seeds = range(seed, seed + DRAWS)
    found = emulated(curve.setup, curve.extra_ios, len(curve.iops), seeds=seeds).tolist()
    points = _curve_points(curve, found, first=1)
    return Outcome(points, relative_rms(found[1:], curve.settled))


def _curve_check(name: str, title: str, says: str, axis: str) -> Check:
    return Check(
        id=f"qemu-{name}",
        section="block layer",
        title=title,
        says=says,
        source=_SOURCE,
        compute=partial(_curve, name),
        parameters=_setup(),
        unit="IOPS",
        axis=axis,
        error_is="root mean square of the relative errors, all bins but the first, which holds the"
        " throttle's burst credit",
        tolerance=RMS_MAX[name],
        quick=True,
    )


def _first_writes_check(name: str, title: str, words: str) -> Check:
    says = f"The guest's writes recover as its clusters are written for the first time: {words}."
    return _curve_check(name, title, says, "seconds since the snapshot")


# The live commit. ----------------------------------------------------------------------------------


def _commits(seed: int) -> list[Commit]:
    curve = stored_curves()["live-commit"]
    return [live_commit(curve, seed + k) for k in range(SEEDS)]


def _measured_phases() -> dict[str, float]:
    iops = stored_curves()["live-commit"].iops
    return {phase: mean(iops[slice(*bins)]) for phase, bins in _BINS.items()}


def _by_phase(modelled: Mapping[str, float]) -> tuple[Point, ...]:
    known = _measured_phases()
    return tuple(
        Point(label=phase, measured=known[phase], modelled=modelled[phase]) for phase in PHASES
    )


def _commit_iops(seed: int) -> Outcome:
    runs = _commits(seed)
    points = _by_phase({phase: mean(run.phases[phase] for run in runs) for phase in PHASES})
    why = (
        "which of the guest's and the job's I/Os wait for which is decided by the throttle group:"
        " reads and writes by turns, and of each the overlay's and the base's by turns"
    )
    return Outcome(points, worst_relative(points), why)


def _commit_curve(seed: int) -> Outcome:
    curve = stored_curves()["live-commit"]
    found = live_commit(curve, seed).iops.tolist()
    return Outcome(
        _curve_points(curve, found, first=0),
        None,
        f"one run, of seed {seed}; when it is ready is a matter of luck, see the next row",
    )


def _commit_seconds(seed: int) -> Outcome:
    runs = _commits(seed)
    lengths = sorted(r.seconds for r in runs)
    known, seen = mean(REPEATED_SECONDS), mean(lengths)
    caught_up = mean(r.caught_up_seconds for r in runs)
    points = (
        Point(label="until it caught up", measured=20.0, modelled=caught_up),
        Point(label="until ready: mean", measured=known, modelled=seen),
        Point(label="shortest", measured=min(REPEATED_SECONDS), modelled=lengths[0]),
        Point(label="longest", measured=max(REPEATED_SECONDS), modelled=lengths[-1]),
    )
    why = (
        "once the job has caught up it is ready at the first instant at which nothing is dirty and"
        " nothing under way, while the guest makes chunks dirty all the time: that is luck, so"
        f" {len(REPEATED_SECONDS)} measured runs are compared with {SEEDS} modelled ones, by their"
        " means. The run whose curve is kept took 30.4 s"
    )
    return Outcome(points, abs(seen / known - 1), why)


def _commit_kept(seed: int) -> Outcome:
    commit = stored_curves()["live-commit"].commit
    assert commit is not None
    lengths = [r.seconds for r in _commits(seed)]
    known, again, seen = commit.ready_seconds, mean(REPEATED_SECONDS), mean(lengths)
    points = (
        Point(label="until ready: the kept run", measured=known, modelled=seen),
        Point(label="until ready: mean of all runs", measured=again, modelled=seen),
    )
    as_long = sum(length >= known for length in lengths)
    measured = sum(length >= known for length in REPEATED_SECONDS)
    why = (
        f"Known to miss: one run of what is luck. The same set-up took {min(REPEATED_SECONDS):.1f}"
        f" to {max(REPEATED_SECONDS):.1f} s when it was measured {len(REPEATED_SECONDS)} times, on"
        f" average {1 - again / known:.0%} less than that one run; {measured} of those and {as_long}"
        f" of the {SEEDS} modelled runs took as long. Against their mean the model is"
        f" {abs(seen / again - 1):.1%} off, see the row above"
    )
    return Outcome(points, abs(seen / known - 1), why)


def _commit_in_line(seed: int) -> Outcome:
    curve = stored_curves()["live-commit"]
    points = _by_phase(live_commit(curve, seed, by_turns=False).phases)
    why = (
        "A throttle group is not one queue. With all I/Os in one line the job, which keeps 16 under"
        " way against the guest's 8, gets two thirds of them. A device does queue like that, a"
        " throttle does not: this is what taking one for the other costs"
    )
    return Outcome(points, worst_relative(points), why)


_MIRROR: Final = {
    "consolidation": "mirror",
    "consolidation_depth": IN_FLIGHT_MAX,
    "consolidation_io_bytes": 64 * KIB,
    "tracking_grain_bytes": 64 * KIB,
    "delta_format": "se-sparse",
    # The laboratory has no file system that grows, and no task around the job.
    "se_growth_ios": 0,
    "lock_ios": 0,
    "metadata_ios_per_disk": 0,
    "task_seconds": 0.0,
    "stun_fixed_seconds": 0.024,  # its pivot
}


def _mirror(seed: int) -> Outcome:
    curve = stored_curves()["live-commit"]
    setup, commit = curve.setup, curve.commit
    assert commit is not None
    pattern = Pattern(curve.read_fraction, setup.io_bytes, setup.disk_bytes)
    rig = VmRig(
        Stations((fixed(1 / setup.iops),), stripe_bytes=MIB),
        ClosedLoad(seed, VM, setup.outstanding, 0.0, (pattern,)),
        disk_bytes=setup.disk_bytes,
        block_bytes=setup.chunk_bytes,
        seed=seed,
        parameters=_MIRROR,
    )
    snapshot = rig.do(rig.host.create_snapshot(VM, "overlay"))
    rig.run(commit.started_seconds)
    rig.do(rig.host.remove_snapshot(VM, snapshot.id))
    took = rig.env.now - commit.started_seconds
    known = _measured_phases()
    whole = mean(curve.iops[_BINS["copying"][0] : _BINS["catching up"][1]])
    iops = rig.iops(commit.started_seconds, rig.env.now)
    before = rig.iops(setup.bin_seconds, commit.started_seconds)
    points = (
        Point(label="IOPS before", measured=known["before"], modelled=before),
        Point(label="IOPS while merging", measured=whole, modelled=iops),
        Point(label="seconds of merging", measured=commit.ready_seconds, modelled=took),
    )
    why = (
        "Known to miss, because these are two ways to merge. The mirror of a hypervisor writes"
        " twice while it merges and moves each grain once; QEMU's job lets the guest write once,"
        " and copies again what has changed: gentler, longer, and without a bound on how long."
        " And the mirror's station is one queue"
    )
    return Outcome(points, worst_relative(points), why)


_JOB: Final = _setup(
    ("mix", "70 % reads, 30 % writes", _MEASURED_HERE),
    ("copy unit", "64 KiB, read once and written once", "QEMU 7.2, block.c and block/mirror.c"),
    ("copies under way", f"{IN_FLIGHT_MAX}", "QEMU 7.2, block/mirror.c: MAX_IN_FLIGHT"),
    (
        "guest writes meanwhile",
        "to the overlay only; the chunk is copied again",
        "QEMU 7.2, block/mirror.c: copy mode background, as block-commit uses it",
    ),
    (
        "turns",
        "reads and writes; of each, overlay and base",
        "QEMU 7.2, block/throttle-groups.c",
    ),
)

_WORST: Final = "largest relative error of the points"

BLOCK_LAYER: Final = (
    _curve_check(
        "no-snapshot",
        "No snapshot: what the throttle lets through",
        "Without a snapshot each of the guest's writes is one I/O, and it gets 400 a second.",
        "seconds",
    ),
    _first_writes_check(
        "redirect-overlay",
        "Redirect: an overlay takes the writes",
        "each costs one read of the rest of its cluster",
    ),
    _first_writes_check(
        "copy-before-write",
        "Copy-before-write: old data goes to a target first",
        "each costs one read and one write more",
    ),
    Check(
        id="qemu-commit-iops",
        section="block layer",
        title="Live commit: the guest's IOPS by phase",
        says="An overlay is merged into its base under a 70/30 mix, by the rules of QEMU's job, on"
        " the engine.",
        source=_SOURCE,
        compute=_commit_iops,
        parameters=_JOB,
        unit="IOPS",
        error_is=_WORST,
        tolerance=COMMIT_MAX,
    ),
    Check(
        id="qemu-commit-curve",
        section="block layer",
        title="Live commit: the guest's IOPS over time",
        says="The same, bin by bin.",
        source=_SOURCE,
        compute=_commit_curve,
        parameters=_JOB,
        unit="IOPS",
        axis="seconds; the commit begins at 20",
        quick=True,
    ),
    Check(
        id="qemu-commit-seconds",
        section="block layer",
        title="Live commit: how long it takes",
        says="Until all that was dirty when it began has been copied, and until it is ready.",
        source=_SOURCE,
        compute=_commit_seconds,
        parameters=_JOB,
        unit="s",
        error_is="relative error of the mean time until ready",
        tolerance=COMMIT_MAX,
    ),
    Check(
        id="qemu-commit-kept-run",
        section="block layer",
        title="Live commit: how long the kept run took",
        says="The run whose curve is kept was ready after 30.4 s.",
        source=_SOURCE,
        compute=_commit_kept,
        parameters=_JOB,
        unit="s",
        error_is="relative error of the mean time until ready, against that one run",
        tolerance=COMMIT_MAX,
        known_miss=True,
    ),
    Check(
        id="qemu-commit-in-line",
        section="block layer",
        title="Live commit: the same in one line",
        says="What comes out when the throttle is taken for a device, first come first served.",
        source=_SOURCE,
        compute=_commit_in_line,
        parameters=_JOB[:-1],
        unit="IOPS",
        error_is=_WORST,
        quick=True,
    ),
    Check(
        id="qemu-commit-mirror",
        section="block layer",
        title="Live commit by a hypervisor's mirror",
        says="The same overlay as a delta disk, merged by the emulated hypervisor's own mirror"
        " consolidation at the same depth and piece.",
        source=_SOURCE,
        compute=_mirror,
        parameters=_setup(
            ("consolidation", "mirror, 16 pieces of 64 KiB under way", "as QEMU's job"),
            ("stun", "24 ms", "the laboratory's pivot"),
        ),
        error_is=_WORST,
        tolerance=COMMIT_MAX,
        known_miss=True,
        quick=True,
    ),
)
"""The rows of a measured block layer."""
