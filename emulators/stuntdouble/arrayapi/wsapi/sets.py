"""Sets of volumes and sets of hosts: a name for several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi.bodies import (
    SET_NAME_LENGTH_MAX,
    Shape,
    choice,
    comment,
    each,
    named,
    no_body,
)
from stuntdouble.arrayapi.wsapi.codes import Refusal, unsupported
from stuntdouble.arrayapi.wsapi.query import asked
from stuntdouble.arrayapi.wsapi.showing import members

if TYPE_CHECKING:
    from stuntdouble.arrayapi.messages import Request

T = TypeVar("T")

ADD, REMOVE, RESYNC, STOP = 1, 2, 3, 4  # action

MEMBERS_MAX: Final = 1000  # chosen; no source

_NEW: Final = Shape(
    {
        "name": named(SET_NAME_LENGTH_MAX),
        "comment": comment,
        "domain": named(),
        "setmembers": each(named(), MEMBERS_MAX),
    },
    ("name",),
)
_CHANGE: Final = Shape(
    {
        "action": choice(ADD, REMOVE, RESYNC, STOP),
        "newName": named(SET_NAME_LENGTH_MAX),
        "comment": comment,
        "setmembers": each(named(), MEMBERS_MAX),
        "flashCachePolicy": choice(1, 2),
    }
)


@dataclass(eq=False)
class Set(Generic[T]):
    """A set; what is in it follows when it is renamed."""

    number: int
    name: str
    comment: str = ""
    inside: list[T] = field(default_factory=list)


class Sets(Generic[T]):
    """The paths below ``/volumesets`` or ``/hostsets``.

    Args:
        path: which of them.
        find: returns a member by its name, or raises Refusal.
        alive: every member that there may be now.
        name: of a member.
    """

    def __init__(
        self,
        path: str,
        find: Callable[[str], T],
        alive: Callable[[], Iterable[T]],
        name: Callable[[T], str],
    ) -> None:
        self._path = path
        self._find = find
        self._alive = alive
        self._name = name
        self._sets: dict[str, Set[T]] = {}
        self._next = 1

    def get(self, name: str) -> Set[T]:
        """Return a set; Refusal where there is none, or it is no name."""
        named(SET_NAME_LENGTH_MAX)("name", name)
        if name not in self._sets:
            raise Refusal("NON_EXISTENT_SET", ref=name)
        return self._sets[name]

    def inside(self, found: Set[T]) -> list[T]:
        """Return the members that are still there."""
        alive = list(self._alive())
        found.inside = [each for each in found.inside if any(each is one for one in alive)]
        return found.inside

    def having(self, member: T) -> list[str]:
        """Return the names of the sets that something is in."""
        return [each.name for each in self._sets.values() if member in self.inside(each)]

    def listed(self, request: Request) -> Reply:
        """Return every set."""
        if asked(request.query):
            raise unsupported(f"a query of {self._path}")
        return Reply(200, members(self._show(each) for each in self._sets.values()))

    def one(self, _request: Request, name: str) -> Reply:
        """Return a set."""
        return Reply(200, self._show(self.get(name)))

    def create(self, request: Request) -> Reply:
        """Make a set."""
        found = _NEW.read(request.body)
        name = found["name"]
        if "domain" in found:
            raise Refusal("NON_EXISTENT_DOMAIN", ref=found["domain"])
        if name in self._sets:
            raise Refusal("EXISTENT_SET", ref=name)
        inside = self._members(found.get("setmembers", ()))
        self._sets[name] = Set(self._next, name, found.get("comment", ""), inside)
        self._next += 1
        return Reply(201, None, (("Location", f"/api/v1/{self._path}/{name}"),))

    def change(self, request: Request, name: str) -> Reply:
        """Change a set: its name and comment, or its members."""
        one = self.get(name)
        found = _CHANGE.read(request.body)
        if not found:
            raise Refusal("INV_INPUT_ONE_REQUIRED", ref="action,newName,comment")
        if "flashCachePolicy" in found:
            raise unsupported("a flash cache")
        if "newName" in found and "setmembers" in found:
            raise Refusal("INV_INPUT_PARAM_CONFLICT", ref="newName,setmembers")
        new = found.get("newName", name)
        if new != name and new in self._sets:
            raise Refusal("EXISTENT_SET", ref=new)
        self._change_members(one, found)
        one.comment = found.get("comment", one.comment)
        one.name = new
        self._sets = {each.name: each for each in self._sets.values()}
        return Reply(200, None, (("Location", f"/api/v1/{self._path}/{new}"),))

    def delete(self, request: Request, name: str) -> Reply:
        """Forget a set; its members stay."""
        no_body(request.body)
        del self._sets[self.get(name).name]
        return Reply(200)

    # Parts. ------------------------------------------------------------------------------------

    def _show(self, one: Set[T]) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": one.number, "name": one.name}
        if one.comment:
            shown["comment"] = one.comment
        inside = self.inside(one)
        if inside:
            shown["setmembers"] = [self._name(each) for each in inside]
        return shown

    def _members(self, names: tuple[str, ...]) -> list[T]:
        if len(set(names)) != len(names):
            raise Refusal("INV_INPUT_DUP_NAME", ref="setmembers")
        return [self._find(name) for name in names]

    def _change_members(self, one: Set[T], found: dict[str, Any]) -> None:
        action, names = found.get("action"), found.get("setmembers")
        if action is None:
            if names is not None:
                raise Refusal("INV_INPUT_ONE_REQUIRED", ref="action")
            return
        if action in (RESYNC, STOP):
            raise unsupported("a physical copy of a set")
        if not names:
            raise Refusal("INV_INPUT_ONE_REQUIRED", ref="setmembers")
        wanted, inside = self._members(names), self.inside(one)
        if action == ADD:
            for member in wanted:
                if member in inside:
                    raise Refusal("MEMBER_IN_SET", ref=self._name(member))
            one.inside = inside + wanted
        else:
            for member in wanted:
                if member not in inside:
                    raise Refusal("MEMBER_NOT_IN_SET", ref=self._name(member))
            one.inside = [member for member in inside if member not in wanted]
