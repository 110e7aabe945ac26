"""A control without a site: it says what it was told to, and remembers what it was asked."""

from __future__ import annotations

import httpx

from stuntdouble.native import create_app
from stuntdouble.native import models as m
from stuntdouble.native import overlays as o

CLOCK = m.Clock(seconds=1.5, calendar="then", rate=2.0, paused=False, lag_seconds=0.0)
DIGEST = m.Digest(
    id=7, vm="web-1", disk=0, at="now", moment_seconds=1.0, size_bytes=2, done_bytes=1, blake3=None
)
VOLUME = m.Volume(name="v", naa="6", size_bytes=1, read_only=True, promoted_from="s")
SNAPSHOT = m.ArraySnapshot(name="s", volume="v", created=1.0, valid=True, space_bytes=0)
MAPPING = m.Mapping(volume="v", naa="6", initiator_iqn="iqn", lun=0, export="lun/6")
QUIRK = m.Quirk(name="empty-pages", on=True, legal=True, description="x")
PAGING = m.Paging(mode="areas", areas=1, span_bytes=0, modes=["areas"])
FAULT = o.DataFault(plan={"kind": "busy"}, seen=4, fired=1)
CHECKPOINT = m.Checkpoint(
    version="1", scenario={"name": "x"}, seed=1, engine="kernel", seconds=1.0, inputs=[]
)

ANSWERS = {
    "health": m.Health(ok=True, version="1", lag_seconds=0.0),
    "site": m.Site(
        scenario="x", title="", seed=1, engine="kernel", vms=[], datastores=[], volumes={}
    ),
    "endpoints": [m.Endpoint(name="native", url="http://x")],
    "exports": [m.Export(name="vm/a/0", kind="disk", size_bytes=1, read_only=True)],
    "quirks": [QUIRK],
    "set_quirk": QUIRK,
    "paging": PAGING,
    "set_paging": PAGING,
    "offset_table": m.HostDiskBlockInfo(granularity=1, minBlockSize=1, size=1, map=[], next=None),
    "start_digest": DIGEST,
    "digests": [DIGEST],
    "digest": DIGEST,
    "forget_digest": None,
    "true_changes": m.TrueChanges(start=0, covered=1, extents=[], next=None),
    "journal": m.Events(events=[], cursor=3),
    "inputs": m.Inputs(inputs=[], cursor=0),
    "checkpoint": CHECKPOINT,
    "volumes": [VOLUME],
    "array_snapshots": [SNAPSHOT],
    "mappings": [MAPPING],
    "wire_faults": {"pure": o.WireFaults(unavailable=2)},
    "set_wire_faults": o.WireFaults(),
    "data_faults": [FAULT],
    "set_data_faults": [FAULT],
    "drop_sessions": o.Dropped(sessions=3),
    **dict.fromkeys(("clock", "set_rate", "pause", "resume", "advance", "restore"), CLOCK),
}

OUTCOMES = {
    "prepare": m.Prepared(copied_bytes=1),
    "create-snapshots": [SNAPSHOT],
    "promote": VOLUME,
    "map": MAPPING,
}


class Puppet:
    """Implements ``Control``; *fails* is raised by whatever is asked."""

    def __init__(self, fails=None):
        self.asked = []
        self.fails = fails

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)

        async def answer(*args, **named):
            self.asked.append((name, args, named))
            if self.fails is not None:
                raise self.fails
            return OUTCOMES.get(args[0]) if name == "act" else ANSWERS[name]

        return answer


class Hand:
    """A control that does what the puppet in it does, so that an application serves many."""

    puppet = None

    def __getattr__(self, name):
        return getattr(self.puppet, name)


APPLICATIONS = {}


def client(control, **options):
    """Return a client of an application over *control*, in process."""
    key = tuple(options.items())
    if key not in APPLICATIONS:
        hand = Hand()
        APPLICATIONS[key] = hand, create_app(hand, **options)
    hand, app = APPLICATIONS[key]
    hand.puppet = control
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://site/api/v1")
