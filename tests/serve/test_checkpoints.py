"""A checkpoint is scenario, seed and inputs; what is restored from one is what was there."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.going import DISK, VM, going, origin
from stuntdouble.errors import Bug, Interrupted, InvalidState, Misuse, Unsupported
from stuntdouble.native import models as m
from stuntdouble.serve import inputs, operations
from stuntdouble.serve.inputs import Input, Recorder, play
from stuntdouble.serve.reviving import described, made, revived, understood

pytestmark = pytest.mark.paced

HYPERVISOR = {
    "snapshot": lambda host, name: host.create_snapshot(VM, name),
    "remove": lambda host, name: host.remove_snapshot(VM, name),
}


def by_vendor(world, payload):
    """Do what a vendor's interface would: a door of its own."""
    what, name = payload["what"], payload["name"]
    event = world.env.process(HYPERVISOR[what](world.hypervisor, name))
    event.callbacks.append(lambda event: setattr(event, "defused", True))
    return event


DOORS = {"vendor": by_vendor}


def ask(live, what, name):
    payload = {"what": what, "name": name}
    return live.enter("vendor", payload, lambda world: by_vendor(world, payload))


def seen(world):
    """Return all that may be seen of a site at its instant: content, maps, marks and journal."""
    world.site.settle()
    disk = world.hypervisor.vm(VM).disks[DISK]
    truth = world.site.truth(disk.disk.moment(world.env.now), 0, disk.disk.blocks)
    snapshots = world.hypervisor.vm(VM).snapshots
    return {
        "now": world.env.now,
        "truth": truth.tolist(),
        "content": world.site.chain_tokens(disk.disk.head, 0, disk.disk.blocks).tolist(),
        "table": list(world.hypervisor.layout(VM, DISK)),
        "changeIds": [(s.id, s.moment, s.change_ids) for s in snapshots],
        "moments": [
            (at, moment.seconds, world.site.truth(moment, 0, disk.disk.blocks).tolist())
            for at, moment in world.hypervisor.moments.items()
        ],
        "journal": [(e.time, e.kind, e.subject, str(e.facts)) for e in world.journal],
        "completed": [guest.completed for guest in world.engine.guests],
    }


async def some_history(live, control):
    """Live through operations of both doors, some refused, at whatever instants they happen."""
    await asyncio.sleep(1.7)
    first = await ask(live, "snapshot", "first")
    await control.act("create-snapshots", array="array-1", naas=[naa_of(live)], name="kept")
    await control.set_quirk("false-positives", on=True)
    await asyncio.sleep(3.1)
    await ask(live, "snapshot", "second")
    with pytest.raises(InvalidState):
        await control.act("create-snapshots", array="array-1", naas=[naa_of(live)], name="kept")
    with pytest.raises(Misuse, match="nonsense"):
        await control.set_quirk("nonsense", on=True)
    removing = asyncio.create_task(ask(live, "remove", first.id))
    await asyncio.sleep(0.3)
    return removing


def naa_of(live):
    return live.world.naas["vol-1"]


def test_a_restored_site_is_the_one_that_the_checkpoint_was_taken_of():
    async def main(live, control):
        removing = await some_history(live, control)
        taken = await control.checkpoint()
        at_checkpoint = seen(live.world)
        assert at_checkpoint["now"] == taken.seconds
        await removing
        await control.act("crash-vm", vm=VM)
        await asyncio.sleep(2.0)
        later = seen(live.world)
        assert later["truth"] != at_checkpoint["truth"]
        live.loop.pause()
        clock = await control.restore(m.Checkpoint.model_validate_json(taken.model_dump_json()))
        assert clock.seconds == taken.seconds
        assert clock.paused
        return at_checkpoint, seen(live.world)

    taken, restored = going(main, doors=DOORS)
    assert {name for name in taken if taken[name] != restored[name]} == set()
    assert any(seen_at > 0 for _, seen_at, _ in taken["moments"])


def test_what_goes_on_from_a_checkpoint_is_what_went_on_without_one():
    async def main(live, control):
        await (await some_history(live, control))
        halfway = live.checkpoint()
        await control.act("crash-vm", vm=VM)
        await control.act("power-on", vm=VM)
        await asyncio.sleep(2.0)
        await ask(live, "snapshot", "third")
        await control.advance(5.0)
        return halfway, live.checkpoint(), seen(live.world)

    halfway, end, lived = going(main, doors=DOORS)
    start, inputs, seconds = understood(json.loads(json.dumps(halfway)), None)
    assert start == origin()
    doors = {**DOORS, "native": operations.play}
    again = revived(start, doors, inputs, seconds)
    rest = [Input(**i) for i in end["inputs"][len(inputs) :]]
    assert rest
    play(again, doors, rest, end["seconds"])
    found = seen(again)
    assert {name for name in lived if lived[name] != found[name]} == set()


HISTORIES = st.lists(
    st.tuples(
        st.integers(0, 4000),
        st.sampled_from(
            [
                ("vendor", {"what": "snapshot", "name": "x"}),
                ("vendor", {"what": "remove", "name": "snapshot-1"}),
                ("native", {"operation": "crash-vm", "arguments": {"vm": VM}}),
                ("native", {"operation": "power-on", "arguments": {"vm": VM}}),
                ("native", {"operation": "power-loss", "arguments": {}}),
                ("native", {"operation": "restart-host", "arguments": {"host": "host-1"}}),
                ("native", {"operation": "crash-vm", "arguments": {"vm": "nobody"}}),
                (
                    "native",
                    {"operation": "set-quirk", "arguments": {"name": "empty-pages", "on": True}},
                ),
            ]
        ),
    ),
    max_size=10,
)


@settings(max_examples=25)
@given(HISTORIES, st.lists(st.integers(0, 20_000), max_size=10))
def test_when_a_site_is_caught_up_and_looked_at_changes_nothing(history, looks):
    inputs, now = [], 0.0
    for gap, (door, payload) in history:
        now += gap / 1000
        inputs.append(Input(now, door, payload))
    end = max(now, max(looks, default=0) / 1000) + 0.5
    doors = {**DOORS, "native": operations.play}
    at_once, bit_by_bit = made(origin()), made(origin())
    play(at_once, doors, inputs, end)
    left = list(inputs)
    for look in sorted(looks):
        due = [each for each in left if each.seconds <= look / 1000]
        play(bit_by_bit, doors, due, look / 1000)
        left = left[len(due) :]
        seen(bit_by_bit)
    play(bit_by_bit, doors, left, end)
    lived, found = seen(at_once), seen(bit_by_bit)
    assert {name for name in lived if lived[name] != found[name]} == set()


def test_who_waits_in_a_site_that_is_put_back_is_told_so():
    async def main(live, control):
        taken = await control.checkpoint()
        replaced = []
        live.on_restored.append(replaced.append)
        live.loop.set_rate(0.001)
        waiting = asyncio.create_task(ask(live, "snapshot", "slow"))
        reading = asyncio.create_task(control.journal(10**6, 10, (), (), 30.0))
        digest = await control.start_digest(m.DigestRequest(vm=VM, disk=DISK))
        await asyncio.sleep(0)
        old = live.world
        await control.restore(taken)
        with pytest.raises(Interrupted, match="put back"):
            await waiting
        with pytest.raises(Interrupted), old.env.entered():
            pass
        assert replaced == [live.world]
        assert await control.digests() == []
        reading.cancel()
        return digest.id

    assert going(main, doors=DOORS) == 1


def change(**changes):
    return lambda taken: taken.update(changes)


@pytest.mark.parametrize(
    ("harm", "error", "text"),
    [
        (change(version="0.0.0"), Unsupported, "version 0.0.0"),
        (change(seconds=-1.0), Misuse, "before the site was ready"),
        (change(scenario={"name": "x"}), Misuse, "checkpoint: scenario"),
        (
            change(inputs=[{"seconds": 1e9, "door": "native", "payload": {}}]),
            Misuse,
            "out of order",
        ),
        (
            change(inputs=[{"seconds": 1e-9, "door": "back", "payload": {}}]),
            Misuse,
            "no door named 'back'",
        ),
    ],
)
def test_a_checkpoint_that_makes_no_sense_leaves_the_site_as_it_is(harm, error, text):
    async def main(live, control):
        await asyncio.sleep(1.0)
        taken = live.checkpoint()
        harm(taken)
        world = live.world
        with pytest.raises(error, match=text):
            await live.restore(taken)
        assert live.world is world
        before = world.env.now
        await asyncio.sleep(1.0)
        assert world.env.now > before

    going(main)


@pytest.mark.parametrize("payload", [{"a": (1,)}, {1: 2}, {"x": object()}, {"x": float("nan")}])
def test_an_input_that_json_cannot_hold_is_a_bug(payload):
    recorder = Recorder(made(origin()).env)
    with pytest.raises((Bug, TypeError, ValueError)):
        recorder.record("native", payload)
    assert recorder.inputs == []


def test_inputs_without_end_are_not_kept(monkeypatch):
    monkeypatch.setattr(inputs, "BYTES_MAX", 1000)
    env = made(origin()).env
    recorder = Recorder(env)
    for _ in range(50):
        recorder.record("native", {"x": "y" * 100})
    assert 5 < len(recorder.inputs) < 10
    assert "bytes had entered" in recorder.given_up
    again = Recorder(env, recorder.inputs)
    again.record("native", {"x": "y" * 200})
    assert again.given_up, "what a site had lived through counts, too"


def test_a_door_that_could_not_be_lived_through_again_is_a_bug():
    async def main(live, control):
        with pytest.raises(Bug, match="nbd"):
            await live.enter("nbd", {}, lambda world: None)

    going(main)


def test_a_site_is_the_same_whenever_it_is_made():
    first, second = seen(made(origin())), seen(made(origin()))
    assert first == second
    assert described(origin(), [], 1.0)["seed"] == 1
