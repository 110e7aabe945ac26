"""Programs that stand in for QEMU and fio: they speak as those do, and fail as they are told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DAEMON = r"""
import json, os, socket, sys, time
plan = os.environ.get("FAKE_DAEMON", "")
if "--version" in sys.argv:
    print("qemu-storage-daemon version 0 (fake)")
    sys.exit(0)
with open(os.environ["FAKE_PIDS"], "a") as pids:
    pids.write(f"{os.getpid()}\n")
if plan == "no start":
    print("cannot open the throttle", file=sys.stderr)
    sys.exit(3)
if plan == "no socket":
    time.sleep(60)
server = socket.socket(socket.AF_UNIX)
server.bind("qmp.sock")
server.listen()
client = server.accept()[0]
lines = client.makefile("rw")
def send(**message):
    lines.write(json.dumps(message) + "\r\n")
    lines.flush()
send(QMP={"version": {}})
for line in lines:
    message = json.loads(line)
    command = message["execute"]
    with open(os.environ["FAKE_PIDS"] + ".commands", "a") as log:
        log.write(line)
    if plan == f"die at {command}":
        print("the daemon fell over", file=sys.stderr)
        sys.exit(3)
    if plan == f"mute at {command}":
        time.sleep(60)
    if plan == f"babble at {command}":
        lines.write("this is not JSON\n")
        lines.flush()
        time.sleep(60)
    if plan == f"refuse {command}":
        send(error={"class": "GenericError", "desc": "no such node"}, id=message["id"])
        continue
    send(event="JOB_STATUS_CHANGE", data={"id": "x", "status": "created"}, timestamp={})
    send(**{"return": {}}, id=message["id"])
    if plan == f"die after {command}":
        print("the daemon fell over", file=sys.stderr)
        sys.exit(3)
    if command == "block-commit":
        if plan == "the job fails":
            data = {"device": "commit", "error": "No space left on device"}
            send(event="BLOCK_JOB_COMPLETED", data=data, timestamp={})
        elif plan == "the job ends":
            send(event="BLOCK_JOB_COMPLETED", data={"device": "commit"}, timestamp={})
        elif plan != "the job lasts":
            send(event="BLOCK_JOB_READY", data={"device": "commit"}, timestamp={})
    if command == "block-job-complete":
        send(event="BLOCK_JOB_COMPLETED", data={"device": "commit"}, timestamp={})
time.sleep(60)  # as the real one, it waits for another client
"""

FIO = r"""
import os, sys, time
plan = os.environ.get("FAKE_FIO", "")
if "--version" in sys.argv:
    print("fio-0 (fake)")
    sys.exit(0)
if "--enghelp=nbd" in sys.argv:
    if plan == "no nbd":
        print("IO engine nbd not found")
        sys.exit(1)
    print("uri                     : Name of NBD URI")
    sys.exit(0)
with open(os.environ["FAKE_PIDS"], "a") as pids:
    pids.write(f"{os.getpid()}\n")
with open(os.environ["FAKE_PIDS"] + ".fio", "w") as words:
    words.write("\n".join(sys.argv[1:]))
if plan == "no start":
    print("fio: engine nbd not loadable", file=sys.stderr)
    sys.exit(1)
if plan == "never begins":
    time.sleep(60)
open("guest.prerun.txt", "w").close()
if plan == "loses the disk":
    time.sleep(0.2)
    print("fio: connection lost", file=sys.stderr)
    sys.exit(1)
if plan == "hangs":
    time.sleep(60)
rate = 100 if plan == "slow" else 200
with open("guest_iops.1.log", "w") as log:
    if plan == "garbage":
        log.write("0, 1, 1, 4096, 0\n2000, 315, 1, 0, 0\n")
    elif plan != "no I/O":
        for k in range(rate * 16 * 2 + 400):
            log.write(f"{max(0, k - 400) * 1000 // (2 * rate)}, 1, 1, 4096, 0\n")
"""

IMAGES = "pass"


def install(folder: Path) -> None:
    """Put all three into *folder*."""
    for name, text in (("qemu-storage-daemon", DAEMON), ("fio", FIO), ("qemu-img", IMAGES)):
        put(folder, name, text)


def put(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable} -IS\n{text}", encoding="utf-8")
    path.chmod(0o755)


def alive(pids: Path) -> list[int]:
    """Return which of the programs that noted their number are still there."""
    found = []
    for line in pids.read_text().split() if pids.exists() else []:
        state = Path(f"/proc/{line}/stat")
        try:
            os.kill(int(line), 0)
            if state.exists() and state.read_text().rpartition(") ")[2].startswith("Z"):
                continue  # dead, and nobody has asked yet how it died
        except ProcessLookupError:
            continue
        found.append(int(line))
    return found
