"""Our client of a FlashArray: answers that are none, names, and whom it believes."""

from __future__ import annotations

import asyncio
import hashlib
import ssl

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble import http as wire
from stuntdouble.adapters.pure import (
    PureArray,
    PureClient,
    error_of,
    host_name,
    suffix_name,
    volume_name,
)
from stuntdouble.adapters.pure.trust import pinned
from stuntdouble.arrayapi.pure.names import check_name, check_suffix
from stuntdouble.clock import run
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    LimitReached,
    Lost,
    LunInUse,
    Misuse,
    NoSpace,
    NotFound,
    Unreachable,
    Unsupported,
)

# Answers that are none. --------------------------------------------------------------------------


def answering(*answers):
    """Return a client whose array gives these answers, the last one for ever."""
    left = list(answers)

    def handle(request):
        if request.url.path == "/api/api_version":
            return httpx.Response(200, json={"version": ["1.19", "2.26"]})
        if request.url.path.endswith("/login"):
            return httpx.Response(200, json={}, headers={"x-auth-token": "t"})
        return left.pop(0) if len(left) > 1 else left[0]

    return PureClient("https://array", "t", transport=httpx.MockTransport(handle))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200, content=b"<html>"), Lost),
        (httpx.Response(200, json=[]), Lost),
        (httpx.Response(200, json={}), Lost),
        (httpx.Response(200, json={"items": 3}), Lost),
        (httpx.Response(200, json={"items": [3]}), Lost),
        (httpx.Response(200, json={"items": [{"name": "v.s"}]}), Lost),
        (httpx.Response(200, json={"items": [{"name": "v.s", "source": 3}]}), Lost),
        (httpx.Response(500, content=b"oops"), Lost),
        (httpx.Response(403, json={}), AccessDenied),
        (httpx.Response(404, content=b""), InvalidState),
        (httpx.Response(200, json={"items": [], "more_items_remaining": True}), InvalidState),
        (httpx.Response(200, json={"items": [{"name": "a"}, {"name": "A"}]}), InvalidState),
        (httpx.Response(200, json={"items": [], "total_item_count": 1}), InvalidState),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(answer, error):
    async def main(_env):
        client = answering(answer)
        with pytest.raises(error):
            await PureArray(client).snapshots()
        await client.close()

    run(main)


@pytest.mark.parametrize("listed", [{"version": ["1.19"]}, {"version": 3}, {}, [], {"version": ["2.1", "2.999"]}])  # fmt: skip
def test_what_is_no_array_or_too_old_is_named(listed):
    async def main(_env):
        transport = httpx.MockTransport(lambda request: httpx.Response(200, json=listed))
        client = PureClient("https://array", "t", transport=transport)
        with pytest.raises(Misuse):
            await client.items("volumes")
        await client.close()

    run(main)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Volume does not exist.", NotFound("volume", "x")),
        ("Host does not exist.", NotFound("host", "x")),
        ("No such volume or snapshot.", NotFound("volume or snapshot", "x")),
        ("There is not enough space on the array.", NoSpace("the array", "more", "less")),
        ("The LUN is already in use.", LunInUse("asked for", "x")),
        ("A host has at most 3 IQNs.", LimitReached),
        ("No LUN is available.", LimitReached),
        ("Truncating a volume is not supported by this array.", Unsupported),
        ("Invalid IQN.", Misuse),
        ("Volume size must be a multiple of 512 bytes.", Misuse),
        ("Volume already exists.", InvalidState),
        ("Host cannot be deleted due to existing connections.", InvalidState),
        ("Something that nobody knows.", InvalidState),
        ("", InvalidState),
    ],
)
def test_sentences_mean_errors(message, error):
    found = error_of(message, "x", "POST things")
    assert found == error if isinstance(error, Exception) else type(found) is error
    assert "\n" not in str(found)


# Names. ------------------------------------------------------------------------------------------


@given(st.text(max_size=100))
def test_every_name_becomes_one_that_the_array_takes(text):
    check_name("Volume", volume_name(text))
    check_suffix(suffix_name(text))
    check_name("Host", host_name(text))
    assert volume_name(volume_name(text)) == volume_name(text)


def test_good_names_stay_and_others_stay_apart():
    assert volume_name("my_vol-1") == "my_vol-1"
    assert suffix_name("job-1") == "job-1"
    assert volume_name("a.b") != volume_name("a-b")
    assert volume_name("a.b").startswith("a-b-")
    assert len({volume_name("x" * 100), volume_name("x" * 101)}) == 2


# Whom to believe. --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "00" * 31])
def test_a_fingerprint_is_64_digits(text):
    if text:
        with pytest.raises(Misuse, match="fingerprint"):
            PureClient("https://array", "t", fingerprint=text)


def test_only_the_owner_of_the_certificate_is_believed():
    """Over real sockets: a certificate is pinned, and another one is refused before a word is said."""

    async def main():
        context, pem = wire.self_signed(["127.0.0.1"])
        heard = []

        async def answer(reader, writer):
            line = await reader.readline()
            heard.extend([line] if line else [])  # who only looks at the certificate says nothing
            while (await reader.readline()).strip():
                pass
            body = b'{"version":["1.19"]}'
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        url = f"https://127.0.0.1:{port}"
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest()
        async with PureClient(url, "t", fingerprint=digest.upper()) as client:
            with pytest.raises(Misuse, match="speaks none"):
                await client.items("volumes")
        assert heard == [b"GET /api/api_version HTTP/1.1\r\n"]
        async with PureClient(url, "t", insecure=True) as client:
            with pytest.raises(Misuse, match="speaks none"):
                await client.items("volumes")
        heard.clear()
        async with PureClient(url, "t", fingerprint="00" * 32) as client:
            with pytest.raises(AccessDenied):
                await client.items("volumes")
        async with PureClient(url, "t") as client:
            with pytest.raises(Unreachable):
                await client.items("volumes")
        assert heard == []
        server.close()
        await server.wait_closed()
        with pytest.raises(Unreachable):
            await pinned(url, digest, 5.0)

    asyncio.run(main())
