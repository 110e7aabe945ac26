"""The vendor's whole behaviour over an array: a request goes to the version that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi import Manners, Reply
from stuntdouble.arrayapi.pure import rest1, rest2
from stuntdouble.arrayapi.pure.operations import Operations
from stuntdouble.arrayapi.pure.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.arrayapi import Request
    from stuntdouble.arrayapi.pure.estate import Estate


class FlashArray:
    """A Pure Storage FlashArray over an array: REST 2.26 and its neighbours, and REST 1.

    Args:
        estate: the array, and what this vendor knows of it.
    """

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self._operations = Operations(estate)

    def handle(self, request: Request) -> Generator[Event, Any, Reply]:
        """Do what an authorised request asks; return what the vendor answers."""
        match request.parts:
            case ("api", "api_version"):
                return _versions(request)
            case ("api", version, *rest) if version in rest2.VERSIONS:
                return (yield from rest2.handle(self._operations, request, "/".join(rest)))
            case ("api", version, *rest) if version in rest1.VERSIONS:
                return (yield from rest1.handle(self._operations, request, tuple(rest)))
            case ("api", version, *_) if version.startswith("1."):
                # the status by which a client learns to choose another version
                return rest1.refused(Refusal("Unsupported REST version.", version, status=450))
            case _:
                text = "This path is not supported by this array."
                return rest2.refused(Refusal(text, request.path, status=404))


def _versions(request: Request) -> Reply:
    if request.method != "GET":
        text = f"The method {request.method} is not supported for this resource."
        return rest2.refused(Refusal(text, "api_version", status=405))
    return Reply(200, {"version": [*rest1.VERSIONS, *rest2.VERSIONS]})


def _refuse(status: int, text: str) -> Reply:
    return rest2.refused(Refusal(f"{text[:1].upper()}{text[1:]}.", status=status))


MANNERS: Final = Manners(
    name="Pure FlashArray REST",
    refuse=_refuse,
    list_key="items",
    total_key="total_item_count",
)
"""How this vendor says what goes wrong on the way."""
