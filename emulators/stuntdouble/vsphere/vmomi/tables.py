"""Types, fields, methods and versions of vim25, from pyVmomi's tables."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from stuntdouble.errors import Misuse


def _import(name: str) -> Any:
    """Import a part of pyVmomi.

    Raises:
        Misuse: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        raise Misuse(
            "stuntdouble.vsphere",
            f"{missing.name} is not installed: pip install 'stuntdouble[vsphere]'",
        ) from None


_root: Any = _import("pyVmomi")
support: Any = _import("pyVmomi.VmomiSupport")
"""pyVmomi's tables themselves: for the scalar types (``support.long``) and for nothing else."""
vim: Any = _root.vim
vmodl: Any = _root.vmodl

Kind = type
"""A type of vim25, as pyVmomi's class for it; a list type is a class too, with its ``Item``."""

XSD: str = support.XMLNS_XSD
XSI: str = support.XMLNS_XSI
VIM25: str = support.XMLNS_VMODL_BASE
INTERNAL = "urn:internalvim25"
"""Namespace of methods that VMware has not published (govmomi)."""
FIRST_VERSION: str = support.BASE_VERSION

DataObject: Any = support.DataObject
ManagedObject: Any = support.ManagedObject
ManagedMethod: Any = support.ManagedMethod
MethodFault: Any = support.GetVmodlType("vmodl.MethodFault")
LocalizedFault: Any = support.GetVmodlType("vmodl.LocalizedMethodFault")

_F_LINK: int = support.F_LINK
_F_OPTIONAL: int = support.F_OPTIONAL
_LISTS_OF_LISTS = "ArrayOfArrayOf"
_LINK_SUFFIX = "Reference"  # of ManagedObjectReference, whose type pyVmomi calls ManagedObject


@dataclass(frozen=True, slots=True)
class Field:
    """A property of a data object or a managed object, or a parameter of a method.

    Attributes:
        name: As on the wire and as in Python.
        kind: Declared type; for a list, the list type.
        since: The first version that has it.
        optional: It may be unset.
        is_list: It may stand several times.
        link: It holds the key of an object in place of the object.
        privilege: What reading it takes (managed objects only).
    """

    name: str
    kind: Kind
    since: str
    optional: bool
    is_list: bool
    link: bool = False
    privilege: str | None = None

    @property
    def item(self) -> Kind:
        """Type of one element: the item of a list, the type itself of anything else."""
        kind: Any = self.kind
        found: Kind = kind.Item if self.is_list else kind
        return found


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a managed object.

    Attributes:
        name: Name on the wire (``CreateSnapshot_Task``).
        owner: Managed type that declares it.
        parameters: In the order of the wire.
        result: Type of what it returns; ``NoneType`` if nothing.
        result_optional: It may return nothing although it has a result type.
        task_result: For a task, the type of ``info.result``; else the same as `result`.
        is_task: It starts a task.
        since: The first version that has it.
        privilege: What calling it takes, or None.
        faults: Names of the declared faults, as pyVmomi spells them (``vim.fault.FileFault``).
    """

    name: str
    owner: Kind
    parameters: tuple[Field, ...]
    result: Kind
    result_optional: bool
    task_result: Kind
    is_task: bool
    since: str
    privilege: str | None
    faults: tuple[str, ...]


def _field(name: str, kind: Kind, born: str, flags: int, privilege: str | None = None) -> Field:
    """Return a field from what a row of pyVmomi's tables says."""
    optional, link = bool(flags & _F_OPTIONAL), bool(flags & _F_LINK)
    return Field(name, kind, born, optional, issubclass(kind, list), link, privilege)


def data_rows(kind: Kind) -> list[Field]:
    """Return every property that pyVmomi's class of a data object has, those of its bases first."""
    declared: Any = kind
    rows = declared._GetPropertyList()  # noqa: SLF001 -- said to be public by its module
    return [_field(row.name, row.type, row.version, row.flags) for row in rows]


@cache
def data_fields(kind: Kind) -> tuple[Field, ...]:
    """Return the fields of a data object in the order of the wire, those of its bases first.

    The text of a fault travels in ``faultstring`` or ``localizedMessage``, never in the fault, and
    the wrapper of a fault has two fields only; pyVmomi's tables say otherwise of both.
    """
    rows = data_rows(kind)
    if kind is LocalizedFault:
        return tuple(row for row in rows if row.name in {"fault", "localizedMessage"})
    if issubclass(kind, MethodFault):
        return tuple(row for row in rows if row.name != "msg")
    return tuple(rows)


@cache
def managed_properties(kind: Kind) -> dict[str, Field]:
    """Return the properties of a managed object by name, those of its bases first."""
    if kind is ManagedObject:
        return {}
    found = dict(managed_properties(kind.__bases__[0]))
    definitions = support._managedDefMap  # noqa: SLF001 -- what the class holds does not stay
    for name, typename, born, flags, *rest in definitions[kind.__name__][4] or []:
        privilege = rest[0] if rest else None
        found[name] = _field(name, support.GetVmodlType(typename), born, flags, privilege)
    return found


@cache
def _fetch() -> Method:
    """Return the method that reads one property; its result has the type of that property."""
    return Method(
        name="Fetch",
        owner=ManagedObject,
        parameters=(_field("prop", str, FIRST_VERSION, 0),),
        result=object,
        result_optional=True,
        task_result=object,
        is_task=False,
        since=FIRST_VERSION,
        privilege=None,
        faults=(),
    )


@cache
def _internal() -> dict[str, Method]:
    """Return the methods that clients call and no table has, in the shape that govmomi sends.

    Disabling takes requests, enabling names; what a request holds pyVmomi has to be told first.
    """
    text, entities = FIRST_VERSION, support.GetVmodlType("vim.ManagedEntity[]")
    rows = [(name, "string", text, 0) for name in ("method", "reasonId")]
    request = "vim.AuthorizationManager.DisabledMethodRequest"
    if lookup_type(VIM25, "DisabledMethodRequest") is None:
        support.CreateDataType(request, "DisabledMethodRequest", "vmodl.DynamicData", text, rows)
    requests, names = support.GetVmodlType(f"{request}[]"), support.GetVmodlType("string[]")
    common = [_field("entity", entities, text, 0)]
    source = _field("sourceId", str, text, 0)
    scope = _field("sessionScope", bool, text, _F_OPTIONAL)
    disabling = (*common, _field("method", requests, text, 0), source, scope)
    enabling = (*common, _field("method", names, text, 0), source)
    return {
        name: Method(
            name=name,
            owner=vim.AuthorizationManager,
            parameters=parameters,
            result=type(None),
            result_optional=False,
            task_result=type(None),
            is_task=False,
            since=FIRST_VERSION,
            privilege=f"Global.{name}",
            faults=(),
        )
        for name, parameters in (("DisableMethods", disabling), ("EnableMethods", enabling))
    }


_methods: dict[tuple[str, str], Method] = {}


def lookup_method(namespace: str, name: str) -> Method | None:
    """Return the method of that name, or None if there is none.

    Only what is found is kept: the names come from the network.
    """
    key = (namespace, name)
    if key in _methods:
        return _methods[key]
    if key == (VIM25, "Fetch"):
        found = _fetch()
    elif namespace in {VIM25, INTERNAL} and name in _internal():
        found = _internal()[name]
    else:
        try:
            found = _method(support.GetWsdlMethod(namespace, name).info)
        except KeyError:
            return None
    _methods[key] = found
    return found


def _method(info: Any) -> Method:
    """Return a method from pyVmomi's description of it."""
    return Method(
        name=info.wsdlName,
        owner=info.type,
        parameters=tuple(_field(p.name, p.type, p.version, p.flags) for p in info.params),
        result=info.result,
        result_optional=bool(info.resultFlags & _F_OPTIONAL),
        task_result=info.methodResult,
        is_task=info.isTask,
        since=info.version,
        privilege=info.privId,
        faults=tuple(info.faults),
    )


_types: dict[tuple[str, str], Kind] = {}


def lookup_type(namespace: str, name: str) -> Kind | None:
    """Return the type of that name on the wire, or None if there is none.

    Only what is found is kept: the names come from the network.
    """
    key = (namespace, name)
    if key not in _types:
        if name.startswith(_LISTS_OF_LISTS):  # pyVmomi would look for the list within, without end
            return None
        plain = name.removesuffix(_LINK_SUFFIX) if name.endswith("ObjectReference") else name
        try:
            _types[key] = support.GetWsdlType(namespace, plain)
        except (AttributeError, KeyError):  # the former of a list of what has no lists
            return None
    return _types[key]


@cache
def wire_name(kind: Kind) -> tuple[str, str]:
    """Return the namespace and the name under which an ``xsi:type`` names a type."""
    if kind is ManagedObject:
        return VIM25, "ManagedObject" + _LINK_SUFFIX
    if issubclass(kind, list):
        item: Any = kind
        if issubclass(item.Item, ManagedObject):
            return VIM25, "ArrayOfManagedObject" + _LINK_SUFFIX
        if item.Item in {support.ManagedMethod, support.PropertyPath, type}:
            return VIM25, "ArrayOfString"
    if kind in {support.ManagedMethod, support.PropertyPath, type}:
        return XSD, "string"
    namespace, name = support.GetQualifiedWsdlName(kind)
    return namespace, name


def type_name(kind: Kind) -> str:
    """Return the name of a type where a type is the value, or what a reference refers to."""
    return "ManagedObject" if kind is ManagedObject else wire_name(kind)[1]


def knows(version: str, born: str) -> bool:
    """Tell whether a client of `version` knows what came with version `born`."""
    return born == version or born in support.parentMap[version]


@cache
def compatible(kind: Kind, version: str) -> Kind:
    """Return the type, or the nearest base of it that a client of `version` knows."""
    while not knows(version, since(kind)):
        kind = kind.__bases__[0]
    return kind


def reference(kind: Kind, moid: str, guid: str | None = None) -> Any:
    """Return a reference to a managed object, bound to no client."""
    managed: Any = kind
    return managed(moid, None, guid)


def since(kind: Kind) -> str:
    """Return the first version that has a type; the first of all for a scalar."""
    found: str = getattr(kind, "_version", FIRST_VERSION)
    return found
