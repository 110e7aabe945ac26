"""A login, step by step (RFC 7143, §6.3 and §12): without sockets, sequence numbers and PDUs.

                  ┌─ SECURITY ──────┐        ┌─ OPERATIONAL ─┐
    first request │ AuthMethod,     │ transit│ everything    │ transit
        ─────────▶│ CHAP            ├───────▶│ else          ├────────▶ FULL FEATURE PHASE
                  └─────────────────┘        └───────────────┘
        └─ straight to either stage, where nothing has to be proven; a stage may be left out

Whatever is wrong ends the login with a status of §11.13.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from stuntdouble.codecs.iscsi import (
    CHAP_KEYS,
    NAME_BYTES_MAX,
    REJECT,
    RULES,
    VERSION,
    LoginStatus,
    Negotiation,
    NegotiationError,
    Stage,
    pack_text,
    parse_text,
)
from stuntdouble.errors import AccessDenied, Misuse, Refused
from stuntdouble.iscsi.authentication import Authentication
from stuntdouble.iscsi.limits import WANTED
from stuntdouble.iscsi.sessions import PORTAL_GROUP

if TYPE_CHECKING:
    from stuntdouble.codecs.iscsi import LoginRequest
    from stuntdouble.iscsi.sessions import Node, Target

_STEPS_MAX: Final = 32  # of one login; CHAP and parameters take four.  Chosen.
_ANSWER_BYTES_MAX: Final = 8192  # what an initiator takes before it has said more (§13.12)
_NAME_KINDS: Final = ("iqn.", "eui.", "naa.")  # §4.2.7.3


class LoginRefused(Refused):
    """A login ends.  Facts: the status (``LoginStatus``), why."""

    template = "login refused with {0:#06x}: {1}"


class Step(NamedTuple):
    """The answer to one request: text, and the stage that is entered, or None."""

    text: bytes
    entered: Stage | None


class Login:
    """One login on one connection.

    ``initiator``, ``target`` (None for discovery) and ``negotiation`` say what came of it.
    """

    def __init__(self, node: Node) -> None:
        self.initiator = ""
        self.target: Target | None = None
        self.negotiation = Negotiation("target", WANTED)
        self._node = node
        self._authentication = Authentication(None, node.random)
        self._stage: int | None = None
        self._identity: tuple[object, ...] = ()
        self._text = bytearray()
        self._steps = 0
        self._named = self._told = False

    @property
    def discovery(self) -> bool:
        """Whether the session is one for discovery."""
        return self.negotiation.discovery

    def step(self, request: LoginRequest, data: memoryview) -> Step:
        """Take a request and return its answer.

        Raises:
            LoginRefused: the login is over.
        """
        self._check(request)
        self._text += data
        if len(self._text) > self._node.limits.text_bytes:
            raise LoginRefused(LoginStatus.INITIATOR_ERROR, "too much text")
        if request.more:
            return Step(b"", None)
        try:
            pairs = parse_text(self._text)
            self._text.clear()
            answers = self._taken(request, pairs)
        except AccessDenied as error:
            raise LoginRefused(LoginStatus.AUTHENTICATION_FAILURE, str(error)) from None
        except Misuse as error:
            raise LoginRefused(LoginStatus.INITIATOR_ERROR, str(error)) from None
        text = pack_text(answers)
        if len(text) > _ANSWER_BYTES_MAX:
            raise LoginRefused(LoginStatus.INITIATOR_ERROR, "too many keys")
        return Step(text, self._entered(request))

    # What a request must be. -------------------------------------------------------------------

    def _check(self, request: LoginRequest) -> None:
        """Refuse what does not fit to what came before (§11.12)."""
        if request.version_min > VERSION:
            text = f"version {request.version_min} at least"
            raise LoginRefused(LoginStatus.UNSUPPORTED_VERSION, text)
        self._steps += 1
        identity = (request.isid, request.tsih, request.cid, request.itt)
        first = self._stage is None
        if first:
            self._stage, self._identity = request.csg, identity
        if identity != self._identity or self._steps > _STEPS_MAX:
            raise LoginRefused(LoginStatus.INVALID_REQUEST, "it goes on as another login")
        wrong = request.csg != self._stage or request.csg not in {
            Stage.SECURITY,
            Stage.OPERATIONAL,
        }
        if request.transit:
            ahead = {Stage.OPERATIONAL, Stage.FULL_FEATURE}
            wrong |= request.more or request.nsg not in ahead or request.nsg <= request.csg
        if wrong:
            text = f"from stage {request.csg} to {request.nsg}"
            raise LoginRefused(LoginStatus.INITIATOR_ERROR, text)
        if first and request.tsih:
            known = self._node.has_session(request.tsih, request.isid)
            status = LoginStatus.TOO_MANY_CONNECTIONS if known else LoginStatus.NO_SESSION
            raise LoginRefused(status, f"session {request.tsih}")

    def _taken(self, request: LoginRequest, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        chap = {key: value for key, value in pairs if key in CHAP_KEYS}
        if sum(key in CHAP_KEYS for key, _ in pairs) != len(chap):
            raise NegotiationError("CHAP", "a key comes twice")
        rest = [pair for pair in pairs if pair[0] not in CHAP_KEYS]
        if not self._named:
            self._name(dict(rest))
        _check_stage(request.csg, rest)
        answers = self.negotiation.take(rest)
        answers += self._proved(request, dict(answers).get("AuthMethod"), chap)
        if request.csg == Stage.OPERATIONAL:
            answers += self._own()
        return self._opening() + answers

    def _proved(
        self, request: LoginRequest, answered: str | None, chap: dict[str, str]
    ) -> list[tuple[str, str]]:
        """Return what goes on with the proof; AccessDenied where there will be none."""
        if answered == REJECT:
            raise AccessDenied(self.initiator, "the target by the methods that it offers")
        method = self.negotiation.agreed.get("AuthMethod")
        answers = self._authentication.take(method, chap)
        forward = request.csg == Stage.OPERATIONAL or (request.transit and method is None)
        if forward and not self._authentication.proven:
            raise AccessDenied(self.initiator, "the target without a proof")
        return answers

    def _own(self) -> list[tuple[str, str]]:
        """Return what is declared once, with the first operational answer."""
        if self._told:
            return []
        self._told = True
        return self.negotiation.offer(["MaxRecvDataSegmentLength"])

    def _opening(self) -> list[tuple[str, str]]:
        """Return what is declared with the first answer of all (§13.9)."""
        first, self._named = not self._named, True
        if not first or self.target is None:
            return []
        pairs = [("TargetPortalGroupTag", str(PORTAL_GROUP))]
        return pairs + ([("TargetAlias", self.target.alias)] if self.target.alias else [])

    def _entered(self, request: LoginRequest) -> Stage | None:
        if not request.transit or not self._authentication.proven:
            return None
        self._stage = request.nsg
        return Stage(request.nsg)

    # Who it is, and what for. ------------------------------------------------------------------

    def _name(self, keys: dict[str, str]) -> None:
        """Find out who wants to log in where (§4.2.3)."""
        if "InitiatorName" not in keys:
            raise LoginRefused(LoginStatus.MISSING_PARAMETER, "no InitiatorName")
        name = keys["InitiatorName"]
        if not name.startswith(_NAME_KINDS) or len(name.encode()) > NAME_BYTES_MAX:
            raise LoginRefused(LoginStatus.INITIATOR_ERROR, f"initiator {name!r}")
        kind = keys.get("SessionType", "Normal")
        if kind not in {"Normal", "Discovery"}:
            raise LoginRefused(LoginStatus.TYPE_NOT_SUPPORTED, f"SessionType {kind}")
        self.initiator = name
        if kind == "Normal":
            self.target = self._find(keys.get("TargetName"))
        self._authentication = Authentication(
            self._node.credentials(name, self.target), self._node.random
        )
        wanted = WANTED | {"AuthMethod": self._authentication.methods}
        self.negotiation = Negotiation("target", wanted, discovery=kind == "Discovery")

    def _find(self, name: str | None) -> Target:
        if name is None:
            raise LoginRefused(LoginStatus.MISSING_PARAMETER, "no TargetName")
        target = self._node.targets.get(name)
        if target is None:
            raise LoginRefused(LoginStatus.NOT_FOUND, f"target {name!r}")
        if not target.admits(self.initiator):
            raise LoginRefused(LoginStatus.AUTHORIZATION_FAILURE, f"initiator {self.initiator}")
        return target


def _check_stage(stage: int, pairs: list[tuple[str, str]]) -> None:
    """Refuse keys that do not belong to a stage (§12, §13)."""
    for key, _ in pairs:
        rule = RULES.get(key)
        if stage == Stage.SECURITY and rule is not None and not rule.security:
            raise NegotiationError(f"key {key}", "does not belong to the security stage")
        if stage == Stage.OPERATIONAL and key == "AuthMethod":
            raise NegotiationError(f"key {key}", "belongs to the security stage")
