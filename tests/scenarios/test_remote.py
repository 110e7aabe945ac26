"""Parts of a comparison against a served site that no process is needed for."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.tiny import tiny
from served_site import PASSWORD, serving
from stuntdouble.backup import Method
from stuntdouble.errors import Lost, Misuse, Unreachable
from stuntdouble.ports import Kind
from stuntdouble.results import Progress
from stuntdouble.scenarios import load, parse
from stuntdouble.scenarios.job import job_of
from stuntdouble.scenarios.remote import compare_remote, comparing, target_of
from stuntdouble.scenarios.remote import site as site_module
from stuntdouble.scenarios.remote.figures import RunSpan
from stuntdouble.scenarios.remote.leftovers import Inventory


def target(url, **options):
    found = {"user": "admin", "password": PASSWORD, "fingerprint": None, "insecure": True}
    return target_of(url, **{**found, **options})


# Time. -------------------------------------------------------------------------------------------


@given(
    wall=st.floats(0, 1e6),
    long=st.floats(0.01, 1e5),
    site=st.floats(0, 1e7),
    pace=st.floats(0.01, 1e4),
    part=st.floats(0, 1),
)
def test_site_time_passes_evenly_between_two_looks_at_the_clock(wall, long, site, pace, part):
    span = RunSpan(wall, wall + long, site, site + long * pace)
    found = span.site(wall + part * long)
    assert found == pytest.approx(site + part * long * pace, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("rate", [1.0, 20.0])
def test_a_job_keeps_its_pace_in_site_time(rate):
    table = tiny()
    table["backup"]["latency"] = {"hold": 0.02, "throttle": 0.03, "poll": 20.0}
    spec = job_of(parse(table, "test"), Method.STORAGE, Kind.FULL)
    found = comparing._in_wall_time(spec, rate)
    assert found.throttle.bytes_per_second == spec.throttle.bytes_per_second * rate
    assert found.throttle.depth == spec.throttle.depth
    assert found.latency.poll_seconds * rate == pytest.approx(20.0)
    assert found.latency.hold_seconds == spec.latency.hold_seconds, "guests feel site time"


# What is left, and what is right. ------------------------------------------------------------------


_THINGS = st.tuples(st.sampled_from(["mount", "VM snapshot", "mapping"]), st.sampled_from("abcdef"))


@given(st.sets(_THINGS), st.sets(_THINGS), st.sets(_THINGS))
def test_what_is_new_is_left_behind(stays, goes, comes):
    before = Inventory(tuple(sorted(stays | goes)))
    after = Inventory(tuple(sorted(stays | comes)))
    left = {(each.kind, each.name) for each in before.left_in(after)}
    assert left == comes - stays - goes


# Servers that mean no good. ------------------------------------------------------------------------


def test_a_server_without_tls_is_told_from_one_that_nobody_trusts():
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    with pytest.raises(Misuse, match="no TLS is spoken there"):
        asyncio.run(target(f"https://127.0.0.1:{port}").check_certificate())
    thread.join()
    listener.close()
    with pytest.raises(Unreachable):
        asyncio.run(target(f"https://127.0.0.1:{port}").check_certificate())


@pytest.mark.paced
def test_a_server_that_falls_silent_is_given_up(tmp_path, monkeypatch):
    """It is not gone: its sockets stay open, and nothing comes."""
    monkeypatch.setattr(site_module, "_SILENT_SECONDS", 1.0)
    monkeypatch.setattr(site_module, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(comparing, "_RETRY_SECONDS", ())
    with serving(tmp_path, 5.0) as served:
        timer = threading.Timer(3.0, served.process.send_signal, [signal.SIGSTOP])
        # what hangs in pyVmomi's threads is let go of, so that the test need not wait a minute
        ends = threading.Timer(7.0, served.process.send_signal, [signal.SIGKILL])
        timer.start()
        ends.start()
        with pytest.raises(Lost):
            compare_remote(
                load(str(served.scenario)),
                seed=1,
                target=target(served.url),
                methods=("software",),
                command="a test",
                directory=tmp_path / "out",
                progress=Progress(quiet=True),
            )
        timer.join()
        ends.join()


@pytest.mark.paced
def test_a_site_that_is_served_in_part_is_refused(tmp_path):
    with (
        serving(tmp_path, 5.0, names=("vsphere", "native")) as served,
        pytest.raises(Misuse, match="tells of no nbd endpoint"),
    ):
        compare_remote(
            load(str(served.scenario)),
            seed=1,
            target=target(served.url),
            methods=("software",),
            command="a test",
            directory=tmp_path / "out",
            progress=Progress(quiet=True),
        )
