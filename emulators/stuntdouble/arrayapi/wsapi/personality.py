"""The interface as a whole: which path and method leads where, and how errors are said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi import vvs
from stuntdouble.arrayapi.wsapi.bodies import Shape, choice, no_body, whole
from stuntdouble.arrayapi.wsapi.codes import Refusal, unsupported
from stuntdouble.arrayapi.wsapi.copies import PHYSICAL, PROMOTION, Copies
from stuntdouble.arrayapi.wsapi.hosts import Hosts
from stuntdouble.arrayapi.wsapi.keyvalues import KeyValues
from stuntdouble.arrayapi.wsapi.sets import Sets
from stuntdouble.arrayapi.wsapi.setting import Setting
from stuntdouble.arrayapi.wsapi.snapshots import OF_SET, OF_VOLUME, Snapshots
from stuntdouble.arrayapi.wsapi.system import System
from stuntdouble.arrayapi.wsapi.tasks import Tasks
from stuntdouble.arrayapi.wsapi.vluns import Vluns
from stuntdouble.arrayapi.wsapi.volumes import CHANGE, Volumes
from stuntdouble.errors import (
    Error,
    InvalidState,
    LimitReached,
    Lost,
    LunInUse,
    Misuse,
    NoSpace,
    NotFound,
    Unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.array import Array, Host
    from stuntdouble.arrayapi.messages import Request
    from stuntdouble.arrayapi.wsapi.vvs import Vv

Handled: TypeAlias = "Reply | Generator[Event, Any, Reply]"
Handler: TypeAlias = "Callable[..., Handled]"

_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

_VALUE_MAX: Final = 2**31 - 1  # "int32" of the guide

NOT_EMULATED: Final = frozenset(
    (
        "aoconfigurations", "domains", "domainsets", "eventlog", "fcswitches", "fileservices",
        "flashcache", "fpgs", "fstores", "hostpersonas", "portdevices", "qos", "quorumwitness",
        "remotecopy", "remotecopygroups", "remotecopylinks", "remotecopytargets", "roles",
        "schedules", "systemreporter", "users", "vfs", "volumetemplates",
    )
)  # fmt: skip
"""Resources that the real interface has, and this one refuses by UNSUP_OP instead of hiding."""

LISTS: Final = frozenset(
    ("volumes", "vluns", "hosts", "volumesets", "hostsets", "tasks", "cpgs", "ports")
)
"""Resources that are lists, of which a query may pick."""

_ERRORS: Final[tuple[tuple[type[Error], str], ...]] = (
    (NoSpace, "NO_SPACE"),
    (LimitReached, "SNAPSHOT_LIMIT_REACHED"),
    (LunInUse, "EXISTENT_LUN"),
    (Unsupported, "UNSUP_OP"),
    (Misuse, "INV_INPUT"),
    (Lost, "SVC_UNAVAIL"),
    (InvalidState, "INV_OPERATION_VV_IS_BUSY"),
)
"""How errors of the array are said that only show once its request is under way."""


class Wsapi:
    """The interface of one array: implements ``Personality``.

    Args:
        array: what it is the interface of.
        setting: how that presents itself.
    """

    def __init__(self, array: Array, setting: Setting | None = None) -> None:
        setting = Setting() if setting is None else setting
        self._array = array
        self._hostsets: Sets[Host] = Sets("hostsets", self._find_host, array.hosts.all, _name)
        self._vvsets: Sets[Vv] = Sets(
            "volumesets", lambda name: vvs.get(array, name), lambda: vvs.every(array), _name
        )
        self._system = System(array, setting)
        self._tasks = Tasks(array, setting)
        self._hosts = Hosts(array, setting, self._hostsets.having)
        self._vluns = Vluns(array, setting, self._hosts)
        self._volumes = Volumes(array, setting, self._vvsets.having)
        self._snapshots = Snapshots(array, self._vvsets.inside)
        self._copies = Copies(array, self._tasks)
        self._keys = KeyValues(array)
        self._routes = self._all_routes()

    def handle(self, request: Request) -> Generator[Event, Any, Reply]:
        """Do what an authorised request asks; return what the vendor answers."""
        began = self._array.core.env.now
        try:
            self._array.core.check_reachable()
            handled = self._route(request)
            if isinstance(handled, Reply):
                return handled
            return (yield from handled)
        except Refusal as refusal:
            return refusal.reply()
        except Error as error:
            overtaken = self._array.core.env.now > began
            reply = self._overtaken(request) if overtaken else None
            return reply or _said(error).reply()

    def _overtaken(self, request: Request) -> Reply | None:
        """Return the answer to a request that another one has overtaken, if it takes no time by now.

        That is what stands in its way, or that the other one has done the most of it.  What takes
        time does nothing before its first event, and is not begun again.
        """
        try:
            handled = self._route(request)
            if isinstance(handled, Reply):
                return handled
            next(handled)
            handled.close()
        except StopIteration as done:
            reply: Reply = done.value
            return reply
        except Refusal as refusal:
            return refusal.reply()
        except Error:
            pass
        return None

    def _find_host(self, name: str) -> Host:
        return self._hosts.find(name)

    # Ways. -------------------------------------------------------------------------------------

    def _route(self, request: Request) -> Handled:
        if _BAD_PERCENT.search(request.path):
            raise Refusal("INV_URL_PERCENT_ENCODING", ref=request.path)
        parts = request.parts
        if parts[-1] == "" and len(parts) > 1:
            parts = parts[:-1]
        if parts == ("api",):
            return self._go(request, {"GET": self._system.version}, ())
        if parts[:2] != ("api", "v1") or len(parts) < 3:
            raise Refusal("URI_RES_NOT_FOUND", ref=request.path)
        kind, names = parts[2], parts[3:]
        if kind in NOT_EMULATED:
            raise unsupported(f"/{kind}")
        if kind == "volumes" and len(names) > 1:
            if names[1] != "objectKeyValues" or len(names) > 3:
                raise Refusal("URI_RES_NOT_FOUND", ref=request.path)
            kind, names = "objectKeyValues", (names[0], *names[2:])
        methods = self._routes.get((kind, len(names)))
        if methods is None:
            raise Refusal("URI_RES_NOT_FOUND", ref=request.path)
        return self._go(request, methods, names)

    def _go(self, request: Request, methods: dict[str, Handler], names: tuple[str, ...]) -> Handled:
        if request.method not in methods:
            raise Refusal("UNSUP_OP", f"{request.method} of {request.path}")
        if not request.changes:
            no_body(request.body)
        if request.query and (request.changes or names or not LISTS & {*request.parts[2:3]}):
            raise Refusal("INV_INPUT", "no query is expected", request.query[0][0])
        return methods[request.method](request, *names)

    def _all_routes(self) -> dict[tuple[str, int], dict[str, Handler]]:
        """Return the handlers by resource, number of names after it, and method."""
        system, tasks, fixed = self._system, self._tasks, self._system.fixed
        found: dict[tuple[str, int], dict[str, Handler]] = {
            ("system", 0): {"GET": system.system},
            ("wsapiconfiguration", 0): {"GET": system.configuration},
            ("capacity", 0): {"GET": system.capacity},
            ("spacereporter", 0): {"POST": system.space},
            ("cpgs", 0): {"GET": system.cpgs, "POST": fixed},
            ("cpgs", 1): {"GET": system.cpg, "PUT": fixed, "DELETE": fixed},
            ("ports", 0): {"GET": system.ports},
            ("ports", 1): {"GET": system.port},
            ("tasks", 0): {"GET": tasks.listed},
            ("tasks", 1): {"GET": tasks.one, "PUT": tasks.change},
            ("vluns", 0): {"GET": self._vluns.listed, "POST": self._vluns.create},
            ("vluns", 1): {"GET": self._vluns.one, "DELETE": self._vluns.delete},
        }
        for name, many in (
            ("hosts", self._hosts),
            ("volumesets", self._vvsets),
            ("hostsets", self._hostsets),
        ):
            found[name, 0] = {"GET": many.listed, "POST": many.create}
            found[name, 1] = {"GET": many.one, "PUT": many.change, "DELETE": many.delete}
        found["volumesets", 1]["POST"] = self._act_on_set
        found["volumes", 0] = {"GET": self._volumes.listed, "POST": self._volumes.create}
        found["volumes", 1] = {
            "GET": self._volumes.one,
            "POST": self._act_on_volume,
            "PUT": self._change_volume,
            "DELETE": self._volumes.delete,
        }
        found["objectKeyValues", 1] = {"GET": self._keys.listed, "POST": self._keys.create}
        found["objectKeyValues", 2] = {
            "GET": self._keys.one,
            "PUT": self._keys.change,
            "DELETE": self._keys.delete,
        }
        return found

    # Actions: what one path does depends on what the body says. ---------------------------------

    def _act_on_volume(self, request: Request, name: str) -> Handled:
        vv = vvs.get(self._array, name)
        action, parameters = _action(request)
        if action == "createSnapshot":
            return self._snapshots.of_volume(vv, OF_VOLUME.check(parameters))
        if action == "createPhysicalCopy":
            return self._copies.create(vv, PHYSICAL.check(parameters))
        raise Refusal("INV_INPUT_BAD_ENUM_VALUE", ref="action")

    def _act_on_set(self, request: Request, name: str) -> Handled:
        one = self._vvsets.get(name)
        action, parameters = _action(request)
        if action == "createSnapshot":
            return self._snapshots.of_set(one, OF_SET.check(parameters))
        if action == "createPhysicalCopy":
            raise unsupported("a physical copy of a set")
        raise Refusal("INV_INPUT_BAD_ENUM_VALUE", ref="action")

    def _change_volume(self, request: Request, name: str) -> Handled:
        vv = vvs.get(self._array, name)
        found = _ANY.read(request.body)
        action = found.get("action")
        if action is None:
            return self._volumes.change(vv, CHANGE.check(found))
        choice(1, 2, 3, 4, 5, 6)("action", action)
        if action == 3:
            return self._volumes.grow(vv, _GROW.check(found)["sizeMiB"])
        if action == 4:
            return self._copies.promote(vv, PROMOTION.check(found))
        _ALONE.check(found)
        if action == 1:
            return self._copies.stop(vv)
        if action == 2:
            return self._copies.resync(vv)
        if action == 5:
            return self._copies.stop_promotion(vv)
        raise unsupported("the tuning of a volume")


class _Anything(Shape):
    """An object that is looked into before it is known what it should be."""

    def check(self, found: dict[str, Any]) -> dict[str, Any]:
        """Let it pass."""
        return found


def _grow_size(name: str, value: Any) -> int:
    found: int = whole(-_VALUE_MAX - 1)(name, value)
    if found <= 0:
        raise Refusal("INV_INPUT_VV_GROW_SIZE", ref=name)
    return found


_ANY: Final = _Anything({})
_ALONE: Final = Shape({"action": choice(1, 2, 5, 6)})
_GROW: Final = Shape({"action": choice(3), "sizeMiB": _grow_size}, ("sizeMiB",))


def _action(request: Request) -> tuple[str, dict[str, Any]]:
    """Return what a body of ``{"action": …, "parameters": {…}}`` asks for."""
    found = _ANY.read(request.body)
    for name in found:
        if name not in ("action", "parameters"):
            raise Refusal("INV_INPUT", f"nothing is known of {name!r}", name)
    for name, kind in (("action", str), ("parameters", dict)):
        if name not in found:
            raise Refusal("INV_INPUT_MISSING_REQUIRED", ref=name)
        if not isinstance(found[name], kind):
            raise Refusal("INV_INPUT_WRONG_TYPE", ref=name)
    return found["action"], found["parameters"]


def _said(error: Error) -> Refusal:
    if isinstance(error, NotFound):
        symbol = "NON_EXISTENT_HOST" if error.args[0] == "host" else "NON_EXISTENT_VOL"
        return Refusal(symbol, str(error))
    for kind, symbol in _ERRORS:
        if isinstance(error, kind):
            return Refusal(symbol, str(error))
    return Refusal("INT_SERV_ERR", str(error))


def _name(thing: Any) -> str:
    name: str = thing.name
    return name
