"""Everything that may be done with an array of this vendor, in one place for both versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from stuntdouble.arrayapi.pure.eradication import Eradication
from stuntdouble.arrayapi.pure.groups import Groups
from stuntdouble.arrayapi.pure.hosts import Hosts
from stuntdouble.arrayapi.pure.refusals import Refusal, refusal_of
from stuntdouble.arrayapi.pure.snapshots import Snapshots
from stuntdouble.arrayapi.pure.volumes import Volumes
from stuntdouble.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from simpy.events import Event

    from stuntdouble.arrayapi.pure.estate import Estate

    Result = TypeVar("Result")


class Operations:
    """The operations over one estate, by what they are done with."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        eradication = Eradication(estate)
        self.volumes = Volumes(estate, eradication)
        self.snapshots = Snapshots(estate, eradication)
        self.hosts = Hosts(estate)
        self.groups = Groups(estate, eradication, self.snapshots)


def each(
    names: Iterable[str], do: Callable[[str], Generator[Event, Any, Result]]
) -> Generator[Event, Any, list[Result]]:
    """Do something for each name, one after the other; what fails stops none of the others.

    Raises:
        Refusal: some were refused; it names each of them, and the others are done.
    """
    done: list[Result] = []
    refused: list[Refusal] = []
    for name in names:
        try:
            done.append((yield from do(name)))
        except Refusal as refusal:
            refused.append(refusal)
        except Error as error:
            refused.append(refusal_of(error, name))
    if refused:
        raise Refusal.of(refused)
    return done


def at_once(do: Callable[[str], Result]) -> Callable[[str], Generator[Event, Any, Result]]:
    """Return the same, for what takes no time, as ``each`` takes it."""

    def doing(name: str) -> Generator[Event, Any, Result]:
        return do(name)
        yield  # a generator all the same

    return doing
