"""The filters of lists: ``?query="name EQ a OR name EQ b"``, and that of hosts by their paths."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.wsapi.codes import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TERM: Final = re.compile(r'(?P<key>\w+)\s+(?P<op>\w+)\s+(?P<value>[^\s"]+)')
_PATHS: Final = re.compile(r"(?P<kind>FCPaths|iSCSIPaths)\[(?P<terms>[^\]]*)\]")
_PATH: Final = re.compile(r"(?P<key>wwn|name)==(?P<value>\S+)")

_PATH_KEY: Final = {"FCPaths": "wwn", "iSCSIPaths": "name"}


def asked(query: tuple[tuple[str, str], ...]) -> str:
    """Return the filter of a request, "" where there is none; Refusal of any other parameter."""
    if not query:
        return ""
    if len(query) > 1 or query[0][0] != "query":
        name = next((name for name, _ in query if name != "query"), "query")
        raise Refusal("INV_INPUT", f"nothing is known of the parameter {name!r}", name)
    found = query[0][1].strip()
    if len(found) < 2 or found[0] != '"' or found[-1] != '"':
        raise Refusal("INV_INPUT", "a query stands in double quotes", "query")
    return found[1:-1].strip()


def matching(
    members: Iterable[dict[str, Any]], expression: str, keys: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return the members that an expression of EQ, AND and OR picks, by some of their keys."""
    if not expression:
        return list(members)
    wanted = [
        [_term(" ".join(term), keys) for term in _split(part, "AND")]
        for part in _split(expression.split(), "OR")
    ]
    return [
        member
        for member in members
        if any(all(_said(member.get(key)) == value for key, value in part) for part in wanted)
    ]


def _split(words: list[str], between: str) -> list[list[str]]:
    """Cut words where one of them is *between*.

    A pattern that looks for a word among white space would look at each space once for each other.
    """
    found: list[list[str]] = [[]]
    for word in words:
        if word == between:
            found.append([])
        else:
            found[-1].append(word)
    return found


def _term(term: str, keys: tuple[str, ...]) -> tuple[str, str]:
    found = _TERM.fullmatch(term)
    if found is None or found["op"] != "EQ":
        raise Refusal("INV_INPUT", f"{term!r} is not 'name EQ value'", "query")
    if found["key"] not in keys:
        raise Refusal("INV_INPUT", f"{found['key']!r} is none of {', '.join(keys)}", "query")
    return found["key"], found["value"]


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def by_paths(expression: str) -> Callable[[dict[str, Any]], bool]:
    """Return what tells whether a host has one of the paths that an expression names."""
    wanted: list[tuple[str, str, str]] = []
    rest = expression
    while rest:
        found = _PATHS.match(rest)
        if found is None:
            raise Refusal("INV_INPUT", f"{rest!r} is no list of paths", "query")
        kind = found["kind"]
        terms = _split(found["terms"].split(), "OR")
        wanted += [(kind, *_path(" ".join(term), kind)) for term in terms]
        rest = rest[found.end() :].strip()
        if rest:
            between, _, rest = rest.partition(" ")
            if between != "OR" or not rest.strip():
                raise Refusal("INV_INPUT", "lists of paths are joined by OR", "query")
            rest = rest.strip()

    def has(host: dict[str, Any]) -> bool:
        return any(
            any(path.get(key) == value for path in host[kind]) for kind, key, value in wanted
        )

    return has


def _path(term: str, kind: str) -> tuple[str, str]:
    found = _PATH.fullmatch(term)
    if found is None or found["key"] != _PATH_KEY[kind]:
        raise Refusal("INV_INPUT", f"{term!r} is not {_PATH_KEY[kind]}==value", "query")
    return found["key"], found["value"]
