"""What every path of REST 2 gets, and what it answers with."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from stuntdouble.arrayapi import MalformedJsonError, Reply, strict_json
from stuntdouble.arrayapi.pure.bodies import Query
from stuntdouble.arrayapi.pure.lists import PARAMETERS, fields_of, page
from stuntdouble.arrayapi.pure.refusals import Refusal, clash

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simpy.events import Event

    from stuntdouble.arrayapi import Request
    from stuntdouble.arrayapi.pure.estate import Estate
    from stuntdouble.arrayapi.pure.operations import Operations

    Item = dict[str, Any]

Path: TypeAlias = "Callable[[Call], Generator[Event, Any, Reply]]"


@dataclass(frozen=True, slots=True)
class Call:
    """A request for a path that is known."""

    request: Request
    operations: Operations

    @property
    def estate(self) -> Estate:
        """What there is."""
        return self.operations.estate

    def query(self, *known: str) -> Query:
        """Return the query parameters, of which only these may be there."""
        return Query(self.request.query, known)

    def listed(self, *known: str) -> Query:
        """Return the query parameters of a list: these, and those of every list."""
        return Query(self.request.query, (*known, *PARAMETERS))

    def body(self) -> Any:
        """Return what the body says; None for nothing."""
        return read_json(self.request.body)


def read_json(body: bytes) -> Any:
    """Return what a body says; None for nothing at all."""
    if not body.strip():
        return None
    try:
        return strict_json(body)
    except MalformedJsonError as error:
        raise Refusal(f"Invalid JSON: {error}.", "body") from None


def answer(items: list[Item], query: Query, example: Item) -> Reply:
    """Return the answer of a list; *example* is an item, for its fields."""
    body, token = page(items, query, fields_of(items[0] if items else example))
    return Reply(200, body, (("x-next-token", token),) if token else ())


def done(items: list[Item]) -> Reply:
    """Return the answer to what was made or changed."""
    return Reply(200, {"items": items})


def deleted() -> Reply:
    """Return the answer to what was deleted: nothing is left to show."""
    return Reply(200)


def named(query: Query, called: dict[str, str]) -> tuple[str, ...]:
    """Return which things a request is about, by name.

    Args:
        query: names them, or their ids: one of the two.
        called: the names by id.
    """
    found = chosen(query, called)
    if found is None:
        raise Refusal("The query parameter 'names' or 'ids' is required.", "names")
    return found


def chosen(query: Query, called: dict[str, str]) -> tuple[str, ...] | None:
    """Return the same, None where a request names nothing."""
    names, ids = query.names("names"), query.names("ids")
    if names is not None and ids is not None:
        raise clash("names, ids")
    if ids is None:
        return names
    return tuple(_name_of(each, called) for each in ids)


def _name_of(id_: str, called: dict[str, str]) -> str:
    if id_ not in called:
        raise Refusal("Resource with this ID does not exist.", id_)
    return called[id_]


def refuse_each(names: Iterable[str], check: Callable[[str], object]) -> None:
    """Check each name; refuse all that are wrong at once."""
    refused = []
    for name in names:
        try:
            check(name)
        except Refusal as refusal:
            refused.append(refusal)
    if refused:
        raise Refusal.of(refused)


def only_one(names: Sequence[str], what: str) -> str:
    """Return the one name of a request that can be about one thing only."""
    if len(names) != 1:
        raise clash(what)
    return names[0]
