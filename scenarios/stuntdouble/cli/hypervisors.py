"""Which hypervisor a comparison runs against: called directly, by vSphere in process, or served."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import RenderableType

    from stuntdouble.results import EngineName, Progress, RemoteResult, Result
    from stuntdouble.scenarios import Scenario
    from stuntdouble.scenarios.doors import Door

DIRECT: Final = "direct"
VSPHERE: Final = "vsphere"
PASSWORD: Final = "STUNTDOUBLE_PASSWORD"  # noqa: S105  (the name of a variable)

_USER: Final = "admin"  # as `stuntdouble serve` has it
_F = TypeVar("_F", bound="Callable[..., Any]")

_OPTIONS: Final = (
    click.option(
        "--user",
        metavar="NAME",
        help=f"User of a served site, unless the URL has one.  [default: {_USER}]",
    ),
    click.option(
        "--password",
        metavar="TEXT",
        envvar=PASSWORD,
        show_envvar=True,
        help="Password of a served site, unless the URL has one.",
    ),
    click.option(
        "--fingerprint",
        metavar="SHA256",
        help="Trust the certificate of a served site that has this SHA-256, and no other: `serve`"
        " says which.",
    ),
    click.option("--insecure", is_flag=True, help="Trust any certificate of a served site."),
    click.option(
        "--array",
        metavar="native|wsapi|pure|URL",
        help="How the array of a served site is reached: by an interface of ours, with its LUNs over"
        " NBD; by a vendor's, where the site says it is or at a URL, with LUNs over iSCSI."
        "  [default: native]",
    ),
    click.option(
        "--array-fingerprint",
        metavar="SHA256",
        help="Trust the certificate at the array's URL that has this SHA-256, and no other.",
    ),
)


def REMOTE_OPTIONS(command: _F) -> _F:  # noqa: N802  (used as a decorator constant)
    """Add what a served site needs to be told."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line, wherever it is run."""

    scenario: Scenario
    seed: int
    trace: Path | None
    methods: tuple[str, ...]
    engine: EngineName
    command: str


@dataclass(frozen=True)
class Outcome:
    """A result, and how it is shown: the text of ``result.json``, the table, and its files."""

    result: Result | RemoteResult
    text: str
    table: RenderableType
    publish: Callable[[Path], list[Path]]


@dataclass(frozen=True, slots=True)
class Choice:
    """The hypervisor that was chosen, and what belongs to it."""

    hypervisor: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    fingerprint: str | None = None
    insecure: bool = field(default=False, kw_only=True)
    array: str | None = field(default=None, kw_only=True)
    array_fingerprint: str | None = field(default=None, kw_only=True)

    @property
    def is_remote(self) -> bool:
        """Whether a site is served elsewhere."""
        return "://" in self.hypervisor

    def check(self, *, trace: Path | None, engine: EngineName) -> None:
        """Make sure, before anything is loaded, that the options go together, and what is needed is there.

        Raises:
            Misuse: they do not.
        """
        if not self.is_remote and self.hypervisor not in {DIRECT, VSPHERE}:
            text = f"{self.hypervisor!r} is none: use {DIRECT}, {VSPHERE} or https://HOST:PORT/sdk"
            raise Misuse("--hypervisor", text)
        if not self.is_remote:
            for option, given in (
                ("--user", self.user),
                ("--fingerprint", self.fingerprint),
                ("--insecure", self.insecure),
                ("--array", self.array),
                ("--array-fingerprint", self.array_fingerprint),
            ):
                if given:
                    raise Misuse(option, "is for a served site: name one by --hypervisor URL")
            return
        for option, different in (("--trace", trace is not None), ("--engine", engine != "kernel")):
            if different:
                raise Misuse(option, "is the served site's own: give it to `stuntdouble serve`")

    def load(self) -> None:
        """Import what a run needs; Misuse where a package is not there."""
        names = ["stuntdouble.results", "stuntdouble.scenarios"]
        if self.is_remote:
            names.append("stuntdouble.scenarios.remote")
        elif self.hypervisor == VSPHERE:
            names += ["stuntdouble.adapters.vsphere", "stuntdouble.vsphere"]
        try:
            for name in names:
                import_module(name)
        except ModuleNotFoundError as missing:
            extra = "serve" if self.is_remote else "vsphere"
            text = f"needs the package {missing.name}: pip install 'stuntdouble[{extra}]'"
            raise Misuse("--hypervisor", text) from None

    def run(self, asked: Asked, directory: Path, progress: Progress) -> Outcome:
        """Compare the methods; repositories are left in *directory*."""
        if self.is_remote:
            return self._served(asked, directory, progress)
        door: Door = "vsphere" if self.hypervisor == VSPHERE else "direct"
        return _in_process(asked, directory, progress, door)

    def _served(self, asked: Asked, directory: Path, progress: Progress) -> Outcome:
        from stuntdouble.results import dump_remote, publish_remote, remote_table  # noqa: PLC0415
        from stuntdouble.scenarios.remote import (  # noqa: PLC0415
            array_choice,
            compare_remote,
            target_of,
        )

        target = target_of(
            self.hypervisor,
            user=self.user or _USER,
            password=self.password,
            fingerprint=self.fingerprint,
            insecure=self.insecure,
        )
        array = array_choice(
            self.array or "native", fingerprint=self.array_fingerprint, insecure=self.insecure
        )
        result = compare_remote(
            asked.scenario,
            seed=asked.seed,
            target=target,
            methods=asked.methods,
            command=asked.command,
            directory=directory,
            progress=progress,
            array=array,
        )
        return Outcome(
            result, dump_remote(result), remote_table(result), partial(publish_remote, result)
        )


def _in_process(asked: Asked, directory: Path, progress: Progress, door: Door) -> Outcome:
    from stuntdouble.results import comparison_table, dump, publish  # noqa: PLC0415
    from stuntdouble.scenarios import compare  # noqa: PLC0415

    result = compare(
        asked.scenario,
        seed=asked.seed,
        trace=asked.trace,
        methods=asked.methods,
        command=asked.command,
        directory=directory,
        progress=progress,
        engine=asked.engine,
        door=door,
        processes=len(os.sched_getaffinity(0)),
    )
    return Outcome(result, dump(result), comparison_table(result), partial(publish, result))


def without_credentials(hypervisor: str) -> str:
    """Return a choice of hypervisor as it may be kept: a URL without user and password."""
    parts = urlsplit(hypervisor)
    _, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=host).geturl() if at else hypervisor
