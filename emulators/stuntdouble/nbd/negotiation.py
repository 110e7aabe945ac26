"""From a client's first byte to the export that it has chosen ("Option haggling")."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import ClientFlag, Info, Option, Reply, TransmissionFlag
from stuntdouble.errors import Error, Misuse, NotFound
from stuntdouble.nbd.wire import Gone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stuntdouble.nbd.exports import Export, Exports
    from stuntdouble.nbd.limits import Limits
    from stuntdouble.nbd.wire import Wire

_CONTEXTS_MAX: Final = 64  # of one connection: each is one more look-up of a block status.  Chosen.


@dataclass(frozen=True)
class Session:
    """What was agreed on: ``contexts`` are the names by their numbers."""

    export: Export
    flags: TransmissionFlag
    structured: bool
    contexts: dict[int, str]


def transmission_flags(export: Export, *, structured: bool) -> TransmissionFlag:
    """Return what an export can do.

    Nothing is cached, so a flush has nothing to do and every write is where it stays.
    """
    flags = TransmissionFlag.HAS_FLAGS | TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_FUA
    if export.read_only:
        flags |= TransmissionFlag.READ_ONLY | TransmissionFlag.CAN_MULTI_CONN
    else:
        flags |= TransmissionFlag.SEND_WRITE_ZEROES
    return flags | TransmissionFlag.SEND_DF if structured else flags


@dataclass
class Negotiation:
    """One client's negotiation; ``run`` returns what comes of it."""

    wire: Wire
    exports: Exports
    limits: Limits
    structured: bool = False
    _contexts: dict[int, str] = field(default_factory=dict)
    _contexts_of: str = ""

    async def run(self) -> Session:
        """Greet, and answer options until one of them ends the negotiation.

        Raises:
            Gone: the client has left, or has asked for what only leaving can answer.
            Misuse: what came is no negotiation.
        """
        await self.wire.send(nbd.greeting())
        flags = nbd.parse_client_flags(await self.wire.next(4))
        for _ in range(self.limits.options):
            header = nbd.OptionHeader.parse(await self.wire.next(nbd.OPTION_HEADER_BYTES))
            if header.length > nbd.OPTION_BYTES_MAX:
                text = f"{header.length} bytes of data: {nbd.OPTION_BYTES_MAX} are read at most"
                await self._error(header.kind, Reply.ERR_TOO_BIG, text)
                raise Gone
            data = await self.wire.rest(header.length)
            if header.kind == Option.EXPORT_NAME:
                return await self._old_choice(data, zeroes=ClientFlag.NO_ZEROES not in flags)
            session = await self._answer(header.kind, data)
            if session is not None:
                return session
        raise Gone

    async def _answer(self, kind: int, data: bytes) -> Session | None:
        """Answer one option; an error of ours is the client's to read."""
        answers: dict[int, Callable[[int, bytes], Awaitable[Session | None]]] = {
            Option.ABORT: self._abort,
            Option.LIST: self._list,
            Option.INFO: self._choose,
            Option.GO: self._choose,
            Option.STRUCTURED_REPLY: self._structure,
            Option.LIST_META_CONTEXT: self._list_contexts,
            Option.SET_META_CONTEXT: self._set_contexts,
        }
        answer = answers.get(kind, self._refuse)
        try:
            return await answer(kind, data)
        except NotFound as error:
            await self._error(kind, Reply.ERR_UNKNOWN, str(error))
        except Misuse as error:
            await self._error(kind, Reply.ERR_INVALID, str(error))
        except Error as error:
            await self._error(kind, Reply.ERR_SHUTDOWN, str(error))
        return None

    async def _reply(self, kind: int, reply: Reply, data: bytes = b"") -> None:
        await self.wire.send(nbd.option_reply(kind, reply, data))

    async def _error(self, kind: int, reply: Reply, text: str) -> None:
        await self._reply(kind, reply, text.encode()[: nbd.STRING_BYTES_MAX])

    async def _refuse(self, kind: int, _data: bytes) -> None:
        what = "TLS" if kind == Option.STARTTLS else f"option {kind}"
        await self._error(kind, Reply.ERR_UNSUP, f"{what} is not emulated: do without")

    async def _abort(self, kind: int, _data: bytes) -> None:
        await self._reply(kind, Reply.ACK)
        raise Gone

    async def _list(self, kind: int, data: bytes) -> None:
        _require_empty(data)
        for name, description in self.exports.listing():
            await self._reply(kind, Reply.SERVER, nbd.server_reply(name, description))
        await self._reply(kind, Reply.ACK)

    async def _structure(self, kind: int, data: bytes) -> None:
        _require_empty(data)
        self.structured = True
        await self._reply(kind, Reply.ACK)

    # The export. -------------------------------------------------------------------------------

    async def _choose(self, kind: int, data: bytes) -> Session | None:
        choice = nbd.Choice.parse(data)
        session = self._session(choice.name)
        export = session.export
        sizes = nbd.BlockSizes(1, export.block_bytes, nbd.REQUEST_BYTES_MAX)
        for info in (
            nbd.info_export(export.size_bytes, session.flags),
            nbd.info_text(Info.NAME, export.name),
            nbd.info_text(Info.DESCRIPTION, export.description),
            nbd.info_block_sizes(sizes),
        ):
            await self._reply(kind, Reply.INFO, info)
        await self._reply(kind, Reply.ACK)
        return session if kind == Option.GO else None

    async def _old_choice(self, data: bytes, *, zeroes: bool) -> Session:
        """Enter transmission by EXPORT_NAME, which cannot refuse: the document wants us to leave."""
        try:
            session = self._session(data.decode("utf-8"))
        except (Error, UnicodeDecodeError) as error:
            raise Gone from error
        size = session.export.size_bytes
        await self.wire.send(nbd.old_reply(size, session.flags, zeroes=zeroes))
        return session

    def _session(self, name: str) -> Session:
        export = self.exports.find(name)
        flags = transmission_flags(export, structured=self.structured)
        contexts = dict(self._contexts) if name == self._contexts_of else {}
        return Session(export, flags, self.structured, contexts)

    # Its contexts. -----------------------------------------------------------------------------

    async def _list_contexts(self, kind: int, data: bytes) -> None:
        query = nbd.MetaQuery.parse(data)
        self._require_structure()
        export = self.exports.find(query.name)
        known = list(export.contexts())
        if query.queries:
            known = [name for name in known if any(_matches(name, q) for q in query.queries)]
            for wanted in query.queries:
                if wanted not in known and await export.has_context(wanted):
                    known.append(wanted)
        for name in known:
            await self._reply(kind, Reply.META_CONTEXT, nbd.meta_context(0, name))
        await self._reply(kind, Reply.ACK)

    async def _set_contexts(self, kind: int, data: bytes) -> None:
        self._contexts, self._contexts_of = {}, ""
        query = nbd.MetaQuery.parse(data)
        self._require_structure()
        export = self.exports.find(query.name)
        if len(query.queries) > _CONTEXTS_MAX:
            text = f"{len(query.queries)} contexts, {_CONTEXTS_MAX} at most"
            await self._error(kind, Reply.ERR_TOO_BIG, text)
            return
        wanted = dict.fromkeys(query.queries)
        found = [name for name in wanted if await export.has_context(name)]
        self._contexts, self._contexts_of = dict(enumerate(found, 1)), query.name
        for number, name in self._contexts.items():
            await self._reply(kind, Reply.META_CONTEXT, nbd.meta_context(number, name))
        await self._reply(kind, Reply.ACK)

    def _require_structure(self) -> None:
        if not self.structured:
            raise Misuse("NBD option META_CONTEXT", "negotiate STRUCTURED_REPLY before it")


def _matches(name: str, query: str) -> bool:
    """Say whether a query names a context, or what its name begins with up to a colon."""
    return name == query or (query.endswith(":") and name.startswith(query))


def _require_empty(data: bytes) -> None:
    if data:
        raise Misuse("NBD option", f"{len(data)} bytes of data where it has none")
