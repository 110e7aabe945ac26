"""Options: what a server says of itself to clients that know what to ask for.

The names that stand here come from who runs the server: so a client of vim25 finds the endpoints
that vim25 does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.vsphere.faults import not_supported
from stuntdouble.vsphere.objects import Managed, operation, prop
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stuntdouble.vsphere.sessions import Session


class OptionManager(Managed):
    """``vim.option.OptionManager`` over the options of a ``Setting``."""

    kind = vim.option.OptionManager
    unset = frozenset({"supportedOption"})

    @property
    def _all(self) -> Mapping[str, str]:
        return self.center.setting.options

    @prop
    def setting(self) -> list[Any]:
        return [_value(key, value) for key, value in self._all.items()]

    @operation("QueryOptions")
    def query(self, session: Session, name: str | None = None) -> list[Any]:
        """Return an option; those below a node, where the name ends with a point; else all.

        Raises:
            vim.fault.InvalidName: there is none of that name, or none below that node.
        """
        del session
        found = [
            _value(key, value)
            for key, value in self._all.items()
            if not name or key == name or (name.endswith(".") and key.startswith(name))
        ]
        if name and not found:
            raise _unknown(name)
        return found

    @operation("UpdateOptions")
    def update(self, session: Session, changed_value: list[Any]) -> None:
        del session
        for each in changed_value:
            if each.key not in self._all:
                raise _unknown(each.key)
        raise not_supported("changing an option")


def _value(key: str, value: str) -> Any:
    return new(vim.option.OptionValue, key=key, value=value)


def _unknown(name: str) -> Any:
    return vim.fault.InvalidName(name=name, msg=f"There is no option {name}.")
