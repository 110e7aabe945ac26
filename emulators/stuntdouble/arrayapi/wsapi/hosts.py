"""Hosts: their initiators, what they are called, and the secrets by which they log in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.array import Chap
from stuntdouble.array.hosts import check_iqn
from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi import vvs
from stuntdouble.arrayapi.wsapi.bodies import (
    Shape,
    choice,
    each,
    flag,
    inner,
    named,
    no_body,
    text,
    vv_name,
)
from stuntdouble.arrayapi.wsapi.codes import Refusal, unsupported
from stuntdouble.arrayapi.wsapi.query import asked, by_paths
from stuntdouble.arrayapi.wsapi.setting import PERSONAS
from stuntdouble.arrayapi.wsapi.showing import members, show_host
from stuntdouble.errors import Misuse, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.array import Array, Host
    from stuntdouble.arrayapi.messages import Request
    from stuntdouble.arrayapi.wsapi.setting import Setting

ADD, REMOVE = 1, 2  # pathOperation, chapOperation

INITIATOR, TARGET = 1, 2  # chapOperationMode

PATHS_MAX: Final = 1024  # "more than 1024 WWNs or iSCSI names": the guide's host creation errors

IQN_LENGTH_MAX: Final = 223  # RFC 7143, section 4.2.7.1

SECRET_LENGTHS: Final = range(12, 17)  # the guide: "12 to 16 characters"

HEX_DIGITS: Final = 32  # the guide: "CHAP hex secret length is not 16 bytes"

_DESCRIPTORS: Final = Shape(
    {
        name: text(255, empty=True)
        for name in ("location", "IPAddr", "os", "model", "contact", "comment")
    }
)
_PATHS: Final = {
    "iSCSINames": each(text(IQN_LENGTH_MAX), PATHS_MAX, "INV_INPUT_TOO_MANY_WWN_OR_iSCSI"),
    "FCWWNs": each(text(23), PATHS_MAX, "INV_INPUT_TOO_MANY_WWN_OR_iSCSI"),
}
_NEW: Final = Shape(
    {
        "name": named(),
        "persona": choice(*PERSONAS),
        "domain": named(),
        "forceTearDown": flag,
        "descriptors": inner(_DESCRIPTORS),
        **_PATHS,
    },
    ("name",),
)
_CHANGE: Final = Shape(
    {
        "newName": named(),
        "pathOperation": choice(ADD, REMOVE),
        "forcePathRemoval": flag,
        "persona": choice(*PERSONAS),
        "descriptors": inner(_DESCRIPTORS),
        "chapOperation": choice(ADD, REMOVE),
        "chapOperationMode": choice(INITIATOR, TARGET),
        "chapName": text(255),
        "chapSecret": text(255),
        "chapSecretHex": flag,
        "chapRemoveTargetOnly": flag,
        **_PATHS,
    }
)
_OF_CHAP: Final = ("chapOperationMode", "chapName", "chapSecret", "chapSecretHex")


class Hosts:
    """The paths below ``/hosts``.

    Args:
        array: whose hosts they are.
        setting: how the array presents itself.
        sets_of: the host sets that a host is in.
    """

    def __init__(
        self, array: Array, setting: Setting, sets_of: Callable[[Host], list[str]]
    ) -> None:
        self._array = array
        self._setting = setting
        self._sets_of = sets_of

    def find(self, name: str) -> Host:
        """Return a host; Refusal where there is none, or it is no name."""
        vv_name("name", name)
        try:
            return self._array.hosts.get(name)
        except NotFound:
            raise Refusal("NON_EXISTENT_HOST", ref=name) from None

    def listed(self, request: Request) -> Reply:
        """Return every host, or those that have one of some paths."""
        expression = asked(request.query)
        has = by_paths(expression)
        shown = [show_host(host, self._setting) for host in self._array.hosts.all()]
        return Reply(200, members(host for host in shown if not expression or has(host)))

    def one(self, _request: Request, name: str) -> Reply:
        """Return a host."""
        return Reply(200, show_host(self.find(name), self._setting))

    def create(self, request: Request) -> Reply:
        """Make a host."""
        found = _NEW.read(request.body)
        name = found["name"]
        if "FCWWNs" in found and "iSCSINames" in found:
            raise Refusal("INV_INPUT_PARAM_CONFLICT", ref="FCWWNs,iSCSINames")
        if "domain" in found:
            raise Refusal("NON_EXISTENT_DOMAIN", ref=found["domain"])
        if found.get("FCWWNs"):
            raise unsupported("a host by Fibre Channel")
        if any(host.name == name for host in self._array.hosts.all()):
            raise Refusal("EXISTENT_HOST", ref=name)
        iqns = found.get("iSCSINames", ())
        self._check_iqns(iqns, None)
        host = self._array.hosts.create(name, iqns)
        kept = vvs.notes(host)
        kept["persona"] = found.get("persona", 2)  # Generic-ALUA, the default since 3.1.3
        kept["descriptors"] = found.get("descriptors", {})
        return Reply(201, None, (("Location", f"/api/v1/hosts/{name}"),))

    def change(self, request: Request, name: str) -> Reply:
        """Change a host: all that is asked for, or nothing."""
        host = self.find(name)
        found = _CHANGE.read(request.body)
        iqns = self._new_iqns(host, found)
        chap, chap_asked = _new_chap(host, found), "chapOperation" in found
        new = self._new_name(host, found)
        if not set(found) & {"newName", "pathOperation", "persona", "descriptors", "chapOperation"}:
            named_ones = "newName,pathOperation,persona,descriptors,chapOperation"
            raise Refusal("INV_INPUT_ONE_REQUIRED", ref=named_ones)
        if "persona" in found and self._sees(host) and found["persona"] != self._persona(host):
            raise Refusal("EXPORTED_VLUN", "the persona of a host with exports", "persona")
        hosts = self._array.hosts
        if iqns is not None:
            hosts.set_iqns(name, iqns)
        if chap_asked:
            hosts.set_chap(name, chap)
        for member in ("persona", "descriptors"):
            if member in found:
                vvs.notes(host)[member] = found[member]
        if new != name:
            hosts.rename(name, new)
        return Reply(200, None, (("Location", f"/api/v1/hosts/{new}"),))

    def delete(self, request: Request, name: str) -> Reply:
        """Forget a host that sees nothing."""
        no_body(request.body)
        host = self.find(name)
        if self._sees(host):
            raise Refusal("EXPORTED_VLUN", ref=name)
        if self._sets_of(host):
            raise Refusal("HOST_IN_SET", ", ".join(self._sets_of(host)), name)
        self._array.hosts.delete(name)
        return Reply(200)

    # Parts. ------------------------------------------------------------------------------------

    def _sees(self, host: Host) -> bool:
        return bool(self._array.masking.luns_of(host))

    def _persona(self, host: Host) -> int:
        persona: int = vvs.notes(host).get("persona", 2)
        return persona

    def _new_name(self, host: Host, found: dict[str, Any]) -> str:
        new: str = found.get("newName", host.name)
        if new != host.name and any(other.name == new for other in self._array.hosts.all()):
            raise Refusal("EXISTENT_HOST", ref=new)
        return new

    def _new_iqns(self, host: Host, found: dict[str, Any]) -> tuple[str, ...] | None:
        """Return the initiators that a host is to have; None where nothing is said of them."""
        operation, iqns = found.get("pathOperation"), found.get("iSCSINames")
        if iqns is not None and "FCWWNs" in found:
            raise Refusal("INV_INPUT_PARAM_CONFLICT", ref="FCWWNs,iSCSINames")
        if "FCWWNs" in found:
            raise unsupported("a host by Fibre Channel")
        if operation is None:
            if iqns is not None or "forcePathRemoval" in found:
                raise Refusal("INV_INPUT_ONE_REQUIRED", ref="pathOperation")
            return None
        if not iqns:
            raise Refusal("INV_INPUT_ONE_REQUIRED", ref="FCWWNs,iSCSINames")
        if operation == ADD:
            if "forcePathRemoval" in found:
                raise Refusal("INV_INPUT_PARAM_CONFLICT", ref="forcePathRemoval,pathOperation")
            self._check_iqns(iqns, host)
            return (*host.iqns, *(iqn for iqn in iqns if iqn not in host.iqns))
        missing = [iqn for iqn in iqns if iqn not in host.iqns]
        if missing:
            raise Refusal("NON_EXISTENT_PATH", ref=missing[0])
        if self._sees(host) and not found.get("forcePathRemoval"):
            raise Refusal("EXPORTED_VLUN", "paths of a host with exports", "iSCSINames")
        return tuple(iqn for iqn in host.iqns if iqn not in iqns)

    def _check_iqns(self, iqns: tuple[str, ...], host: Host | None) -> None:
        for iqn in iqns:
            try:
                check_iqn(iqn)
            except Misuse:
                raise Refusal("INV_INPUT_ILLEGAL_CHAR", "no iSCSI name", iqn) from None
            owner = self._array.hosts.by_iqn(iqn)
            if owner is not None and owner is not host:
                raise Refusal("EXISTENT_PATH", f"of host {owner.name}", iqn)
        if len(set(iqns)) != len(iqns):
            raise Refusal("INV_INPUT_DUP_PATH", ref="iSCSINames")


def _new_chap(host: Host, found: dict[str, Any]) -> Chap | None:
    """Return the secrets that a host is to have, by what a change says of them."""
    operation, given = found.get("chapOperation"), [name for name in _OF_CHAP if name in found]
    target_only = "chapRemoveTargetOnly" in found
    if operation is None:
        if given or target_only:
            raise Refusal("INV_INPUT_ONE_REQUIRED", ref="chapOperation")
        return host.chap
    if operation == REMOVE:
        if given:
            raise Refusal("INV_INPUT_PARAM_CONFLICT", ref=f"chapOperation,{given[0]}")
        return _without_chap(host, found)
    if target_only:
        raise Refusal("INV_INPUT_PARAM_CONFLICT", ref="chapOperation,chapRemoveTargetOnly")
    for name in ("chapOperationMode", "chapSecret"):
        if name not in found:
            raise Refusal("INV_INPUT_MISSING_REQUIRED", ref=name)
    return _with_chap(host.chap, found.get("chapName", host.name), found)


def _with_chap(there: Chap | None, user: str, found: dict[str, Any]) -> Chap:
    """Return secrets with one more, of the initiator or of the target."""
    secret = _secret(found)
    of_initiator = found["chapOperationMode"] == INITIATOR
    if there is None:
        if not of_initiator:
            raise Refusal("NO_INITIATOR_CHAP", ref="chapOperationMode")
        return Chap(user, secret)
    if secret == (there.mutual_secret if of_initiator else there.secret):
        raise Refusal("NON_UNIQUE_CHAP_SECRET", ref="chapSecret")
    if of_initiator:
        return Chap(user, secret, there.mutual_user, there.mutual_secret)
    return Chap(there.user, there.secret, user, secret)


def _without_chap(host: Host, found: dict[str, Any]) -> Chap | None:
    chap = host.chap
    target_only = found.get("chapRemoveTargetOnly", False)
    if chap is None or (target_only and not chap.mutual_secret):
        raise Refusal("NON_EXISTENT_CHAP", ref=host.name)
    return Chap(chap.user, chap.secret) if target_only else None


def _secret(found: dict[str, Any]) -> str:
    """Return a secret as text; one in hexadecimal has 16 bytes."""
    secret: str = found["chapSecret"]
    if not found.get("chapSecretHex"):
        if len(secret) not in SECRET_LENGTHS or not secret.isascii():
            raise Refusal("INV_INPUT_BAD_LENGTH", "12 to 16 ASCII characters", "chapSecret")
        return secret
    digits = secret.removeprefix("0x")
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        raise Refusal("INV_INPUT_WRONG_TYPE", "no hexadecimal digits", "chapSecret") from None
    if len(digits) != HEX_DIGITS:
        raise Refusal("INV_INPUT_BAD_LENGTH", "16 bytes", "chapSecret")
    if not value.isascii():
        raise unsupported("a CHAP secret that is no ASCII text")
    return value.decode()
