"""Lists of REST 2: which items, in which order, and how many at a time.

Items come in the order of their creation, unless ``sort`` wants another.  A page ends with a token
that continues after its last item: what is deleted meanwhile moves nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.pure.filters import parse_filter, value_at
from stuntdouble.arrayapi.pure.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection

    from stuntdouble.arrayapi.pure.bodies import Query

    Item = dict[str, Any]

PAGE_ITEMS_MAX: Final = 1000  # of one answer; a larger limit is cut down to it.  Chosen.

PARAMETERS: Final = (
    "filter", "sort", "limit", "offset", "continuation_token", "total_item_count", "total_only",
)  # fmt: skip


def fields_of(example: Item) -> frozenset[str]:
    """Return the fields that items like this one have, nested ones with their dots too."""
    found = set()
    for name, value in example.items():
        found.add(name)
        if isinstance(value, dict):
            found |= {f"{name}.{inner}" for inner in fields_of(value)}
    return frozenset(found)


def page(items: list[Item], query: Query, fields: Collection[str]) -> tuple[Item, str]:
    """Return the body of an answer, and the token of the next page or an empty text.

    Args:
        items: all of them, in the order of their creation; each has an ``id`` or a ``name``.
        query: what the client wants.
        fields: what items have.
    """
    text = query.text("filter")
    if text is not None:
        wanted = parse_filter(text, fields)
        items = [item for item in items if wanted(item)]
    items = _sorted(items, query.names("sort") or (), fields)
    limit, counted = query.number("limit"), query.flag("total_item_count")
    total = len(items) if counted or limit == 0 else None
    first = _first(items, query)
    shown = items[first : first + min(PAGE_ITEMS_MAX if limit is None else limit, PAGE_ITEMS_MAX)]
    more = bool(shown) and first + len(shown) < len(items)
    token = _token(shown[-1], first + len(shown)) if more else ""
    body: Item = {
        "items": shown,
        "more_items_remaining": more,
        "total_item_count": total,
        "continuation_token": token or None,
    }
    if query.flag("total_only"):
        return body | {"items": [], "total": [_summed(items)], "continuation_token": None}, ""
    return body, token


def _first(items: list[Item], query: Query) -> int:
    offset, text = query.number("offset"), query.text("continuation_token")
    if not text:
        return offset or 0
    key, after = _read_token(text)
    for place, item in enumerate(items):
        if _key(item) == key:
            return place + 1
    return min(after, len(items))


def _key(item: Item) -> str:
    return str(item.get("id") or item.get("name") or json.dumps(item, sort_keys=True))


def _token(last: Item, after: int) -> str:
    text = json.dumps([_key(last), after])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_token(text: str) -> tuple[str, int]:
    try:
        found = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
        key, after = found
        if isinstance(key, str) and type(after) is int and after >= 0:
            return key, after
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass
    raise Refusal("Invalid continuation token.", "continuation_token")


def _sorted(items: list[Item], keys: tuple[str, ...], fields: Collection[str]) -> list[Item]:
    """Sort by several fields, the last one first: sorting keeps what it finds equal."""
    for key in reversed(keys):
        field = key.removesuffix("-").removesuffix("+")
        if field not in fields:
            raise Refusal(f"Invalid sort: unknown field '{field}'.", key)

        def rank(item: Item, field: str = field) -> tuple[str, float]:
            found = value_at(item, field)
            if isinstance(found, bool | int | float):
                return "", found
            return "" if found is None else json.dumps(found).casefold(), 0

        items = sorted(items, key=rank, reverse=key.endswith("-"))
    return items


def _summed(items: list[Item]) -> Item:
    """Return what the numbers of all items come to; text and dates have no sum."""
    total: Item = {}
    for item in items:
        _add(total, item)
    return total


_NO_SUMS: Final = frozenset(
    {"created", "data_reduction", "lun", "thin_provisioning", "time_remaining", "total_reduction"}
)


def _add(total: Item, item: Item) -> None:
    for name, value in item.items():
        if isinstance(value, dict):
            _add(total.setdefault(name, {}), value)
        elif (
            isinstance(value, int | float) and not isinstance(value, bool) and name not in _NO_SUMS
        ):
            total[name] = total.get(name, 0) + value
