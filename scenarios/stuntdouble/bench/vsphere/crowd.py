"""Many clients at once: 64 threads of pyVmomi with a session each, and 64 of the client in Go."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import TYPE_CHECKING, Final

from stuntdouble.bench.cases import wall_seconds
from stuntdouble.bench.figures import Goal
from stuntdouble.bench.golang import built
from stuntdouble.bench.vsphere.reading import first_vm
from stuntdouble.bench.vsphere.servers import PASSWORD, USER, ours, simulator

if TYPE_CHECKING:
    from stuntdouble.bench.figures import Figures
    from stuntdouble.bench.vsphere.servers import Server

CROWD: Final = "crowd"
CLIENTS: Final = 64  # asked for

_VMS: Final = 4  # of each estate
_CROWD_SECONDS_MAX: Final = 600.0  # for clients that hang


class Crowd:
    """Sixty-four clients, of either kind, against either server."""

    name = CROWD

    def __init__(self, *, quick: bool) -> None:
        self._calls = 20 if quick else 100
        self._servers: list[tuple[str, Server, str]] = []

    def open(self, stack: ExitStack) -> None:
        """Start the servers."""
        servers = [("ours", stack.enter_context(ours("--vms", str(_VMS))))]
        if not self.missing():
            servers.append(("the simulator", stack.enter_context(simulator(_VMS))))
        for name, server in servers:
            self._servers.append((name, server, first_vm(server.connect(stack)).name))

    def turn(self) -> Figures:
        """Let the clients loose on one server after the other."""
        figures: Figures = {}
        for name, server, vm in self._servers:
            errors, rate = self._threads(server)
            figures[f"calls/s, threads of pyVmomi, {name}"] = rate
            figures[f"errors, threads of pyVmomi, {name}"] = errors
            if not self.missing():
                errors, rate = self._in_go(server, vm)
                figures[f"calls/s, Go, {name}"] = rate
                figures[f"errors, Go, {name}"] = errors
        return figures

    def _threads(self, server: Server) -> tuple[float, float]:
        """Return how many clients failed, and the calls a second once all have logged in."""
        ready = Barrier(CLIENTS + 1)

        def client(_number: int) -> None:
            with ExitStack() as stack:
                try:
                    instance = server.connect(stack)
                    vm = first_vm(instance)
                finally:
                    ready.wait(_CROWD_SECONDS_MAX)
                for _ in range(self._calls):
                    vm.name  # noqa: B018  (a property of pyVmomi is a call)
                instance.content.sessionManager.Logout()

        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(client, number) for number in range(CLIENTS)]
            ready.wait(_CROWD_SECONDS_MAX)
            began = wall_seconds()
            failed = sum(each.exception() is not None for each in clients)
        return failed, CLIENTS * self._calls / (wall_seconds() - began)

    def _in_go(self, server: Server, vm: str) -> tuple[float, float]:
        done = subprocess.run(  # noqa: S603  (what was built from our sources)
            [
                *(str(built("client").path), "-url", server.url, "-user", USER),
                *("-password", PASSWORD, "clients", f"vm={vm}"),
                *(f"count={CLIENTS}", f"calls={self._calls}"),
            ],
            check=True,
            capture_output=True,
            timeout=_CROWD_SECONDS_MAX,
        )
        told = json.loads(done.stdout)
        return len(told["errors"]), told["calls"] / told["seconds"]

    def goals(self, medians: Figures) -> list[Goal]:
        """Ask that no client of ours fails."""
        errors = [medians[name] for name in medians if name.startswith("errors") and "ours" in name]
        return [Goal("errors", sum(errors), 0.0, at_least=False)]

    def missing(self) -> list[str]:
        """Say why Go does not take part, where it does not."""
        lacking = built("client").missing or built("simulator").missing
        return [f"the client and the simulator in Go: {lacking}"] if lacking else []
