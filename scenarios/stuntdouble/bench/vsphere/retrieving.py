"""Large answers: how much of a client's time goes to anything but reading them.

inventory  three properties of 10,000 VMs through one container view, in pages
changes    a million changed areas of a disk of 16 TiB, in pages, by two clients
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.bench.figures import Goal
from stuntdouble.bench.golang import built
from stuntdouble.bench.vsphere.reading import first_vm
from stuntdouble.bench.vsphere.servers import PASSWORD, USER, module, ours
from stuntdouble.bench.vsphere.taping import parsing_seconds, taped, timed
from stuntdouble.errors import Bug
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from contextlib import ExitStack

    from stuntdouble.bench.figures import Figures
    from stuntdouble.bench.vsphere.servers import Server
    from stuntdouble.bench.vsphere.taping import Tape

INVENTORY: Final = "inventory"
CHANGES: Final = "changes"

PATHS: Final = ("name", "runtime.powerState", "config.hardware.device")
INVENTORY_RATIO_MAX: Final = 1.5  # of the client's bare parsing time: asked for
CHANGES_RATIO_MAX: Final = 1.3  # likewise
GO_SECONDS_MAX: Final = 10.0  # for a million areas: asked for

_PAGE_OBJECTS: Final = 500  # what a client would ask for; a server's own limit may be larger
_WALK_SECONDS_MAX: Final = 600.0  # for a client that hangs
_ELAPSED: Final = "seconds, pyVmomi"
_PARSING: Final = "seconds, its bare parsing"
_RATIO: Final = "elapsed to bare parsing"
_FIRST: Final = "elapsed to bare parsing, asked for the first time"
_GO: Final = "seconds, Go"


class Retrieval:
    """A client that fetches much from a server of ours, and its bare parsing of the same."""

    name: str
    ratio_max: float

    def __init__(self, *words: str) -> None:
        self._words = words
        self._tape: Tape = []
        self._first = 0.0
        self.server: Server
        self.instance: Any = None

    @property
    def stub(self) -> Any:
        """What the client talks through."""
        return self.instance._stub  # noqa: SLF001  (pyVmomi has no other name for it)

    def open(self, stack: ExitStack) -> None:
        """Start the server, log in, fetch once, and tape the answers of a second time.

        What the server makes when it is first asked for, it keeps: so the first time counts alone.
        """
        self.server = stack.enter_context(ours(*self._words))
        self.instance = self.server.connect(stack)
        first_vm(self.instance).config  # noqa: B018  (the client loads types when it meets them)
        first = timed(self.fetch)
        self._tape = taped(self.stub, self.fetch)
        self._first = first / parsing_seconds(self.stub, self._tape)

    def fetch(self) -> object:
        """Fetch everything; return it."""
        raise Bug(f"{type(self).__name__} fetches nothing")

    def turn(self) -> Figures:
        """Fetch, and parse again; what is told of both is of the same minute."""
        elapsed, bare = timed(self.fetch), parsing_seconds(self.stub, self._tape)
        return {
            _ELAPSED: elapsed,
            _PARSING: bare,
            _RATIO: elapsed / bare,
            _FIRST: self._first,
            "answers": len(self._tape),
            "MiB": sum(len(body) for body, _ in self._tape) / MIB,
        }

    def goals(self, medians: Figures) -> list[Goal]:
        """Ask that a client spends most of its time on what it has to do anyway."""
        return [
            Goal(name, medians[name], self.ratio_max, at_least=False) for name in (_RATIO, _FIRST)
        ]

    def missing(self) -> list[str]:
        """Nobody is missing."""
        return []


class Inventory(Retrieval):
    """Many VMs."""

    name = INVENTORY
    ratio_max = INVENTORY_RATIO_MAX

    def __init__(self, *, quick: bool) -> None:
        self._vms = 1000 if quick else 10_000
        super().__init__("--vms", str(self._vms))

    def fetch(self) -> object:
        """Fetch the properties of all VMs, page by page."""
        vendor = module("pyVmomi")
        vim, query = vendor.vim, vendor.vmodl.query.PropertyCollector
        content = self.instance.content
        views, collector = content.viewManager, content.propertyCollector
        view = views.CreateContainerView(content.rootFolder, [vim.VirtualMachine], recursive=True)
        through = query.TraversalSpec(
            name="view", path="view", skip=False, type=vim.view.ContainerView
        )
        spec = query.FilterSpec(
            objectSet=[query.ObjectSpec(obj=view, skip=True, selectSet=[through])],
            propSet=[query.PropertySpec(type=vim.VirtualMachine, pathSet=list(PATHS))],
        )
        options = query.RetrieveOptions(maxObjects=_PAGE_OBJECTS)
        pages = [collector.RetrievePropertiesEx([spec], options)]
        while pages[-1].token:
            pages.append(collector.ContinueRetrievePropertiesEx(pages[-1].token))
        view.Destroy()
        found = sum(len(page.objects) for page in pages)
        if found != self._vms:
            raise Bug(f"{found} VMs were found of {self._vms}")
        return pages


class Changes(Retrieval):
    """Many changed areas."""

    name = CHANGES
    ratio_max = CHANGES_RATIO_MAX

    def __init__(self, *, quick: bool) -> None:
        self._areas = 50_000 if quick else 1_000_000
        super().__init__("--vms", "1", "--areas", str(self._areas))

    def fetch(self) -> object:
        """Walk the disk, page by page."""
        vim = module("pyVmomi").vim
        vm_id, snapshot_id, key, capacity, since = self.server.facts
        vm = vim.VirtualMachine(vm_id, self.stub)
        snapshot = vim.vm.Snapshot(snapshot_id, self.stub)
        pages: list[Any] = []
        start = 0
        while start < int(capacity):
            page = vm.QueryChangedDiskAreas(snapshot, int(key), start, since)
            pages.append(page)
            start = page.startOffset + page.length
        found = sum(len(page.changedArea) for page in pages)
        if found != self._areas:
            raise Bug(f"{found} changed areas were found of {self._areas}")
        return pages

    def turn(self) -> Figures:
        """Walk by pyVmomi, and by the client in Go."""
        figures = super().turn()
        if not self.missing():
            figures[_GO] = self._walk()
        return figures

    def _walk(self) -> float:
        vm_id, snapshot_id, key, capacity, since = self.server.facts
        done = subprocess.run(  # noqa: S603  (what was built from our sources)
            [
                *(str(built("client").path), "-url", self.server.url),
                *("-user", USER, "-password", PASSWORD, "walk", f"id={vm_id}"),
                *(f"snapshot={snapshot_id}", f"key={key}"),
                *(f"capacity={capacity}", f"change={since}"),
            ],
            check=True,
            capture_output=True,
            timeout=_WALK_SECONDS_MAX,
        )
        told = json.loads(done.stdout)
        if told["areas"] != self._areas:
            raise Bug(f"the client in Go found {told['areas']} changed areas of {self._areas}")
        return float(told["seconds"])

    def goals(self, medians: Figures) -> list[Goal]:
        """Ask, too, that a quick client is done soon."""
        asked = super().goals(medians)
        if _GO in medians:
            asked.append(Goal(_GO, medians[_GO], GO_SECONDS_MAX, at_least=False))
        return asked

    def missing(self) -> list[str]:
        """Say why the client in Go does not take part, where it does not."""
        lacking = built("client").missing
        return [f"the client in Go: {lacking}"] if lacking else []
