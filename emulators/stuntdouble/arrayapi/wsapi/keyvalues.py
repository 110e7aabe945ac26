"""What clients keep with a volume: values by key, nothing to the array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi import vvs
from stuntdouble.arrayapi.wsapi.bodies import Shape, no_body, text
from stuntdouble.arrayapi.wsapi.codes import Refusal
from stuntdouble.arrayapi.wsapi.showing import members

if TYPE_CHECKING:
    from stuntdouble.array import Array
    from stuntdouble.arrayapi.messages import Request

KEYS_MAX: Final = 256  # chosen; no source

_VALUE_LENGTH_MAX: Final = 1024  # chosen; no source

_VALUE: Final = text(_VALUE_LENGTH_MAX, empty=True)
_NEW: Final = Shape({"key": text(31), "value": _VALUE}, ("key", "value"))
_CHANGE: Final = Shape({"value": _VALUE}, ("value",))


class KeyValues:
    """The paths below ``/volumes/<name>/objectKeyValues``."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def _of(self, name: str) -> dict[str, str]:
        kept: dict[str, str] = vvs.notes(vvs.get(self._array, name)).setdefault("keys", {})
        return kept

    def listed(self, _request: Request, name: str) -> Reply:
        """Return every key with its value."""
        return Reply(200, members(_shown(k, v) for k, v in self._of(name).items()))

    def one(self, _request: Request, name: str, key: str) -> Reply:
        """Return a value."""
        kept = self._of(name)
        if key not in kept:
            raise Refusal("NON_EXISTENT_OBJECT_KEY", ref=key)
        return Reply(200, _shown(key, kept[key]))

    def create(self, request: Request, name: str) -> Reply:
        """Keep a value under a new key."""
        kept, found = self._of(name), _NEW.read(request.body)
        if found["key"] in kept:
            raise Refusal("EXISTENT_OBJECT_KEY", ref=found["key"])
        if len(kept) >= KEYS_MAX:
            raise Refusal("INV_INPUT_EXCEEDS_RANGE", f"{KEYS_MAX} keys are there", "key")
        kept[found["key"]] = found["value"]
        where = f"/api/v1/volumes/{name}/objectKeyValues/{found['key']}"
        return Reply(201, None, (("Location", where),))

    def change(self, request: Request, name: str, key: str) -> Reply:
        """Keep another value under a key."""
        kept, found = self._of(name), _CHANGE.read(request.body)
        if key not in kept:
            raise Refusal("NON_EXISTENT_OBJECT_KEY", ref=key)
        kept[key] = found["value"]
        return Reply(200)

    def delete(self, request: Request, name: str, key: str) -> Reply:
        """Forget a key."""
        no_body(request.body)
        kept = self._of(name)
        if key not in kept:
            raise Refusal("NON_EXISTENT_OBJECT_KEY", ref=key)
        del kept[key]
        return Reply(200)


def _shown(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": value}
