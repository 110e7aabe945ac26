"""What a client may take of the server, and how long: everything has an end."""

from __future__ import annotations

import asyncio
import struct
import threading
import time

import pytest

from nbd.talking import talk
from nbd.world import FROZEN, NAME, SIZE, with_server
from stuntdouble.clock import PacedLoop
from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import Command, Option, Reply
from stuntdouble.nbd import Fixed, Limits, Server
from stuntdouble.nbd.limits import Budget
from stuntdouble.units import KIB, MIB

pytestmark = pytest.mark.paced


def test_one_client_too_many_is_turned_away():
    def dialogue(address):
        with talk(address) as first, talk(address) as second:
            first.greet()
            second.greet()
            with talk(address) as third:
                assert third.hangs_up()
            assert first.ask(Option.LIST)[-1][0] == Reply.ACK

    with_server(dialogue, limits=Limits(connections=2))


@pytest.mark.parametrize("said", [b"", struct.pack(">I", 3), struct.pack(">I", 3) + b"IHAVE"])
def test_a_negotiation_has_its_time(said):
    def dialogue(address):
        with talk(address) as client:
            client.hear(nbd.GREETING_BYTES)
            client.say(said)
            assert client.hangs_up()

    with_server(dialogue, limits=Limits(handshake_seconds=0.2), rate=50.0, snapshot=False)


def test_a_message_that_does_not_come_ends_the_connection_and_silence_does_not():
    def dialogue(address):
        with talk(address) as quiet, talk(address) as halting, talk(address) as writing:
            quiet.go(NAME)
            halting.go(NAME)
            writing.go(NAME)
            halting.say(b"\x25\x60\x95")
            writing.say(nbd.Request(0, Command.WRITE, 1, 0, MIB).pack() + bytes(100))
            assert halting.hangs_up()
            assert writing.hangs_up()
            assert quiet.request(Command.READ, 0, 512)[0] == 0

    with_server(dialogue, limits=Limits(stall_seconds=0.2), rate=50.0, snapshot=False)


def test_a_client_that_takes_nothing_is_let_go_and_holds_up_nobody():
    def dialogue(address):
        with talk(address) as greedy, talk(address) as other:
            greedy.go(FROZEN, structured=False)
            for cookie in range(60):
                greedy.say(nbd.Request(0, Command.READ, cookie, 0, SIZE).pack())
            other.go(FROZEN)
            assert other.request(Command.READ, 0, SIZE)[0] == 0
            time.sleep(3.0)  # 0.2 s, and a second for each MiB of a part
            return greedy.rest()

    # Sockets take some MiB; 60 times 4 MiB are more than that.
    received, _ = with_server(dialogue, limits=Limits(stall_seconds=0.2), rate=50.0)
    assert SIZE < received < 30 * SIZE


def test_a_write_beyond_reason_ends_the_connection_before_it_is_read():
    def dialogue(address):
        with talk(address) as client:
            client.go(NAME)
            client.say(nbd.Request(0, Command.WRITE, 1, 0, nbd.REQUEST_BYTES_MAX + 1).pack())
            assert client.hangs_up()

    with_server(dialogue, off=True)


def test_payloads_wait_for_their_share_of_memory():
    part = 64 * KIB

    def dialogue(address):
        with talk(address) as first, talk(address) as second:
            first.go(NAME)
            second.go(NAME)
            first.say(nbd.Request(0, Command.WRITE, 1, 0, part).pack() + b"a" * 1000)
            time.sleep(1.0)
            second.say(nbd.Request(0, Command.WRITE, 1, part, part).pack())
            sender = threading.Thread(target=second.say, args=[b"b" * part])
            sender.start()
            second.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                second.socket.recv(1)
            second.socket.settimeout(20)
            first.socket.close()  # its share comes free
            assert second.reply(0)[0] == 0
            sender.join()

    _, shown = with_server(dialogue, off=True, limits=Limits(payload_bytes=100 * KIB))
    assert shown[part : 2 * part] == b"b" * part


def test_a_budget_is_given_back_whatever_happens_to_those_who_wait():
    async def main():
        budget = Budget(10)
        await budget.take(8)
        waiting = [asyncio.create_task(budget.take(size)) for size in (5, 2, 2)]
        await asyncio.sleep(0)
        assert [task.done() for task in waiting] == [False] * 3  # first in, first out
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        await waiting[1]
        assert budget.free == 0
        budget.give(8)
        waiting[2].cancel()  # when it was its turn already
        await asyncio.gather(waiting[2], return_exceptions=True)
        budget.give(2)
        assert budget.free == 10

    asyncio.run(main())


def test_limits_hold_while_the_clock_stands_still():
    loop = PacedLoop(1.0)

    async def main():
        limits = Limits(handshake_seconds=0.2)
        server = Server(Fixed([]), limits=limits, call_later=loop.call_later_wall)
        await server.start("127.0.0.1", 0)
        loop.start_clock()
        loop.pause()

        def dialogue():
            with talk(server.address) as client:
                client.hear(nbd.GREETING_BYTES)
                return client.hangs_up()

        try:
            return await asyncio.to_thread(dialogue)
        finally:
            loop.resume()
            await server.close()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(main())
