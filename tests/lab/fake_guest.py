"""Stands in for QEMU with a guest: the guest's own agent, in front of a model of the kernel's target.

``FAKE_GUEST`` says how it fails.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from pathlib import Path


class Environment:
    """What a rig wants of pytest's monkeypatch."""

    def setenv(self, name: str, value: str) -> None:
        os.environ[name] = value


def begin() -> tuple[str, object]:
    """Listen before anything slow is loaded, as QEMU does, and return plan and channel."""
    words, plan = " ".join(sys.argv), os.environ.get("FAKE_GUEST", "")
    Path(os.environ["FAKE_PIDS"]).write_text(str(os.getpid()))
    if plan == "no start":
        sys.exit("could not set up host forwarding")
    server = socket.socket(socket.AF_UNIX)
    server.bind(re.search(r"path=([^,]+)", words)[1])
    server.listen()
    channel = server.accept()[0].makefile("rwb")
    console = Path(re.search(r"-serial file:(\S+)", words)[1])
    console.write_text("[    0.1] booting\nModuleNotFoundError: no module\n[    0.2] panic\n")
    if plan == "mute":
        time.sleep(60)
    if plan == "dies at boot":
        sys.exit(0)
    return plan, channel


plan, channel = begin()

from lio.rigs import ModelRig  # noqa: E402
from stuntdouble.lab.lio import agent  # noqa: E402
from stuntdouble.lio import contract  # noqa: E402


def main() -> None:
    def say(line: dict) -> None:
        channel.write(json.dumps(line).encode() + b"\n")
        channel.flush()

    folder = Path(os.environ["FAKE_FOLDER"])
    rig = ModelRig("loop", folder, Environment())
    agent.MACHINE = rig.machine
    agent.Rig = lambda kind: made(rig, kind)
    agent.call_echo = lambda **facts: facts
    agent.call_refuse = refuse
    contract.CHECKS = contract.CHECKS[:1] if plan != "fails" else (fails,)
    say({"ready": True})
    for row in channel:
        line = json.loads(row)
        if line["call"] == plan:
            return
        if line["call"] == "contract" and plan == "slow":
            time.sleep(60)
        if plan == "babble":
            say({"id": -1, "result": "of another"})
        agent._answer(line, say)


def made(rig: ModelRig, kind: str) -> ModelRig:
    rig.exporter = agent.KernelExporter(kind, None, rig.machine, agent.LIMITS)
    return rig


def refuse(kind: str) -> None:
    kinds = {"NotFound": agent.NotFound("thing", "x"), "OSError": OSError(5, "it is broken")}
    raise kinds[kind]


def fails(_rig: object) -> str:
    raise AssertionError("the target is on fire")


main()
