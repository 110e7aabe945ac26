"""From what a FlashArray says to the error that it means.

An array says a sentence and the name that it is about; the sentence is all there is to go by.
"""

from __future__ import annotations

from typing import Any, Final

from stuntdouble import errors

_KINDS: Final = ("volume snapshot", "volume", "host", "connection", "tag", "iqn")


class PureRefusal(Exception):  # noqa: N818  # what the array's answer is, before it is an error
    """What an array refused: pairs of sentence and context, as it sent them."""

    def __init__(self, said: tuple[tuple[str, str], ...]) -> None:
        super().__init__(said)
        self.said = said

    def only(self, *parts: str) -> bool:
        """Tell whether all that was said has one of these parts."""
        return all(any(part in message for part in parts) for message, _ in self.said)

    def error(self, request: str) -> errors.Error:
        """Return the error that is meant, of the first refusal; *request* is for people."""
        message, context = self.said[0]
        return error_of(message, context, request)


def said_of(body: Any) -> tuple[tuple[str, str], ...]:
    """Return pairs of sentence and context from the JSON of a refusal; none where it is another."""
    found = body.get("errors") if isinstance(body, dict) else None
    if not isinstance(found, list):
        return ()
    return tuple(
        (str(each.get("message") or ""), str(each.get("context") or ""))
        for each in found
        if isinstance(each, dict)
    )


def error_of(message: str, context: str, request: str) -> errors.Error:
    """Return the error that a sentence means; one that nobody knows is a state of the array."""
    lower, text = message.lower(), message.rstrip(".")
    kind = next(kind for kind, parts in _MEANT if any(part in f" {lower}" for part in parts))
    if kind is errors.NotFound:
        what = next((each for each in _KINDS if lower.startswith(each)), "volume or snapshot")
        return errors.NotFound(what, context)
    facts: dict[type[errors.Error], tuple[str, ...]] = {
        errors.NoSpace: ("the array", "more", "less"),
        errors.LunInUse: ("asked for", context),
        errors.Unsupported: (f"{request} ({text})", "ask for something else"),
        errors.LimitReached: (f"{request} ({text})", "the array"),
        errors.Misuse: (f"{request}, {context}" if context else request, text),
        errors.InvalidState: (context or "the array", f"refusing ({text})", request),
    }
    return kind(*facts[kind])


_MEANT: Final[tuple[tuple[type[errors.Error], tuple[str, ...]], ...]] = (
    (errors.NotFound, ("does not exist", "no such volume", "could not be found")),
    (errors.NoSpace, ("not enough space", "insufficient space")),
    (errors.LunInUse, ("lun is already in use",)),
    (errors.Unsupported, ("is not supported by this array",)),
    (errors.LimitReached, ("no lun is available", " at most ")),
    (errors.Misuse, (" invalid ", " must ", " unknown ")),
    (errors.InvalidState, ("",)),
)
"""Parts of sentences, and what they mean; the first that fits decides."""
