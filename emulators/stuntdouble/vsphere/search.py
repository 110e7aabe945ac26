"""The search index: finding an entity by identifier, name or path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.vsphere.objects import Entity, Managed, operation, path_of
from stuntdouble.vsphere.vmomi import vim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.vsphere.sessions import Session
    from stuntdouble.vsphere.vm import VirtualMachine


class SearchIndex(Managed):
    """``vim.SearchIndex``."""

    kind = vim.SearchIndex

    def _vms(self) -> Iterator[VirtualMachine]:
        return self.center.roots.vms()

    @operation("FindByUuid")
    def find_by_uuid(
        self,
        session: Session,
        uuid: str,
        vm_search: bool,
        datacenter: Any = None,
        instance_uuid: bool | None = None,
    ) -> Any:
        found = self.find_all_by_uuid(session, uuid, vm_search, datacenter, instance_uuid)
        return found[0] if found else None

    @operation("FindAllByUuid")
    def find_all_by_uuid(
        self,
        session: Session,
        uuid: str,
        vm_search: bool,
        datacenter: Any = None,
        instance_uuid: bool | None = None,
    ) -> list[Any]:
        del session
        self._check(datacenter)
        wanted = uuid.lower()
        if not vm_search:
            hosts = self.center.roots.hosts()
            return [host.ref for host in hosts if host.uuid == wanted]
        return [
            vm.ref
            for vm in self._vms()
            if wanted == (vm.instance_uuid if instance_uuid else vm.bios_uuid)
        ]

    @operation("FindByInventoryPath")
    def find_by_inventory_path(self, session: Session, inventory_path: str) -> Any:
        del session
        wanted = inventory_path.strip("/")
        at: Entity = self.center.roots.root_folder
        if not wanted:
            return at.ref
        for name in wanted.split("/"):
            escaped = name.replace("%2F", "%2f")
            found = next(
                (each for each in at.below() if path_of(each).rpartition("/")[2] == escaped), None
            )
            if found is None:
                return None
            at = found
        return at.ref

    @operation("FindChild")
    def find_child(self, session: Session, entity: Any, name: str) -> Any:
        del session
        at = self.center.resolve_as(entity, Entity, "entity")
        return next((each.ref for each in at.below() if each.label() == name), None)

    @operation("FindByDatastorePath")
    def find_by_datastore_path(self, session: Session, datacenter: Any, path: str) -> Any:
        del session
        self._check(datacenter)
        return next((vm.ref for vm in self._vms() if vm.vmx_path == path), None)

    @operation("FindByDnsName")
    def find_by_dns_name(
        self,
        session: Session,
        dns_name: str,
        vm_search: bool,
        datacenter: Any = None,
    ) -> Any:
        del session
        self._check(datacenter)
        if vm_search:
            return next((vm.ref for vm in self._vms() if vm.host_name == dns_name), None)
        hosts = self.center.roots.hosts()
        return next((host.ref for host in hosts if host.label() == dns_name), None)

    def _check(self, datacenter: Any) -> None:
        if datacenter is not None:
            self.center.resolve(datacenter)
