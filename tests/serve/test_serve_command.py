"""``stuntdouble serve`` as a process: ready when it says so, refusals in one line, a clean end."""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import uvicorn
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.cli import program
from stuntdouble.errors import Misuse
from stuntdouble.serve import Address, address, listening, threads

pytestmark = pytest.mark.paced

SCENARIO = """
name = "small"
title = "A small VM on a small array"
[[arrays]]
name = "array-1"
pools = [{ name = "pool-1", media = "10k", raid = "raid10", disks = 4, disk_size = "1 GiB", reserve = "256 MiB" }]
volumes = [{ name = "vol-1", pool = "pool-1", size = "1 GiB" }]
[[datastores]]
name = "ds-1"
volumes = ["vol-1"]
[[vms]]
name = "vm-1"
disks = [{ datastore = "ds-1", size = "64 MiB", written = "16 MiB" }]
load = { iops = 40, reads = 0.4, io = "4 KiB", working_set = "24 MiB" }
[backup]
runs = ["full"]
[times]
before = 5
after = 5
"""
HELD_SECONDS = 30  # a client that holds on would hold it up for longer than this, if it could


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


def told(ready, pid):
    """Return what the ready file of a process says; None where it is not there, or another's."""
    try:
        found = json.loads(ready.read_text())
    except FileNotFoundError:
        return None
    return found if found.get("pid") == pid else None


@contextmanager
def served(scenario, *words):
    """Run the command until it is ready; yield the process and what the ready file says."""
    ready = scenario.parent / "ready.json"
    command = [sys.executable, "-m", "stuntdouble.cli", "serve", str(scenario)]
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=scenario.parent,
    )
    try:
        until = time.monotonic() + 120
        while not told(ready, process.pid):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        yield process, json.loads(ready.read_text()), ready
    finally:
        process.kill()
        process.communicate()


def test_it_serves_until_sigterm_and_leaves_nothing_behind(scenario):
    with served(scenario, "--rate", "30", "--user", "me") as (process, told, ready):
        native = told["endpoints"]["native"]
        assert (told["scenario"], told["seed"], told["rate"]) == ("small", 1, 30.0)
        assert told["pid"] == process.pid
        assert native["url"].startswith("http://127.0.0.1:")
        assert native["user"] == "me"
        assert "password" not in ready.read_text()
        shown = [process.stdout.readline().rstrip() for _ in range(2)]
        assert shown[0] == f"native: {native['url']}"
        password = re.fullmatch(r"user me, password (\S{16})", shown[1])[1]
        with httpx.Client(base_url=native["url"], auth=("me", password)) as site:
            first = site.get("/clock").json()
            assert first["rate"] == 30.0
            time.sleep(0.3)
            assert site.get("/clock").json()["seconds"] > first["seconds"] + 5
            assert [x["name"] for x in site.get("/endpoints").json()] == ["native"]
            assert httpx.get(f"{native['url']}/clock").status_code == 401
            held = httpx.Client(base_url=native["url"], auth=("me", password), timeout=30)
            with held:  # a client that holds on to its connection holds up nothing
                held.get("/health")
                process.send_signal(signal.SIGTERM)
                began = time.monotonic()
                out, err = process.communicate(timeout=60)
        assert time.monotonic() - began < HELD_SECONDS
        assert process.returncode == 143
        assert out == ""
        assert err == "stuntdouble: stopped by SIGTERM; no file is half written\n"
        assert sorted(path.name for path in ready.parent.iterdir()) == ["small.toml"]


def test_ctrl_c_in_the_middle_of_a_long_poll_ends_it(scenario):
    with served(scenario, "--password", "x", "--quiet") as (process, told, _):
        url = told["endpoints"]["native"]["url"]
        ask = f"{url}/journal?cursor=1000000&wait=60"
        code = f"import httpx; httpx.get({ask!r}, auth=('admin', 'x'), timeout=90)"
        poll = [sys.executable, "-c", code]
        with subprocess.Popen(poll, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
            time.sleep(1.5)
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            out, err = process.communicate(timeout=60)
            client.kill()
        assert time.monotonic() - began < HELD_SECONDS
        assert (process.returncode, out) == (130, "")
        assert err == "stuntdouble: stopped by Ctrl-C; no file is half written\n"


def test_what_uvicorn_says_of_clients_let_go_at_the_end_is_no_news():
    said = re.findall(r'"([^"]+)",\s+len\(', inspect.getsource(uvicorn.server))
    assert len(said) == 1  # it logs one line with a count, and we know which
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, said[0], (3,), None)
    assert not threads._is_news(record)
    record.msg = "Exception in ASGI application\n"
    assert threads._is_news(record)


def test_after_its_time_it_ends_well(scenario):
    with served(scenario, "--duration", "0.2", "-q", "--password", "x") as (process, _, ready):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")
        assert not ready.exists()


def test_a_site_that_cannot_keep_up_says_so_once(scenario):
    text = scenario.read_text().replace("iops = 40", "iops = 400")
    scenario.write_text(text)
    words = ("--rate", "1e7", "--duration", "3", "--password", "x")
    with served(scenario, *words) as (process, _, _):
        _, err = process.communicate(timeout=120)
    lines = err.splitlines()
    assert [line for line in lines if "lags" in line] == lines
    assert len(lines) == 1
    assert "cannot keep up with rate 1e+07" in lines[0]


def test_an_old_ready_file_is_gone_before_the_site_is_built(scenario):
    ready = scenario.parent / "ready.json"
    ready.write_text("{}")
    with served(scenario, "--password", "x", "-q") as (_, told, _):
        assert told["endpoints"]


# Refusals, all in one line. ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--native", "0.0.0.0:0"), "add --allow-remote"),
        (("--native", "[::]:0"), "add --allow-remote"),
        (("--vsphere", "vcenter.example:443"), "add --allow-remote"),
        (("--native", "127.0.0.1"), "is not HOST:PORT"),
        (("--native", "127.0.0.1:http"), "is not HOST:PORT"),
        (("--native", "127.0.0.1:70000"), "is not HOST:PORT"),
        (("--native", "::1:80"), "in brackets"),
        (("--rate", "0"), "--rate"),
        (("--rate", "nan"), "--rate"),
        (("--rate", "inf"), "--rate"),
        (("--duration", "0"), "--duration"),
        (("--ready-file", "nowhere/ready.json"), "there is no such directory"),
        (("--trace", "gone"), "gone"),
        (("--trace", "small.toml"), "leave --trace out"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(scenario, monkeypatch, words, said):
    monkeypatch.chdir(scenario.parent)
    done = CliRunner().invoke(program, ["serve", str(scenario), *words])
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_refused_in_one_line(scenario):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ready = scenario.parent / "ready.json"
        words = ["--native", f"127.0.0.1:{port}", "--ready-file", str(ready)]
        done = CliRunner().invoke(program, ["serve", str(scenario), *words])
    assert done.exit_code == 2
    assert (
        done.stderr
        == f"stuntdouble: --native: cannot listen at 127.0.0.1:{port}: Address already in use\n"
    )
    assert done.stdout == ""
    assert not ready.exists()


def test_a_trace_must_be_there_where_a_vm_replays_one():
    done = CliRunner().invoke(program, ["serve", "trace-replay"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "name one by --trace FILE" in done.stderr


def test_without_the_packages_it_says_what_to_install(scenario, monkeypatch):
    for name in list(sys.modules):
        if name.startswith("stuntdouble.serve"):
            monkeypatch.delitem(sys.modules, name)
    import stuntdouble

    monkeypatch.delattr(stuntdouble, "serve", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = CliRunner().invoke(program, ["serve", str(scenario)])
    assert done.exit_code == 2
    assert "pip install 'stuntdouble[serve]'" in done.stderr


def test_its_help_has_examples():
    done = CliRunner().invoke(program, ["serve", "--help"])
    assert done.exit_code == 0
    assert "stuntdouble serve quickstart --rate 60" in done.stdout
    for option in ("--vsphere", "--native", "--nbd", "--ready-file", "--allow-remote", "--seed"):
        assert option in done.stdout


# Addresses. -------------------------------------------------------------------------------------


@given(
    st.sampled_from(["127.0.0.1", "::1", "localhost", "0.0.0.0", "h.example"]),
    st.integers(0, 65535),
)
def test_an_address_is_read_as_it_is_written(host, port):
    at = Address(host, port)
    assert address(str(at), "--native") == at
    assert at.loopback == (host in {"127.0.0.1", "::1", "localhost"})


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text):
    found = None
    with suppress(Misuse):
        found = address(text, "--native")
    assert found is None or (found.host and 0 <= found.port <= 65535)


def test_an_answer_is_sent_without_delay(scenario):
    with listening(Address("127.0.0.1", 0), "--native") as made:
        assert made.proto == socket.IPPROTO_TCP  # or asyncio would let Nagle's algorithm wait


def test_a_host_that_is_none_is_refused():
    with pytest.raises(Misuse, match="cannot listen at"):
        listening(Address("no.such.host.invalid", 0), "--native")


def test_the_mouth_of_a_pipe_is_not_removed(tmp_path):
    from stuntdouble.serve.running import _file

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with _file(pipe, "{}"):
        assert os.read(reader, 10) == b"{}"
    os.close(reader)
    assert Path(pipe).exists()
    with _file(None, "{}"):
        pass
