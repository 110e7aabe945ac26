"""Scenarios whose arrays can be served as a vendor's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.arrayapi.pure import OUI

if TYPE_CHECKING:
    from stuntdouble.scenarios.spec import Scenario

NAME_LENGTH_MAX: Final = 191
"""Characters of the longest name of a FlashArray: group, suffix and volume of a group snapshot, dots
between."""


def as_flasharrays(scenario: Scenario, array: str = "") -> Scenario:
    """Return a scenario whose array is one that can be served as a FlashArray.

    Its identifiers are the vendor's, names may be as long as the vendor has them, and a full array
    refuses writes: it never gives a snapshot up.  What the scenario says of these itself stays.

    Args:
        scenario: any scenario.
        array: the array's name; empty for the scenario's first.
    """
    wanted = {"naa_prefix": OUI, "name_length_max": NAME_LENGTH_MAX, "exhaustion": "refuse"}
    name = array or scenario.arrays[0].name
    arrays = [
        each.model_copy(update={"parameters": wanted | each.parameters})
        if each.name == name
        else each
        for each in scenario.arrays
    ]
    return scenario.model_copy(update={"arrays": type(scenario.arrays)(arrays)})
