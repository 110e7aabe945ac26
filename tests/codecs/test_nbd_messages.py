"""NBD messages: what is packed is parsed again, what is no message is refused."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.codecs import nbd
from stuntdouble.errors import Misuse

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
EXTENTS = st.lists(st.tuples(st.integers(1, 2**32 - 1), U32), min_size=1, max_size=50)


# Numbers, against the bytes that the protocol document spells out. --------------------------------


def test_the_greeting_is_the_documents():
    assert nbd.greeting() == b"NBDMAGIC" + b"IHAVEOPT" + b"\0\3"
    assert nbd.option(nbd.Option.LIST) == b"IHAVEOPT" + bytes([0, 0, 0, 3, 0, 0, 0, 0])


def test_a_request_and_its_replies_have_the_documents_layout():
    request = nbd.Request(1, nbd.Command.WRITE, 7, 4096, 512)
    assert request.pack() == bytes.fromhex("25609513 0001 0001") + struct.pack(">QQI", 7, 4096, 512)
    assert nbd.simple_reply(nbd.Errno.EIO, 7) == bytes.fromhex("67446698 00000005") + bytes(
        [0] * 7 + [7]
    )
    head = bytes.fromhex("668e33ef")
    assert nbd.done_chunk(7) == head + struct.pack(">HHQI", 1, 0, 7, 0)
    assert nbd.data_chunk(7, 64, 3) == head + struct.pack(">HHQIQ", 0, 1, 7, 11, 64)
    assert nbd.hole_chunk(7, 64, 3) == head + struct.pack(">HHQIQI", 0, 2, 7, 12, 64, 3)
    error = nbd.error_chunk(7, nbd.Errno.EIO, "no")
    assert error == head + struct.pack(">HHQIIH", 1, 0x8001, 7, 8, 5, 2) + b"no"
    status = nbd.status_chunk(7, 2, [(512, 3)], done=True)
    assert status == head + struct.pack(">HHQIIII", 1, 5, 7, 12, 2, 512, 3)


def test_an_export_is_described_as_the_document_has_it():
    flags = nbd.TransmissionFlag.HAS_FLAGS
    assert nbd.info_export(2**40, flags) == struct.pack(">HQH", 0, 2**40, 1)
    assert nbd.old_reply(2**40, flags, zeroes=True) == struct.pack(">QH", 2**40, 1) + bytes(124)
    assert nbd.old_reply(2**40, flags, zeroes=False) == struct.pack(">QH", 2**40, 1)
    assert nbd.server_reply("a", "b") == b"\0\0\0\1ab"


# Round trips. -------------------------------------------------------------------------------------


@given(NAMES, st.lists(U16, max_size=20))
def test_a_choice_comes_back(name: str, wanted: list[int]):
    choice = nbd.Choice(name, tuple(wanted))
    assert nbd.Choice.parse(choice.pack()) == choice


@given(NAMES, st.lists(NAMES, max_size=10))
def test_a_query_comes_back(name: str, queries: list[str]):
    query = nbd.MetaQuery(name, tuple(queries))
    assert nbd.MetaQuery.parse(query.pack()) == query


@given(U32, st.binary(max_size=100))
def test_options_and_replies_come_back(kind: int, data: bytes):
    sent = nbd.option(kind, data)
    header = nbd.OptionHeader.parse(sent[: nbd.OPTION_HEADER_BYTES])
    assert (header.kind, header.length) == (kind, len(sent) - nbd.OPTION_HEADER_BYTES)
    for reply in nbd.Reply:
        sent = nbd.option_reply(kind, reply, data)
        found = nbd.ReplyHeader.parse(sent[: nbd.REPLY_HEADER_BYTES])
        assert (found.kind, found.reply, found.length) == (kind, reply, len(data))
        assert found.is_error == reply.name.startswith("ERR")


@given(U16, U16, U64, U64, U32)
def test_a_request_comes_back(flags: int, command: int, cookie: int, offset: int, length: int):
    request = nbd.Request(flags, command, cookie, offset, length)
    assert nbd.Request.parse(request.pack()) == request
    assert request.stop == offset + length


@given(U64, U32, EXTENTS, st.booleans())
def test_a_status_comes_back(cookie: int, context: int, extents, done: bool):
    sent = nbd.status_chunk(cookie, context, extents, done=done)
    header = nbd.parse_reply_header(sent[: nbd.CHUNK_HEADER_BYTES])
    assert isinstance(header, nbd.ChunkHeader)
    assert (header.cookie, header.is_last, header.is_error) == (cookie, done, False)
    assert nbd.parse_status(sent[nbd.CHUNK_HEADER_BYTES :]) == (context, extents)


@given(U64, st.sampled_from([e for e in nbd.Errno if e]), st.text(max_size=3000))
def test_an_error_comes_back_with_as_much_text_as_is_allowed(cookie: int, errno, text: str):
    text = text.encode(errors="replace").decode()
    sent = nbd.error_chunk(cookie, errno, text)
    header = nbd.parse_reply_header(sent[: nbd.CHUNK_HEADER_BYTES])
    assert isinstance(header, nbd.ChunkHeader)
    assert header.is_error
    assert header.is_last
    assert header.length == len(sent) - nbd.CHUNK_HEADER_BYTES
    found = nbd.ChunkError.parse(sent[nbd.CHUNK_HEADER_BYTES :])
    assert found.error == errno
    assert text.startswith(found.message)
    assert found.message == text or len(found.message.encode()) > nbd.STRING_BYTES_MAX - 4


@given(U64, U64, st.integers(1, 2**32 - 1))
def test_a_hole_comes_back(cookie: int, offset: int, length: int):
    sent = nbd.hole_chunk(cookie, offset, length)
    assert nbd.parse_hole(sent[nbd.CHUNK_HEADER_BYTES :]) == (offset, length)


@given(U32, NAMES)
def test_a_context_comes_back(number: int, name: str):
    assert nbd.parse_meta_context(nbd.meta_context(number, name)) == (number, name)


@given(U64, st.integers(0, 2**16 - 1))
def test_what_is_said_of_an_export_comes_back(size: int, bits: int):
    flags = nbd.TransmissionFlag(bits)
    info, rest = nbd.parse_info(nbd.info_export(size, flags))
    assert (info, nbd.parse_info_export(rest)) == (nbd.Info.EXPORT, nbd.Described(size, flags))
    sizes = nbd.BlockSizes(1, 4096, 2**25)
    info, rest = nbd.parse_info(nbd.info_block_sizes(sizes))
    assert (info, nbd.parse_block_sizes(rest)) == (nbd.Info.BLOCK_SIZE, sizes)


@pytest.mark.parametrize("bits", range(4))
def test_client_flags_come_back(bits: int):
    assert nbd.parse_client_flags(struct.pack(">I", bits)) == bits


# What is refused. ---------------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_whatever_comes_is_parsed_or_refused(data: bytes):
    for parse in (
        nbd.Choice.parse,
        nbd.MetaQuery.parse,
        nbd.ChunkError.parse,
        nbd.parse_status,
        nbd.parse_hole,
        nbd.parse_info,
        nbd.parse_info_export,
        nbd.parse_block_sizes,
        nbd.parse_meta_context,
        nbd.parse_greeting,
        nbd.parse_reply_header,
    ):
        with suppress(Misuse):
            parse(data)


@pytest.mark.parametrize(
    ("parse", "data", "match"),
    [
        (nbd.parse_greeting, bytes(18), "not that of the newstyle"),
        (nbd.parse_greeting, b"NBDMAGIC", "8 bytes"),
        (nbd.parse_client_flags, b"\0\0\0\4", "not offered"),
        (nbd.OptionHeader.parse, bytes(16), "magic number"),
        (nbd.ReplyHeader.parse, bytes(20), "magic number"),
        (nbd.Request.parse, bytes(28), "magic number"),
        (nbd.parse_reply_header, bytes(16), "magic number"),
        (nbd.Choice.parse, b"\0\0\0\5abc", "5 bytes announced where 3"),
        (nbd.Choice.parse, b"\0\0\0\1a\0\2\0\1", "2 bytes announced where 0"),
        (nbd.Choice.parse, b"\0\0\0\1a\0\0x", "1 bytes more"),
        (nbd.Choice.parse, b"\0\0\0\1\xff\0\0", "no UTF-8 at byte 0"),
        (nbd.Choice.parse, b"\0\0\0\1\0\0\0", "NUL"),
        (nbd.MetaQuery.parse, b"\0\0\0\0\xff\xff\xff\xff", "queries in 0 bytes"),
        (nbd.parse_status, bytes(12), "extent of 0 bytes"),
        (nbd.parse_status, bytes(4), "4 bytes"),
        (nbd.parse_hole, bytes(12), "hole of 0 bytes"),
        (nbd.ChunkError.parse, b"\0\0\0\5\0\2x", "message of 2 bytes"),
        (nbd.ChunkError.parse, bytes(6), "error 0"),
        (nbd.parse_block_sizes, bytes(12), "blocks from 0 to 0"),
    ],
)
def test_what_is_no_message_is_refused(parse, data: bytes, match: str):
    with pytest.raises(Misuse, match=match):
        parse(data)


def test_a_string_may_be_as_long_as_the_document_says():
    name = "n" * nbd.STRING_BYTES_MAX
    assert nbd.Choice.parse(nbd.Choice(name).pack()).name == name
    with pytest.raises(Misuse, match="4097 bytes"):
        nbd.Choice(name + "n").pack()
    with pytest.raises(Misuse, match="4097 bytes"):
        nbd.Choice.parse(struct.pack(">I", 4097) + bytes(4097) + b"\0\0")


# A stream, in any pieces. -------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=30), st.randoms(use_true_random=False))
def test_messages_come_out_of_an_inbox_as_they_went_in(messages: list[bytes], random):
    stream, inbox, found = b"".join(messages), nbd.Inbox(64), []
    at, wanted = 0, iter(messages)
    message = next(wanted, None)
    while message is not None:
        if (taken := inbox.take(len(message))) is not None:
            found.append(taken)
            message = next(wanted, None)
            continue
        room = inbox.room()
        assert room  # or it would be stuck
        count = random.randint(1, min(len(room), len(stream) - at))
        room[:count] = stream[at : at + count]
        inbox.received(count)
        at += count
    assert found == messages
    assert not len(inbox)


@given(st.binary(max_size=64), st.integers(0, 80))
def test_an_inbox_gives_a_payload_what_it_has(data: bytes, length: int):
    inbox = nbd.Inbox(64)
    inbox.room()[: len(data)] = data
    inbox.received(len(data))
    target = bytearray(length)
    count = inbox.move(memoryview(target))
    assert count == min(len(data), length)
    assert target[:count] == data[:count]
    assert len(inbox) == len(data) - count
