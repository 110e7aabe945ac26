"""What an administrator can do with VMs beyond what a backup needs: one door to all of it.

Operations are SimPy generators, as those of ``Hypervisor`` are; what takes no time is a plain call.
Each takes a VM or its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.errors import NotFound
from stuntdouble.hypervisor import estimate, exporting, methods, registry, relocate, snapshot
from stuntdouble.hypervisor.files import DatastoreFiles
from stuntdouble.hypervisor.texts import Logs

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from simpy.events import Event

    from stuntdouble.hypervisor.hypervisor import Hypervisor
    from stuntdouble.hypervisor.inventory import Vm


class Administration:
    """The operations, on one hypervisor."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._logs = Logs(hypervisor.host.journal)

    # The inventory. ------------------------------------------------------------------------

    def unregister(self, vm: Vm | str) -> Generator[Event, object, None]:
        """Take a VM out of the inventory; see ``stuntdouble.hypervisor.registry.unregister``."""
        return registry.unregister(self._hypervisor, self._hypervisor.vm(vm))

    def register(self, datastore: str, path: str, name: str = "") -> Generator[Event, object, Vm]:
        """Bring a VM back from its files; see ``stuntdouble.hypervisor.registry.register``."""
        return registry.register(self._hypervisor, datastore, path, name)

    def destroy(self, vm: Vm | str) -> Generator[Event, object, None]:
        """Delete a VM and its files; see ``stuntdouble.hypervisor.registry.destroy``."""
        return registry.destroy(self._hypervisor, self._hypervisor.vm(vm))

    def read_disk(
        self, vm: Vm | str, key: int, offset: int, length: int
    ) -> Generator[Event, object, bytes]:
        """Read a powered-off VM's disk; see ``stuntdouble.hypervisor.exporting.read_disk``."""
        return exporting.read_disk(self._hypervisor.vm(vm), key, offset, length)

    def relocate(self, vm: Vm | str, datastore: str) -> Generator[Event, object, None]:
        """Move a VM's disks; see ``stuntdouble.hypervisor.relocate.relocate``."""
        return relocate.relocate(self._hypervisor, self._hypervisor.vm(vm), datastore)

    def disable_methods(self, vm: Vm | str, names: Iterable[str], source: str) -> None:
        """Refuse operations of a VM; see ``stuntdouble.hypervisor.methods.disable``."""
        methods.disable(self._hypervisor.vm(vm), names, source)

    def enable_methods(self, vm: Vm | str, names: Iterable[str], source: str) -> None:
        """Take that back; see ``stuntdouble.hypervisor.methods.enable``."""
        methods.enable(self._hypervisor.vm(vm), names, source)

    def files(self, datastore: str) -> DatastoreFiles:
        """Return what lies on a datastore, as files; NotFound where there is no such datastore."""
        if datastore not in self._hypervisor.datastores:
            raise NotFound("datastore", datastore)
        return DatastoreFiles(self._hypervisor, self._hypervisor.datastores[datastore], self._logs)

    # Snapshots. ----------------------------------------------------------------------------

    def rename_snapshot(
        self, vm: Vm | str, snapshot_id: str, name: str | None, description: str | None = None
    ) -> Generator[Event, object, None]:
        """Rename a snapshot; see ``stuntdouble.hypervisor.snapshot.rename``."""
        return snapshot.rename(self._hypervisor.vm(vm), snapshot_id, name, description)

    def revert_to_current(self, vm: Vm | str) -> Generator[Event, object, None]:
        """Go back to the current snapshot; see ``stuntdouble.hypervisor.snapshot.revert``."""
        machine = self._hypervisor.vm(vm)
        return snapshot.revert_to_current(machine, self._hypervisor.moments)

    def estimate_consolidation(self, vm: Vm | str) -> Generator[Event, object, int]:
        """Return the space that consolidating takes; see ``stuntdouble.hypervisor.estimate``."""
        return estimate.estimate(self._hypervisor.vm(vm))
