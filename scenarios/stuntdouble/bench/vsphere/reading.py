"""Property reads: what a client that asks for ``vm.name`` again and again gets a second.

reads       the same client in the same process, by turns, against our server and govmomi's
in-process  the same client against our dispatcher, without a socket
"""

from __future__ import annotations

from statistics import median
from time import thread_time
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.bench.cases import wall_seconds
from stuntdouble.bench.figures import Goal
from stuntdouble.bench.golang import built
from stuntdouble.bench.vsphere.servers import PASSWORD, USER, module, ours, simulator

if TYPE_CHECKING:
    from contextlib import ExitStack

    from stuntdouble.bench.figures import Figures

READS: Final = "reads"
IN_PROCESS: Final = "in-process"

RATIO_MIN: Final = 0.95  # of the simulator's reads a second: asked for
IN_PROCESS_MIN: Final = 8000.0  # reads a second: asked for, a prototype had 8,100

_VMS: Final = 4  # of each estate
_OURS: Final = "reads/s, ours"
_THEIRS: Final = "reads/s, govmomi's simulator"
_HERE: Final = "reads/s"
_RATIO: Final = "ours to govmomi's simulator"
_BATCH: Final = 100  # reads in a row: a few dozen milliseconds, so that noise hits both alike


def first_vm(instance: Any) -> Any:
    """Return a VM of a service instance."""
    vim = module("pyVmomi").vim
    content = instance.RetrieveContent()
    views = content.viewManager
    view = views.CreateContainerView(content.rootFolder, [vim.VirtualMachine], recursive=True)
    vm = view.view[0]
    view.Destroy()
    return vm


def read(vm: Any, count: int) -> tuple[float, float]:
    """Read a VM's name so often; return the seconds of wall time, and of this thread's work."""
    worked, began = thread_time(), wall_seconds()
    for _ in range(count):
        vm.name  # noqa: B018  (a property of pyVmomi is a call)
    return wall_seconds() - began, thread_time() - worked


class Reads:
    """One client, two servers."""

    name = READS

    def __init__(self, *, quick: bool) -> None:
        self._batches = 11 if quick else 51
        self._vms: dict[str, Any] = {}

    def open(self, stack: ExitStack) -> None:
        """Start the servers, and log in."""
        served = stack.enter_context(ours("--vms", str(_VMS)))
        self._vms[_OURS] = first_vm(served.connect(stack))
        if not self.missing():
            rival = stack.enter_context(simulator(_VMS))
            self._vms[_THEIRS] = first_vm(rival.connect(stack))
        for vm in self._vms.values():
            read(vm, _BATCH)  # so that nobody pays for the first time

    def turn(self) -> Figures:
        """Read from both by turns; who comes first changes each time."""
        seconds: dict[str, list[float]] = {name: [] for name in self._vms}
        worked: dict[str, list[float]] = {name: [] for name in self._vms}
        order = list(self._vms)
        for _ in range(self._batches):
            for name in order:
                passed, own = read(self._vms[name], _BATCH)
                seconds[name].append(passed)
                worked[name].append(own)
            order.reverse()
        figures = {name: _BATCH / median(seconds[name]) for name in self._vms}
        if _THEIRS in figures:
            figures[_RATIO] = figures[_OURS] / figures[_THEIRS]
        figures["us of a read, the client's own work"] = 1e6 * median(worked[_OURS]) / _BATCH
        return figures

    def goals(self, medians: Figures) -> list[Goal]:
        """Ask for as many reads as the simulator's, nearly."""
        if _RATIO not in medians:
            return []
        return [Goal(_RATIO, medians[_RATIO], RATIO_MIN)]

    def missing(self) -> list[str]:
        """Say why the simulator does not take part, where it does not."""
        lacking = built("simulator").missing
        return [f"govmomi's simulator: {lacking}"] if lacking else []


class InProcess:
    """The client and the dispatcher in one process."""

    name = IN_PROCESS

    def __init__(self, *, quick: bool) -> None:
        self._batches = 21 if quick else 101
        self._vm: Any = None

    def open(self, stack: ExitStack) -> None:
        """Build the estate."""
        from stuntdouble.bench.vsphere.estates import center, estate  # noqa: PLC0415
        from stuntdouble.vsphere import Dispatcher, connect  # noqa: PLC0415  (an extra)

        self._vm = first_vm(connect(Dispatcher(center(estate(_VMS))), USER, PASSWORD))
        stack.callback(setattr, self, "_vm", None)
        read(self._vm, _BATCH)

    def turn(self) -> Figures:
        """Read."""
        times = [read(self._vm, _BATCH) for _ in range(self._batches)]
        return {
            _HERE: _BATCH / median(seconds for seconds, _ in times),
            "reads/s of a core": _BATCH / median(worked for _, worked in times),
        }

    def goals(self, medians: Figures) -> list[Goal]:
        """Ask for enough reads a second."""
        return [Goal(_HERE, medians[_HERE], IN_PROCESS_MIN)]

    def missing(self) -> list[str]:
        """Nobody is missing."""
        return []
