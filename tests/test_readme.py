"""The README tells the truth: its example runs, its commands exist, its scenario can be read."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from stuntdouble import errors
from stuntdouble.cli import program
from stuntdouble.cli.failures import INTERRUPTED
from stuntdouble.scenarios import parse

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text("utf-8")
PICTURE_BYTES_MAX = 400 * 1024


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [found[1:] for found in words if found and found[0] == "stuntdouble"]


def test_the_example_runs_and_prints_a_line_per_method() -> None:
    (example,) = blocks("python")
    assert 20 <= len(example.splitlines()) <= 30
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
    figures = r"p95 \d+ ms, longest stun 0\.\d\d s"
    assert re.fullmatch(f"software: {figures}\nstorage: {figures}\n", done.stdout)


def test_the_scenario_can_be_read() -> None:
    (toml,) = blocks("toml")
    scenario = parse(tomllib.loads(toml), "README.md")
    assert scenario.backup.runs == ("full", "incremental")


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_is_one(words: list[str]) -> None:
    if ">" in words:
        words = words[: words.index(">")]
    command, words = program.commands[words[0]], words[:]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(1)]
    known = {flag for option in command.params for flag in option.opts if flag.startswith("-")}
    assert {word for word in words if word.startswith("--")} <= known
    takes_one = [isinstance(option, click.Argument) for option in command.params]
    assert any(takes_one) or len(words) == 1


def test_every_command_is_shown() -> None:
    assert {words[0] for words in commands()} == set(program.commands)


def test_the_exit_codes_are_those_of_the_errors() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if hasattr(kind, "exit_code")]
    assert told == {0, INTERRUPTED} | {kind.exit_code for kind in kinds}


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE)
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_the_picture_is_light() -> None:
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    content = (ROOT / picture).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < PICTURE_BYTES_MAX
