"""A served site, the clients that are let at it, and what they must have: tools of these tests."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stuntdouble.bench import golang

HERE = Path(__file__).parent
ESTATE = HERE / "estate.toml"
OLDER = HERE / "requirements-older.txt"
USER, PASSWORD = "interop", "between"

SECONDS_MAX = 120.0  # for anything that would else hang; the machine may be busy
RATE = 20  # site seconds a second: a task's four seconds become a fifth of one


def lacking(what: str) -> None:
    """Skip a test for which something is missing here; where everything has to be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}; tools/interop-packages installs what these tests need")
    pytest.skip(what)


def need(*programs: str) -> None:
    if missing := [name for name in programs if shutil.which(name) is None]:
        lacking(f"no {', '.join(missing)}")


@dataclass(frozen=True)
class Client:
    """A client stack: its name, and how it is called with URL, user, password, command, words."""

    name: str
    words: tuple[str, ...]
    path: str = ""

    def call(self, site: Site, command: str, expect: int = 0, **arguments: Any) -> list[dict]:
        """Run a command; return the lines that it printed."""
        account = (site.vsphere, site.user, site.password)
        if self.name == "go":
            account = ("-url", site.vsphere, "-user", site.user, "-password", site.password)
        given = [f"{name.rstrip('_')}={value}" for name, value in arguments.items()]
        done = subprocess.run(
            [*self.words, *account, command, *given],
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            env=os.environ | ({"PYTHONPATH": self.path} if self.path else {}),
        )
        told = f"{self.name} {command} {given}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == expect, told
        return [json.loads(line) for line in done.stdout.splitlines()]


@dataclass(frozen=True)
class Site:
    """A site that is being served."""

    vsphere: str
    native: str = ""
    nbd: str = ""
    user: str = USER
    password: str = PASSWORD

    # What the site itself says. --------------------------------------------------------------

    def ask(self, path: str, body: Any = None, method: str = "", **query: Any) -> Any:
        """Ask the native interface."""
        url = f"{self.native}/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            url, data, method=method or ("GET" if data is None else "POST")
        )
        account = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {account}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def vm(self, name: str) -> dict:
        return next(vm for vm in self.ask("site")["vms"] if vm["name"] == name)

    def snapshot_id(self, vm: str, name: str) -> str:
        """Return what the site itself calls a snapshot."""
        return next(each["id"] for each in self.vm(vm)["snapshots"] if each["name"] == name)

    def true_changes(self, vm: str, disk: int, since: str, until: str) -> list[tuple[int, int]]:
        """Return where a disk truly differs between two snapshots, by their names or ids."""
        found, start = [], 0
        while start is not None:
            page = self.ask(
                f"oracle/vms/{vm}/disks/{disk}/changes", since=since, until=until, start=start
            )
            found += [(each["start"], each["length"]) for each in page["extents"]]
            start = page["next"]
        return found

    def digest(self, vm: str, disk: int, at: str) -> str:
        """Return the digest of what a disk held at a snapshot, from the ledger."""
        begun = self.ask("oracle/digests", {"vm": vm, "disk": disk, "at": at})
        while begun["blake3"] is None:
            begun = self.ask(f"oracle/digests/{begun['id']}", wait=5)
        self.ask(f"oracle/digests/{begun['id']}", method="DELETE")
        return begun["blake3"]

    def advance(self, seconds: float) -> None:
        """Let site time pass at once."""
        self.ask("clock/advance", {"seconds": seconds})

    def page_by(self, **choice: Any) -> None:
        """Choose how the change tracker cuts its answers."""
        self.ask("paging", choice, method="PUT")


@contextmanager
def serving(directory: Path, *words: str, scenario: Path = ESTATE, rate: float = RATE):
    """Serve a scenario's site for as long as the block takes."""
    ready, log = directory / "ready.json", directory / "serve.log"
    command = [
        *(sys.executable, "-m", "stuntdouble.cli", "serve", str(scenario), "--rate", str(rate)),
        *("--vsphere", "127.0.0.1:0", "--native", "127.0.0.1:0", "--nbd", "127.0.0.1:0"),
        *("--ready-file", str(ready), "--user", USER, "--password", PASSWORD, *words),
    ]
    with log.open("w") as told:
        process = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + SECONDS_MAX
        while not ready.exists():
            assert process.poll() is None, f"it ended at once: {log.read_text()}"
            assert time.monotonic() < until, f"it did not start: {log.read_text()}"
            time.sleep(0.05)
        at = json.loads(ready.read_text())["endpoints"]
        yield Site(*(at[name]["url"] for name in ("vsphere", "native", "nbd")))
    finally:
        process.terminate()
        try:
            code = process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert code == 143, f"it ended with {code}: {log.read_text()}"


def fetched(requirements: Path) -> Path:
    """Return a directory with what a file of requirements names, fetched now if it was not yet.

    It is named after the first of them, and has nothing of anybody else's.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stuntdouble"
    lines = requirements.read_text().splitlines()
    first = next(line for line in lines if "==" in line).split()[0]
    kept = cache / first.replace("==", "-")
    if not kept.exists():
        fresh = kept.with_name(f".{kept.name}-{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        done = subprocess.run(
            [*pip, "--target", str(fresh), "-r", str(requirements)],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            lacking(f"pip cannot fetch {first}: {done.stderr.strip()[-200:]}")
        try:
            fresh.rename(kept)
        except OSError:  # somebody else was faster
            shutil.rmtree(fresh)
    return kept


def client(name: str) -> Client:
    """Return a client stack by its name."""
    if name == "go":
        built = golang.built("client")
        if built.missing:
            lacking(built.missing)
        return Client(name, (str(built.path),))
    script = (sys.executable, str(HERE / "pyvmomi_client.py"))
    return Client(name, script, str(fetched(OLDER)) if name == "pyvmomi-8" else "")
