from __future__ import annotations

import subprocess
import sys

import pytest

from interop import served
from stuntdouble.bench import golang


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A site that is served to all tests; each has VMs or snapshots of its own."""
    with served.serving(tmp_path_factory.mktemp("served")) as site:
        yield site


@pytest.fixture(scope="session")
def go():
    return served.client("go")


@pytest.fixture(scope="session", params=["go", "pyvmomi-9", "pyvmomi-8"])
def client(request):
    """Each client stack in turn."""
    return served.client(request.param)


@pytest.fixture(scope="session", params=["pyvmomi-9", "pyvmomi-8"])
def python_client(request):
    """Each of the two newest major versions of pyVmomi."""
    return served.client(request.param)


@pytest.fixture(scope="session")
def simulator():
    """govmomi's own simulator: what a client does there, it is to do here."""
    built = golang.built("simulator")
    if built.missing:
        served.lacking(built.missing)
    process = subprocess.Popen(
        [str(built.path), "-vms", "3"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield served.Site(process.stdout.readline().strip(), user="user", password="pass")
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


@pytest.fixture(scope="session")
def versions(python_client):
    """The version of pyVmomi that a client stack has."""
    code = "import importlib.metadata as m; print(m.version('pyvmomi'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": python_client.path} if python_client.path else {},
        check=True,
    )
    return done.stdout.strip()
