"""What the native interface can do to a site, by name, with arguments that JSON can hold."""

from __future__ import annotations

from collections.abc import Callable, Generator
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from stuntdouble.errors import Misuse, NotFound
from stuntdouble.extents import Runs

if TYPE_CHECKING:
    from simpy.events import Event

    from stuntdouble.array import Array
    from stuntdouble.scenarios.build import World

DOOR: Final = "native"

Model: TypeAlias = "Generator[Event, Any, Any]"
Operation: TypeAlias = "Callable[..., Model | None]"


def array_of(world: World, name: str) -> Array:
    """Return an array by its name; NotFound where there is none."""
    if name not in world.arrays:
        raise NotFound("array", name)
    return world.arrays[name]


def start(world: World, name: str, arguments: dict[str, Any]) -> Event | None:
    """Begin an operation, within ``env.entered()``; return the event of its end, None if it is over.

    Raises:
        Misuse: no such operation, or not with such arguments.
        Error: the site refuses it.
    """
    if name not in OPERATIONS:
        raise Misuse("operation", f"{name!r} is none of {', '.join(OPERATIONS)}")
    operation = OPERATIONS[name]
    try:
        signature(operation).bind(world, **arguments)
    except TypeError as error:
        raise Misuse(f"operation {name}", str(error)) from None
    model = operation(world, **arguments)
    return None if model is None else world.env.process(model)


def play(world: World, payload: dict[str, Any]) -> None:
    """Do again what was recorded; nobody waits for its end."""
    event = start(world, payload["operation"], payload["arguments"])
    if event is not None:
        event.callbacks.append(_told_before)


def _told_before(event: Event) -> None:
    event.defused = True


# Faults. ---------------------------------------------------------------------------------------


def _crash_vm(world: World, vm: str) -> Model:
    return world.hypervisor.crash(vm)


def _crash_host(world: World, host: str) -> Model:
    return world.hypervisor.crash_host(host)


def _power_loss(world: World) -> Model:
    host = world.hypervisor
    ups = [each.name for each in host.hosts.values() if each.up]
    yield world.env.all_of([world.env.process(host.crash_host(name)) for name in ups])


def _restart_host(world: World, host: str) -> None:
    world.hypervisor.restart_host(host)


def _power_on(world: World, vm: str) -> Model:
    return world.hypervisor.power_on(vm)


def _answer(world: World, vm: str, choice: str) -> None:
    world.hypervisor.answer(vm, choice)


def _lose_array(world: World, array: str) -> None:
    array_of(world, array).lose()


def _damage(
    world: World,
    array: str,
    volume: str,
    start: int,
    length: int,
    mode: Literal["error", "silent"],
) -> None:
    found = array_of(world, array).volume(volume)
    if start + length > found.size_bytes:
        raise Misuse(f"volume {volume}", f"ends at {found.size_bytes} bytes")
    array_of(world, array).damage(found, Runs.single(start, length), mode)


def _set_quirk(world: World, name: str, on: bool) -> None:  # noqa: FBT001  (an argument by name)
    world.hypervisor.quirks.switch(name, on=on)


def _set_paging(world: World, **choice: Any) -> None:
    world.hypervisor.paging.change(**choice)


# The array. ------------------------------------------------------------------------------------


def _prepare(world: World, array: str, naas: list[str]) -> Model:
    return array_of(world, array).prepare(tuple(naas))


def _create_snapshots(world: World, array: str, naas: list[str], name: str) -> Model:
    return array_of(world, array).create_snapshots(tuple(naas), name)


def _delete_snapshot(world: World, array: str, snapshot: str) -> Model:
    return array_of(world, array).delete_snapshot(snapshot)


def _promote(world: World, array: str, snapshot: str, name: str, *, read_only: bool) -> Model:
    return array_of(world, array).promote(snapshot, name, read_only=read_only)


def _delete_volume(world: World, array: str, volume: str) -> Model:
    return array_of(world, array).delete_volume(volume)


def _map(world: World, array: str, volume: str, initiator_iqn: str) -> Model:
    return array_of(world, array).map_volume(volume, initiator_iqn)


def _unmap(world: World, array: str, volume: str, initiator_iqn: str) -> Model:
    return array_of(world, array).unmap_volume(volume, initiator_iqn)


OPERATIONS: Final[dict[str, Operation]] = {
    "crash-vm": _crash_vm,
    "crash-host": _crash_host,
    "power-loss": _power_loss,
    "restart-host": _restart_host,
    "power-on": _power_on,
    "answer": _answer,
    "lose-array": _lose_array,
    "damage": _damage,
    "set-quirk": _set_quirk,
    "set-paging": _set_paging,
    "prepare": _prepare,
    "create-snapshots": _create_snapshots,
    "delete-snapshot": _delete_snapshot,
    "promote": _promote,
    "delete-volume": _delete_volume,
    "map": _map,
    "unmap": _unmap,
}
