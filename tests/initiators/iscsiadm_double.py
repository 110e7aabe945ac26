"""A double of iscsiadm and of what the kernel shows: run as a script, it is the command.

<root>/state.json     ifaces, nodes, sessions, what the array maps, how commands fail
<root>/sys, <root>/dev  what a kernel makes of it
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

NOTHING_FOUND, INVALID, IDBM, EXISTS, NOT_AUTHORIZED = 21, 7, 6, 15, 24


class Double:
    def __init__(self, root):
        self.root = Path(root)
        self.path = self.root / "state.json"
        if self.path.exists():
            self.state = json.loads(self.path.read_text())
        else:
            self.state = {
                "ifaces": {}, "nodes": {}, "sessions": [], "maps": {}, "fails": {}, "log": [],
                "late": 0, "secret": "",
            }  # fmt: skip
            (self.root / "sys" / "block").mkdir(parents=True)
            (self.root / "dev").mkdir()
            self.save()

    def save(self):
        self.path.write_text(json.dumps(self.state))

    # What a test does. ---

    def set(self, **changes):
        self.__init__(self.root)
        self.state.update(changes)
        self.save()

    def get(self, key):
        self.__init__(self.root)
        return self.state[key]

    def map(self, disk, naa, data):
        """Let the array map a volume: it shows as *disk* when a session is scanned."""
        self.__init__(self.root)
        self.state["maps"][disk] = naa
        (self.root / f"{disk}.raw").write_bytes(data)
        self.save()

    def command(self):
        return (sys.executable, "-S", __file__, str(self.root))

    def disks(self):
        return sorted(path.name for path in (self.root / "sys" / "block").iterdir())

    # What the command does. ---

    def scan(self):
        if self.state["late"]:
            self.state["late"] -= 1
            return
        for disk, naa in self.state["maps"].items():
            device = self.root / "sys" / "block" / disk / "device"
            if not device.exists():
                device.mkdir(parents=True)
                (device / "wwid").write_text(f"naa.{naa}\n")
                (device / "state").write_text("running\n")
                (device / "delete").write_text("")
                os.link(self.root / f"{disk}.raw", self.root / "dev" / disk)

    def unscan(self):
        for disk in self.disks():
            shutil.rmtree(self.root / "sys" / "block" / disk)
            (self.root / "dev" / disk).unlink()

    def run(self, words):
        self.state["log"].append(" ".join(words))
        verb = next((w for w in ("--login", "--logout", "--rescan") if w in words), None)
        verb = verb or (words[words.index("--op") + 1] if "--op" in words else "show")
        word = self.state["fails"].get(f"{words[1]} {verb}")
        if word == "hang":
            self.save()
            time.sleep(60)
        if word:
            sys.stderr.write(f"iscsiadm: it fails with {word}\n")
            return word
        return (self.iface if words[1] == "iface" else self.node)(words, verb)

    def iface(self, words, verb):
        name = words[words.index("-I") + 1]
        if verb == "new":
            self.state["ifaces"][name] = {}
        elif name not in self.state["ifaces"]:
            return INVALID
        elif verb == "update":
            self.state["ifaces"][name][words[-3]] = words[-1]
        elif verb == "delete":  # it takes the records with it
            del self.state["ifaces"][name]
            for key in [key for key in self.state["nodes"] if key.split()[2] == name]:
                del self.state["nodes"][key]
        return 0

    def node(self, words, verb):
        if "-T" not in words:
            for key in self.state["nodes"]:
                target, portal, name = key.split()
                text = f"Target: {target}\n\tPortal: {portal},-1\n\t\tIface Name: {name}\n"
                sys.stdout.write(text)
            return 0 if self.state["nodes"] else NOTHING_FOUND
        target, portal, iface = (words[words.index(w) + 1] for w in ("-T", "-p", "-I"))
        key = f"{target} {portal} {iface}"
        if verb == "new":
            if iface not in self.state["ifaces"]:
                return IDBM
            self.state["nodes"][key] = {}
            return 0
        if verb == "--logout":
            if key not in self.state["sessions"]:
                return NOTHING_FOUND
            self.state["sessions"].remove(key)
            self.unscan()
            return 0
        if key not in self.state["nodes"]:
            return NOTHING_FOUND
        return self.known(key, words, verb)

    def known(self, key, words, verb):
        record = self.state["nodes"][key]
        if verb == "update":
            record[words[-3]] = words[-1]
        elif verb == "delete":
            del self.state["nodes"][key]
        elif verb == "--login":
            if key in self.state["sessions"]:
                return EXISTS
            if record.get("node.session.auth.password", "") != self.state["secret"]:
                return NOT_AUTHORIZED
            self.state["sessions"].append(key)
            self.scan()
        elif verb == "--rescan":
            if key not in self.state["sessions"]:
                return NOTHING_FOUND
            self.scan()
        return 0


if __name__ == "__main__":
    double = Double(sys.argv[1])
    code = double.run(sys.argv[2:])
    double.save()
    sys.exit(code)
