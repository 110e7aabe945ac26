"""Text in the full feature phase: discovery, and what may still be negotiated (§11.10, appendix C)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import NO_TAG, REJECT, Negotiation, RejectReason
from stuntdouble.errors import Misuse
from stuntdouble.iscsi.limits import WANTED
from stuntdouble.iscsi.sessions import PORTAL_GROUP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.codecs.iscsi import Pdu
    from stuntdouble.iscsi.connection import Connection
    from stuntdouble.iscsi.sessions import Target

_TAG: Final = 1  # there is one exchange at a time


class Texts:
    """The exchange of text on a connection: one at a time, in as many PDUs as it takes."""

    def __init__(self, connection: Connection, portals: Sequence[str]) -> None:
        self._connection = connection
        self._portals = portals
        self._asked = bytearray()
        self._answer = b""
        self._itt = NO_TAG

    def take(self, pdu: Pdu) -> None:
        """Take a request, or a piece of one, and answer."""
        connection = self._connection
        request = iscsi.TextRequest.parse(pdu.header)
        if not request.immediate:
            connection.completed()
        if request.ttt == NO_TAG:
            self._asked.clear()
            self._answer, self._itt = b"", request.itt
        if request.itt != self._itt or request.ttt not in {NO_TAG, _TAG}:
            connection.reject(RejectReason.INVALID_FIELD, pdu.header)
            return
        self._asked += pdu.data
        broken = request.more and request.final
        if broken or len(self._asked) > connection.node.limits.text_bytes:
            self._asked.clear()
            connection.reject(RejectReason.PROTOCOL_ERROR, pdu.header)
        elif request.more:
            self._reply(b"", final=False, more=False)
        else:
            self._complete(pdu)

    def _complete(self, pdu: Pdu) -> None:
        """Answer a whole request, or go on with the answer to the last."""
        if self._asked or not self._answer:
            asked, self._asked = self._asked, bytearray()
            try:
                self._answer = iscsi.pack_text(self._answers(asked))
            except Misuse:
                self._connection.reject(RejectReason.PROTOCOL_ERROR, pdu.header)
                return
        size = self._connection.segment_bytes
        piece, self._answer = self._answer[:size], self._answer[size:]
        self._reply(piece, final=not self._answer, more=bool(self._answer))

    def _reply(self, text: bytes, *, final: bool, more: bool) -> None:
        tag = NO_TAG if final else _TAG
        numbers = self._connection.next_numbers()
        answer = iscsi.TextResponse(self._itt, tag, numbers, final, more)
        self._connection.send(answer.pack(len(text)), [text], len(text))

    def _answers(self, asked: bytearray) -> list[tuple[str, str]]:
        """Return what answers a request; Misuse where it breaks the rules."""
        session = self._connection.session
        assert session is not None, "text of the full feature phase"
        negotiation = Negotiation("target", WANTED, login=False, discovery=session.target is None)
        answers = negotiation.take(iscsi.parse_text(asked))
        if "MaxRecvDataSegmentLength" in negotiation.declared:
            self._connection.segment_bytes = negotiation.number("MaxRecvDataSegmentLength")
        if "SendTargets" in negotiation.declared:
            answers += self._targets(negotiation.declared["SendTargets"], session.target)
        return answers

    def _targets(self, asked: str, present: Target | None) -> list[tuple[str, str]]:
        """Return names and addresses of the targets that the initiator may know of."""
        session = self._connection.session
        assert session is not None, "text of the full feature phase"
        if asked == ("" if present is None else "All"):  # appendix C: all, in discovery sessions
            return [("SendTargets", REJECT)]
        visible = [present] if present else self._connection.node.visible(session.initiator)
        pairs = []
        for target in visible:
            if asked in {"All", "", target.name}:
                pairs.append(("TargetName", target.name))
                pairs += [("TargetAddress", f"{at},{PORTAL_GROUP}") for at in self._portals]
        return pairs
