"""How this vendor says no: a sentence and the name that it is about, for each object on its own.

Clients match on the sentences, so they are the vendor's wherever clients are known to:

    does not exist · No such volume or snapshot · already exists · has been destroyed
    already in use · is not connected · cannot be deleted due to existing connections
    Invalid combination of parameters specified
    Snapshot suffix must be between 1 and 63 characters …

(openstack/cinder ``pure.py``, canonical/lxd ``driver_pure_util.go``, apache/cloudstack pull request
13049 and kolesa-team/pve-purestorage-plugin issue 20 quote them.)  The rest is worded alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

DESTROYED: Final = (
    "{kind} has been destroyed. It can be recovered by {command} recover and eradicated by"
    " {command} eradicate."
)


class Refusal(Exception):  # noqa: N818  # what the vendor's errors are called in this package
    """A request, or parts of it, is refused; ``said`` are pairs of sentence and context."""

    def __init__(self, message: str, context: str = "", *, status: int = 400) -> None:
        super().__init__(message, context)
        self.said: tuple[tuple[str, str], ...] = ((message, context),)
        self.status = status

    @classmethod
    def of(cls, refusals: Iterable[Refusal]) -> Refusal:
        """Return one refusal that says what several did; it has the status of the first."""
        every = list(refusals)
        joined = cls("", status=every[0].status)
        joined.said = tuple(pair for each in every for pair in each.said)
        return joined


def missing(kind: str, name: str) -> Refusal:
    """Return the refusal for an unknown name of a *kind* such as "Volume"."""
    return Refusal(f"{kind} does not exist.", name)


def taken(kind: str, name: str) -> Refusal:
    """Return the refusal for a name that is in use already."""
    return Refusal(f"{kind} already exists.", name)


def gone(kind: str, name: str) -> Refusal:
    """Return the refusal for what waits to be eradicated."""
    command = "purevol" if "olume" in kind else "purepgroup"
    return Refusal(DESTROYED.format(kind=kind, command=command), name)


def clash(context: str = "") -> Refusal:
    """Return the refusal for parameters that exclude each other."""
    return Refusal("Invalid combination of parameters specified.", context)


def unsupported(what: str, context: str = "") -> Refusal:
    """Return the refusal for what the vendor has and this emulator has not."""
    return Refusal(f"{what} is not supported by this array.", context)


_SENTENCES: Final[dict[type[errors.Error], str]] = {
    errors.NotFound: "Resource does not exist.",
    errors.LunInUse: "The LUN is already in use.",
    errors.NoSpace: "There is not enough space on the array.",
}


def refusal_of(error: errors.Error, context: str) -> Refusal:
    """Return how this vendor says an error of the array that nothing above foresaw.

    An array that is lost, or was lost meanwhile, does not answer: 503.
    """
    if isinstance(error, errors.Lost):
        return Refusal("The array is not available.", context, status=503)
    for kind, sentence in _SENTENCES.items():
        if isinstance(error, kind):
            return Refusal(sentence, context)
    return Refusal(f"{error}.", context)
