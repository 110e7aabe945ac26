"""``stuntdouble doctor``: what this machine can do, and what is missing for the rest."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from stuntdouble.cli.columns import columns
from stuntdouble.cli.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.cli.checks import Check


@click.command(
    short_help="Say what this machine can do.",
    epilog=examples(
        "stuntdouble doctor",
        "stuntdouble doctor --json | jq '.checks[] | select(.ok | not)'",
        after="Exit code 0 means that everything needed today is there, 1 that something is not.",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, as_json: bool) -> int:
    """Say what this machine can do, and what is missing for the rest."""
    from stuntdouble.cli.checks import checks  # noqa: PLC0415

    made = tuple(checks())
    ready = all(check.ok or check.optional or check.planned for check in made)
    if as_json:
        facts = {"ready": ready, "checks": [asdict(check) for check in made]}
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(_table(made))
        click.echo(
            "\nReady to compare, back up and restore."
            if ready
            else "\nNot ready: something that is needed today is missing."
        )
    return 0 if ready else 1


def _table(made: Iterable[Check]) -> str:
    return columns(
        (
            "ok" if check.ok else "missing",
            check.name,
            ("planned: " if check.planned else "") + check.needed_for,
            check.found if check.ok or not check.install else f"{check.found}: {check.install}",
        )
        for check in made
    )
