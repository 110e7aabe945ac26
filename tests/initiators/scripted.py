"""An iSCSI target for tests: it serves disks in memory, and misbehaves as it is told."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from stuntdouble.codecs import iscsi, scsi
from stuntdouble.codecs.iscsi import (
    NO_TAG,
    DataIn,
    Digests,
    Framer,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Numbers,
    Opcode,
    R2t,
    ResponseFlag,
    ScsiCommand,
    ScsiResponse,
    Stage,
    TextRequest,
    TextResponse,
)
from stuntdouble.codecs.scsi import Key, Sense, Status
from stuntdouble.ports import Mapping

IQN = "iqn.2026-11.org.example:backup"
TARGET = "iqn.2026-11.org.example:array"
NAA = "6000" + "ab" * 14
BLOCK = 512


@dataclass(eq=False)
class Disk:
    """A unit; ``data`` is what it holds."""

    data: bytearray
    naa: str = NAA
    read_only: bool = False
    most: int = 0
    names: bytes = b""


@dataclass(frozen=True)
class Fail:
    """A script's word: the command ends so."""

    sense: Sense | None = None
    status: int = Status.CHECK_CONDITION


DROP, SILENT, CUT, SHORT = "drop", "silent", "cut", "short"
"""Hang up; say nothing; hang up amid the data; leave the last block out."""

ATTENTION = Fail(Sense(Key.UNIT_ATTENTION, 0x3F, 0x0E))


@dataclass(eq=False)
class Scripted:
    """The target.

    Args:
        luns: what is where.
        script: is asked about every SCSI command: None to carry it out.
        login: pairs that go into the answer of the last step of a login.
        status: what logins are answered with.
        chap: what initiators must prove; see ``Credentials``.
        window: how many commands may be under way.
        segment: the longest data segment to send, and to be sent.
        hold: reads are answered when it is set; until then, the window does not move.
        fuse: bytes of data after which a connection is dropped, again and again.
    """

    luns: dict[int, Disk]
    script: Any = None
    status: int = 0
    chap: iscsi.Credentials | None = None
    lie: bool = False
    digests: str = "None,CRC32C"
    window: int = 8
    segment: int = 64 * 1024
    phase_collapse: bool = True
    fuse: int = 0
    spoil: Any = None
    moved: str = ""
    commands: list[tuple[int, int]] = field(default_factory=list)
    logins: list[dict[str, str]] = field(default_factory=list)
    isids: list[bytes] = field(default_factory=list)
    hold: asyncio.Event | None = None
    held: int = 0
    logouts: int = 0
    talks: list[Conversation] = field(default_factory=list)
    portal: str = ""
    agreed: set[str] = field(default_factory=set)
    on_answer: Any = None
    on_login: Any = None
    errors: list[BaseException] = field(default_factory=list)

    async def serve(self, reader, writer):
        talk = Conversation(self, reader, writer)
        self.talks.append(talk)
        try:
            await talk.run()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:  # noqa: BLE001  (the test says so at its end)
            self.errors.append(error)
        finally:
            self.talks.remove(talk)
            writer.transport.abort()

    @property
    def reads(self):
        return [op for op, _ in self.commands].count(0x88)

    def drop_all(self):
        for talk in list(self.talks):
            talk.writer.transport.abort()

    def mapping(self, lun, iqn=IQN):
        return Mapping("volume", self.luns[lun].naa if lun in self.luns else NAA, iqn, lun)


@asynccontextmanager
async def served(target):
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    target.portal = f"{host}:{port}"
    try:
        yield target
    finally:
        server.close()
        target.drop_all()
        await server.wait_closed()
        await asyncio.sleep(0)
    assert not target.errors


class Conversation:
    """One connection."""

    def __init__(self, target, reader, writer):
        self.target, self.reader, self.writer = target, reader, writer
        self.framer = Framer()
        self.statsn, self.cmdsn, self.sent = 7, 1, 0
        self.keys, self.stage = None, Stage.SECURITY
        self.discovery = False
        self.iqn, self.isid = "", b""
        self.writes = {}
        self.challenge = b""
        self.held = 0
        self.dead = False
        self.waiting = set()

    async def next(self):
        while self.dead or (pdu := self.framer.next()) is None:
            data = await self.reader.read(1 << 16)
            if not data:
                raise ConnectionError
            self.framer.feed(data)
        assert pdu.intact
        return bytes(pdu.header), bytes(pdu.data)

    def numbers(self, status=True):
        taken = self.cmdsn - self.held
        found = Numbers(self.statsn, taken, (taken + self.target.window - 1) & 0xFFFFFFFF)
        self.statsn += status
        return found

    async def send(self, header, data=b""):
        parts = iscsi.pack_pdu(header, [data] if len(data) else [], self.framer.digests)
        raw = bytearray(b"".join(parts))
        if self.target.spoil is not None:
            self.target.spoil(header, raw)
        self.writer.write(raw)
        await self.writer.drain()

    async def run(self):
        while True:
            header, data = await self.next()
            match iscsi.opcode_of(header):
                case Opcode.LOGIN_REQUEST:
                    await self.login(LoginRequest.parse(header), data)
                case Opcode.TEXT_REQUEST:
                    await self.text(TextRequest.parse(header))
                case Opcode.SCSI_COMMAND:
                    await self.command(ScsiCommand.parse(header), data)
                case Opcode.DATA_OUT:
                    await self.data_out(iscsi.DataOut.parse(header), data)
                case Opcode.NOP_OUT:
                    found = NopOut.parse(header)
                    if found.ttt == NO_TAG:
                        await self.send(NopIn(found.itt, NO_TAG, self.numbers()).pack())
                    else:
                        self.target.on_answer(found.ttt)
                case Opcode.LOGOUT_REQUEST:
                    self.target.logouts += 1
                    found = LogoutRequest.parse(header)
                    await self.send(LogoutResponse(0, found.itt, self.numbers()).pack())
                    return

    # Login. ---

    async def login(self, asked, data):
        pairs = dict(iscsi.parse_text(data))
        if self.keys is None:
            self.begin(asked, pairs)
        answers, status = self.security(pairs), self.target.status
        if self.target.on_login is not None:
            status = self.target.on_login(self)
        if answers is None:
            answers, status = [], 0x0201
        own = iscsi.CHAP_KEYS | {"AuthMethod"}
        answers += self.keys.take((k, v) for k, v in pairs.items() if k not in own)
        if self.target.moved:
            answers, status = [("TargetAddress", self.target.moved)], 0x0101
        if asked.csg == Stage.OPERATIONAL and "MaxRecvDataSegmentLength" in pairs:
            answers += [("MaxRecvDataSegmentLength", str(self.target.segment)), ("X-unknown", "1")]
        text = iscsi.pack_text(answers)
        go = asked.transit and not status
        reply = LoginResponse(
            asked.isid, 1, asked.itt, self.numbers(), status, asked.csg, asked.nsg if go else 0, go
        )
        await self.send(reply.pack(len(text)), text)
        if status:
            raise ConnectionError
        if go and asked.nsg == Stage.FULL_FEATURE:
            digests = [self.keys.text(key) == "CRC32C" for key in ("HeaderDigest", "DataDigest")]
            self.framer.digests = Digests(*digests)
            self.target.logins.append(pairs)
            self.target.agreed |= {self.keys.text(key) for key in ("HeaderDigest", "DataDigest")}

    def begin(self, asked, pairs):
        self.iqn = pairs["InitiatorName"]
        self.discovery = pairs.get("SessionType") == "Discovery"
        wanted = dict.fromkeys(("HeaderDigest", "DataDigest"), self.target.digests)
        self.keys = iscsi.Negotiation("target", wanted, discovery=self.discovery)
        self.isid = asked.isid
        self.target.isids.append(asked.isid)
        self.cmdsn = asked.cmdsn
        if not self.discovery:
            assert pairs["TargetName"] == TARGET

    def security(self, pairs):
        """Return what to say to CHAP, or None where nothing was proved."""
        chap = self.target.chap
        if "AuthMethod" in pairs:
            if chap is None:
                return [("AuthMethod", "None" if "None" in pairs["AuthMethod"] else "Reject")]
            return [("AuthMethod", "CHAP")] if "CHAP" in pairs["AuthMethod"] else None
        if "CHAP_A" in pairs:
            self.challenge = b"challenge"
            return [("CHAP_A", "7"), ("CHAP_I", "9"), ("CHAP_C", iscsi.pack_binary(self.challenge))]
        if "CHAP_R" not in pairs:
            return []
        proof = iscsi.parse_binary(pairs["CHAP_R"])
        if pairs["CHAP_N"] != chap.user or proof != iscsi.chap_response(
            7, 9, chap.secret, self.challenge
        ):
            return None
        if "CHAP_C" not in pairs:
            return []
        challenge = iscsi.parse_binary(pairs["CHAP_C"])
        secret = "another secret" if self.target.lie else chap.mutual_secret
        mine = iscsi.chap_response(7, int(pairs["CHAP_I"]), secret, challenge)
        return [("CHAP_N", chap.mutual_user), ("CHAP_R", iscsi.pack_binary(mine))]

    async def text(self, asked):
        self.cmdsn += 1
        first = asked.ttt == NO_TAG  # in two answers, as a long list comes
        pairs = (
            [("TargetName", TARGET)] if first else [("TargetAddress", f"{self.target.portal},1")]
        )
        text = iscsi.pack_text(pairs)
        reply = TextResponse(asked.itt, 5 if first else NO_TAG, self.numbers(), not first, first)
        await self.send(reply.pack(len(text)), text)

    # Commands. ---

    async def command(self, asked, data):
        assert asked.cmdsn == self.cmdsn, "out of order, or beyond the window"
        self.cmdsn = (self.cmdsn + 1) & 0xFFFFFFFF
        lun = scsi.parse_lun(asked.lun)
        self.target.commands.append((asked.cdb[0], lun))
        script = self.target.script
        word = script(self, asked) if script is not None else None
        if asked.cdb[0] == 0x88 and self.target.hold is not None and not self.target.hold.is_set():
            waiting = asyncio.get_running_loop().create_task(self.held_back(asked, lun))
            self.waiting.add(waiting)
            waiting.add_done_callback(self.waiting.discard)
            return
        if word == DROP:
            raise ConnectionError
        if word == SILENT:
            return
        if word == "failure":
            await self.send(ScsiResponse(asked.itt, self.numbers(), 0, 1).pack())
            return
        if isinstance(word, Fail):
            await self.fail(asked, word)
        elif asked.write:
            await self.begin_write(asked, data)
        else:
            await self.answer(asked, lun, word)

    async def held_back(self, asked, lun):
        self.held += 1
        self.target.held += 1
        await self.target.hold.wait()
        self.held -= 1
        await self.answer(asked, lun, None)

    async def fail(self, asked, word):
        sense = word.sense.pack(descriptor=bool(asked.itt & 1)) if word.sense else b""
        data = struct.pack(">H", len(sense)) + sense if sense else b""
        reply = ScsiResponse(asked.itt, self.numbers(), word.status)
        await self.send(reply.pack(len(data)), data)

    async def answer(self, asked, lun, word):
        disk = self.target.luns.get(lun)
        found = told(self.target, disk, lun, asked.cdb)
        if isinstance(found, Fail):
            await self.fail(asked, found)
            return
        found = memoryview(found)[: asked.expected_length]
        if word == SHORT:
            found = found[:-BLOCK]
        await self.data_in(asked, found, cut=word == CUT)

    async def data_in(self, asked, data, *, cut):
        target, step = self.target, self.target.segment
        under = ResponseFlag.UNDERFLOW if len(data) < asked.expected_length else 0
        residual = asked.expected_length - len(data)
        for number, at in enumerate(range(0, len(data), step)):
            part = data[at : at + step]
            self.sent += len(part)
            if (cut and at) or (target.fuse and self.sent > target.fuse):
                raise ConnectionError
            last = at + step >= len(data) and target.phase_collapse
            flags = int(ResponseFlag.FINAL | ResponseFlag.STATUS | under) if last else 0
            head = DataIn(
                asked.lun, asked.itt, self.numbers(status=last), number, at, flags, 0,
                residual if last else 0,
            )  # fmt: skip
            await self.send(head.pack(len(part)), part)
        if not len(data) or not target.phase_collapse:
            flags = int(ResponseFlag.FINAL | under)
            reply = ScsiResponse(asked.itt, self.numbers(), 0, 0, flags, residual)
            await self.send(reply.pack())

    async def begin_write(self, asked, data):
        disk = self.target.luns[scsi.parse_lun(asked.lun)]
        if disk.read_only:
            await self.fail(asked, Fail(Sense(Key.DATA_PROTECT, 0x27, 0)))
            return
        buffer = bytearray(data.ljust(asked.expected_length, b"\0"))
        self.writes[asked.itt] = asked, buffer, len(data)
        await self.go_on(asked.itt)

    async def go_on(self, itt):
        """Ask for the next burst, or put what has come where it belongs."""
        asked, buffer, have = self.writes[itt]
        if have < len(buffer):
            burst = min(int(self.keys.text("MaxBurstLength")), 200_000, len(buffer) - have)
            found = R2t(asked.lun, itt, itt ^ 0x55, self.numbers(status=False), 0, have, burst)
            await self.send(found.pack())
            return
        del self.writes[itt]
        lba = int.from_bytes(asked.cdb[2:10], "big")
        self.target.luns[scsi.parse_lun(asked.lun)].data[
            lba * BLOCK : lba * BLOCK + len(buffer)
        ] = buffer
        await self.send(ScsiResponse(itt, self.numbers(), 0).pack())

    async def data_out(self, found, data):
        assert found.ttt == found.itt ^ 0x55
        assert len(data) <= self.target.segment
        asked, buffer, have = self.writes[found.itt]
        assert found.offset == have
        buffer[have : have + len(data)] = data
        self.writes[found.itt] = asked, buffer, have + len(data)
        if found.final:
            await self.go_on(found.itt)


def told(target, disk, lun, cdb):
    """Return what a command tells, or how it fails."""
    op = cdb[0]
    if op == 0xA0:
        shown = [scsi.pack_lun(number) for number in sorted({0, *target.luns})]
        return scsi.pack_report_luns([*shown, bytes.fromhex("c101000000000000")])
    if op == 0x12:
        return inquired(disk, lun, cdb)
    if disk is None:
        return Fail(Sense(Key.ILLEGAL_REQUEST, 0x25, 0))
    if op in {0x00, 0x91}:
        return b""
    if op == 0x9E:
        return scsi.Capacity(len(disk.data) // BLOCK, BLOCK).pack()
    if op == 0x88:
        lba, blocks = struct.unpack_from(">QI", cdb, 2)
        if (lba + blocks) * BLOCK > len(disk.data):
            return Fail(Sense(Key.ILLEGAL_REQUEST, 0x21, 0))
        return memoryview(disk.data)[lba * BLOCK : (lba + blocks) * BLOCK]
    return Fail(Sense(Key.ILLEGAL_REQUEST, 0x20, 0))


def inquired(disk, lun, cdb):
    if not cdb[1] & 1:
        kind = 0 if disk else 0x0C if not lun else 0x7F
        return bytes([kind, 0, 6, 2, 91, 0, 0, 2]) + b"EXAMPLE DISK            0001" + bytes(60)
    if disk is None:
        return Fail(Sense(Key.ILLEGAL_REQUEST, 0x24, 0))
    if cdb[2] == 0x83:
        body = disk.names + bytes([1, 3, 0, 16]) + bytes.fromhex(disk.naa)
    elif cdb[2] == 0xB0 and disk.most:
        body = struct.pack(">BBHII", 0, 0, 1, disk.most // BLOCK, 0) + bytes(48)
    else:
        return Fail(Sense(Key.ILLEGAL_REQUEST, 0x24, 0))
    return bytes([0, cdb[2]]) + struct.pack(">H", len(body)) + body
