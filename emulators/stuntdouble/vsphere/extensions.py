"""Extensions: what products register with a vCenter, so that others see that they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.vsphere.faults import invalid_argument
from stuntdouble.vsphere.objects import Managed, operation, prop
from stuntdouble.vsphere.vmomi import vim

if TYPE_CHECKING:
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session

EXTENSIONS_MAX: Final = 1000
"""Extensions at a time.  Chosen: a vCenter comes with some fifty of its own."""


class ExtensionManager(Managed):
    """``vim.ExtensionManager``."""

    kind = vim.ExtensionManager

    def __init__(self, center: VirtualCenter, moid: str) -> None:
        super().__init__(center, moid)
        self._known: dict[str, Any] = {}

    @prop
    def extension_list(self) -> list[Any]:
        return list(self._known.values())

    @operation("FindExtension")
    def find(self, session: Session, extension_key: str) -> Any:
        """Return an extension, nothing where there is none."""
        del session
        return self._known.get(extension_key)

    @operation("RegisterExtension")
    def register(self, session: Session, extension: Any) -> None:
        del session
        if not extension.key or extension.key in self._known:
            raise invalid_argument("extension.key", "it is empty, or registered already")
        if len(self._known) >= EXTENSIONS_MAX:
            raise vim.fault.ResourceInUse(msg=f"There are {EXTENSIONS_MAX} extensions already.")
        self._known[extension.key] = extension
        self.center.changes.touch(self)

    @operation("UpdateExtension")
    def update(self, session: Session, extension: Any) -> None:
        del session
        self._require(extension.key)
        self._known[extension.key] = extension
        self.center.changes.touch(self)

    @operation("UnregisterExtension")
    def unregister(self, session: Session, extension_key: str) -> None:
        del session
        self._require(extension_key)
        del self._known[extension_key]
        self.center.changes.touch(self)

    def _require(self, key: str) -> None:
        if key not in self._known:
            raise vim.fault.NotFound(msg=f"There is no extension {key}.")
