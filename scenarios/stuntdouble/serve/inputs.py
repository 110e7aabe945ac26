"""What enters a site from outside, in order: with scenario and seed, all it takes to live it again.

    a door                       enters the site once          and is told the outcome later
    ──────                       ─────────────────────         ────────────────────────────
    native, vSphere, NBD …  ───▶ record(door, payload) ───▶    a model takes its site time
                                 in one ``env.entered()``

Whatever an input brings about happens in the models, and those depend on nothing but what was
before.  So a door enters once for each input, never again when part of it is done: between two
entries wall time passes, and nobody knows how much.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stuntdouble.errors import Bug, Error, Misuse
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.clock import Environment
    from stuntdouble.scenarios.build import World

BYTES_MAX: Final = 256 * MIB
"""Of all inputs that are kept, as JSON: what clients ask of a site for days must not fill the memory.
Chosen: what NBD and iSCSI may have written, each, and as much of requests."""

Play: TypeAlias = "Callable[[World, dict[str, Any]], object]"
"""Do at once what a payload says, without waiting; it may raise what the door was told."""


@dataclass(frozen=True, slots=True)
class Input:
    """At *seconds* of site time *payload* entered through *door*."""

    seconds: float
    door: str
    payload: dict[str, Any]


class Recorder:
    """The inputs of a site so far; ``given_up`` says why there are no more, where that is so."""

    def __init__(self, env: Environment, inputs: Iterable[Input] = ()) -> None:
        self.inputs = list(inputs)
        self.given_up = ""
        self._env = env
        self._bytes = sum(len(json.dumps(each.payload)) for each in self.inputs)

    def give_up(self, why: str) -> None:
        """Keep no more inputs: from here on the site cannot be lived through again."""
        self.given_up = why

    def record(self, door: str, payload: dict[str, Any]) -> None:
        """Note an input; call it within ``env.entered()``, before anything is done about it.

        Raises:
            Bug: *payload* is not JSON, or would be another one when it is read again.
        """
        if self.given_up:
            return
        text = json.dumps(payload, allow_nan=False)
        self._bytes += len(text)
        if self._bytes > BYTES_MAX:
            self.give_up(f"{self._bytes} bytes had entered the site")
            return
        kept = json.loads(text)
        if kept != payload:
            raise Bug(f"the input {payload!r} of {door} does not survive as JSON")
        self.inputs.append(Input(self._env.now, door, kept))


def play(world: World, doors: dict[str, Play], inputs: Iterable[Input], until: float) -> None:
    """Let a site that was just built live through *inputs*, and on to *until*, in virtual time.

    What the site refused then it refuses now; that was told to somebody who is not here any more.

    Raises:
        Misuse: an input of a door that there is not, or inputs that are out of order.
    """
    env = world.env
    for each in inputs:
        if each.door not in doors:
            raise Misuse("checkpoint", f"no door named {each.door!r} is open here")
        if not env.now <= each.seconds <= until:
            raise Misuse("checkpoint", f"its inputs are out of order at {each.seconds} s")
        env.catch_up(each.seconds)
        with env.entered():
            try:
                doors[each.door](world, each.payload)
            except Error:
                continue
    if until < env.now:
        raise Misuse("checkpoint", f"its instant, {until} s, is before the site was ready")
    env.catch_up(until)
