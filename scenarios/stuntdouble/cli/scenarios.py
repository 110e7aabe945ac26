"""``stuntdouble scenarios``: what the library holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from stuntdouble.cli.columns import columns
from stuntdouble.cli.examples import examples
from stuntdouble.cli.names import ScenarioName, did_you_mean
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from stuntdouble.scenarios import Listed


@click.command(
    short_help="List the scenarios, or print one to copy.",
    epilog=examples(
        "stuntdouble scenarios",
        "stuntdouble scenarios quickstart > mine.toml",
        "stuntdouble compare mine.toml",
    ),
)
@click.argument("name", required=False, type=ScenarioName(files=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def scenarios(*, name: str | None, as_json: bool) -> None:
    """List the scenarios that come with stuntdouble, or print the TOML of one to copy."""
    if name is not None:
        _show(_find(name), as_json=as_json)
        return
    from stuntdouble.scenarios import library  # noqa: PLC0415

    listed = library()
    if as_json:
        click.echo(json.dumps([{"name": one.name, "title": one.title} for one in listed], indent=2))
    else:
        click.echo(columns((one.name, one.title) for one in listed))


def _show(listed: Listed, *, as_json: bool) -> None:
    toml = listed.path.read_text("utf-8")
    if as_json:
        facts = {"name": listed.name, "title": listed.title, "toml": toml}
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(toml, nl=not toml.endswith("\n"))


def _find(name: str) -> Listed:
    from stuntdouble.scenarios import library  # noqa: PLC0415

    known = {listed.name: listed for listed in library()}
    if name not in known:
        hint = did_you_mean(name, known)
        raise Misuse(name, f"no scenario of that name{hint}: list all with stuntdouble scenarios")
    return known[name]
