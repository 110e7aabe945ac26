"""Every operation and property that is shown is one of the API's, and takes what the API lets it."""

from __future__ import annotations

import inspect

import pytest

from stuntdouble.vsphere import roots  # noqa: F401  (which imports every kind of object)
from stuntdouble.vsphere.objects import Entity, Managed, snake
from stuntdouble.vsphere.vmomi import VIM25, lookup_method, managed_properties


def kinds() -> list[type[Managed]]:
    found, todo = [], [Managed]
    while todo:
        for each in todo.pop().__subclasses__():
            todo.append(each)
            found.append(each)
    return [each for each in found if "kind" in vars(each)]


OPERATIONS = [(kind, name) for kind in kinds() for name in kind.operations]


@pytest.mark.parametrize(("kind", "name"), OPERATIONS, ids=lambda x: getattr(x, "__name__", x))
def test_an_operation_takes_what_the_api_lets_clients_pass(kind: type[Managed], name: str) -> None:
    method = lookup_method(VIM25, name)
    assert method is not None, f"vim25 has no {name}"
    assert issubclass(kind.kind, method.owner), f"{name} is of {method.owner.__name__}"
    wanted = {snake(each.name) for each in method.parameters}
    given = dict(list(inspect.signature(kind.operations[name]).parameters.items())[2:])
    assert wanted <= given.keys()
    later = [given[name] for name in given.keys() - wanted]  # of newer versions than this pyVmomi's
    assert all(each.default is None for each in later)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_what_is_shown_is_a_property_of_the_api(kind: type[Managed]) -> None:
    known = managed_properties(kind.kind)
    assert set(kind.shown) <= set(known), kind
    assert kind.unset <= {*known, *Entity.unset}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_what_the_api_requires_is_shown(kind: type[Managed]) -> None:
    required = {n for n, field in managed_properties(kind.kind).items() if not field.optional}
    assert required <= {*kind.shown, *kind.unset}
