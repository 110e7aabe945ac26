"""A stand-in for `stuntdouble.scenarios`: the command line is tested without running a site."""

from __future__ import annotations

import types
from pathlib import Path

from results.made_up import plausible
from stuntdouble.backup.repository import Repository
from stuntdouble.errors import Misuse
from stuntdouble.ports import Consistency, DiskPoint, Kind, RestorePoint

TOML = 'title = "Three VMs on one array"\n'
DISKS = {2000: bytes(range(256)) * 64, 2001: bytes(4096) + b"x" * 512}


def names(folder):
    """What lies in *folder*."""
    return sorted(path.name for path in folder.iterdir())


def write_point(repository, disks, vm="vm-1"):
    draft = repository.begin({key: len(data) for key, data in disks.items()})
    for key, data in disks.items():
        draft.write(key, 0, memoryview(data))
    parts = tuple(DiskPoint(key, len(data), "c/1") for key, data in disks.items())
    facts = ("", vm, "storage", Kind.FULL, 12.5, Consistency.CRASH, parts)
    return draft.commit(RestorePoint(*facts))


def write_repository(path, disks=DISKS):
    with Repository.open(path, chunk_bytes=4096) as repository:
        return write_point(repository, disks).id


class StagedScenarios(types.ModuleType):
    """The API of the real module; `result` is returned, or raised where it is an exception."""

    def __init__(self, folder: Path):
        super().__init__("stuntdouble.scenarios")
        self.result = plausible()
        self.calls = []
        self.listed = []
        for name in ("quickstart", "busy-exchange"):
            path = folder / f"{name}.toml"
            path.write_text(TOML)
            title = f"The {name} of the library"
            self.listed.append(types.SimpleNamespace(name=name, title=title, path=path))

    def library(self):
        return tuple(self.listed)

    def load(self, source):
        for listed in self.listed:
            if source in {listed.name, str(listed.path)}:
                return listed
        raise Misuse(str(source), "no scenario of that name")

    def compare(self, scenario, **facts):
        self.calls.append((scenario, facts))
        if isinstance(self.result, Misuse):  # as of a trace that makes no sense
            raise self.result
        directory = facts["directory"]
        assert directory.is_dir()
        assert list(directory.iterdir()) == []
        facts["progress"].stage("storage")
        write_repository(directory / "repository" / "storage")
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result
